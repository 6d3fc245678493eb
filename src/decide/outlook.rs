//! What the adaptive schedule says of a row, within the settings.
//!
//! `poll.adaptive_max` and `adaptive_max_old` are the longest waits of a row's first two hours and after them. The
//! backoff of the status that Kore gave may shorten both: with a `max` of 5 minutes or more, as by default, they hold as
//! they are; who shortens `max` shortens them alike, so that settings of small waits mean small waits.
//!
//! While a bot's model has seen few sessions, a wait is at most twice that backoff's, and a new row is asked about at
//! once: whoever tries the daemon with one session sees what Kore says of it. A row whose call's end is known is put off
//! even then, as CONTRACT section 2 has it.

use std::time::Duration;

use super::{History, WaitKind};
use crate::backoff::{Backoff, jittered};
use crate::clock::Timestamp;
use crate::config::{PollSettings, Schedule};
use crate::schedule::{Bounds, FEW, Known, Model, wait};

/// Whoever sets a shorter `max` wants short waits here too.
const USUAL_MAX: Duration = Duration::from_mins(5);
/// So many times the shorter one: as 30 minutes and 12 hours are to the usual.
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
/// A row that was inserted to be asked about later is due that much later than it became pending, at least.
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
    /// When to look at a new row first, if not at once; it is [put off](History::put_off) then. `due_at` is when it was due:
    /// who inserts a row for later has chosen.
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
        let bounds = bounds(policy, WaitKind::PutOff.backoff(policy), history, now);
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
        let mut most = bounds.most_now();
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
    let is_short = backoff.max() < USUAL_MAX;
    let bound = |most: Duration, scale| if is_short { most.min(backoff.max() * scale) } else { most };
    let most = bound(policy.adaptive_max, YOUNG_SCALE);
    let most_old = bound(policy.adaptive_max_old, OLD_SCALE);
    let least = LEAST.min(backoff.initial()).min(most).min(most_old);
    Bounds { now, least, most, most_old, old_from: history.pending_since.after(YOUNG) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::tests::policy as plain_policy;
    use crate::decide::{Next, Seen, decide};
    use crate::session::StatusKind;

    const MINUTE: Duration = Duration::from_mins(1);

    fn policy(schedule: Schedule) -> PollSettings {
        PollSettings { schedule, jitter: 0.2, ..plain_policy() }
    }

    fn start() -> Timestamp {
        Timestamp::parse("2026-11-23T08:15:00.000Z").unwrap()
    }

    fn row() -> History {
        History::new(start(), Some(start()))
    }

    /// Of a bot whose media is ready some 14 minutes after the start of each call.
    fn taught(sessions: u32) -> Model {
        let mut model = Model::default();
        for _ in 0..sessions {
            let new = Known::new(Some(start()), start(), None);
            let not_ready = start().after(13 * MINUTE);
            let told = new.told(None, Some(not_ready), Some(not_ready));
            model.learn(&new, &told, false, 780.0);
            model.learn(&told, &told, true, 860.0);
        }
        model
    }

    fn outlook(model: &Model) -> Outlook<'_> {
        Outlook { model, enqueued_at: start(), call_ended_at: None, pressure: 0.0 }
    }

    fn first(outlook: &Outlook<'_>, history: &History, due: Duration) -> Option<Duration> {
        let policy = policy(Schedule::Adaptive);
        let at = outlook.first_look(&policy, history, start().after(due), start(), 0.5)?;
        Some(at.since(start()))
    }

    #[test]
    fn a_new_row_is_put_off_once_by_who_has_seen_some() {
        let model = taught(50);
        let put_off = first(&outlook(&model), &row(), Duration::ZERO).unwrap();
        assert!((10 * MINUTE..25 * MINUTE).contains(&put_off), "{put_off:?}");
        assert_eq!(first(&outlook(&model), &row(), Duration::from_millis(999)), Some(put_off));
        assert_eq!(first(&outlook(&model), &row().put_off(), Duration::ZERO), None, "it was put off before");
        assert_eq!(first(&outlook(&model), &row(), Duration::from_secs(1)), None, "it was inserted for later");
        assert_eq!(first(&outlook(&taught(7)), &row(), Duration::ZERO), None, "nothing is known of this bot");
        assert!(first(&outlook(&taught(8)), &row(), Duration::ZERO).is_some());
        let plain = policy(Schedule::Backoff);
        assert_eq!(outlook(&model).first_look(&plain, &row(), start(), start(), 0.5), None);
    }

    #[test]
    fn a_row_is_not_put_off_by_the_shortest_wait() {
        let model = taught(50);
        let at_most = |most| {
            let hasty = PollSettings { adaptive_max: most, adaptive_max_old: most, ..policy(Schedule::Adaptive) };
            outlook(&model).first_look(&hasty, &row(), start(), start(), 0.5)
        };
        let shortest = LEAST.min(policy(Schedule::Adaptive).media_in_progress.initial());
        assert_eq!(at_most(shortest), None);
        assert!(at_most(MINUTE).is_some());
    }

    #[test]
    fn a_row_of_which_something_came_is_not_new() {
        let model = taught(50);
        let told = |change: fn(&mut History)| {
            let mut history = row();
            change(&mut history);
            first(&outlook(&model), &history, Duration::ZERO)
        };
        assert!(told(|_| ()).is_some());
        assert_eq!(told(|row| row.not_ready_at = Some(start())), None);
        assert_eq!(told(|row| row.wait_kind = Some(WaitKind::KoreRetrying)), None);
        assert_eq!(told(|row| row.failures = 1), None);
        assert_eq!(told(|row| row.error_step = 1), None);
    }

    #[test]
    fn a_row_whose_calls_end_is_known_is_put_off_by_who_has_seen_none_and_never_past_the_end() {
        let model = Model::default();
        let hinted = Outlook { call_ended_at: Some(start().after(MINUTE)), ..outlook(&model) };
        let put_off = first(&hinted, &row(), Duration::ZERO).unwrap();
        assert!((5 * MINUTE..20 * MINUTE).contains(&put_off), "{put_off:?}");
        let short = PollSettings { give_up_after: 2 * MINUTE, ..policy(Schedule::Adaptive) };
        let at = hinted.first_look(&short, &row(), start(), start(), 0.5);
        assert_eq!(at, Some(start().after(2 * MINUTE)));
    }

    fn waits(model: &Model, policy: &PollSettings, history: &History, now: Duration, draw: f64) -> Option<Duration> {
        outlook(model).wait(policy, &policy.media_in_progress, history, start().after(now), draw)
    }

    fn told(at: Duration) -> History {
        let at = Some(start().after(at));
        History { over_at: at, not_ready_at: at, ..row() }
    }

    #[test]
    fn under_few_sessions_a_wait_is_at_most_twice_the_plain_one() {
        let adaptive = policy(Schedule::Adaptive);
        // A short call: nothing is to be expected for minutes.
        let now = 2 * MINUTE;
        let history = told(now);
        assert_eq!(waits(&taught(0), &adaptive, &history, now, 0.5), Some(MINUTE));
        let later = History { wait_step: 1, ..history.clone() };
        assert_eq!(waits(&taught(0), &adaptive, &later, now, 0.5), Some(MINUTE * 3 / 2));
        assert!(waits(&taught(8), &adaptive, &history, now, 0.5).unwrap() > 3 * MINUTE);
        assert_eq!(waits(&taught(8), &policy(Schedule::Backoff), &history, now, 0.5), None);
    }

    #[test]
    fn the_schedule_decides_after_a_not_yet_and_the_backoff_where_kore_tries_again() {
        let (model, adaptive, now) = (taught(50), policy(Schedule::Adaptive), start().after(2 * MINUTE));
        let outlook = outlook(&model);
        let wait = |status, policy: &PollSettings| {
            let step = decide(policy, &row(), Seen::Status(status, 0), now, 0.5, &outlook);
            let Next::Wait(at) = step.next else { panic!("{step:?}") };
            at.since(now)
        };
        for status in [StatusKind::CallInProgress, StatusKind::MediaInProgress] {
            assert!(wait(status, &policy(Schedule::Backoff)) <= 2 * MINUTE);
            assert!(wait(status, &adaptive) > 5 * MINUTE);
        }
        assert_eq!(wait(StatusKind::KoreRetrying, &adaptive), 15 * MINUTE);
    }

    #[test]
    fn a_wait_is_shaken_by_seconds_and_stays_between_its_bounds() {
        let model = taught(50);
        let adaptive = policy(Schedule::Adaptive);
        let now = 2 * MINUTE;
        let [low, middle, high] = [0.0, 0.5, 1.0].map(|draw| waits(&model, &adaptive, &told(now), now, draw).unwrap());
        assert!(low < middle && middle < high && high <= low + 2 * MOST_SHAKE, "{low:?} {middle:?} {high:?}");
        let tight = PollSettings { adaptive_max: 2 * MINUTE, ..adaptive.clone() };
        assert_eq!(waits(&model, &tight, &told(now), now, 1.0), Some(2 * MINUTE));
        // Short waits in `[poll]` mean short ones here: six times its longest, a hundred and forty-four after two hours.
        let line = |initial, max| Backoff::new(Duration::from_secs(initial), 2.0, Duration::from_secs(max)).unwrap();
        let small = PollSettings { media_in_progress: line(1, 20), ..adaptive.clone() };
        assert_eq!(waits(&model, &small, &told(now), now, 1.0), Some(2 * MINUTE));
        let bounds = |policy: &PollSettings| bounds(policy, &policy.media_in_progress, &row(), start());
        assert_eq!((bounds(&small).most_old, bounds(&small).least), (48 * MINUTE, Duration::from_secs(1)));
        assert_eq!((bounds(&adaptive).most_old, bounds(&adaptive).least), (Duration::from_hours(12), LEAST));
        // Longer ones than the defaults hold as they are.
        let long =
            PollSettings { adaptive_max: 2 * 60 * MINUTE, adaptive_max_old: 2 * 12 * 60 * MINUTE, ..adaptive.clone() };
        assert_eq!((bounds(&long).most, bounds(&long).most_old), (120 * MINUTE, 1440 * MINUTE));
        assert_eq!(bounds(&adaptive).old_from, start().after(Duration::from_hours(2)));
        // From two hours on the longer bound holds, to the second.
        let wide = PollSettings { adaptive_max: MINUTE, adaptive_max_old: 2 * MINUTE, ..adaptive };
        let old = Duration::from_hours(2);
        let before = old.checked_sub(Duration::from_secs(1)).unwrap();
        assert_eq!(waits(&model, &wide, &told(before), before, 1.0), Some(MINUTE));
        assert_eq!(waits(&model, &wide, &told(old), old, 1.0), Some(2 * MINUTE));
    }
}
