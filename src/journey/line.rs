//! Who waits for an account's turn, in which order, and how many may.
//!
//! A row joins the line the moment it is claimed, and the line is served in that order. It is short: who waits in the
//! table can still be overtaken by a row of higher priority, who waits in the line cannot.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, MaybeDone, maybe_done};
use tokio::sync::{Mutex, Notify, OwnedMutexGuard};

/// The line before an account's budget: how long it may be, and how long it is.
#[derive(Debug)]
pub struct Line {
    most: usize,
    /// Held by whoever is first. Only the first of a line takes one of the daemon's polls, so that a turn is used the
    /// moment it is granted: turns that were saved up would leave together when a slow Kore answers again.
    first: Arc<Mutex<()>>,
    waiting: AtomicUsize,
    moved: Arc<Notify>,
}

impl Line {
    /// A line for an account with so many requests a minute: two, or as many as are served while the loop comes round,
    /// so that a row of higher priority that comes later is not far behind. `moved` is told whenever somebody leaves it.
    #[must_use]
    pub fn new(requests_per_minute: u32, moved: Arc<Notify>) -> Self {
        let served = requests_per_minute / ROUNDS_A_MINUTE;
        let most = 2 + usize::try_from(served).unwrap_or(usize::MAX - 2);
        Self { most, first: Arc::default(), waiting: AtomicUsize::new(0), moved }
    }

    /// How many more it takes.
    #[must_use]
    pub fn room(&self) -> usize {
        self.most.saturating_sub(self.waiting.load(Ordering::Relaxed))
    }

    /// Joins the line at its end; dropping the place leaves it.
    #[must_use]
    pub fn join(self: &Arc<Self>) -> Place {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let mut first = Box::pin(maybe_done(Arc::clone(&self.first).lock_owned().boxed()));
        // The lock is served in the order in which it was first asked for: that is now, not when a task comes to it.
        let _ = first.as_mut().now_or_never();
        Place { line: Arc::clone(self), first }
    }
}

/// The loop comes round in much less than 50 ms.
const ROUNDS_A_MINUTE: u32 = 1200;

/// A place in a [`Line`].
pub struct Place {
    line: Arc<Line>,
    first: Pin<Box<MaybeDone<BoxFuture<'static, OwnedMutexGuard<()>>>>>,
}

impl Place {
    /// Waits until everybody who came before has left.
    pub(super) async fn be_first(&mut self) -> Option<OwnedMutexGuard<()>> {
        self.first.as_mut().await;
        self.first.as_mut().take_output()
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").field("line", &self.line).finish_non_exhaustive()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.line.waiting.fetch_sub(1, Ordering::Relaxed);
        self.line.moved.notify_one();
    }
}
