//! A file, from its first answer to its last byte.
//!
//! [`Files::open`] asks the file host and judges the head: only a plain 200 without Content-Encoding and of one length
//! is a file. The body then goes through [`super::resume`], which continues it where it breaks off. What HTTP cannot
//! tell is said, not guessed: `end_is_marked` is false where the end of the connection is the end of the file, and
//! then the container must prove itself whole (FAULTS D3). Bytes beyond Content-Length are not seen: hyper stops at the
//! promised length and closes the connection; the length that was promised is the file.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Response;
use reqwest::header::{
    ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, ETAG, HeaderMap, HeaderValue, LAST_MODIFIED, TRANSFER_ENCODING,
};

use super::client::text_of;
use super::resume::{Body, ShortEnds};
use super::route::{Route, by_code, refused};
use super::words::message;
use super::{Download, FetchError, SignedUrl};
use crate::clock::Clock;
use crate::config::TransferSettings;
use crate::hosts::{MediaHosts, shown_host};

/// How files are fetched, for one bot.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    pub(super) route: Arc<Route>,
    pub(super) limits: TransferSettings,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) short_ends: Arc<ShortEnds>,
}

impl Files {
    pub(crate) fn new(
        hosts: MediaHosts,
        header_deadline: Duration,
        limits: &TransferSettings,
        clock: Arc<dyn Clock>,
    ) -> reqwest::Result<Self> {
        let route = Arc::new(Route::new(hosts, header_deadline, Arc::clone(&clock))?);
        Ok(Self { route, limits: *limits, clock, short_ends: Arc::default() })
    }

    pub(crate) async fn open(&self, url: &SignedUrl) -> Result<Download, FetchError> {
        let response = self.route.get(url, &HeaderMap::new()).await?;
        if response.status().as_u16() != 200 {
            return Err(by_code(&response, &*self.clock));
        }
        let promise = Promise::of(&response)?;
        let most = self.limits.max_bytes;
        if promise.length.is_some_and(|length| length > most) {
            return Err(too_large(promise.length, most));
        }
        let (length, end_is_marked) = (promise.length, promise.end_is_marked);
        let body = Body::new(self.clone(), url.clone(), response, promise).into_stream();
        Ok(Download { length, body: Box::pin(body), end_is_marked })
    }
}

/// What a head says of the body that follows.
#[derive(Clone, Debug)]
pub(crate) struct Promise {
    pub(crate) length: Option<u64>,
    pub(crate) end_is_marked: bool,
    pub(crate) validator: Option<Validator>,
}

/// What a later answer must still say for its bytes to belong to the same file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Validator {
    /// A strong entity tag: equal tags are equal bytes.
    Tag(HeaderValue),
    /// A modification time of a host that says it serves ranges; good for `If-Range`, proof of nothing else.
    Modified(HeaderValue),
}

impl Promise {
    /// # Errors
    /// [`FetchError::Refused`] if the head cannot stand before a file.
    pub(crate) fn of(response: &Response) -> Result<Self, FetchError> {
        let headers = response.headers();
        let refuse = |what: &str| refused(&format!("the file host {} sent {what}", shown_host(response.url())));
        let plain =
            |value: &HeaderValue| value.as_bytes().is_empty() || value.as_bytes().eq_ignore_ascii_case(b"identity");
        if !headers.get_all(CONTENT_ENCODING).iter().all(plain) {
            return Err(refuse("a Content-Encoding, though `identity` was asked for"));
        }
        if headers.contains_key(CONTENT_LENGTH) && headers.contains_key(TRANSFER_ENCODING) {
            return Err(refuse("two lengths: Content-Length and Transfer-Encoding"));
        }
        let length = text_of(headers, CONTENT_LENGTH.as_str()).and_then(|length| length.trim().parse().ok());
        let chunked = headers.get_all(TRANSFER_ENCODING).iter().any(is_chunked);
        Ok(Self { length, end_is_marked: length.is_some() || chunked, validator: Validator::of(headers) })
    }
}

impl Validator {
    fn of(headers: &HeaderMap) -> Option<Self> {
        let ranges = text_of(headers, ACCEPT_RANGES.as_str());
        if ranges.is_some_and(|ranges| ranges.eq_ignore_ascii_case("none")) {
            return None;
        }
        // A weak one starts with `W/`.
        let strong = |tag: &&HeaderValue| tag.as_bytes().starts_with(b"\"");
        let tag = headers.get(ETAG).filter(strong).cloned().map(Self::Tag);
        let serves_ranges = ranges.is_some_and(|ranges| ranges.eq_ignore_ascii_case("bytes"));
        let modified = || headers.get(LAST_MODIFIED).filter(|_| serves_ranges).cloned().map(Self::Modified);
        tag.or_else(modified)
    }

    /// For `If-Range`.
    pub(crate) fn value(&self) -> &HeaderValue {
        match self {
            Self::Tag(value) | Self::Modified(value) => value,
        }
    }
}

/// Only as the last coding do chunks mark the end.
fn is_chunked(value: &HeaderValue) -> bool {
    let last = value.to_str().ok().and_then(|codings| codings.rsplit(',').next());
    last.is_some_and(|coding| coding.trim().eq_ignore_ascii_case("chunked"))
}

/// `length` is `None` if it was found out while the bytes came.
pub(crate) fn too_large(length: Option<u64>, most: u64) -> FetchError {
    let size = length.map_or_else(|| "more".to_owned(), |length| format!("{length} bytes"));
    FetchError::TooLarge { message: message(&format!("the file has {size}; transfer.max_bytes is {most} bytes")) }
}

#[cfg(test)]
mod tests {
    use futures_util::TryStreamExt;

    use super::super::testing::{Act, Server, limits, send};
    use super::*;
    use crate::config::ClientSecret;
    use crate::kore::Vendor;

    const TAGGED: &str = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nETag: \"a\"\r\n\r\n";
    const REST: &str =
        "HTTP/1.1 206 Partial\r\nContent-Length: 6\r\nContent-Range: bytes 4-9/10\r\nETag: \"a\"\r\n\r\n456789";

    fn secret() -> ClientSecret {
        ClientSecret::Environment("CANARY".into())
    }

    /// What comes of a file whose host follows the script; request 0 is the first.
    async fn fetch(script: impl Fn(usize, &str) -> Vec<Act> + Send + Sync + 'static) -> Result<Vec<u8>, FetchError> {
        let server = Server::start(script).await;
        fetch_from(&server).await
    }

    async fn fetch_from(server: &Server) -> Result<Vec<u8>, FetchError> {
        let client = server.client(secret(), limits());
        let result = all_of(&client, &server.file("/f.wav?e=4102444800&n=1&s=a$b%24'CANARY")).await;
        if let Err(error) = &result {
            assert!(!format!("{error} {error:?}").contains("CANARY"), "{error}");
        }
        result
    }

    async fn all_of(client: &impl Vendor, url: &SignedUrl) -> Result<Vec<u8>, FetchError> {
        let chunks: Vec<_> = client.open(url).await?.body.try_collect().await?;
        Ok(chunks.concat())
    }

    /// The head and the first four bytes, an end of some kind, and then another answer to each request that follows.
    async fn cut_then(end: Option<Act>, then: &'static str) -> Result<Vec<u8>, FetchError> {
        fetch(move |request, _| match request {
            0 => [send(format!("{TAGGED}0123"))].into_iter().chain(end.clone()).collect(),
            _ => vec![send(then)],
        })
        .await
    }

    #[tokio::test]
    async fn the_query_is_sent_byte_for_byte_and_nothing_of_ours_goes_along() {
        let server = Server::start(|_, _| vec![send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")]).await;
        let client = server.client(secret(), limits());
        let url = server.file("/a/../f%2e.wav?e=4102444800&n=1&s=InpqM$W%24==,(a)");
        assert_eq!(all_of(&client, &url).await.unwrap(), b"ok");
        let request = server.requests().remove(0);
        assert!(request.contains("?e=4102444800&n=1&s=InpqM$W%24==,(a) HTTP/1.1"), "{request}");
        let request = request.to_ascii_lowercase();
        assert!(request.contains("accept-encoding: identity"), "{request}");
        assert!(!request.contains("auth:") && !request.contains("referer") && !request.contains("cookie"), "{request}");
    }

    #[tokio::test]
    async fn a_cut_body_goes_on_where_it_ended() {
        for end in [None, Some(Act::Reset), Some(Act::Hang), Some(Act::Drip)] {
            let drips = matches!(end, Some(Act::Drip));
            let whole = cut_then(end.clone(), REST).await;
            // What dripped is not in the rest that this server sends.
            let expected = if drips { Err(()) } else { Ok(b"0123456789".to_vec()) };
            assert_eq!(whole.map_err(drop), expected, "{end:?}");
        }
    }

    #[tokio::test]
    async fn the_request_for_the_rest_names_the_byte_and_the_tag() {
        let server = Server::start(|request, _| match request {
            0 => vec![send(format!("{TAGGED}0123"))],
            _ => vec![send(REST)],
        })
        .await;
        assert!(fetch_from(&server).await.is_ok());
        let head = server.requests()[1].to_ascii_lowercase();
        assert!(head.contains("range: bytes=4-\r\n") && head.contains("if-range: \"a\"\r\n"), "{head}");
    }

    #[tokio::test]
    async fn an_answer_that_is_not_provably_the_rest_is_never_mixed_in() {
        for then in [
            "HTTP/1.1 206 P\r\nContent-Length: 6\r\nContent-Range: bytes 3-9/10\r\nETag: \"a\"\r\n\r\n456789",
            "HTTP/1.1 206 P\r\nContent-Length: 6\r\nContent-Range: bytes 4-9/11\r\nETag: \"a\"\r\n\r\n456789",
            "HTTP/1.1 206 P\r\nContent-Length: 6\r\nContent-Range: bytes 4-9/*\r\nETag: \"a\"\r\n\r\n456789",
            "HTTP/1.1 206 P\r\nContent-Length: 5\r\nContent-Range: bytes 4-9/10\r\nETag: \"a\"\r\n\r\n45678",
            "HTTP/1.1 206 P\r\nContent-Length: 6\r\nContent-Range: bytes 4-9/10\r\nETag: \"b\"\r\n\r\n456789",
            "HTTP/1.1 206 P\r\nContent-Length: 6\r\nContent-Range: bytes 4-9/10\r\n\r\n456789",
            "HTTP/1.1 206 P\r\nContent-Length: 6\r\nETag: \"a\"\r\n\r\n456789",
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nETag: \"b\"\r\n\r\nabcdefghij",
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789",
            "HTTP/1.1 200 OK\r\nContent-Length: 11\r\nETag: \"a\"\r\n\r\n0123456789a",
            "HTTP/1.1 416 Range\r\nContent-Length: 0\r\n\r\n",
        ] {
            let result = cut_then(Some(Act::Reset), then).await;
            assert!(matches!(result, Err(FetchError::Unreachable { retry_after: None, .. })), "{then}: {result:?}");
        }
        let same = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nETag: \"a\"\r\n\r\n0123456789";
        assert_eq!(cut_then(Some(Act::Reset), same).await.unwrap(), b"0123456789");
    }

    #[tokio::test]
    async fn what_the_host_says_while_it_is_asked_to_go_on_counts() {
        for code in [401, 403, 404, 410] {
            let expired = fetch(move |request, _| match request {
                0 => vec![send(format!("{TAGGED}0123"))],
                _ => vec![send(format!("HTTP/1.1 {code} No\r\nContent-Length: 0\r\n\r\n"))],
            });
            let result = expired.await;
            assert!(matches!(result, Err(FetchError::Expired { code: Some(c), .. }) if c == code), "{result:?}");
        }
        let busy = cut_then(None, "HTTP/1.1 503 No\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n").await;
        assert!(matches!(busy, Err(FetchError::Unreachable { retry_after: Some(wait), .. }) if wait.as_secs() == 7));
        let elsewhere =
            cut_then(None, "HTTP/1.1 302 F\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n");
        assert!(matches!(elsewhere.await, Err(FetchError::HostRefused { .. })));
    }

    #[tokio::test]
    async fn a_host_that_always_ends_short_is_blamed_the_third_time() {
        let server = Server::start(|_, _| vec![send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123")]).await;
        let client = server.client(secret(), limits());
        for time in 1..=4 {
            let result = all_of(&client, &server.file("/f?s=1")).await;
            let blamed = matches!(result, Err(FetchError::Refused { .. }));
            assert_eq!(blamed, time >= 3, "{time}: {result:?}");
        }
    }

    #[tokio::test]
    async fn chunks_without_an_end_are_a_cut_and_a_closed_connection_is_an_unmarked_end() {
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n0123\r\n";
        assert!(matches!(fetch(move |_, _| vec![send(chunked)]).await, Err(FetchError::Unreachable { .. })));
        assert_eq!(fetch(move |_, _| vec![send(chunked), send("0\r\n\r\n")]).await.unwrap(), b"0123");
        let server = Server::start(|_, _| vec![send("HTTP/1.1 200 OK\r\n\r\n0123")]).await;
        let client = server.client(secret(), limits());
        let download = client.open(&server.file("/f")).await.unwrap();
        assert_eq!((download.length, download.end_is_marked), (None, false));
    }

    #[tokio::test]
    async fn a_head_that_promises_no_file_is_refused() {
        for head in [
            "204 No\r\n\r\n",
            "206 P\r\nContent-Length: 1\r\nContent-Range: bytes 0-0/1\r\n\r\nx",
            "302 F\r\nContent-Length: 0\r\n\r\n",
            "304 N\r\n\r\n",
            "418 T\r\nContent-Length: 0\r\n\r\n",
            "200 OK\r\nContent-Length: 1\r\nContent-Encoding: gzip\r\n\r\nx",
            "200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
            "200 OK\r\nContent-Length: x\r\n\r\n",
        ] {
            let result = fetch(move |_, _| vec![send(format!("HTTP/1.1 {head}"))]).await;
            assert!(matches!(result, Err(FetchError::Refused { .. })), "{head}: {result:?}");
        }
        assert!(matches!(fetch(|_, _| vec![send("SSH-2.0-x\r\n")]).await, Err(FetchError::Refused { .. })));
    }

    #[tokio::test]
    async fn what_is_too_large_is_refused_before_or_while_it_comes() {
        for length in ["1048577", "18446744073709551613", "18446744073709551615"] {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
            let result = fetch(move |_, _| vec![send(head.clone())]).await;
            assert!(matches!(result, Err(FetchError::TooLarge { .. })), "{length}: {result:?}");
        }
        let flood = fetch(|_, _| vec![send("HTTP/1.1 200 OK\r\n\r\n"), send("x".repeat((1 << 20) + 1))]).await;
        assert!(matches!(flood, Err(FetchError::TooLarge { .. })), "{flood:?}");
    }

    #[tokio::test]
    async fn redirects_are_followed_three_times_and_only_where_files_may_be() {
        let hops = |most: usize| {
            fetch(move |request, _| match request {
                n if n < most => {
                    vec![send(format!("HTTP/1.1 302 F\r\nLocation: /{n}?s=CANARY\r\nContent-Length: 0\r\n\r\n"))]
                }
                _ => vec![send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")],
            })
        };
        assert_eq!(hops(3).await.unwrap(), b"ok");
        assert!(matches!(hops(4).await, Err(FetchError::Refused { .. })));
        for bad in ["http://127.0.0.1:1/", "https://evil.example/?s=CANARY", "http://u@127.0.0.1/", "ftp://127.0.0.1/"]
        {
            let head = format!("HTTP/1.1 307 T\r\nLocation: {bad}\r\nContent-Length: 0\r\n\r\n");
            let result = fetch(move |_, _| vec![send(head.clone())]).await;
            assert!(matches!(result, Err(FetchError::HostRefused { .. })), "{bad}: {result:?}");
        }
    }

    #[tokio::test]
    async fn an_expired_url_is_not_asked_for_and_a_silent_host_is_given_up() {
        let server = Server::start(|_, _| vec![Act::Hang]).await;
        let client = server.client(secret(), limits());
        let expired = client.open(&server.file("/f?e=1709706278&s=CANARY")).await.unwrap_err();
        assert!(matches!(expired, FetchError::Expired { code: None, .. }), "{expired}");
        assert!(server.requests().is_empty());
        let silent = client.open(&server.file("/f?s=CANARY")).await.unwrap_err();
        assert!(silent.to_string().contains("no headers within 500ms"), "{silent}");
        assert!(!format!("{expired:?} {silent:?} {client:?}").contains("CANARY"));
    }

    #[tokio::test]
    async fn a_name_that_must_be_public_is_not_connected_to_inside() {
        use super::super::{client::bare_client, faults, resolver::PublicOnly};
        let server = Server::start(|_, _| vec![send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")]).await;
        let client = bare_client().dns_resolver(Arc::new(PublicOnly)).build().unwrap();
        let url = format!("http://localhost:{}/?s=CANARY", server.address.port());
        let error = client.get(url).send().await.unwrap_err();
        assert_eq!(faults::fault(&error), faults::Fault::NotPublic);
        assert!(!faults::describe(error).contains("CANARY"));
        assert!(server.requests().is_empty());
    }
}
