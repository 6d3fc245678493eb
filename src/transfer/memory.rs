//! What all transfers together may hold.
//!
//! Room is taken for a whole part before its first byte, so that a part that was begun can always be finished; a part
//! that flows takes what its connections hold. Who has to wait for room is seen by everybody who holds some: a part
//! that has been filling for long gives way, see [`super::Intake::next_part`].

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::clock::Clock;

/// How long a part waits for room, and how long one may fill while others wait. Sockets hold what a source sends
/// meanwhile; a fast source fills a part in less.
pub(super) const PATIENCE: Duration = Duration::from_millis(500);

/// What parts may hold at once, over all transfers (`transfer.memory`).
#[derive(Clone, Debug)]
pub struct Memory {
    kib: Arc<Semaphore>,
    all: u32,
    waiting: Arc<Queue>,
    clock: Arc<dyn Clock>,
}

/// Those who wait for room. No `watch`, which wakes those who listen in an order that is drawn by chance: a simulation
/// could not be replayed.
#[derive(Debug, Default)]
struct Queue {
    length: AtomicUsize,
    grown: Notify,
}

/// Room for one part; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Room {
    permit: OwnedSemaphorePermit,
}

impl Room {
    /// Gives back all but so many bytes.
    pub(super) fn shrink_to(&mut self, bytes: u64) {
        let kept = usize::try_from(bytes.div_ceil(1024)).unwrap_or(usize::MAX);
        drop(self.permit.split(self.permit.num_permits().saturating_sub(kept)));
    }
}

impl Memory {
    /// Room for so many bytes.
    #[must_use]
    pub fn new(bytes: u64, clock: Arc<dyn Clock>) -> Self {
        let all = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        Self { kib: Arc::new(Semaphore::new(all as usize)), all, waiting: Arc::default(), clock }
    }

    /// All the room there is.
    pub(super) fn bytes(&self) -> u64 {
        u64::from(self.all) * 1024
    }

    /// Room, after those who asked before.
    pub(super) async fn take(&self, bytes: u64) -> Room {
        if let Some(room) = self.try_take(bytes) {
            return room;
        }
        let _waiting = Waiting::new(&self.waiting);
        let permit = Arc::clone(&self.kib).acquire_many_owned(self.kib_of(bytes)).await;
        Room { permit: permit.expect("this semaphore is never closed") }
    }

    /// Room, if there is some now.
    pub(super) fn try_take(&self, bytes: u64) -> Option<Room> {
        let permit = Arc::clone(&self.kib).try_acquire_many_owned(self.kib_of(bytes)).ok()?;
        Some(Room { permit })
    }

    /// Room, after those who asked before, if it comes within [`PATIENCE`].
    pub(super) async fn take_soon(&self, bytes: u64) -> Option<Room> {
        tokio::select! {
            biased;
            room = self.take(bytes) => Some(room),
            () = self.clock.sleep(PATIENCE) => None,
        }
    }

    /// Returns once [`PATIENCE`] is over and somebody waits for room.
    pub(super) async fn wanted(&self) {
        self.clock.sleep(PATIENCE).await;
        loop {
            // Interest is registered before the look: who comes in between is noticed.
            let mut grown = std::pin::pin!(self.waiting.grown.notified());
            grown.as_mut().enable();
            if self.waiting.length.load(Ordering::SeqCst) > 0 {
                return;
            }
            grown.await;
        }
    }

    /// More than there is would wait for ever.
    fn kib_of(&self, bytes: u64) -> u32 {
        u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX).clamp(1, self.all)
    }

    #[cfg(test)]
    pub(super) fn free(&self) -> usize {
        self.kib.available_permits()
    }
}

/// Somebody who waits for room, as long as this lives.
struct Waiting<'a>(&'a Queue);

impl<'a> Waiting<'a> {
    fn new(queue: &'a Queue) -> Self {
        queue.length.fetch_add(1, Ordering::SeqCst);
        queue.grown.notify_waiters();
        Self(queue)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.length.fetch_sub(1, Ordering::SeqCst);
    }
}
