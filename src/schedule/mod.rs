//! When to ask about a session: learned, and weighed against what a poll costs.
//!
//! The idea. The media of a call becomes ready some time after the call's end, and both are roughly the same from call
//! to call. So each bot has a [`Model`]: how long calls last, how long media takes after them, and whether rows come as
//! calls end, each a histogram that fades, learned from what polls bracket. From it and from what is [`Known`] of one
//! session follows the chance that its media is ready by any moment; the next poll is the first of a plan of polls that
//! costs least, lateness and polls together, being late at all most of it. A poll is worth `PRICE` seconds of lateness
//! while the account's budget is at ease; [`Pressure`] raises that where it gets tight, until demand fits the budget.
//!
//! Its source: "Optimum checking procedures" (Barlow, Hunter, Proschan 1963) for the plan, Turnbull's estimator for
//! interval-censored data (1976) for the histograms, KORE.md for what is believed before anything was seen.
//!
//! How it fails, and what then.
//! - **Nothing learned yet** (under [`FEW`] sessions): a wait is at most twice what the plain backoff says, and no row is
//!   put off before its first poll unless its call's end is known.
//! - **Kore changes.** Answers that come unexpected make it forget, and media that is ready sooner than expected, which
//!   polls that succeed cannot tell by themselves, is found by a few early polls (`PROBES`): more, when it seems so.
//! - **A quiet night**, in which only those answer that Kore delayed for a day: they move the tail, and nothing else.
//! - **A session like no other** (older than anything seen, or answers that contradict each other): no opinion, and
//!   the plain backoff decides. A row whose media must long be there is asked about at once.
//! - **A wrong model** can only be late: each wait has a longest, by settings ([`Bounds`]).
//! - **What is kept is damaged**: it starts afresh.
//!
//! Pure: time, randomness and use of the budget are passed in. Keeping a model is the queue's.

mod model;
mod plan;
mod pressure;
mod sketch;

use std::time::Duration;

use crate::clock::Timestamp;

pub use model::Model;
pub use pressure::Pressure;

/// How many seconds of lateness a poll is worth while the budget is at ease. By the benchmark: less asks more often
/// than it gains, more is felt.
const PRICE: f64 = 65.0;
/// Under so many sessions, a model knows next to nothing.
pub const FEW: f64 = 8.0;
/// The share of first polls that are made early to see whether media has become faster; and when it seems so.
const PROBES: f64 = 0.02;
const PROBES_IF_SURPRISED: f64 = 0.25;
/// It seems so, in standard deviations.
const SURPRISED: f64 = 2.0;
/// An early poll comes after this share of the wait, up to all but a twentieth of it.
const EARLIEST_PROBE: f64 = 0.2;

/// What is known of one session; moments are seconds from its start, and less than zero before it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Known {
    /// The session's start, or the row's insertion if the id does not tell.
    pub start: Timestamp,
    /// When the row was inserted.
    pub enqueued: f64,
    /// When the call ended, if somebody said so.
    pub ended: Option<f64>,
    /// The last answer that people were talking.
    pub in_call: Option<f64>,
    /// The first answer that they no longer were.
    pub over: Option<f64>,
    /// The last answer that there is no media yet.
    pub not_ready: Option<f64>,
}

impl Known {
    /// Of a session that nobody has asked about.
    #[must_use]
    pub fn new(started: Option<Timestamp>, enqueued: Timestamp, ended: Option<Timestamp>) -> Self {
        let start = started.unwrap_or(enqueued);
        let new = Self { start, enqueued: 0.0, ended: None, in_call: None, over: None, not_ready: None };
        Self { enqueued: new.seconds(enqueued), ended: ended.map(|at| new.seconds(at)), ..new }
    }

    /// Seconds from the session's start.
    #[must_use]
    pub fn seconds(&self, at: Timestamp) -> f64 {
        at.since(self.start).as_secs_f64() - self.start.since(at).as_secs_f64()
    }

    /// What Kore's answers told, each where there was one.
    #[must_use]
    pub fn told(self, in_call: Option<Timestamp>, over: Option<Timestamp>, not_ready: Option<Timestamp>) -> Self {
        let seconds = |at: Option<Timestamp>| at.map(|at| self.seconds(at));
        Self { in_call: seconds(in_call), over: seconds(over), not_ready: seconds(not_ready), ..self }
    }
}

/// What bounds a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Now.
    pub now: Timestamp,
    /// No wait is shorter, but for the first poll, which may be due now.
    pub least: Duration,
    /// Nor longer, before `old_from`.
    pub most: Duration,
    /// Nor longer than this, after it.
    pub most_old: Duration,
    /// When the row ceases to be young.
    pub old_from: Timestamp,
}

impl Bounds {
    /// The longest wait that may begin now.
    #[must_use]
    pub fn most_now(&self) -> Duration {
        if self.now < self.old_from { self.most } else { self.most_old }
    }
}

/// How long to wait with the next poll. `pressure` is [`Pressure::level`]; `draw` is random in 0..=1 and picks the early
/// polls. `None`: the model has no opinion.
#[must_use]
pub fn wait(model: &Model, known: &Known, bounds: &Bounds, pressure: f64, draw: f64) -> Option<Duration> {
    let terms = plan::Terms {
        now: known.seconds(bounds.now),
        price: PRICE * pressure.exp(),
        most: bounds.most.as_secs_f64(),
        most_old: bounds.most_old.as_secs_f64(),
        old_from: known.seconds(bounds.old_from),
    };
    let planned = plan::next_poll(model, known, &terms)?;
    let is_first = known.not_ready.is_none();
    let share = if is_first { probe(model, draw) } else { 1.0 };
    let wait = Duration::try_from_secs_f64(planned * share).ok()?;
    let least = if is_first { Duration::ZERO } else { bounds.least };
    Some(wait.max(least).min(bounds.most_now()))
}

/// Which share of the planned wait passes before the first poll.
fn probe(model: &Model, draw: f64) -> f64 {
    let probes = if model.surprise() > SURPRISED { PROBES_IF_SURPRISED } else { PROBES };
    if draw < probes { EARLIEST_PROBE + (0.95 - EARLIEST_PROBE) * draw / probes } else { 1.0 }
}

#[cfg(test)]
mod tests;
