//! The fake's own time: a monotonic one for records and timelines, a wall clock that can be set wrong for tokens
//! and signed URLs. The only place of the fake that reads a clock or sleeps.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

#[derive(Debug)]
pub(super) struct FakeClock {
    started: Instant,
    offset_seconds: AtomicI64,
}

impl FakeClock {
    #[expect(clippy::disallowed_methods, reason = "the fake vendor lives outside the daemon and its clock")]
    pub(super) fn new() -> Self {
        Self { started: Instant::now(), offset_seconds: AtomicI64::new(0) }
    }

    /// Since the fake was started.
    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Unix seconds, as Kore's own clock shows them.
    #[expect(clippy::disallowed_methods, reason = "the fake vendor lives outside the daemon and its clock")]
    pub(super) fn unix_seconds(&self) -> i64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the wall clock is past 1970");
        i64::try_from(now.as_secs()).expect("the year is below 292 billion")
            + self.offset_seconds.load(Ordering::Relaxed)
    }

    pub(super) fn set_offset(&self, seconds: i64) {
        self.offset_seconds.store(seconds, Ordering::Relaxed);
    }
}

/// Keeps a line to its pace, however late a timer is; what the other end was slow to take is not made up for.
pub(super) struct Metronome(Instant);

#[expect(clippy::disallowed_methods, reason = "the fake vendor lives outside the daemon and its clock")]
impl Metronome {
    /// A late timer, not a slow reader.
    const LATE: Duration = Duration::from_millis(20);

    pub(super) fn new() -> Self {
        Self(Instant::now())
    }

    /// Returns when this long has passed since the last time.
    pub(super) async fn after(&mut self, wait: Duration) {
        let now = Instant::now();
        self.0 = (self.0 + wait).max(now.checked_sub(Self::LATE).unwrap_or(now));
        pause(self.0.saturating_duration_since(now)).await;
    }
}

/// Waits, in real time.
#[expect(clippy::disallowed_methods, reason = "the fake vendor lives outside the daemon and its clock")]
pub(super) async fn pause(wait: Duration) {
    tokio::time::sleep(wait).await;
}
