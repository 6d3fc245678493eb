//! How far the body of a request has come, for whoever watches it.
//!
//! `bucket.timeout` bounds how long the store may stand still, not how long a body takes: many parts over a narrow line
//! take longer than one alone would, and what is broken off for that is sent over the same line again.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Clock;

/// A standstill is noticed this share of the patience late, at most.
const LOOKS: u32 = 4;

/// Of one body, or of all that are made of one part in turn.
#[derive(Debug, Default)]
pub(super) struct Progress {
    taken: AtomicU64,
    is_starving: AtomicBool,
}

impl Progress {
    /// The connection took a piece, or there is a new one.
    pub(super) fn note(&self) {
        self.taken.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether there is nothing to take: then it is not the store that keeps anybody waiting.
    pub(super) fn note_starving(&self, is_starving: bool) {
        self.is_starving.store(is_starving, Ordering::Relaxed);
    }

    /// Returns when the store has taken nothing for `patience` although there was something, or has not answered.
    pub(super) async fn standstill(&self, clock: &dyn Clock, patience: Duration) {
        let (mut before, mut quiet) = (0, 0);
        while quiet < LOOKS {
            clock.sleep(patience / LOOKS).await;
            let taken = self.taken.load(Ordering::Relaxed);
            let has_moved = taken != before || self.is_starving.load(Ordering::Relaxed);
            (before, quiet) = (taken, if has_moved { 0 } else { quiet + 1 });
        }
    }
}
