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
use crate::clock::Clock;
use crate::config::{BotSettings, TransferSettings};
use crate::hosts::MediaHosts;
use crate::session::SessionId;
use crate::source::{Answer, Download, FetchError, PollError, SignedUrl, Vendor};
use crate::words::{Known, message};

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

/// So many signatures are remembered: of all that may be asked about again at once.
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

    async fn exchange(&self, request: reqwest::RequestBuilder, known: Known) -> Result<Reply, PollError> {
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
mod tests {
    use super::super::testing::{Act, Server, limits, send};
    use super::*;
    use crate::config::ClientSecret;
    use crate::session::StatusKind;

    const WAITING: &str = r#"{"status":"media_in_progress"}"#;

    fn http(code: u16, headers: &str, body: &str) -> Act {
        send(format!("HTTP/1.1 {code} X\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len()))
    }

    fn id() -> SessionId {
        SessionId::parse("65e7133a3242653c58d70001").unwrap()
    }

    async fn poll(server: &Server) -> Result<Answer, PollError> {
        let client = server.client(ClientSecret::Environment("CANARY".into()), limits());
        let result = client.poll(&id()).await;
        assert!(!format!("{result:?} {client:?}").contains("CANARY"), "{result:?}");
        if let Err(error) = &result {
            assert!(!error.to_string().contains("eyJ"), "{error}");
        }
        result
    }

    fn auth(request: &str) -> &str {
        request.lines().find_map(|line| line.strip_prefix("auth: ")).expect("every request has a token")
    }

    #[tokio::test]
    async fn a_poll_is_the_documented_request() {
        let server = Server::start(|_, _| vec![http(200, "", WAITING)]).await;
        assert_eq!(poll(&server).await.unwrap().status.kind(), StatusKind::MediaInProgress);
        let request = server.requests().remove(0);
        let line = "GET /api/public/bot/st-1%2F..%2Fx/v2/recordings?sessionId=65e7133a3242653c58d70001 HTTP/1.1\r\n";
        assert!(request.starts_with(line), "{request}");
        assert!(request.contains("content-type: application/json\r\n"), "{request}");
        assert_eq!(auth(&request).split('.').count(), 3);
    }

    #[tokio::test]
    async fn a_refused_token_is_tried_again_once_with_the_secret_as_it_is_then() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "old\n").unwrap();
        let path = file.path().to_owned();
        let server = Server::start(move |request, _| {
            std::fs::write(&path, "new\n").unwrap();
            vec![if request == 0 { http(401, "", "{}") } else { http(200, "", WAITING) }]
        })
        .await;
        let client = server.client(ClientSecret::File(file.path().to_owned()), limits());
        assert!(client.poll(&id()).await.is_ok());
        assert_eq!((client.take_repeats(), client.take_repeats()), (1, 0));
        let requests = server.requests();
        assert_eq!(requests.len(), 2);
        let signed_with = |secret: &str, token: &str| {
            let (message, signature) = token.rsplit_once('.').unwrap();
            let key = jsonwebtoken::DecodingKey::from_secret(secret.as_bytes());
            jsonwebtoken::crypto::verify(signature, message.as_bytes(), &key, jsonwebtoken::Algorithm::HS256).unwrap()
        };
        assert!(signed_with("old", auth(&requests[0])));
        assert!(signed_with("new", auth(&requests[1])));
    }

    #[tokio::test]
    async fn two_refused_tokens_are_the_set_up_and_take_two_slots() {
        let body = r#"{"errors":[{"msg":"error verifying the jwt: eyJhbGciOi.x.CANARY","code":"40001"}]}"#;
        let server = Server::start(move |_, _| vec![http(401, "Date: Tue, 05 Mar 2024 12:00:00 GMT\r\n", body)]).await;
        let client = server.client(ClientSecret::Environment("CANARY".into()), limits());
        client.turn().await;
        let error = client.poll(&id()).await.unwrap_err();
        assert!(matches!(error, PollError::Unauthorized { .. }));
        assert!(error.to_string().contains("s ahead of Kore's"), "{error}");
        assert!(!error.to_string().contains("CANARY"), "{error}");
        assert_eq!((server.requests().len(), client.budget.used_in_last_minute()), (2, 2));
        assert_ne!(auth(&server.requests()[0]), auth(&server.requests()[1]));
    }

    #[tokio::test]
    async fn what_was_sent_and_the_secret_it_was_signed_with_come_back_in_no_message() {
        for code in [400, 401, 403, 404, 500] {
            let server = Server::start(move |_, head| {
                let (parts, secret) = (auth(head).replace('.', " and "), "CANARY");
                http_of(code, &serde_json::json!({ "errors": [{ "msg": format!("{parts} of {secret}") }] }))
            })
            .await;
            let message = poll(&server).await.unwrap_err().to_string();
            let sent = auth(&server.requests()[0]).to_owned();
            assert!(sent.split('.').all(|part| !message.contains(part)), "{sent}: {message}");
            assert!(message.contains("[hidden]"), "{message}");
        }
    }

    fn http_of(code: u16, body: &serde_json::Value) -> Vec<Act> {
        vec![http(code, "", &body.to_string())]
    }

    #[tokio::test]
    async fn a_secret_that_cannot_be_read_is_named_and_nothing_is_sent() {
        let server = Server::start(|_, _| vec![]).await;
        let client = server.client(ClientSecret::File("/nonexistent/secret".into()), limits());
        let error = client.poll(&id()).await.unwrap_err();
        assert!(matches!(&error, PollError::Unauthorized { message } if message.contains("/nonexistent/secret")));
        assert!(server.requests().is_empty());
    }

    #[tokio::test]
    async fn a_signature_that_an_error_repeats_later_is_hidden() {
        let list =
            r#"{"status":"success","recording":[{"fileName":"a","fileUrl":"https://a/f?e=1&n=2&s=CANARYSIG2x0"}]}"#;
        let error = r#"{"errors":[{"msg":"bad signature CANARYSIG2x0","code":1}]}"#;
        let server =
            Server::start(move |number, _| vec![if number == 0 { http(200, "", list) } else { http(400, "", error) }])
                .await;
        let client = server.client(ClientSecret::Environment("a secret of the tests".into()), limits());
        assert_eq!(client.poll(&id()).await.unwrap().recordings.len(), 1);
        let error = client.poll(&id()).await.unwrap_err().to_string();
        assert!(error.contains("bad signature") && !error.contains("CANARY"), "{error}");
    }

    #[tokio::test]
    async fn a_redirect_is_not_followed() {
        let server = Server::start(|_, _| vec![http(302, "Location: /elsewhere\r\n", WAITING)]).await;
        assert!(matches!(poll(&server).await, Err(PollError::Unreachable { .. })));
        assert_eq!(server.requests().len(), 1);
    }

    #[tokio::test]
    async fn a_rate_limit_comes_with_its_wait() {
        for (header, wait) in [("30", Some(30)), ("0", Some(1)), ("86400", Some(900)), ("1e99", None), ("-5", None)] {
            let headers = format!("Retry-After: {header}\r\n");
            let server = Server::start(move |_, _| vec![http(429, &headers, "<html>")]).await;
            let Err(PollError::RateLimited { retry_after, .. }) = poll(&server).await else { panic!("{header}") };
            assert_eq!(retry_after.map(|wait| wait.as_secs()), wait, "{header}");
        }
        let server = Server::start(|_, _| vec![send("HTTP/1.1 503 X\r\nContent-Length: 9\r\n\r\ncut")]).await;
        assert!(matches!(poll(&server).await, Err(PollError::RateLimited { retry_after: None, .. })));
        let head = "HTTP/1.1 429 X\r\nRetry-After: 30\r\nContent-Length: 100\r\n\r\n";
        for stalls in [Act::Hang, Act::Drip] {
            let acts = vec![send(head), stalls];
            let server = Server::start(move |_, _| acts.clone()).await;
            let Err(PollError::RateLimited { retry_after, .. }) = poll(&server).await else {
                panic!("it has said enough")
            };
            assert_eq!(retry_after, Some(Duration::from_secs(30)));
        }
    }

    #[tokio::test]
    async fn an_answer_that_is_slow_endless_or_cut_is_nobodys_fault_here() {
        let head = "HTTP/1.1 200 X\r\nContent-Length: 100\r\n\r\n";
        for acts in
            [vec![Act::Hang], vec![send(head), Act::Drip], vec![send(head)], vec![], vec![send(head), Act::Reset]]
        {
            let server = Server::start(move |_, _| acts.clone()).await;
            assert!(matches!(poll(&server).await, Err(PollError::Unreachable { .. })));
        }
    }

    #[tokio::test]
    async fn a_flood_is_cut_at_a_mebibyte_and_a_packed_answer_is_not_unpacked() {
        let flood = format!("HTTP/1.1 200 X\r\n\r\n{{\"status\":\"{}", "x".repeat(LONGEST_BODY));
        let server = Server::start(move |_, _| vec![send(flood.clone()), Act::Hang]).await;
        let error = poll(&server).await.unwrap_err();
        assert!(matches!(&error, PollError::Refused { message } if message.contains("1048576")), "{error}");
        let server = Server::start(|_, _| vec![http(200, "Content-Encoding: gzip\r\n", WAITING)]).await;
        assert!(matches!(poll(&server).await, Err(PollError::Refused { .. })));
    }

    #[tokio::test]
    async fn a_closed_port_is_unreachable_and_the_url_is_not_told() {
        let server = Server::start(|_, _| vec![]).await;
        let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Server { address: gone.local_addr().unwrap(), ..server };
        drop(gone);
        let error = poll(&server).await.unwrap_err();
        assert!(matches!(&error, PollError::Unreachable { message } if !message.contains("sessionId")), "{error}");
    }
}
