//! What is being copied right now, and how far: for people to look at.
//!
//! A transfer is known from its start to its end, however it ends. [`Watched`] stands between a journey and its vendor
//! and counts what passes, so that neither the source nor the archive knows that somebody looks. When a file is fetched
//! again its count begins again.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;

use crate::clock::Clock;
use crate::session::SessionId;
use crate::source::{Download, FetchError, FileHost, SignedUrl};

/// Of a file's name.
const LONGEST_NAME: usize = 200;
/// Stands for a length that is not known.
const UNKNOWN: u64 = u64::MAX;

/// All transfers in flight. Clones share them.
#[derive(Clone, Debug)]
pub struct Flights {
    clock: Arc<dyn Clock>,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    flights: BTreeMap<u64, Known>,
}

#[derive(Debug)]
struct Known {
    session_id: String,
    file_name: String,
    began: Duration,
    progress: Arc<Progress>,
}

#[derive(Debug)]
struct Progress {
    bytes: AtomicU64,
    length: AtomicU64,
}

/// A transfer as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InFlight {
    /// Whose.
    pub session_id: String,
    /// As Kore named it: any text, at most 200 characters.
    pub file_name: String,
    /// That have come.
    pub bytes: u64,
    /// That will come, if HTTP said so.
    pub length: Option<u64>,
    /// Since it began.
    pub took: Duration,
}

impl Flights {
    /// None yet.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, inner: Arc::default() }
    }

    /// One begins; it ends when the flight is dropped.
    #[must_use]
    pub fn begin(&self, session: &SessionId, file_name: &str) -> Flight {
        let progress = Arc::new(Progress { bytes: AtomicU64::new(0), length: AtomicU64::new(UNKNOWN) });
        let known = Known {
            session_id: session.as_str().to_owned(),
            file_name: file_name.chars().take(LONGEST_NAME).collect(),
            began: self.clock.elapsed(),
            progress: Arc::clone(&progress),
        };
        let mut inner = self.lock();
        inner.next += 1;
        let number = inner.next;
        inner.flights.insert(number, known);
        Flight { flights: self.clone(), number, progress }
    }

    /// All of them, the oldest first.
    #[must_use]
    pub fn all(&self) -> Vec<InFlight> {
        let now = self.clock.elapsed();
        let shown = |known: &Known| InFlight {
            session_id: known.session_id.clone(),
            file_name: known.file_name.clone(),
            bytes: known.progress.bytes.load(Ordering::Relaxed),
            length: Some(known.progress.length.load(Ordering::Relaxed)).filter(|length| *length != UNKNOWN),
            took: now.saturating_sub(known.began),
        };
        self.lock().flights.values().map(shown).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A transfer; it is in flight for as long as this lives.
#[derive(Debug)]
pub struct Flight {
    flights: Flights,
    number: u64,
    progress: Arc<Progress>,
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.flights.lock().flights.remove(&self.number);
    }
}

/// Files whose downloads are counted into a flight.
#[derive(Debug)]
pub struct Watched<'a> {
    files: &'a dyn FileHost,
    flight: &'a Flight,
}

impl<'a> Watched<'a> {
    /// The same files, watched.
    #[must_use]
    pub fn new(files: &'a dyn FileHost, flight: &'a Flight) -> Self {
        Self { files, flight }
    }
}

#[async_trait]
impl FileHost for Watched<'_> {
    async fn open(&self, url: &SignedUrl) -> Result<Download, FetchError> {
        let download = self.files.open(url).await?;
        let progress = Arc::clone(&self.flight.progress);
        progress.bytes.store(0, Ordering::Relaxed);
        progress.length.store(download.length.unwrap_or(UNKNOWN), Ordering::Relaxed);
        let count = move |bytes: &Result<bytes::Bytes, FetchError>| {
            if let Ok(bytes) = bytes {
                progress.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            }
        };
        Ok(Download { body: download.body.inspect(count).boxed(), ..download })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use bytes::Bytes;

    #[derive(Debug)]
    struct Host;

    #[async_trait]
    impl FileHost for Host {
        async fn open(&self, _: &SignedUrl) -> Result<Download, FetchError> {
            let parts = ["12345", "678"].map(|part| Ok(Bytes::from_static(part.as_bytes())));
            Ok(Download { length: Some(8), body: futures_util::stream::iter(parts).boxed(), end_is_marked: true })
        }
    }

    #[tokio::test]
    async fn a_transfer_is_seen_with_what_has_come_until_it_ends() {
        let flights = Flights::new(Arc::new(SystemClock::new()));
        let flight = flights.begin(&SessionId::parse("a").unwrap(), "call.wav");
        let seen = |flights: &Flights| flights.all().iter().map(|one| (one.bytes, one.length)).collect::<Vec<_>>();
        assert_eq!(seen(&flights), [(0, None)]);
        let url = SignedUrl::parse("https://files.kore.ai/f-1.wav?s=1").unwrap();
        let watched = Watched::new(&Host, &flight);
        for _ in 0..2 {
            let mut download = watched.open(&url).await.unwrap();
            download.body.next().await.unwrap().unwrap();
            assert_eq!(seen(&flights), [(5, Some(8))]);
            download.body.next().await.unwrap().unwrap();
            assert_eq!(seen(&flights), [(8, Some(8))]);
        }
        drop(flight);
        assert_eq!(seen(&flights), []);
    }
}
