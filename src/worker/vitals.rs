//! Signs of life: that the loop makes progress, how much it has in hand, and how often the queue changed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::clock::Clock;

/// What others may know of the loop: that it makes progress, and how much it has in hand.
#[derive(Clone, Debug)]
pub struct Vitals {
    shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
}

#[derive(Debug, Default)]
struct Shared {
    beat_millis: AtomicU64,
    in_hand: AtomicUsize,
    changes: AtomicU64,
}

impl Vitals {
    /// Beats now.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let vitals = Self { shared: Arc::default(), clock };
        vitals.beat(0);
        vitals
    }

    pub(super) fn beat(&self, in_hand: usize) {
        let millis = u64::try_from(self.clock.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.shared.beat_millis.store(millis, Ordering::Relaxed);
        self.shared.in_hand.store(in_hand, Ordering::Relaxed);
    }

    pub(super) fn count(&self, has_changed: bool) {
        self.shared.changes.fetch_add(u64::from(has_changed), Ordering::Relaxed);
    }

    /// How often the queue was found changed: who counts its rows need not do so again before.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.shared.changes.load(Ordering::Relaxed)
    }

    /// How long ago the loop last came round.
    #[must_use]
    pub fn age(&self) -> Duration {
        let beat = Duration::from_millis(self.shared.beat_millis.load(Ordering::Relaxed));
        self.clock.elapsed().saturating_sub(beat)
    }

    /// Rows that are taken.
    #[must_use]
    pub fn in_hand(&self) -> usize {
        self.shared.in_hand.load(Ordering::Relaxed)
    }
}
