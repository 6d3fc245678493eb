use super::*;
use proptest::prelude::*;

const HOUR: u64 = 3600;

fn start() -> Timestamp {
    Timestamp::from_seconds(1_700_000_000)
}

fn at(seconds: u64) -> Timestamp {
    start().after(Duration::from_secs(seconds))
}

fn bounds(now: Timestamp) -> Bounds {
    Bounds {
        now,
        least: Duration::from_secs(10),
        most: Duration::from_mins(30),
        most_old: Duration::from_hours(12),
        old_from: at(2 * HOUR),
    }
}

/// A call of five minutes whose end is known.
fn ended() -> Known {
    Known::new(Some(start()), at(300), Some(at(300)))
}

/// A model that saw so many sessions whose media was ready `delay` seconds after the call's end, asked about each minute.
fn taught(sessions: u32, delay: u64) -> Model {
    let mut model = Model::default();
    for _ in 0..sessions {
        teach(&mut model, delay);
    }
    model
}

fn teach(model: &mut Model, delay: u64) {
    let mut known = ended();
    for asked in (300..).step_by(60) {
        let is_ready = asked >= 300 + delay;
        let next = known.told(None, Some(at(300)), Some(at(asked)));
        model.learn(&known, if is_ready { &known } else { &next }, is_ready, known.seconds(at(asked)));
        known = next;
        if is_ready {
            return;
        }
    }
}

fn first_wait(model: &Model) -> u64 {
    wait(model, &ended(), &bounds(at(300)), 0.0, 1.0).expect("an opinion").as_secs()
}

#[test]
fn before_anything_was_seen_the_first_poll_comes_minutes_after_the_call() {
    let wait = first_wait(&Model::default());
    assert!((240..=900).contains(&wait), "{wait}");
}

#[test]
fn it_learns_how_long_media_takes() {
    for delay in [120, 240, 600, 1200] {
        let wait = first_wait(&taught(200, delay));
        assert!((delay - 70..=delay + 180).contains(&wait), "{delay}: {wait}");
    }
}

#[test]
fn it_follows_a_faster_kore_within_two_hundred_sessions() {
    let mut model = taught(300, 600);
    for _ in 0..200 {
        teach(&mut model, 240);
    }
    let wait = first_wait(&model);
    assert!((170..=420).contains(&wait), "{wait}");
}

/// A Kore that became slower costs polls, not recordings: the first look moves later by and by.
#[test]
fn it_waits_longer_for_a_slower_kore() {
    let before = first_wait(&taught(300, 600));
    let mut model = taught(300, 600);
    for _ in 0..200 {
        teach(&mut model, 1500);
    }
    assert!(first_wait(&model) > before, "{} after {before}", first_wait(&model));
}

#[test]
fn an_old_session_is_asked_about_at_once_whatever_is_believed() {
    for model in [Model::default(), taught(60, 600)] {
        let old = Known::new(Some(start()), at(90 * 24 * HOUR), None);
        let now = at(90 * 24 * HOUR);
        assert_eq!(
            wait(&model, &old, &Bounds { old_from: at(91 * 24 * HOUR), ..bounds(now) }, 0.0, 1.0),
            Some(Duration::ZERO)
        );
    }
}

#[test]
fn a_call_that_goes_on_puts_the_next_poll_off_until_its_media_may_be_there() {
    let known = Known::new(Some(start()), start(), None).told(Some(at(900)), None, Some(at(900)));
    let wait = wait(&taught(60, 600), &known, &bounds(at(900)), 0.0, 1.0).expect("an opinion").as_secs();
    assert!((600..=1800).contains(&wait), "{wait}");
}

#[test]
fn the_tail_is_sparse() {
    let model = taught(200, 600);
    let (mut known, mut now, mut polls) = (ended(), at(300), 0);
    while now < at(300 + 24 * HOUR) {
        now = now.after(wait(&model, &known, &bounds(now), 0.0, 1.0).unwrap_or(Duration::from_mins(5)));
        known = known.told(None, Some(at(400)), Some(now));
        polls += 1;
    }
    assert!((6..=40).contains(&polls), "{polls}");
}

/// Those of the day before come home while nobody calls: they say nothing of what is usual.
#[test]
fn a_night_of_stragglers_teaches_nothing_about_the_usual() {
    let mut model = taught(300, 600);
    let before = first_wait(&model);
    let [known, later] = [16, 22].map(|hours| ended().told(None, Some(at(400)), Some(at(300 + hours * HOUR))));
    for _ in 0..70 {
        model.learn(&known, &later, false, known.seconds(at(300 + 22 * HOUR)));
        model.learn(&later, &later, true, known.seconds(at(300 + 25 * HOUR)));
    }
    assert!(first_wait(&model).abs_diff(before) <= 30, "{} after {before}", first_wait(&model));
    let stragglers = model.media_takes_longer(1200.0);
    assert!(stragglers < 0.15, "{stragglers}");
}

/// The median is not all: where the answer is not known well, no wait leaves one in twenty late.
#[test]
fn what_takes_an_uncertain_time_is_asked_about_before_it_would_be_late() {
    let mut model = Model::default();
    for delay in (0..240).map(|session| 600 + session * 7 % 1200) {
        teach(&mut model, delay);
    }
    let known = ended().told(None, Some(at(400)), Some(at(1000)));
    let wait = wait(&model, &known, &bounds(at(1000)), 0.0, 1.0).expect("an opinion").as_secs();
    assert!((150..=300).contains(&wait), "{wait}");
}

#[test]
fn a_tight_budget_makes_waits_longer_and_an_easy_one_lets_them_be() {
    let model = taught(100, 600);
    let known = Known::new(Some(start()), start(), None);
    let waits = [0.0, 1.0, 2.0, 4.0].map(|pressure| wait(&model, &known, &bounds(start()), pressure, 1.0));
    assert!(waits.is_sorted(), "{waits:?}");
    let mut pressure = Pressure::default();
    for minute in 0..60 {
        pressure.note(Duration::from_mins(minute), 1.0, 1.0);
    }
    assert!(pressure.level() > 2.0);
    for minute in 60..120 {
        pressure.note(Duration::from_mins(minute), 0.4, 0.0);
    }
    assert!(pressure.level() < f64::EPSILON);
}

#[test]
fn what_was_learned_reads_back_as_it_was_kept() {
    let model = taught(50, 240);
    let back = Model::from_text(&model.to_text()).expect("its own text");
    assert_eq!(first_wait(&back), first_wait(&model));
    assert_eq!(Model::from_text(&back.to_text()).expect("its own text").to_text(), back.to_text());
}

#[test]
fn what_nobody_kept_is_refused() {
    let text = taught(5, 240).to_text();
    let bent = [
        String::new(),
        "{}".into(),
        "null".into(),
        "[1]".into(),
        text.replace("\"version\":1", "\"version\":2"),
        text.replace("\"trust\":", "\"trust\":-"),
        text.replace("\"delay\":[", "\"delay\":[0,"),
        text.replace("\"delay\":[", "\"delay\":[-"),
        text.replace("\"call\":[0.0", "\"call\":[1e300"),
        text.replace("\"sessions\":5.0", "\"sessions\":-5.0"),
        text.replace("{\"version\"", "{\"more\":1,\"version\""),
    ];
    for bent in bent {
        assert!(bent != text && Model::from_text(&bent).is_none(), "{}", &bent[..bent.len().min(60)]);
    }
}

prop_compose! {
    fn any_known()(
        started in prop::option::of(-1_000_000i64..1_000_000), enqueued in -1_000_000i64..1_000_000,
        ended in prop::option::of(-1_000_000i64..1_000_000), told in prop::array::uniform3(prop::option::of(-1_000_000i64..1_000_000)),
    ) -> Known {
        let moment = |seconds: i64| Timestamp::from_seconds(1_700_000_000 + seconds);
        let [in_call, over, not_ready] = told.map(|at| at.map(moment));
        Known::new(started.map(moment), moment(enqueued), ended.map(moment)).told(in_call, over, not_ready)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn no_wait_breaks_its_bounds_whatever_is_known_or_was_learned(
        lessons in prop::collection::vec((any_known(), any_known(), any::<bool>(), -1e6f64..1e6), 0..6),
        known in any_known(), now in -1_000_000i64..1_000_000, most in 1u64..100_000, pressure in 0.0f64..4.0, draw in 0.0f64..=1.0,
    ) {
        let mut model = Model::default();
        for (before, after, is_ready, at) in &lessons {
            model.learn(before, after, *is_ready, *at);
        }
        let most = Duration::from_secs(most);
        let bounds = Bounds { least: Duration::from_secs(1), most, most_old: most * 2, ..bounds(Timestamp::from_seconds(1_700_000_000 + now)) };
        if let Some(wait) = wait(&model, &known, &bounds, pressure, draw) {
            prop_assert!(wait <= bounds.most_now());
            prop_assert!(known.not_ready.is_none() || wait >= bounds.least);
        }
        prop_assert!(Model::from_text(&model.to_text()).is_some());
    }
}
