//! What the adaptive schedule says of a row, within the settings.
//!
//! `poll.adaptive_max` and `adaptive_max_old` are the longest waits of a row's first two hours and after them. The
//! backoff of the status that Kore gave scales both: with a `max` of 5 minutes, as by default, they hold as they are; who
//! shortens `max` shortens them alike, so that settings of small waits mean small waits.
//!
//! While a bot's model has seen few sessions, a wait is at most twice that backoff's, and a new row is asked about at
//! once: whoever tries the daemon with one session sees what Kore says of it. A row whose call's end is known is put off
//! even then, as CONTRACT section 2 has it.

use std::time::Duration;

use super::History;
use crate::backoff::{Backoff, jittered};
use crate::clock::Timestamp;
use crate::config::{PollSettings, Schedule};
use crate::schedule::{Bounds, FEW, Known, Model, wait};

/// `adaptive_max` of 30 minutes and `adaptive_max_old` of 12 hours belong to a `max` of 5 minutes.
const YOUNG_SCALE: u32 = 6;
const OLD_SCALE: u32 = 144;
/// A row is young for so long (CONTRACT section 7).
const YOUNG: Duration = Duration::from_hours(2);
/// No wait is shorter, unless the backoff itself begins shorter.
const LEAST: Duration = Duration::from_secs(10);
/// While a model has seen few sessions, a wait is at most so many times the plain one.
const FEW_SCALE: u32 = 2;
/// The choice is to the second, so that `poll.jitter` shakes it by no more than this.
const MOST_SHAKE: Duration = Duration::from_secs(5);
/// A row whose first poll was put off is due that much later than it became pending, at least.
const PUT_OFF: Duration = Duration::from_secs(1);

/// What is believed about one row.
#[derive(Clone, Copy, Debug)]
pub struct Outlook<'a> {
    /// Its bot's model.
    pub model: &'a Model,
    /// When it was inserted.
    pub enqueued_at: Timestamp,
    /// When the call ended, if somebody said so.
    pub call_ended_at: Option<Timestamp>,
    /// [`crate::schedule::Pressure::level`] of its account.
    pub pressure: f64,
}

impl Outlook<'_> {
    /// When to look at a new row first, if not at once. `due_at` is when it was due: a row is put off only once.
    #[must_use]
    pub fn first_look(
        &self,
        policy: &PollSettings,
        history: &History,
        due_at: Timestamp,
        now: Timestamp,
        draw: f64,
    ) -> Option<Timestamp> {
        let is_new = history.is_new() && due_at < history.pending_since.after(PUT_OFF);
        let may_be_put_off = self.call_ended_at.is_some() || self.model.sessions() >= FEW;
        if policy.schedule == Schedule::Backoff || !is_new || !may_be_put_off {
            return None;
        }
        let bounds = bounds(policy, &policy.media_in_progress, history, now);
        let known = known(history, self.enqueued_at, self.call_ended_at);
        let wait = wait(self.model, &known, &bounds, self.pressure, draw)?;
        let last_look = history.pending_since.after(policy.give_up_after);
        (wait > bounds.least.max(PUT_OFF)).then(|| now.after(wait).min(last_look))
    }

    /// The wait after a status that means "not yet"; `None` where the plain backoff decides.
    pub(super) fn wait(
        &self,
        policy: &PollSettings,
        backoff: &Backoff,
        history: &History,
        now: Timestamp,
        draw: f64,
    ) -> Option<Duration> {
        if policy.schedule == Schedule::Backoff {
            return None;
        }
        let bounds = bounds(policy, backoff, history, now);
        let known = known(history, self.enqueued_at, self.call_ended_at);
        let mut most = if now < bounds.old_from { bounds.most } else { bounds.most_old };
        if self.model.sessions() < FEW {
            most = most.min(backoff.wait(history.wait_step) * FEW_SCALE);
        }
        let wait = wait(self.model, &known, &bounds, self.pressure, draw)?.min(most);
        let share = (MOST_SHAKE.as_secs_f64() / wait.as_secs_f64().max(1.0)).min(policy.jitter);
        Some(jittered(wait, share, draw).max(bounds.least).min(most))
    }
}

/// What is known of a row's session.
#[must_use]
pub fn known(history: &History, enqueued_at: Timestamp, call_ended_at: Option<Timestamp>) -> Known {
    let new = Known::new(history.started_at, enqueued_at, call_ended_at);
    new.told(history.in_call_at, history.over_at, history.not_ready_at)
}

fn bounds(policy: &PollSettings, backoff: &Backoff, history: &History, now: Timestamp) -> Bounds {
    let most = policy.adaptive_max.min(backoff.max().saturating_mul(YOUNG_SCALE));
    let most_old = policy.adaptive_max_old.min(backoff.max().saturating_mul(OLD_SCALE));
    let least = LEAST.min(backoff.initial()).min(most).min(most_old);
    Bounds { now, least, most, most_old, old_from: history.pending_since.after(YOUNG) }
}
