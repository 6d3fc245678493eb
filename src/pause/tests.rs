//! Who may try, when, and whose word counts.

use std::sync::{Barrier, Condvar};

use super::*;

/// Time that passes when it is told to; the two clocks apart, as when somebody sets the wall clock.
#[derive(Debug, Default)]
struct HandClock(Mutex<Duration>);

#[async_trait::async_trait]
impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_seconds(1_800_000_000)
    }

    fn elapsed(&self) -> Duration {
        *self.0.lock().unwrap()
    }

    async fn sleep(&self, wait: Duration) {
        self.pass(wait);
    }
}

impl HandClock {
    fn pass(&self, time: Duration) {
        *self.0.lock().unwrap() += time;
    }
}

fn seconds(s: u64) -> Duration {
    Duration::from_secs(s)
}

/// What was told.
#[derive(Clone, Debug, Default)]
struct Ears(Arc<Mutex<Vec<Change>>>);

impl Listener for Ears {
    fn tell(&self, change: Change) {
        self.0.lock().unwrap().push(change);
    }
}

impl Ears {
    /// Of this alone.
    fn heard(&self, act: impl FnOnce()) -> Option<Change> {
        act();
        let mut told = std::mem::take(&mut *self.0.lock().unwrap());
        assert!(told.len() < 2, "{told:?}");
        told.pop()
    }
}

fn scene() -> (Arc<HandClock>, Pauses, What, Ears) {
    let clock = Arc::new(HandClock::default());
    let backoff = Backoff::new(seconds(10), 2.0, seconds(900)).unwrap();
    let ears = Ears::default();
    (Arc::clone(&clock), Pauses::new(clock, backoff, Box::new(ears.clone())), What::Bot("default".into()), ears)
}

fn paused(change: Option<Change>) -> Pause {
    match change {
        Some(Change::Paused { pause, .. }) => pause,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_pause_ends_with_the_first_attempt_after_it_that_works() {
    let (clock, pauses, what, ears) = scene();
    paused(ears.heard(|| pauses.pause(&what, "rate_limited", "wait", seconds(30))));
    assert_eq!(pauses.gate(&what), Gate::Closed(seconds(30)));
    clock.pass(seconds(29));
    assert_eq!(pauses.enter(&what).unwrap_err(), seconds(1));
    clock.pass(seconds(1));
    assert_eq!(pauses.gate(&what), Gate::Probe);
    let probe = pauses.enter(&what).unwrap();
    assert_eq!(pauses.enter(&what).unwrap_err(), PROBE_PATIENCE, "one probes, the others wait");
    assert_eq!(ears.heard(|| probe.succeeded()), Some(Change::Resumed("bot:default".into(), "rate_limited")));
    assert_eq!(pauses.gate(&what), Gate::Open);
    assert_eq!(pauses.all(), []);
}

/// To look is not to write; but what looks has an answer.
#[test]
fn a_probe_that_only_looked_ends_the_pause_of_what_gave_no_answer_and_no_other() {
    let (clock, pauses, _, ears) = scene();
    let (before, at_once) = (pauses.enter(&What::Bucket).unwrap(), Some(seconds(1)));
    for reason in ["access_denied", "quota", "corrupted", "conflict", "mismatch"] {
        paused(ears.heard(|| pauses.enter(&What::Bucket).unwrap().failed(reason, "no", at_once)));
        clock.pass(seconds(1));
        assert_eq!(ears.heard(|| pauses.enter(&What::Bucket).unwrap().was_answered()), None, "{reason}");
        assert!(ears.heard(|| pauses.resume(&What::Bucket)).is_some());
    }
    paused(ears.heard(|| before.failed("unavailable", "no", at_once)));
    clock.pass(seconds(1));
    let probe = pauses.enter(&What::Bucket).unwrap();
    assert_eq!(ears.heard(|| before.was_answered()), None, "it may have looked before");
    let over = Some(Change::Resumed("bucket".into(), "unavailable"));
    assert_eq!(ears.heard(|| probe.was_answered()), over);
}

#[test]
fn an_attempt_from_before_the_pause_neither_ends_nor_grows_it() {
    let (_, pauses, what, ears) = scene();
    let (one, other) = (pauses.enter(&what).unwrap(), pauses.enter(&what).unwrap());
    paused(ears.heard(|| one.failed("unauthorized", "no", None)));
    assert_eq!(ears.heard(|| one.succeeded()), None);
    assert_eq!(ears.heard(|| other.failed("unauthorized", "no", None)), None);
    drop((one, other));
    assert_eq!(pauses.gate(&what), Gate::Closed(seconds(10)));
}

#[test]
fn a_later_end_counts_and_an_earlier_one_does_not() {
    let (_, pauses, what, ears) = scene();
    let late = pauses.enter(&what).unwrap();
    paused(ears.heard(|| late.failed("rate_limited", "wait", None)));
    paused(ears.heard(|| late.failed("rate_limited", "wait", Some(seconds(60)))));
    assert_eq!(ears.heard(|| pauses.pause(&what, "rate_limited", "wait", seconds(20))), None);
    assert_eq!(pauses.gate(&what), Gate::Closed(seconds(60)));
}

#[test]
fn probes_that_fail_make_the_pause_grow_from_when_it_began() {
    let (clock, pauses, what, ears) = scene();
    let began = paused(ears.heard(|| pauses.enter(&what).unwrap().failed("unauthorized", "no", None))).since;
    for wait in [20, 40, 80] {
        clock.pass(seconds(900));
        let probe = pauses.enter(&what).unwrap();
        let pause = paused(ears.heard(|| probe.failed("unauthorized", "no", None)));
        assert_eq!(pause.since, began);
        drop(probe);
        assert_eq!(pauses.gate(&what), Gate::Closed(seconds(wait)));
    }
}

/// Transfers that time out one after the other, minutes after the first: the probe's word counts, not theirs.
#[test]
fn attempts_from_before_the_pause_count_once_however_late_they_fail() {
    let (clock, pauses, what, ears) = scene();
    let late: Vec<_> = (0..3).map(|_| pauses.enter(&what).unwrap()).collect();
    paused(ears.heard(|| late[0].failed("unavailable", "no", None)));
    clock.pass(seconds(60));
    assert_eq!(
        ears.heard(|| late[1].failed("unavailable", "no", None)),
        None,
        "it has run out, and nobody has tried yet"
    );
    let probe = pauses.enter(&what).unwrap();
    assert_eq!(ears.heard(|| late[2].failed("unavailable", "no", None)), None);
    assert_eq!(pauses.gate(&what), Gate::Closed(PROBE_PATIENCE), "the probe is still one");
    paused(ears.heard(|| pauses.pause(&what, "unavailable", "no", seconds(30))));
    assert_eq!(pauses.gate(&what), Gate::Closed(seconds(30)), "a later end is heeded");
    assert!(ears.heard(|| probe.succeeded()).is_some(), "and the probe knows better");
}

#[test]
fn a_probe_that_comes_to_nothing_gives_its_place_back() {
    let (clock, pauses, what, ears) = scene();
    paused(ears.heard(|| pauses.pause(&what, "rate_limited", "wait", seconds(1))));
    clock.pass(seconds(1));
    drop(pauses.enter(&what).unwrap());
    assert_eq!(pauses.gate(&what), Gate::Probe);
    let (inside, name) = (pauses.clone(), what.clone());
    let crashed = std::thread::spawn(move || {
        let _probe = inside.enter(&name).unwrap();
        panic!("as a defect would");
    });
    assert!(crashed.join().is_err());
    assert_eq!(pauses.gate(&what), Gate::Probe);
    // One that is late gives nobody else's place back.
    let late = pauses.enter(&what).unwrap();
    paused(ears.heard(|| late.failed("rate_limited", "wait", Some(seconds(1)))));
    clock.pass(seconds(1));
    let _probe = pauses.enter(&what).unwrap();
    assert_eq!(ears.heard(|| late.succeeded()), None);
    drop(late);
    assert_eq!(pauses.gate(&what), Gate::Closed(PROBE_PATIENCE));
}

/// A large file from a slow host takes hours.
#[test]
fn a_probe_that_takes_long_keeps_the_others_waiting_for_a_minute_and_no_longer() {
    let (clock, pauses, what, ears) = scene();
    paused(ears.heard(|| pauses.pause(&what, "unavailable", "wait", seconds(1))));
    clock.pass(seconds(1));
    let slow = pauses.enter(&what).unwrap();
    clock.pass(seconds(59));
    assert_eq!(pauses.gate(&what), Gate::Closed(PROBE_PATIENCE));
    clock.pass(seconds(1));
    let other = pauses.enter(&what).unwrap();
    assert_eq!(pauses.gate(&what), Gate::Closed(PROBE_PATIENCE), "now that one probes");
    drop(slow);
    assert_eq!(pauses.gate(&what), Gate::Closed(PROBE_PATIENCE), "whose place the first does not give back");
    assert_eq!(ears.heard(|| other.succeeded()), Some(Change::Resumed("bot:default".into(), "unavailable")));
}

/// Its rows come by when their waits are over, or a little later, and say so again.
#[test]
fn a_refused_host_is_shown_until_a_while_after_the_last_row_was_to_come_by() {
    let (clock, pauses, _, ears) = scene();
    let (what, grace) = (What::Files("default".into()), seconds(60));
    assert_eq!(paused(ears.heard(|| pauses.pause(&what, "host_refused", "one", seconds(30)))).what, "bot:default");
    clock.pass(seconds(89));
    assert_eq!(ears.heard(|| pauses.lapse(&what, grace)), None);
    assert!(matches!(
        ears.heard(|| pauses.pause(&what, "host_refused", "two", seconds(30))),
        Some(Change::Paused { again: true, .. })
    ));
    assert_eq!(ears.heard(|| pauses.pause(&what, "host_refused", "three", seconds(29))), None);
    clock.pass(seconds(89));
    assert_eq!(ears.heard(|| pauses.lapse(&what, grace)), None);
    assert_eq!(pauses.gate(&What::Bot("default".into())), Gate::Open, "it is shown as the bot's, and stops none of it");
    clock.pass(seconds(1));
    assert_eq!(ears.heard(|| pauses.lapse(&what, grace)), Some(Change::Resumed("bot:default".into(), "host_refused")));
}

/// A row that met it waits by the same backoff, shaken: it may come by somewhat later than the pause runs out.
#[test]
fn a_pause_that_has_run_out_is_over_when_nobody_comes_by_who_could_try() {
    let (clock, pauses, what, ears) = scene();
    let (hour, patience) = (seconds(3600), seconds(1080));
    let over = Some(Change::Resumed("bot:default".into(), "rate_limited"));
    for next in [hour, Duration::MAX, seconds(1081)] {
        paused(ears.heard(|| pauses.enter(&what).unwrap().failed("rate_limited", "wait", Some(seconds(2)))));
        assert_eq!(ears.heard(|| pauses.rest(&what, next, patience)), None, "before its time");
        clock.pass(seconds(2));
        assert_eq!(ears.heard(|| pauses.rest(&what, patience, patience)), None, "who met it may still come");
        assert_eq!(ears.heard(|| pauses.rest(&what, Duration::ZERO, patience)), None, "one is due, and may try");
        let probe = pauses.enter(&what).unwrap();
        assert_eq!(ears.heard(|| pauses.rest(&what, next, patience)), None, "one tries");
        drop(probe);
        assert_eq!(ears.heard(|| pauses.rest(&what, next, patience)), over);
    }
    // At the word of a sibling, who alone has met it.
    paused(ears.heard(|| pauses.pause(&what, "rate_limited", "wait", seconds(2))));
    clock.pass(seconds(2));
    assert_eq!(ears.heard(|| pauses.rest(&what, Duration::ZERO, patience)), None);
    assert_eq!(ears.heard(|| pauses.rest(&what, seconds(1), patience)), over);
    // Not any more, once one of its own has.
    paused(ears.heard(|| pauses.pause(&what, "rate_limited", "wait", seconds(2))));
    clock.pass(seconds(2));
    paused(ears.heard(|| pauses.enter(&what).unwrap().failed("rate_limited", "wait", Some(seconds(2)))));
    paused(ears.heard(|| pauses.pause(&what, "rate_limited", "wait", seconds(4))));
    clock.pass(seconds(4));
    assert_eq!(ears.heard(|| pauses.rest(&what, seconds(1), patience)), None);
}

#[test]
fn another_reason_is_told_with_the_one_that_it_replaces() {
    let (clock, pauses, what, ears) = scene();
    paused(ears.heard(|| pauses.pause(&what, "unauthorized", "no", seconds(1))));
    clock.pass(seconds(1));
    let change = ears.heard(|| pauses.pause(&what, "rate_limited", "wait", seconds(1)));
    assert!(matches!(change, Some(Change::Paused { was_for: Some("unauthorized"), .. })), "{change:?}");
    assert!(matches!(ears.heard(|| pauses.resume(&what)), Some(Change::Resumed(_, "rate_limited"))));
    assert_eq!(ears.heard(|| pauses.resume(&what)), None);
}

/// Hears of a beginning slowly, so that its end has every chance to be told first.
#[derive(Debug)]
struct SlowEars {
    begins: Arc<Barrier>,
    told: Arc<(Mutex<Vec<Change>>, Condvar)>,
}

impl Listener for SlowEars {
    fn tell(&self, change: Change) {
        let (told, heard) = &*self.told;
        if matches!(change, Change::Paused { .. }) {
            self.begins.wait();
            drop(heard.wait_timeout_while(told.lock().unwrap(), Duration::from_millis(100), |told| told.is_empty()));
        }
        told.lock().unwrap().push(change);
        heard.notify_all();
    }
}

/// A pause whose end is told before its beginning would be shown until there is another one.
#[test]
fn changes_are_told_in_the_order_in_which_they_were_made() {
    let (clock, backoff) = (Arc::new(HandClock::default()), Backoff::new(seconds(10), 2.0, seconds(900)).unwrap());
    let (begins, told) = (Arc::new(Barrier::new(2)), Arc::default());
    let ears = SlowEars { begins: Arc::clone(&begins), told: Arc::clone(&told) };
    let pauses = Pauses::new(clock, backoff, Box::new(ears));
    std::thread::scope(|scope| {
        scope.spawn(|| pauses.pause(&What::Bucket, "unavailable", "no", seconds(10)));
        begins.wait();
        pauses.resume(&What::Bucket);
    });
    let told = told.0.lock().unwrap();
    assert!(matches!(&told[..], [Change::Paused { .. }, Change::Resumed(..)]), "{told:?}");
}
