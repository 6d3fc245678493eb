//! How dear a poll is: the logarithm of the factor on its price, raised slowly while an account is asked for more than
//! its budget allows, and lowered while it is not.
//!
//! A price that follows use at once would swing: a session that waits longer today is asked about all the same a
//! quarter of an hour later, by when the price is low again. So it is an integral over minutes, of how far use is from
//! [`TARGET`], and of what waits.

use std::time::Duration;

/// The share of the budget that should be used at most: the rest is for what comes in bunches.
const TARGET: f64 = 0.92;
/// How fast the level moves: by one when use is off by one for so many seconds.
const SPEED: f64 = 300.0;
/// A backlog that would take a minute counts as that much use.
const BACKLOG: f64 = 0.5;
/// Beyond, a poll is worth more than an hour.
const HIGHEST: f64 = 4.0;
/// A gap between two notes counts as at most so long: nothing is known of it.
const LONGEST_GAP: Duration = Duration::from_mins(1);

/// One account's.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pressure {
    level: f64,
    at: Duration,
}

impl Pressure {
    /// Notes, at a moment of monotonic time, which share of the budget was used in the last minute, and how many minutes
    /// of it what is due will take.
    pub fn note(&mut self, at: Duration, used: f64, backlog: f64) {
        let gap = at.saturating_sub(self.at).min(LONGEST_GAP).as_secs_f64();
        self.at = at;
        let level = self.level + gap / SPEED * (used + BACKLOG * backlog - TARGET);
        self.level = level.clamp(0.0, HIGHEST);
    }

    /// 0 at ease; each 0.7 more doubles the price of a poll.
    #[must_use]
    pub fn level(&self) -> f64 {
        self.level
    }
}
