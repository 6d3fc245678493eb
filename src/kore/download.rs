//! A file, from its first answer to its last byte.
//!
//! [`Files::open`] asks the file host and judges the head: only a plain 200 without Content-Encoding and of one length
//! is a file. The body then goes through [`super::resume`], which continues it where it breaks off. What HTTP cannot
//! tell is said, not guessed: `end_is_marked` is false where the end of the connection is the end of the file, and
//! then the container must prove itself whole (FAULTS D3). What comes beyond the promised length is
//! seen by [`super::line`], and then there is no file.

use std::sync::Arc;
use std::time::Duration;

use hyper::header::{
    ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, ETAG, HeaderMap, HeaderValue, LAST_MODIFIED, TRANSFER_ENCODING,
};

use super::client::text_of;
use super::line::Response;
use super::resume::{Body, ShortEnds};
use super::route::{Route, by_code, refused};
use crate::clock::Clock;
use crate::config::TransferSettings;
use crate::hosts::{MediaHosts, shown_host};
use crate::source::{Download, FetchError, SignedUrl};
use crate::words::message;

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
    ) -> Result<Self, rustls::Error> {
        let route = Arc::new(Route::new(hosts, header_deadline, limits.concurrency, Arc::clone(&clock))?);
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
mod tests;
