//! The account's budget: requests evenly spaced, never two within 60 s ÷ `requests_per_minute`.
//!
//! One [`Budget`] is shared by all bots of an account. It holds one number, when the next request may go, behind a
//! mutex that serves its waiters in order; whoever holds the mutex sleeps until then, advances the number, and goes.
//!
//! - **Bursts.** A slot is counted from when it was granted, so that idle time is not saved up.
//! - **Restarts.** The first slot comes one whole interval after construction. Two daemons cannot work on one queue (the
//!   second exits 75), so the last request of the run before lies before this construction, and the gap holds without
//!   any state on disk.
//! - **Cancellation.** A waiter that is dropped while it sleeps has advanced nothing: the next in line takes its
//!   place. One that is dropped after its grant wastes one slot. No slot is granted twice.
//! - **Connections.** A request that needs a new one leaves when that stands, which is later than its slot: no slot is
//!   granted while one is being opened (for 3 s at most), and the next comes a whole interval after it stands. Those that
//!   come to stand together leave one by one, a whole interval apart.
//! - **The network.** Spacing is a little wider than the interval (by a fiftieth, some 10 to 25 ms), for two
//!   requests that leave a second apart may arrive a few milliseconds closer.
//! - **Clock.** Monotonic: a jump of the wall clock neither bursts nor starves.
//!
//! Intervals under a millisecond (over 60,000 a minute) are finer than timers: there, slots up to a millisecond ahead are
//! granted without sleeping, and only the rate over some milliseconds holds. Pausing after a 429 is the journey's.

use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::{Mutex, Notify};
use tower_layer::Layer;
use tower_service::Service;

use crate::clock::Clock;

/// The guard is a fiftieth of the interval, and at most this: more than networks usually shake;
const MOST_GUARD: Duration = Duration::from_millis(25);
/// but no less than this, as long as that is a twentieth of it.
const LEAST_GUARD: Duration = Duration::from_millis(10);
/// A host that lets a connection wait for longer holds up no other host of the account.
const PATIENCE: Duration = Duration::from_secs(3);
/// What timers can tell apart.
const TIMER: Duration = Duration::from_millis(1);

/// The requests of one account.
#[derive(Debug)]
pub struct Budget {
    limit: u32,
    clock: Arc<dyn Clock>,
    spacing: Duration,
    /// In terms of [`Clock::elapsed`].
    next: Mutex<Duration>,
    opening: StdMutex<Opening>,
    opened: Notify,
    used: StdMutex<LastMinute>,
}

/// Connections that are being opened.
#[derive(Clone, Copy, Debug, Default)]
struct Opening {
    count: usize,
    /// In terms of [`Clock::elapsed`]: since when the first of them is.
    since: Duration,
    /// Nothing leaves before this, by a slot or by a connection that has come to stand.
    not_before: Duration,
}

impl Budget {
    /// A budget of so many requests a minute (0 counts as 1), whose first slot comes one interval from now.
    #[must_use]
    pub fn new(requests_per_minute: u32, clock: Arc<dyn Clock>) -> Self {
        let limit = requests_per_minute.max(1);
        let interval = Duration::from_mins(1) / limit;
        let spacing = interval + (interval / 50).max((interval / 20).min(LEAST_GUARD)).min(MOST_GUARD);
        let next = Mutex::new(clock.elapsed() + spacing);
        let (opening, used) = (StdMutex::default(), StdMutex::default());
        Self { limit, clock, spacing, next, opening, opened: Notify::new(), used }
    }

    /// How many requests a minute it is made of.
    #[must_use]
    pub fn limit(&self) -> u32 {
        self.limit
    }

    /// Waits for the next slot, in the order of asking.
    pub async fn take(&self) {
        let mut next = self.next.lock().await;
        let ahead = if self.spacing < TIMER { TIMER } else { Duration::ZERO };
        let mut now = self.clock.elapsed();
        // A sleep may return early on some clocks; the comparison decides.
        loop {
            let mut opened = std::pin::pin!(self.opened.notified());
            opened.as_mut().enable();
            let opening = self.opening();
            if opening.count > 0 && now < opening.since + PATIENCE {
                tokio::select! {
                    () = opened => {}
                    () = self.clock.sleep((opening.since + PATIENCE).saturating_sub(now)) => {}
                }
            } else if now + ahead < (*next).max(opening.not_before) {
                self.clock.sleep((*next).max(opening.not_before).saturating_sub(now)).await;
            } else {
                break;
            }
            now = self.clock.elapsed();
        }
        *next = now.max(*next) + self.spacing;
        self.change(|opening, now| {
            // Slots go on beside connections that take too long; one of those that stands just now waits for this one.
            if opening.count > 0 {
                opening.not_before = now + self.spacing;
            }
        });
        self.used.lock().unwrap_or_else(PoisonError::into_inner).add(now.as_secs());
    }

    fn opening(&self) -> Opening {
        *self.opening.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Opening, Duration)) {
        change(&mut self.opening.lock().unwrap_or_else(PoisonError::into_inner), self.clock.elapsed());
        self.opened.notify_waiters();
    }

    /// How many slots were granted in the last 60 seconds.
    #[must_use]
    pub fn used_in_last_minute(&self) -> u32 {
        let now = self.clock.elapsed().as_secs();
        self.used.lock().unwrap_or_else(PoisonError::into_inner).sum(now)
    }

    /// The gap between two slots.
    #[must_use]
    pub fn spacing(&self) -> Duration {
        self.spacing
    }
}

/// Tells the budget of each connection that a client opens: a layer around what opens them.
#[derive(Clone, Debug)]
pub(crate) struct Told<S = ()> {
    budget: Arc<Budget>,
    inner: S,
}

impl Told {
    pub(crate) fn new(budget: Arc<Budget>) -> Self {
        Self { budget, inner: () }
    }
}

impl<S> Layer<S> for Told {
    type Service = Told<S>;

    fn layer(&self, inner: S) -> Told<S> {
        Told { budget: Arc::clone(&self.budget), inner }
    }
}

impl<R, S: Service<R>> Service<R> for Told<S>
where
    S::Future: Send + 'static,
    S::Response: Send,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let door = Door::opens(Arc::clone(&self.budget));
        let opens = self.inner.call(request);
        Box::pin(async move {
            let opened = opens.await?;
            door.leave().await;
            Ok(opened)
        })
    }
}

/// A connection that is being opened, as long as this lives.
struct Door(Arc<Budget>);

impl Door {
    fn opens(budget: Arc<Budget>) -> Self {
        budget.change(|opening, now| {
            opening.since = if opening.count == 0 { now } else { opening.since };
            opening.count += 1;
        });
        Self(budget)
    }

    /// It stands: its request leaves now, or after those that came to stand just before.
    async fn leave(self) {
        let budget = Arc::clone(&self.0);
        let mut wait = Duration::ZERO;
        budget.change(|opening, now| {
            wait = opening.not_before.saturating_sub(now);
            opening.not_before = now + wait + budget.spacing;
        });
        drop(self);
        if !wait.is_zero() {
            budget.clock.sleep(wait).await;
        }
    }
}

impl Drop for Door {
    /// It stands, and its request leaves; or it will never stand, which costs a slot.
    fn drop(&mut self) {
        let spacing = self.0.spacing;
        self.0.change(|opening, now| {
            opening.count -= 1;
            opening.not_before = opening.not_before.max(now + spacing);
        });
    }
}

/// Counts by second, 60 of them: bounded whatever the rate.
#[derive(Debug)]
struct LastMinute([(u64, u32); 60]);

impl Default for LastMinute {
    fn default() -> Self {
        Self([(0, 0); 60])
    }
}

impl LastMinute {
    fn add(&mut self, second: u64) {
        let index = usize::try_from(second % 60).expect("under 60");
        let (of, count) = &mut self.0[index];
        if *of != second {
            (*of, *count) = (second, 0);
        }
        *count += 1;
    }

    fn sum(&self, now: u64) -> u32 {
        self.0.iter().filter(|(second, _)| second + 60 > now).map(|(_, count)| count).sum()
    }
}

#[cfg(test)]
mod tests;
