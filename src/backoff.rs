//! How long to wait before the next try: `initial × factor^step`, at most `max`, shaken by `jitter`.
//!
//! Pure: the step count and the random draw are passed in, the arithmetic saturates, and nonsense is refused when a
//! [`Backoff`] is made. The source of the shape is the `[poll]` section of CONTRACT section 7.

use std::time::Duration;

/// One line of `[poll]`, such as `error = { initial = "10s", factor = 2.0, max = "15m" }`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    initial: Duration,
    factor: f64,
    max: Duration,
}

/// A backoff that makes no sense, and what would.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BackoffError {
    /// `initial` is zero: the first wait would be none.
    #[error("`initial` must be longer than 0")]
    Immediate,
    /// `factor` shrinks the waits, or is no number.
    #[error("`factor` must be a number from 1.0 to 100.0")]
    Factor,
    /// `max` is under `initial`.
    #[error("`max` must not be shorter than `initial`")]
    MaxUnderInitial,
}

impl Backoff {
    /// # Errors
    /// [`BackoffError`] unless `0 < initial <= max` and `1 <= factor <= 100`.
    pub fn new(initial: Duration, factor: f64, max: Duration) -> Result<Self, BackoffError> {
        if initial.is_zero() {
            return Err(BackoffError::Immediate);
        }
        if !(1.0..=100.0).contains(&factor) {
            return Err(BackoffError::Factor);
        }
        if max < initial {
            return Err(BackoffError::MaxUnderInitial);
        }
        Ok(Self { initial, factor, max })
    }

    /// The first wait.
    #[must_use]
    pub fn initial(&self) -> Duration {
        self.initial
    }

    /// What each wait is multiplied by.
    #[must_use]
    pub fn factor(&self) -> f64 {
        self.factor
    }

    /// The longest wait, before jitter.
    #[must_use]
    pub fn max(&self) -> Duration {
        self.max
    }

    /// The wait after `step` earlier waits of the same kind (0 for the first), without jitter.
    #[must_use]
    pub fn wait(&self, step: u32) -> Duration {
        let grown = self.initial.as_secs_f64() * self.factor.powi(i32::try_from(step).unwrap_or(i32::MAX));
        // `grown` may be infinite; the comparison is false for no number that can come here.
        if grown < self.max.as_secs_f64() { Duration::from_secs_f64(grown) } else { self.max }
    }
}

/// Makes `wait` longer or shorter by up to `share` of it: `draw` 0 is the shortest, 1 the longest.
#[must_use]
pub fn jittered(wait: Duration, share: f64, draw: f64) -> Duration {
    let scale = 1.0 + share * (2.0 * draw - 1.0);
    wait.mul_f64(scale.clamp(0.0, 2.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seconds(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    #[test]
    fn waits_grow_by_the_factor_up_to_the_maximum() {
        let error = Backoff::new(seconds(10), 2.0, seconds(900)).unwrap();
        let waits: Vec<u64> = (0..9).map(|step| error.wait(step).as_secs()).collect();
        assert_eq!(waits, [10, 20, 40, 80, 160, 320, 640, 900, 900]);
        assert_eq!(error.wait(u32::MAX), seconds(900));
    }

    #[test]
    fn nonsense_is_refused_when_it_is_made() {
        assert_eq!(Backoff::new(Duration::ZERO, 2.0, seconds(1)), Err(BackoffError::Immediate));
        for factor in [0.99, 0.0, -1.0, f64::NAN, f64::INFINITY, 101.0] {
            assert_eq!(Backoff::new(seconds(1), factor, seconds(1)), Err(BackoffError::Factor), "{factor}");
        }
        assert_eq!(Backoff::new(seconds(2), 1.0, seconds(1)), Err(BackoffError::MaxUnderInitial));
    }

    proptest! {
        #[test]
        fn a_wait_stays_between_initial_and_max_and_never_shrinks(
            initial in 1u64..100_000, extra in 0u64..10_000_000, factor in 1.0f64..=100.0, step in 0u32..10_000
        ) {
            let max = Duration::from_millis(initial + extra);
            let backoff = Backoff::new(Duration::from_millis(initial), factor, max).unwrap();
            prop_assert!(backoff.wait(step) >= Duration::from_millis(initial));
            prop_assert!(backoff.wait(step) <= max);
            prop_assert!(backoff.wait(step + 1) >= backoff.wait(step));
        }

        #[test]
        fn jitter_stays_within_its_share(millis in 0u64..10_000_000, share in 0.0f64..=1.0, draw in 0.0f64..=1.0) {
            let wait = Duration::from_millis(millis);
            let shaken = jittered(wait, share, draw).as_secs_f64();
            prop_assert!(shaken >= wait.as_secs_f64() * (1.0 - share) - 1e-6);
            prop_assert!(shaken <= wait.as_secs_f64() * (1.0 + share) + 1e-6);
        }
    }
}
