//! The recordings API: one request a poll, one whole answer, nothing that is not needed.
//!
//! Documented: `GET https://{host}/api/public/bot/{botId}/v2/recordings?sessionId={id}` with `auth: <JWT>` and
//! `Content-Type: application/json`. The order of a poll: a slot of the budget, a fresh token, the request, the body up
//! to 1 MiB, all of it after the slot within `poll.timeout`. If Kore refuses the token, the secret is read again and the
//! request goes out once more, in a slot of its own; nothing else is retried here (the queue's backoff does that).
//!
//! The token goes to `bots.NAME.host` only: redirects are not followed, proxies of the environment not asked, and
//! files are fetched by other clients (`download`).

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::budget::{Budget, Told};
use super::download::Files;
use super::faults::{describe, describe_without_url};
use super::headers;
use super::reply::Reply;
use super::token::Tokens;
use crate::clock::{Clock, JUMP};
use crate::config::{BotSettings, TransferSettings};
use crate::hosts::MediaHosts;
use crate::session::SessionId;
use crate::source::{Answer, Download, FetchError, FileHost, PollError, SignedUrl, Vendor};
use crate::words::{Secrets, message};

/// An answer of 500 recordings is under 200 kB; what is longer is no answer.
const LONGEST_BODY: usize = 1024 * 1024;
/// For the connection alone, TLS included.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Servers close idle connections after a minute or so; one that is used just then costs a poll.
const IDLE_CONNECTION: Duration = Duration::from_secs(20);
/// How the daemon introduces itself, to Kore and to file hosts.
pub(crate) const USER_AGENT: &str = concat!("kore-archiver/", env!("CARGO_PKG_VERSION"));

/// Kore, as one bot sees it.
#[derive(Debug)]
pub struct KoreClient {
    http: reqwest::Client,
    endpoint: Url,
    tokens: Tokens,
    budget: Arc<Budget>,
    timeout: Duration,
    files: Files,
    clock: Arc<dyn Clock>,
    /// Whether the newest answer refused the token. A second request at once is for the first refusal alone; after
    /// it, each poll is one request with the secret as it is then.
    is_refused: AtomicBool,
    /// First tokens that were refused, not told yet.
    repeats: AtomicU64,
    /// The signatures of the newest URLs, which an error may repeat out of their place.
    signatures: Mutex<VecDeque<SecretString>>,
}

/// So many signatures are remembered, up to three spellings of each: the newest, because every answer is searched for all
/// of them. What else looks like one is hidden by its looks.
const MOST_SIGNATURES: usize = 64;

impl KoreClient {
    /// The client of the bot called `name`. `poll_timeout` is the deadline of a whole poll, and of the headers of a file.
    ///
    /// # Errors
    /// A sentence for the operator: the host is not https, or TLS cannot be set up.
    pub fn new(
        name: &str,
        bot: &BotSettings,
        poll_timeout: Duration,
        transfer: &TransferSettings,
        budget: Arc<Budget>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, String> {
        let endpoint = endpoint(bot).map_err(|what| format!("bots.{name}.host {what}"))?;
        let no_client = |what| format!("bots.{name}: cannot set up an HTTP client: {what}");
        let hosts = MediaHosts::new(bot.media_hosts.clone(), bot.allow_insecure_http);
        let files = Files::new(hosts, poll_timeout, transfer, Arc::clone(&clock));
        let files = files.map_err(|error| no_client(describe(&error)))?;
        let http = bare_client()
            .connector_layer(Told::new(Arc::clone(&budget)))
            .build()
            .map_err(|error| no_client(describe_without_url(error)))?;
        let tokens = Tokens::new(bot.client_id.clone(), bot.client_secret.clone());
        let (is_refused, repeats, signatures) = (AtomicBool::new(false), AtomicU64::new(0), Mutex::default());
        Ok(Self {
            http,
            endpoint,
            tokens,
            budget,
            timeout: poll_timeout,
            files,
            clock,
            is_refused,
            repeats,
            signatures,
        })
    }

    /// One request, under a token of its own, on a turn that was waited for.
    pub(super) async fn ask(&self, session: &SessionId) -> Result<Reply, PollError> {
        let token = self.tokens.fresh(self.clock.now()).map_err(|what| unauthorized(&what))?;
        let mut auth = HeaderValue::from_str(token.text.expose_secret()).expect("a JWT is base64 and dots");
        auth.set_sensitive(true);
        let mut url = self.endpoint.clone();
        url.query_pairs_mut().append_pair("sessionId", session.as_str());
        let request = self
            .http
            .get(url)
            .header(HeaderName::from_static("auth"), auth)
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json");
        self.exchange(request, token.known).await
    }

    async fn exchange(&self, request: reqwest::RequestBuilder, known: Secrets) -> Result<Reply, PollError> {
        let failed = |error| unreachable(&format!("Kore was not reached: {}", describe_without_url(error)));
        let too_late = || unreachable(&format!("Kore gave no whole answer within {:?} (poll.timeout)", self.timeout));
        let mut deadline = self.clock.sleep(self.timeout);
        let mut response = tokio::select! {
            response = request.send() => response.map_err(failed)?,
            () = &mut deadline => return Err(too_late()),
        };
        let code = response.status().as_u16();
        let now = self.clock.now();
        let header = |name| text_of(response.headers(), name);
        let date = header("date").and_then(headers::date);
        let retry_after = header("retry-after").and_then(|value| headers::retry_after(value, date.unwrap_or(now)));
        let ahead_seconds = date.map(|date| (now.as_millis() - date.as_millis()) / 1000);
        if let Some(ahead) = ahead_seconds.filter(|ahead| ahead.unsigned_abs() > JUMP.as_secs())
            && self.clock.doubt()
        {
            tracing::warn!(
                seconds = ahead,
                host = self.endpoint.host_str(),
                "this machine's clock is far ahead of (or, below zero, behind) Kore's: set it right; as long as they are apart no row is given up for its age, as media_unavailable or never_ready"
            );
        }
        let body = tokio::select! {
            body = body_of(&mut response) => body.map_err(failed),
            () = &mut deadline => Err(too_late()),
        };
        let body = match body {
            // The code has said enough; what came of the body is not needed.
            Err(_) if !(200..300).contains(&code) => Ok(Vec::new()),
            body => body?,
        };
        let known = known.and(&*self.signatures());
        let mut reply = Reply::new(code, body.as_deref().map_err(ToString::to_string), known);
        (reply.retry_after, reply.ahead_seconds) = (retry_after, ahead_seconds);
        Ok(reply)
    }
}

#[async_trait]
impl Vendor for KoreClient {
    async fn turn(&self) {
        self.budget.take().await;
    }

    async fn poll(&self, session: &SessionId) -> Result<Answer, PollError> {
        let mut reply = self.ask(session).await?;
        if reply.refuses_the_token() && !self.is_refused.load(Ordering::Relaxed) {
            self.tokens.forget();
            self.repeats.fetch_add(1, Ordering::Relaxed);
            self.turn().await;
            reply = self.ask(session).await?;
        }
        let is_refused = reply.refuses_the_token();
        if is_refused {
            // So that the next poll, minutes later, sees a secret that was rotated in between at once.
            self.tokens.forget();
        }
        self.is_refused.store(is_refused, Ordering::Relaxed);
        reply.read(session).inspect(|answer| self.remember(answer))
    }

    fn take_repeats(&self) -> u64 {
        self.repeats.swap(0, Ordering::Relaxed)
    }
}

#[async_trait]
impl FileHost for KoreClient {
    async fn open(&self, url: &SignedUrl) -> Result<Download, FetchError> {
        self.files.open(url).await
    }
}

impl KoreClient {
    fn remember(&self, answer: &Answer) {
        let mut signatures = self.signatures();
        let new = answer.recordings.iter().flat_map(|file| file.url.spelt_signatures());
        signatures.extend(new.map(SecretString::from));
        let surplus = signatures.len().saturating_sub(MOST_SIGNATURES);
        signatures.drain(..surplus);
    }

    fn signatures(&self) -> MutexGuard<'_, VecDeque<SecretString>> {
        self.signatures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nothing is added, followed, unpacked, repeated or passed on.
fn bare_client() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .http1_only()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .no_proxy()
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(IDLE_CONNECTION)
}

fn endpoint(bot: &BotSettings) -> Result<Url, &'static str> {
    let secure = bot.host.scheme() == "https" || bot.host.scheme() == "http" && bot.allow_insecure_http;
    if !secure {
        return Err("must be https, unless allow_insecure_http is set");
    }
    let mut url = bot.host.clone();
    url.set_query(None);
    url.set_fragment(None);
    let segments = ["api", "public", "bot", &bot.bot_id, "v2", "recordings"];
    url.path_segments_mut().map_err(|()| "is no host")?.pop_if_empty().extend(segments);
    Ok(url)
}

/// The body up to the limit; the inner `Err` says why it cannot be an answer.
async fn body_of(response: &mut reqwest::Response) -> Result<Result<Vec<u8>, String>, reqwest::Error> {
    let encoding = text_of(response.headers(), CONTENT_ENCODING.as_str());
    if encoding.is_some_and(|encoding| !encoding.eq_ignore_ascii_case("identity")) {
        return Ok(Err("a Content-Encoding that nobody asked for".to_owned()));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > LONGEST_BODY {
            return Ok(Err(format!("more than {LONGEST_BODY} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Ok(body))
}

/// A header, if it is there and text.
pub(crate) fn text_of<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn unreachable(text: &str) -> PollError {
    PollError::Unreachable { message: message(text) }
}

fn unauthorized(text: &str) -> PollError {
    PollError::Unauthorized { message: message(text) }
}

#[cfg(test)]
mod tests;
