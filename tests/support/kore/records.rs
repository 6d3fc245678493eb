//! What the fake saw, for a test's last lines: polls, files served, and requests that should never have been made.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A request that reached the API host, also one that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Poll {
    /// Since the fake was started.
    pub at: Duration,
    /// `sessionId`, empty if there was none.
    pub session: String,
    /// The token's `jti`, empty if there was none to be read.
    pub jti: String,
    /// The HTTP code of the answer, 0 if none came.
    pub code: u16,
}

/// A request for a file under a good URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// Since the fake was started.
    pub at: Duration,
    pub path: String,
    /// The `Range` header.
    pub range: Option<String>,
    /// The HTTP code of the answer, 0 if none came.
    pub code: u16,
    /// Bytes of the body that were written so far.
    pub bytes: u64,
}

#[derive(Debug, Default)]
pub(super) struct Records {
    polls: Mutex<Vec<Poll>>,
    served: Mutex<Vec<(Served, Arc<AtomicU64>)>>,
    violations: Mutex<Vec<String>>,
}

impl Records {
    pub(super) fn poll(&self, poll: Poll) {
        lock(&self.polls).push(poll);
    }

    /// `sent` goes on counting while the body is written.
    pub(super) fn serving(&self, served: Served, sent: Arc<AtomicU64>) {
        lock(&self.served).push((served, sent));
    }

    pub(super) fn violation(&self, text: String) {
        lock(&self.violations).push(text);
    }

    pub(super) fn polls(&self) -> Vec<Poll> {
        lock(&self.polls).clone()
    }

    pub(super) fn served(&self) -> Vec<Served> {
        let current = |(served, sent): &(Served, Arc<AtomicU64>)| Served {
            bytes: sent.load(Ordering::Relaxed),
            ..served.clone()
        };
        lock(&self.served).iter().map(current).collect()
    }

    pub(super) fn violations(&self) -> Vec<String> {
        lock(&self.violations).clone()
    }
}

/// The most of these moments that lie in any window of this length.
pub(super) fn most_in_window(mut moments: Vec<Duration>, window: Duration) -> usize {
    moments.sort_unstable();
    let in_window_from = |(index, start): (usize, &Duration)| {
        moments[index..].iter().take_while(|moment| moment.saturating_sub(*start) < window).count()
    };
    moments.iter().enumerate().map(in_window_from).max().unwrap_or(0)
}

/// The shortest time between two of these moments.
pub(super) fn shortest_gap(mut moments: Vec<Duration>) -> Option<Duration> {
    moments.sort_unstable();
    moments.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).min()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
