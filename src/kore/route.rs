//! One GET of a file, wherever it leads: policy before each connection, redirects by hand, codes sorted.
//!
//! A signed URL is its own authority (KORE.md, inferred), so nothing of ours goes with it: no `auth`, no Referer, no
//! cookies, no proxy. Up to three redirects are followed, each judged like the first URL: never off `media_hosts`, never
//! to plain http unless that is allowed. Each request has a connection of its own, to where its [`Reach`] goes.

use std::sync::Arc;
use std::time::Duration;

use hyper::header::{HeaderMap, LOCATION};
use url::Url;

use super::client::text_of;
use super::faults::{Fault, describe, fault};
use super::headers;
use super::line::{BoxError, Dialer, Response};
use super::resolver::Resolver;
use crate::clock::Clock;
use crate::hosts::{MediaHosts, Reach, shown_host};
use crate::source::{FetchError, SignedUrl};
use crate::words::message;

/// CONTRACT section 7.
const MOST_REDIRECTS: usize = 3;

/// How files are reached, for one bot.
#[derive(Debug)]
pub(crate) struct Route {
    public: Dialer,
    any: Dialer,
    hosts: MediaHosts,
    /// For one request up to its headers.
    deadline: Duration,
    clock: Arc<dyn Clock>,
}

impl Route {
    pub(crate) fn new(
        hosts: MediaHosts,
        deadline: Duration,
        connections: usize,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, rustls::Error> {
        let dialer = |reach| Dialer::new(Resolver(reach), connections, Arc::clone(&clock));
        let (public, any) = (dialer(Reach::Public)?, dialer(Reach::Any)?);
        Ok(Self { public, any, hosts, deadline, clock })
    }

    /// The answer at the end of the redirects; its code may be any but theirs.
    pub(crate) async fn get(&self, url: &SignedUrl, extra: &HeaderMap) -> Result<Response, FetchError> {
        if url.expires_at().is_some_and(|expiry| expiry <= self.clock.now()) {
            let message = message(&format!("the URL of {url} has expired; Kore makes a new one at the next poll"));
            return Err(FetchError::Expired { code: None, message });
        }
        let mut at = url.url().clone();
        for _ in 0..=MOST_REDIRECTS {
            let response = self.get_once(&at, extra).await?;
            match target(&response, &at)? {
                Some(next) => at = next,
                None => return Ok(response),
            }
        }
        Err(refused(&format!("the file host {} redirects more than {MOST_REDIRECTS} times", shown_host(&at))))
    }

    async fn get_once(&self, url: &Url, extra: &HeaderMap) -> Result<Response, FetchError> {
        let reach = self.hosts.allows(url).map_err(|refusal| host_refused(&refusal.to_string()))?;
        let dialer = match reach {
            Reach::Public => &self.public,
            Reach::Any => &self.any,
        };
        tokio::select! {
            response = dialer.get(url, extra) => response.map_err(|error| not_reached(url, &error)),
            () = self.clock.sleep(self.deadline) => {
                let wait = self.deadline;
                Err(unreachable(&format!("the file host {} sent no headers within {wait:?}", shown_host(url))))
            }
        }
    }
}

fn not_reached(url: &Url, error: &BoxError) -> FetchError {
    let host = shown_host(url);
    match fault(&**error) {
        Fault::NotPublic => host_refused(&format!(
            "the file host {host} resolves to no public address; if it is meant to be private, give its full name in \
             `media_hosts`"
        )),
        Fault::BeyondCounting => FetchError::TooLarge {
            message: message(&format!("the file host {host} announces a length beyond all bounds")),
        },
        Fault::NotHttp => refused(&format!("the file host {host} does not speak HTTP: {}", describe(&**error))),
        Fault::EndedShort | Fault::NoGoodbye | Fault::Surplus | Fault::Broken => {
            unreachable(&format!("the file host {host} was not reached: {}", describe(&**error)))
        }
    }
}

/// Where a redirect leads; `None` if the answer is none.
fn target(response: &Response, from: &Url) -> Result<Option<Url>, FetchError> {
    let code = response.status().as_u16();
    if !matches!(code, 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let location = text_of(response.headers(), LOCATION.as_str()).and_then(|location| from.join(location).ok());
    let nowhere = || refused(&format!("the file host {} redirects (HTTP {code}) to nowhere", shown_host(from)));
    location.map(Some).ok_or_else(nowhere)
}

/// What a code that brings no file means.
pub(crate) fn by_code(response: &Response, clock: &dyn Clock) -> FetchError {
    let code = response.status().as_u16();
    let said = |what: &str| message(&format!("the file host {} {what} (HTTP {code})", shown_host(response.url())));
    match code {
        401 | 403 | 404 | 410 => FetchError::Expired { code: Some(code), message: said("does not honour the URL") },
        429 | 500..600 => {
            let now = text_of(response.headers(), "date").and_then(headers::date).unwrap_or_else(|| clock.now());
            let header = text_of(response.headers(), "retry-after");
            let retry_after = header.and_then(|value| headers::retry_after(value, now));
            FetchError::Unreachable { retry_after, message: said("has trouble") }
        }
        _ => FetchError::Refused { message: said("sent no file") },
    }
}

pub(crate) fn refused(text: &str) -> FetchError {
    FetchError::Refused { message: message(text) }
}

pub(crate) fn unreachable(text: &str) -> FetchError {
    FetchError::Unreachable { retry_after: None, message: message(text) }
}

fn host_refused(text: &str) -> FetchError {
    FetchError::HostRefused { message: message(text) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::kore::testing::{Server, send};

    #[tokio::test]
    async fn a_name_that_must_be_public_is_not_connected_to_inside() {
        let server = Server::start(|_, _| vec![send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")]).await;
        let dialer = |reach| Dialer::new(Resolver(reach), 1, Arc::new(SystemClock::new())).unwrap();
        let url: Url = format!("http://localhost:{}/?s=CANARY", server.address.port()).parse().unwrap();
        let error = dialer(Reach::Public).get(&url, &HeaderMap::new()).await.err().unwrap();
        let refusal = not_reached(&url, &error);
        assert!(matches!(&refusal, FetchError::HostRefused { message } if message.contains("no public address")));
        assert!(!format!("{refusal:?}").contains("CANARY"));
        assert!(server.requests().is_empty());
        // It is the resolver that kept it out.
        assert!(dialer(Reach::Any).get(&url, &HeaderMap::new()).await.is_ok());
    }
}
