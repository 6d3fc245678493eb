//! CONTRACT section 3 as a table, and what holds for every row whatever it saw before.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::config::Schedule;
use crate::schedule::Model;

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);

/// The defaults of CONTRACT section 7, without jitter.
pub(super) fn policy() -> PollSettings {
    let backoff = |initial, factor, max| Backoff::new(initial, factor, max).unwrap();
    PollSettings {
        schedule: Schedule::Backoff,
        adaptive_max: 30 * MINUTE,
        adaptive_max_old: 12 * HOUR,
        concurrency: 16,
        call_in_progress: backoff(MINUTE, 1.5, 5 * MINUTE),
        media_in_progress: backoff(MINUTE / 2, 1.5, 5 * MINUTE),
        kore_retrying: backoff(15 * MINUTE, 1.0, 15 * MINUTE),
        error: backoff(MINUTE / 6, 2.0, 15 * MINUTE),
        jitter: 0.0,
        timeout: MINUTE / 2,
        unavailable_grace: 48 * HOUR,
        give_up_after: 96 * HOUR,
        max_failures: 20,
        fail_after: 24 * HOUR,
    }
}

fn start() -> Timestamp {
    Timestamp::parse("2026-11-01T00:00:00Z").unwrap()
}

fn fresh() -> History {
    History::new(start(), None)
}

/// By the settings alone: under `backoff` nothing that is believed counts.
fn decide(policy: &PollSettings, history: &History, seen: Seen, now: Timestamp, draw: f64) -> Step {
    static MODEL: LazyLock<Model> = LazyLock::new(Model::default);
    let outlook = Outlook { model: &MODEL, enqueued_at: start(), call_ended_at: None, pressure: 0.0 };
    super::decide(policy, history, seen, now, draw, &outlook)
}

/// The step of a row in this history, so long after it became pending.
fn step(history: &History, seen: Seen, after: Duration) -> Step {
    decide(&policy(), history, seen, start().after(after), 0.5)
}

fn status(kind: StatusKind) -> Seen {
    Seen::Status(kind, 0)
}

fn wait_of(step: &Step, after: Duration) -> Duration {
    match step.next {
        Next::Wait(at) => at.since(start().after(after)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_status_waits_ends_or_copies_as_the_contract_says() {
    let waits = |seconds| Ok(Duration::from_secs(seconds));
    let table = [
        (Seen::Status(StatusKind::Success, 1), Err(Next::Copy)),
        (status(StatusKind::Success), waits(30)),
        (status(StatusKind::MediaInProgress), waits(30)),
        (status(StatusKind::Other), waits(30)),
        (status(StatusKind::CallInProgress), waits(60)),
        (status(StatusKind::KoreRetrying), waits(900)),
        (status(StatusKind::Unavailable), waits(900)),
        (status(StatusKind::Failed), waits(900)),
        (status(StatusKind::TooShort), Err(Next::Finish(Reason::TooShort))),
        (status(StatusKind::RecordingDisabled), Err(Next::Finish(Reason::RecordingDisabled))),
    ];
    for (seen, expected) in table {
        let step = step(&fresh(), seen, HOUR);
        match expected {
            Ok(wait) => assert_eq!(wait_of(&step, HOUR), wait, "{seen:?}"),
            Err(next) => assert_eq!(step.next, next, "{seen:?}"),
        }
        assert_eq!((step.history.polls, step.history.failures), (1, 0), "{seen:?}");
    }
}

#[test]
fn what_was_not_a_status_waits_ends_or_fails_as_the_contract_says() {
    let late = 97 * HOUR;
    let table = [
        (Seen::Archived { suspect: false }, HOUR, Some(Reason::Archived), 0),
        (Seen::Archived { suspect: true }, HOUR, Some(Reason::SuspectContent), 0),
        (Seen::TooLarge, HOUR, Some(Reason::TooLarge), 0),
        (Seen::HostRefused, HOUR, None, 0),
        (Seen::HostRefused, late, Some(Reason::HostRefused), 0),
        (Seen::OddBody, late, None, 0),
        (Seen::Trouble { at_least: Duration::ZERO }, late, None, 0),
        (Seen::Held(Duration::ZERO), late, None, 0),
        (Seen::Failure { not_found: true }, late, None, 1),
        (Seen::Failure { not_found: false }, late, None, 1),
    ];
    for (seen, after, end, failures) in table {
        let step = step(&fresh(), seen, after);
        assert_eq!(matches!(step.next, Next::Finish(_)), end.is_some(), "{seen:?}");
        assert!(end.is_none_or(|reason| step.next == Next::Finish(reason)), "{seen:?}");
        assert_eq!((step.history.polls, step.history.failures), (0, failures), "{seen:?}");
    }
}

#[test]
fn what_answers_tell_of_call_and_media_is_remembered() {
    let at = |minutes: u32| Some(start().after(minutes * MINUTE));
    let told = |history: &History| (history.in_call_at, history.over_at, history.not_ready_at);
    let mut history = fresh();
    let mut see = |kind, recordings, minutes: u32| {
        history = step(&history, Seen::Status(kind, recordings), minutes * MINUTE).history;
        told(&history)
    };
    assert_eq!(see(StatusKind::CallInProgress, 0, 1), (at(1), None, at(1)));
    assert_eq!(see(StatusKind::CallInProgress, 0, 2), (at(2), None, at(2)));
    assert_eq!(see(StatusKind::MediaInProgress, 0, 3), (at(2), at(3), at(3)));
    assert_eq!(see(StatusKind::MediaInProgress, 0, 4), (at(2), at(3), at(4)), "the first answer that it was over");
    // They talk again: what was over was another leg.
    assert_eq!(see(StatusKind::CallInProgress, 0, 5), (at(5), None, at(5)));
    assert_eq!(see(StatusKind::Unavailable, 0, 6), (at(5), None, at(6)));
    assert_eq!(see(StatusKind::Other, 0, 7), (at(5), None, at(7)));
    assert_eq!(see(StatusKind::Success, 0, 8), (at(5), at(8), at(8)), "a list that is still empty");
    assert_eq!(see(StatusKind::Success, 1, 9), (at(5), at(8), at(8)), "there it is");
}

#[test]
fn the_words_in_the_table_are_read_as_they_were_written() {
    for kind in WaitKind::ALL {
        assert_eq!(WaitKind::parse(kind.as_str()), Some(kind));
    }
    assert_eq!((WaitKind::parse(""), WaitKind::parse("ready")), (None, None));
}

#[test]
fn nobody_is_waited_for_longer_than_a_week() {
    let month = Duration::from_hours(30 * 24);
    let week = Duration::from_hours(7 * 24);
    assert_eq!(wait_of(&step(&fresh(), Seen::Trouble { at_least: month }, HOUR), HOUR), week);
}

#[test]
fn waits_grow_while_the_status_stays_and_start_again_with_another() {
    let mut history = fresh();
    let mut waits = Vec::new();
    for kind in [StatusKind::CallInProgress; 5].into_iter().chain([StatusKind::MediaInProgress; 2]) {
        let step = step(&history, status(kind), HOUR);
        waits.push(wait_of(&step, HOUR).as_secs());
        history = step.history;
    }
    assert_eq!(waits, [60, 90, 135, 202, 300, 30, 45]);
}

#[test]
fn errors_wait_longer_and_longer_and_a_status_ends_that() {
    let mut history = fresh();
    let trouble = Seen::Trouble { at_least: Duration::ZERO };
    let mut waits = Vec::new();
    for seen in [trouble, trouble, Seen::Failure { not_found: false }, status(StatusKind::Other), trouble] {
        let step = step(&history, seen, HOUR);
        waits.push(wait_of(&step, HOUR).as_secs());
        history = step.history;
    }
    assert_eq!(waits, [10, 20, 40, 30, 10]);
    let asked = step(&fresh(), Seen::Trouble { at_least: 7 * MINUTE }, HOUR);
    assert_eq!(wait_of(&asked, HOUR), 7 * MINUTE);
    // Who has tried nothing waits for the end of the pause, however much went wrong before.
    for (wait, waits) in [(7 * MINUTE, 7 * MINUTE), (Duration::ZERO, Duration::from_secs(10))] {
        let held = step(&history, Seen::Held(wait), HOUR);
        assert_eq!((wait_of(&held, HOUR), held.history), (waits, history.clone()));
    }
}

#[test]
fn not_yet_ends_at_give_up_after_with_a_last_look_at_that_moment() {
    for kind in [StatusKind::CallInProgress, StatusKind::MediaInProgress, StatusKind::KoreRetrying, StatusKind::Other] {
        let before = (96 * HOUR).saturating_sub(Duration::from_secs(1));
        assert_eq!(wait_of(&step(&fresh(), status(kind), before), before), Duration::from_secs(1), "{kind:?}");
        assert_eq!(step(&fresh(), status(kind), 96 * HOUR).next, Next::Finish(Reason::NeverReady), "{kind:?}");
    }
}

#[test]
fn no_is_believed_after_the_grace_when_it_was_said_twice_in_a_row_and_apart() {
    for (kind, reason) in
        [(StatusKind::Unavailable, Reason::MediaUnavailable), (StatusKind::Failed, Reason::KoreFailed)]
    {
        let first = step(&fresh(), status(kind), 50 * HOUR);
        assert_eq!(wait_of(&first, 50 * HOUR), 15 * MINUTE);
        assert_eq!(step(&first.history, status(kind), 51 * HOUR).next, Next::Finish(reason));
        // Another word in between, and it is said for the first time again.
        let between = step(&first.history, status(StatusKind::Other), 51 * HOUR);
        assert_eq!(wait_of(&step(&between.history, status(kind), 52 * HOUR), 52 * HOUR), 15 * MINUTE);
        // Within the grace it is doubted however often it is said.
        let mut history = fresh();
        for minutes in 0..180 {
            let step = step(&history, status(kind), 15 * MINUTE * minutes);
            assert_eq!(wait_of(&step, 15 * MINUTE * minutes), 15 * MINUTE);
            history = step.history;
        }
        // Also where giving up comes before the grace is over.
        let patient = PollSettings { unavailable_grace: 1000 * HOUR, ..policy() };
        let denied = History { denials: 5, ..fresh() };
        let seen = decide(&patient, &denied, status(kind), start().after(500 * HOUR), 0.5);
        assert!(matches!(seen.next, Next::Wait(_)), "{seen:?}");
        // The first look may be the last before giving up: the second is apart all the same.
        for after in [(96 * HOUR).saturating_sub(MINUTE), 96 * HOUR, 500 * HOUR] {
            assert_eq!(wait_of(&step(&fresh(), status(kind), after), after), 15 * MINUTE);
        }
    }
}

#[test]
fn the_grace_counts_from_the_session_where_its_start_is_known() {
    let long_ago = History { started_at: Some(start().before(49 * HOUR)), denials: 1, ..fresh() };
    assert_eq!(step(&long_ago, status(StatusKind::Unavailable), HOUR).next, Next::Finish(Reason::MediaUnavailable));
    let just_now = History { started_at: Some(start().after(49 * HOUR)), denials: 1, ..fresh() };
    assert!(matches!(step(&just_now, status(StatusKind::Unavailable), 50 * HOUR).next, Next::Wait(_)));
}

#[test]
fn a_row_fails_when_its_failures_are_many_and_the_first_is_long_ago() {
    let failed = |failures, since: Duration| History {
        failures,
        first_failure_at: Some(start().after(30 * HOUR).before(since)),
        ..fresh()
    };
    let after = |history: &History, not_found| step(history, Seen::Failure { not_found }, 30 * HOUR).next;
    assert_eq!(after(&failed(19, 24 * HOUR), true), Next::Finish(Reason::NotFound));
    assert_eq!(after(&failed(19, 24 * HOUR), false), Next::Finish(Reason::TooManyFailures));
    assert!(matches!(after(&failed(18, 24 * HOUR), true), Next::Wait(_)), "not many enough");
    assert!(matches!(after(&failed(1000, (24 * HOUR).saturating_sub(MINUTE)), true), Next::Wait(_)), "not long enough");
}

fn any_kind() -> impl Strategy<Value = StatusKind> {
    prop::sample::select(vec![
        StatusKind::CallInProgress,
        StatusKind::MediaInProgress,
        StatusKind::Success,
        StatusKind::Unavailable,
        StatusKind::Failed,
        StatusKind::KoreRetrying,
        StatusKind::TooShort,
        StatusKind::RecordingDisabled,
        StatusKind::Other,
    ])
}

fn any_seen() -> impl Strategy<Value = Seen> {
    prop_oneof![
        (any_kind(), 0usize..3).prop_map(|(kind, count)| Seen::Status(kind, count)),
        any::<bool>().prop_map(|suspect| Seen::Archived { suspect }),
        any::<bool>().prop_map(|not_found| Seen::Failure { not_found }),
        Just(Seen::OddBody),
        any::<u64>().prop_map(|millis| Seen::Trouble { at_least: Duration::from_millis(millis) }),
        any::<u64>().prop_map(|millis| Seen::Held(Duration::from_millis(millis))),
        Just(Seen::HostRefused),
        Just(Seen::TooLarge),
    ]
}

prop_compose! {
    fn any_history()(
        pending in -10_000_000_000_000i64..10_000_000_000_000, started in any::<Option<i64>>(),
        counts in any::<[u32; 6]>(), failed in any::<Option<i64>>(), kind in 0..=WaitKind::ALL.len(),
    ) -> History {
        let [polls, failures, wait_step, error_step, denials, odd_bodies] = counts;
        History {
            pending_since: Timestamp::from_millis(pending),
            started_at: started.map(Timestamp::from_millis),
            first_failure_at: failed.map(Timestamp::from_millis),
            in_call_at: None,
            over_at: None,
            not_ready_at: None,
            wait_kind: WaitKind::ALL.get(kind).copied(),
            polls, failures, wait_step, error_step, denials, odd_bodies,
        }
    }
}

proptest! {
    #[test]
    fn somebody_elses_trouble_ends_no_row_and_is_charged_to_none(
        history in any_history(), millis in any::<u64>(), now in any::<i64>(), draw in 0.0f64..=1.0
    ) {
        let seen = Seen::Trouble { at_least: Duration::from_millis(millis) };
        let step = decide(&policy(), &history, seen, Timestamp::from_millis(now), draw);
        prop_assert!(matches!(step.next, Next::Wait(_)));
        let error_step = step.history.error_step;
        prop_assert_eq!(step.history, History { error_step, ..history });
    }

    #[test]
    fn waits_are_bounded_and_go_forward_and_only_what_is_the_rows_own_is_a_failure(
        history in any_history(), seen in any_seen(), now in -10_000_000_000_000i64..10_000_000_000_000, draw in 0.0f64..=1.0
    ) {
        let now = Timestamp::from_millis(now);
        let policy = PollSettings { jitter: 1.0, ..policy() };
        let step = decide(&policy, &history, seen, now, draw);
        if let Next::Wait(at) = step.next {
            prop_assert!(at >= now);
            prop_assert!(at.since(now) <= LONGEST_WAIT);
        }
        let charged = u32::from(matches!(seen, Seen::Failure { .. }));
        prop_assert_eq!(step.history.failures, history.failures.saturating_add(charged));
        let polled = u32::from(matches!(seen, Seen::Status(..)));
        prop_assert_eq!(step.history.polls, history.polls.saturating_add(polled));
        prop_assert_eq!(step.history.pending_since, history.pending_since);
        if let Next::Finish(Reason::NotFound | Reason::TooManyFailures) = step.next {
            let is_failure = matches!(seen, Seen::Failure { .. });
            prop_assert!(is_failure);
            prop_assert!(step.history.failures >= policy.max_failures);
        }
        if let Next::Finish(Reason::MediaUnavailable | Reason::KoreFailed) = step.next {
            prop_assert!(history.denials >= 1);
        }
        prop_assert_eq!(step.next == Next::Copy, matches!(seen, Seen::Status(StatusKind::Success, 1..)));
    }

    #[test]
    fn a_row_that_is_never_ready_ends_soon_after_its_time_whatever_the_jitter(draws in prop::collection::vec(0.0f64..=1.0, 3000)) {
        let policy = PollSettings { jitter: 0.5, ..policy() };
        let (mut history, mut now) = (fresh(), start());
        for draw in draws {
            let step = decide(&policy, &history, status(StatusKind::MediaInProgress), now, draw);
            history = step.history;
            match step.next {
                Next::Wait(at) => now = at,
                Next::Finish(reason) => {
                    prop_assert_eq!(reason, Reason::NeverReady);
                    prop_assert_eq!(now, start().after(policy.give_up_after));
                    return Ok(());
                }
                Next::Copy => prop_assert!(false),
            }
        }
        prop_assert!(false, "it still waits");
    }
}
