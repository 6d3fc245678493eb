//! What the service manager hears of the daemon: that it is ready, that its loop turns, what is going on, that it ends.
//!
//! The watchdog is fed by the loop's progress and by nothing else: a daemon whose loop stands still for half of the
//! manager's patience is no longer vouched for, whatever its other tasks do. The status is one line, the one that
//! `systemctl status` shows; it is sent when it has changed. Where there is no manager, that costs no look at the
//! queue.

use std::fmt::Write as _;
use std::time::Duration;

use sd_notify::NotifyState;

use crate::config::Environment;
use crate::journey::Journeys;
use crate::pause::Pause;
use crate::queue::QueueError;
use crate::worker::Vitals;

/// How often the line is looked at: a person who types `systemctl status` twice sees it move.
const LOOK: Duration = Duration::from_secs(2);
/// Pending rows are counted up to so many, whenever the queue has changed: some milliseconds.
const MOST_PENDING: i64 = 100_000;

/// The daemon works from now on.
pub(super) fn ready() {
    let _ = sd_notify::notify(&[NotifyState::Ready, NotifyState::Status("ready")]);
}

/// The daemon is about to end.
pub(super) fn stopping() {
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
}

/// Says what is going on, for as long as it goes on.
pub(super) async fn tell(journeys: Journeys, vitals: Vitals) {
    if Environment::of_process().get("NOTIFY_SOCKET").is_none() {
        return;
    }
    let (mut told, mut counted, mut pending) = (String::new(), None, Ok(0));
    loop {
        let changes = vitals.changes();
        if counted != Some(changes) {
            pending = journeys.desk.pending(MOST_PENDING).await;
            counted = pending.is_ok().then_some(changes);
        }
        let line = line(&Facts {
            pending: &pending,
            in_flight: journeys.flights.all().len(),
            in_hand: vitals.in_hand(),
            stops: journeys.stop.is_cancelled(),
            pauses: journeys.pauses.all(),
        });
        if line != told {
            let _ = sd_notify::notify(&[NotifyState::Status(&line)]);
            told = line;
        }
        journeys.clock.sleep(LOOK).await;
    }
}

/// Feeds the watchdog for as long as the loop turns.
pub(super) async fn feed_watchdog(journeys: Journeys, vitals: Vitals) {
    let Some(patience) = sd_notify::watchdog_enabled() else { return };
    loop {
        if vouches(vitals.age(), patience) {
            let _ = sd_notify::notify(&[NotifyState::Watchdog]);
        }
        journeys.clock.sleep(patience / 4).await;
    }
}

/// Whether a loop that came round so long ago still counts as turning for a manager of this patience.
fn vouches(age: Duration, patience: Duration) -> bool {
    age < patience / 2
}

#[derive(Debug)]
struct Facts<'a> {
    pending: &'a Result<i64, QueueError>,
    in_flight: usize,
    in_hand: usize,
    stops: bool,
    pauses: Vec<Pause>,
}

/// `1204 pending, 3 being copied; paused: bucket (access_denied)`
fn line(facts: &Facts<'_>) -> String {
    let mut line = match (facts.pending, facts.stops) {
        (_, true) => format!("stopping: {} in hand", facts.in_hand),
        (Ok(0), _) => "nothing is pending".to_owned(),
        (Ok(pending), _) if *pending > MOST_PENDING => format!("more than {MOST_PENDING} pending"),
        (Ok(pending), _) => format!("{pending} pending"),
        (Err(error), _) => format!("the queue cannot be read: {error}"),
    };
    if facts.in_flight > 0 {
        let _ = write!(line, ", {} being copied", facts.in_flight);
    }
    for (number, pause) in facts.pauses.iter().enumerate() {
        let before = if number == 0 { "; paused: " } else { ", " };
        let _ = write!(line, "{before}{} ({})", pause.what, pause.reason);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    #[test]
    fn nobody_vouches_for_a_loop_that_stood_still_for_half_of_the_managers_patience_p7() {
        let patience = Duration::from_mins(2);
        for (age, is_fed) in [(0, true), (59_999, true), (60_000, false), (120_000, false)] {
            assert_eq!(vouches(Duration::from_millis(age), patience), is_fed, "{age} ms");
        }
    }

    #[test]
    fn one_line_says_how_many_wait_what_moves_and_what_is_paused_why() {
        let (none, some, many) = (Ok(0), Ok(1204), Ok(MOST_PENDING + 1));
        let mut facts = Facts { pending: &none, in_flight: 0, in_hand: 0, stops: false, pauses: Vec::new() };
        assert_eq!(line(&facts), "nothing is pending");
        facts.pending = &some;
        facts.in_flight = 3;
        assert_eq!(line(&facts), "1204 pending, 3 being copied");
        let at = Timestamp::from_seconds(0);
        let pause = |what: &str, reason| Pause { what: what.into(), reason, message: "m".into(), since: at, until: at };
        facts.pauses = vec![pause("bot:sales", "unauthorized"), pause("bucket", "kms")];
        facts.in_flight = 0;
        facts.pending = &many;
        assert_eq!(line(&facts), "more than 100000 pending; paused: bot:sales (unauthorized), bucket (kms)");
        facts.stops = true;
        facts.in_hand = 5;
        facts.pauses.clear();
        assert_eq!(line(&facts), "stopping: 5 in hand");
    }
}
