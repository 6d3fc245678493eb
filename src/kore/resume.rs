//! The body of a file that continues where it broke off, or says that it cannot: joined or started again, never mixed.
//!
//! A body is read in order and each byte is given out once. When the connection breaks, stalls (see [`super::pace`]) or
//! ends short of the promised length, and the head proved which file it was (length and validator), the rest is asked for
//! with `Range` and `If-Range`. Accepted is a 206 that starts at exactly the next byte of exactly the same total under the
//! same validator, or a 200 of the same strong tag and length, of which the known bytes are skipped. Anything else ends
//! the body with [`FetchError::Unreachable`]: the journey starts again from the first byte.
//!
//! Bounded: five tries for each [`PROGRESS`] of bytes. The waits between them are the only retry at this layer.
//!
//! Who is to blame: a broken or silent connection is the network's, each time. A clean end short of the promise may be a
//! host that was restarted, so it is the network's too, until the same file ends short [`ENOUGH_SHORT_ENDS`] times in a
//! row: then the host's length is wrong, and the error is [`FetchError::Refused`], which is charged to the row.
//! The count lives in memory only; a restart begins it anew. More than was promised is the host's own at once. So that
//! nobody takes a body for complete before that is known, its last bytes are given out only after its end was seen.

use std::collections::VecDeque;
use std::iter::Take;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::try_unfold;
use hyper::header::{CONTENT_RANGE, ETAG, HeaderMap, HeaderValue, IF_RANGE, LAST_MODIFIED, RANGE};
use tokio_retry::strategy::ExponentialBackoff;

use super::client::text_of;
use super::download::{Files, Promise, Validator, too_large};
use super::faults::{Fault, describe, fault};
use super::line::Response;
use super::pace::Pace;
use super::route::{by_code, refused, unreachable};
use crate::receipt::Sha256;
use crate::source::{FetchError, SignedUrl};

/// So many tries to continue, until there was progress: over six seconds, which a restart of the host takes.
const MOST_TRIES: usize = 5;
/// What must have come for the tries to be counted anew.
const PROGRESS: u64 = 1024 * 1024;
/// So many clean ends short of the promise, in a row, are the host's own.
const ENOUGH_SHORT_ENDS: u32 = 3;
/// So many files are remembered for that.
const MOST_REMEMBERED: usize = 256;

/// One body on its way.
pub(crate) struct Body {
    files: Files,
    url: SignedUrl,
    response: Option<Response>,
    promise: Promise,
    pace: Pace,
    /// Bytes given out, the last ones included.
    given: u64,
    /// The bytes that fill the promised length, until the end behind them was seen.
    last: Option<Bytes>,
    /// Bytes of the present answer that were given out before.
    skip: u64,
    tries: Take<ExponentialBackoff>,
    /// `given` when `tries` began.
    tries_from: u64,
}

/// Why an answer stopped before the end.
enum Cut {
    EndedShort,
    /// It did not stop where it should.
    Surplus,
    Stalled,
    Broken(String),
}

impl Cut {
    fn words(&self) -> String {
        match self {
            Self::EndedShort => "the host ended it in good order".to_owned(),
            Self::Surplus => "the host sent more".to_owned(),
            Self::Stalled => "it came slower than transfer.min_throughput".to_owned(),
            Self::Broken(words) => words.clone(),
        }
    }
}

/// 200 ms, 400 ms, … 3.2 s.
fn tries() -> Take<ExponentialBackoff> {
    ExponentialBackoff::from_millis(2).factor(100).take(MOST_TRIES)
}

impl Body {
    pub(crate) fn new(files: Files, url: SignedUrl, response: Response, promise: Promise) -> Self {
        let pace = Pace::new(files.limits.min_throughput, files.limits.stall_window);
        let response = Some(response);
        Self { files, url, response, promise, pace, given: 0, last: None, skip: 0, tries: tries(), tries_from: 0 }
    }

    pub(crate) fn into_stream(self) -> impl Stream<Item = Result<Bytes, FetchError>> + Send {
        try_unfold(self, async |mut body| Ok(body.next().await?.map(|bytes| (bytes, body))))
    }

    /// The next bytes, or the end of all of them.
    async fn next(&mut self) -> Result<Option<Bytes>, FetchError> {
        loop {
            match self.read().await {
                Ok(Some(bytes)) => {
                    let bytes = self.take_in(bytes)?;
                    if self.promise.length == Some(self.given) && !bytes.is_empty() {
                        self.last = Some(bytes);
                    } else if !bytes.is_empty() {
                        return Ok(Some(bytes));
                    }
                }
                Err(Cut::Surplus) => return Err(self.longer()),
                Ok(None) if self.is_whole() => {
                    self.files.short_ends.forget(&self.url.digest());
                    return Ok(self.last.take());
                }
                // All that was promised is here, whatever became of the connection.
                Err(_) if self.last.is_some() => self.response = None,
                Ok(None) => self.go_on(Cut::EndedShort).await?,
                Err(cut) => self.go_on(cut).await?,
            }
        }
    }

    /// Without a length, HTTP's own end is the end.
    fn is_whole(&self) -> bool {
        self.promise.length.is_none_or(|length| self.given == length)
    }

    /// One chunk from the source, timed. `None` is the end of this answer.
    async fn read(&mut self) -> Result<Option<Bytes>, Cut> {
        let clock = &self.files.clock;
        let Some(response) = self.response.as_mut() else { return Ok(None) };
        loop {
            let before = clock.elapsed();
            let chunk = tokio::select! {
                biased;
                chunk = response.chunk() => Some(chunk),
                () = clock.sleep(self.pace.patience()) => None,
            };
            let waited = clock.elapsed().saturating_sub(before);
            let came = chunk.as_ref().map_or(0, |chunk| chunk.as_ref().map_or(0, |c| c.as_ref().map_or(0, Bytes::len)));
            let stalled = self.pace.is_stalled_after(waited, came);
            match chunk {
                Some(Ok(bytes)) => return if stalled && bytes.is_some() { Err(Cut::Stalled) } else { Ok(bytes) },
                Some(Err(error)) => {
                    return Err(match fault(&*error) {
                        // Where its end is the file's, many a host just hangs up: the container must prove itself.
                        Fault::NoGoodbye if !self.promise.end_is_marked => return Ok(None),
                        Fault::EndedShort => Cut::EndedShort,
                        Fault::Surplus => Cut::Surplus,
                        Fault::NotPublic
                        | Fault::BeyondCounting
                        | Fault::NotHttp
                        | Fault::NoGoodbye
                        | Fault::Broken => Cut::Broken(describe(&*error)),
                    });
                }
                None if stalled => return Err(Cut::Stalled),
                None => {}
            }
        }
    }

    /// Skips what was given out before, and counts the rest.
    fn take_in(&mut self, mut bytes: Bytes) -> Result<Bytes, FetchError> {
        let known = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
        let bytes = bytes.split_off(known);
        self.skip -= known as u64;
        self.given += bytes.len() as u64;
        let most = self.files.limits.max_bytes;
        if self.given > most {
            return Err(too_large(None, most));
        }
        if self.promise.length.is_some_and(|length| self.given > length) {
            return Err(self.longer());
        }
        if self.given - self.tries_from >= PROGRESS {
            (self.tries, self.tries_from) = (tries(), self.given);
        }
        Ok(bytes)
    }

    /// Finds the rest of a body that was cut, or ends it.
    async fn go_on(&mut self, cut: Cut) -> Result<(), FetchError> {
        self.response = None;
        let Some(range) = self.range() else { return Err(self.lost(&cut, "the host offers no way to go on")) };
        while let Some(wait) = self.tries.next() {
            self.files.clock.sleep(wait).await;
            let response = match self.files.route.get(&self.url, &range).await {
                Ok(response) => response,
                // The file's length is known: a head beyond all bounds says nothing about it.
                Err(FetchError::Unreachable { retry_after: None, .. } | FetchError::TooLarge { .. }) => continue,
                // A host that says for how long it wants to be left alone is left alone.
                Err(error) => return Err(error),
            };
            match response.status().as_u16() {
                200 | 206 | 416 => return self.join(response, &cut),
                _ => match by_code(&response, &*self.files.clock) {
                    FetchError::Unreachable { retry_after: None, .. } => {}
                    error => return Err(error),
                },
            }
        }
        Err(self.lost(&cut, "it broke off again and again"))
    }

    /// The headers that ask for the rest, where the head gave what it takes.
    fn range(&self) -> Option<HeaderMap> {
        let (_, validator) = self.promise.length.zip(self.promise.validator.as_ref())?;
        let range = HeaderValue::try_from(format!("bytes={}-", self.given)).expect("digits are a header");
        Some([(RANGE, range), (IF_RANGE, validator.value().clone())].into_iter().collect())
    }

    fn join(&mut self, response: Response, cut: &Cut) -> Result<(), FetchError> {
        let Some(skip) = self.fit(&response) else {
            return Err(self.lost(cut, "the host did not go on with the same file"));
        };
        self.skip = skip;
        self.pace.restart();
        self.response = Some(response);
        Ok(())
    }

    /// How many bytes of this answer are known already, if it is provably the same file at the right place.
    fn fit(&self, response: &Response) -> Option<u64> {
        let (total, validator) = self.promise.length.zip(self.promise.validator.as_ref())?;
        let promise = Promise::of(response).ok()?;
        let headers = response.headers();
        match response.status().as_u16() {
            206 => {
                let wanted = format!("bytes {}-{}/{total}", self.given, total.checked_sub(1)?);
                let placed = text_of(headers, CONTENT_RANGE.as_str())?.trim().eq_ignore_ascii_case(&wanted);
                let sized = promise.length.is_none_or(|length| length == total - self.given);
                (placed && sized && is_same(validator, headers)).then_some(0)
            }
            200 => {
                let tagged = matches!(validator, Validator::Tag(tag) if headers.get(ETAG) == Some(tag));
                (tagged && promise.length == Some(total)).then_some(self.given)
            }
            _ => None,
        }
    }

    /// The error that ends a body which cannot go on.
    fn lost(&self, cut: &Cut, why: &str) -> FetchError {
        let of = self.promise.length.map(|length| format!(" of {length}")).unwrap_or_default();
        let (url, given, words) = (&self.url, self.given, cut.words());
        let text = format!("cut after {given}{of} bytes ({words}; {why}), it starts again: {url}");
        let charged = match cut {
            Cut::EndedShort => self.files.short_ends.count(self.url.digest()) >= ENOUGH_SHORT_ENDS,
            Cut::Surplus => true,
            Cut::Stalled | Cut::Broken(_) => false,
        };
        if charged { refused(&text) } else { unreachable(&text) }
    }

    fn longer(&self) -> FetchError {
        let length = self.promise.length.map(|length| format!(" of {length} bytes")).unwrap_or_default();
        refused(&format!("the host sent more than the length{length} that it promised: {}", self.url))
    }
}

/// A 206 under `If-Range` must repeat the tag (RFC 9110, 15.3.7); it may leave out the date.
fn is_same(validator: &Validator, headers: &HeaderMap) -> bool {
    match validator {
        Validator::Tag(tag) => headers.get(ETAG) == Some(tag),
        Validator::Modified(date) => headers.get(LAST_MODIFIED).is_none_or(|other| other == date),
    }
}

/// How often each file, by the digest of its path, ended short in a row.
#[derive(Debug, Default)]
pub(crate) struct ShortEnds(Mutex<VecDeque<(Sha256, u32)>>);

impl ShortEnds {
    fn count(&self, file: Sha256) -> u32 {
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let earlier = files.iter().position(|(known, _)| *known == file).and_then(|at| files.remove(at));
        let count = earlier.map_or(0, |(_, count)| count) + 1;
        files.push_back((file, count));
        if files.len() > MOST_REMEMBERED {
            files.pop_front();
        }
        count
    }

    fn forget(&self, file: &Sha256) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|(known, _)| known != file);
    }
}

#[cfg(test)]
mod tests;
