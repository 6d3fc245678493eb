//! The minimum-throughput guard: tells a source that stalls from a consumer that is busy.
//!
//! A read timeout never fires on a source that drips a byte a second, and a deadline for the whole file would have to
//! know its size. So the time spent *waiting for the source* is added up, and only that: over each `stall_window` of it,
//! `min_throughput` must have come. Silence of a whole window is a stall wherever the window began. Pure.

use std::time::Duration;

/// Measures one body.
#[derive(Debug)]
pub(crate) struct Pace {
    /// Bytes a second.
    floor: u64,
    window: Duration,
    /// Waiting in the present window, and what it brought.
    waited: Duration,
    bytes: u64,
    /// Waiting since the last byte.
    silent: Duration,
}

impl Pace {
    /// A guard that asks for `floor` bytes a second over each `window`.
    pub(crate) fn new(floor: u64, window: Duration) -> Self {
        Self { floor, window, waited: Duration::ZERO, bytes: 0, silent: Duration::ZERO }
    }

    /// How long the next wait may last before [`Pace::is_stalled_after`] must be asked.
    pub(crate) fn patience(&self) -> Duration {
        self.window.saturating_sub(self.waited.max(self.silent))
    }

    /// Takes in that a wait for the source lasted so long and brought so many bytes.
    pub(crate) fn is_stalled_after(&mut self, wait: Duration, bytes: usize) -> bool {
        self.waited += wait;
        self.bytes += bytes as u64;
        self.silent = if bytes > 0 { Duration::ZERO } else { self.silent + wait };
        if self.waited < self.window {
            return self.silent >= self.window;
        }
        let millis = u64::try_from(self.waited.as_millis()).unwrap_or(u64::MAX);
        let slow = self.bytes < self.floor.saturating_mul(millis) / 1000;
        (self.waited, self.bytes) = (Duration::ZERO, 0);
        slow || self.silent >= self.window
    }

    /// A new connection starts with a clean slate.
    pub(crate) fn restart(&mut self) {
        *self = Self::new(self.floor, self.window);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_mins(1);
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_byte_a_second_is_a_stall_after_one_window() {
        let mut pace = Pace::new(16 * 1024, WINDOW);
        let stalled_at = (1..1000).find(|_| pace.is_stalled_after(SECOND, 1));
        assert_eq!(stalled_at, Some(60));
    }

    #[test]
    fn silence_is_a_stall_after_one_window_wherever_the_window_began() {
        let mut pace = Pace::new(16 * 1024, WINDOW);
        for _ in 0..30 {
            assert!(!pace.is_stalled_after(SECOND, 100_000_000));
        }
        let mut silence = Duration::ZERO;
        loop {
            let patience = pace.patience();
            silence += patience;
            if pace.is_stalled_after(patience, 0) {
                break;
            }
        }
        assert_eq!(silence, WINDOW);
    }

    #[test]
    fn a_busy_consumer_and_a_slow_but_steady_source_are_no_stall() {
        let mut pace = Pace::new(16 * 1024, WINDOW);
        for _ in 0..10_000 {
            // However long the consumer took in between, the source answers at once.
            assert!(!pace.is_stalled_after(Duration::ZERO, 1));
            assert!(!pace.is_stalled_after(SECOND, 17 * 1024));
        }
    }

    #[test]
    fn no_floor_still_means_that_something_comes() {
        let mut pace = Pace::new(0, WINDOW);
        assert!(!pace.is_stalled_after(WINDOW, 1));
        assert!(pace.is_stalled_after(WINDOW, 0));
    }
}
