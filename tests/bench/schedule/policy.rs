//! Who decides when to ask: the daemon's schedule, its backoffs, and what people write into a script instead.

use std::time::Duration;

use kore_archiver::backoff::Backoff;
use kore_archiver::config::{PollSettings, Schedule};

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Policy {
    /// `poll.schedule = "adaptive"`, and `[poll]` as it is by default.
    Adaptive,
    /// `poll.schedule = "backoff"`, and `[poll]` as it is by default.
    Exponential,
    /// Every so many seconds.
    Every(u64),
    /// After 5 and 20 minutes, 1, 3 and 24 hours, then each day.
    Ladder,
    /// Knows, and asks once.
    Clairvoyant,
}

/// Seconds after the row came.
const LADDER: [u64; 5] = [300, 1200, 3600, 10_800, 86_400];

impl Policy {
    pub const ALL: [Self; 7] = [
        Self::Adaptive,
        Self::Exponential,
        Self::Every(30),
        Self::Every(120),
        Self::Every(1800),
        Self::Ladder,
        Self::Clairvoyant,
    ];

    pub fn name(self) -> String {
        match self {
            Self::Adaptive => "adaptive".into(),
            Self::Exponential => "exponential, 60 s to 5 min".into(),
            Self::Every(1800) => "loop of 30 min".into(),
            Self::Every(seconds) => format!("fixed {seconds} s"),
            Self::Ladder => "ladder, 5 min to 24 h".into(),
            Self::Clairvoyant => "clairvoyant".into(),
        }
    }

    /// Seconds after its row came that a ladder asks for the `step`th time.
    pub fn rung(step: usize) -> u64 {
        let beyond = u64::try_from((step + 1).saturating_sub(LADDER.len())).expect("small");
        LADDER[step.min(LADDER.len() - 1)] + beyond * 86_400
    }

    /// The settings under which the daemon's own code decides; the others bring waits of their own.
    pub fn settings(self) -> PollSettings {
        let seconds = Duration::from_secs;
        let line = |initial, factor, max| Backoff::new(seconds(initial), factor, seconds(max)).expect("sensible");
        let fixed = match self {
            Self::Every(every) => Some(line(every, 1.0, every)),
            Self::Adaptive | Self::Exponential | Self::Ladder | Self::Clairvoyant => None,
        };
        PollSettings {
            schedule: if self == Self::Adaptive { Schedule::Adaptive } else { Schedule::Backoff },
            adaptive_max: seconds(1800),
            adaptive_max_old: seconds(43_200),
            concurrency: 16,
            call_in_progress: fixed.unwrap_or(line(60, 1.5, 300)),
            media_in_progress: fixed.unwrap_or(line(30, 1.5, 300)),
            kore_retrying: line(900, 1.0, 900),
            error: line(10, 2.0, 900),
            jitter: if fixed.is_some() { 0.0 } else { 0.2 },
            timeout: seconds(30),
            unavailable_grace: Duration::from_hours(48),
            give_up_after: Duration::from_hours(96),
            max_failures: 20,
            fail_after: Duration::from_hours(24),
        }
    }
}
