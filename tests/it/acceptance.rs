//! What the whole must show, in two forms: a short one that runs with the other tests, and a long one of the full size
//! (`KORE_ARCHIVER_TEST_LONG=1 cargo test --test it acceptance -- --nocapture --test-threads=1`: some minutes, and
//! about 10 GB of disk for as long as it runs). Both print their figures.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use kore_archiver::clock::{Clock as _, SystemClock};
use serde_json::Value;

use crate::support::audit::{Sources, audit, newest_sidecar};
use crate::support::kore::{Answer, RateLimit, SourceFile, Timeline};
use crate::support::s3::{Options, Storage};
use crate::support::scene::recording;
use crate::support::schema;
use crate::support::world::{World, id};

fn is_long() -> bool {
    std::env::var_os("KORE_ARCHIVER_TEST_LONG").is_some_and(|value| value == "1")
}

/// How much is archived, and how large files are.
struct Load {
    sessions: u32,
    smallest: u64,
    largest: u64,
    patience: Duration,
}

const SHORT: Load = Load { sessions: 60, smallest: 20_000, largest: 12_000_000, patience: Duration::from_mins(3) };
const LONG: Load = Load { sessions: 500, smallest: 20_000, largest: 60_000_000, patience: Duration::from_hours(1) };

impl Load {
    /// Files of a session: one to three, their lengths evenly spread over the orders of magnitude.
    fn files(&self, session: u32) -> Vec<SourceFile> {
        let count = 1 + session % 3;
        (0..count).map(|part| self.file(session, part)).collect()
    }

    fn file(&self, session: u32, part: u32) -> SourceFile {
        let seed = u64::from(session) << 2 | u64::from(part);
        // The golden ratio spreads what is counted.
        let place = (f64::from(session * 3 + part) * 0.618_033_988_75).fract();
        let (smallest, largest) = (to_float(self.smallest), to_float(self.largest));
        let bytes = (smallest * (largest / smallest).powf(place)).round();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is between two lengths")]
        SourceFile::new(&format!("{part}-leg.wav"), recording(seed, bytes as u64))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_session_becomes_objects_that_equal_their_sources_and_a_valid_sidecar() {
    let load = if is_long() { LONG } else { SHORT };
    let bucket = tempfile::tempdir().unwrap();
    let storage = Storage::Folder(bucket.path().to_owned());
    let mut world = World::with(Options { storage, ..Options::default() }).await;
    world.set("log.level", "\"info\"");
    world.create_queue();
    let sources = script(&world, &load);
    let total: u64 = sources.values().flatten().map(|file| file.body().len()).sum();

    let clock = SystemClock::new();
    let daemon = world.daemon().await;
    world.execute(&inserts(sources.keys())).await.unwrap();
    until_nothing_is_pending(&world, load.patience).await;
    let took = clock.elapsed();
    let peak = daemon.peak_megabytes();
    assert_eq!(daemon.stop().await, 0);

    let states = world.rows("SELECT state, polls FROM sessions").await;
    assert!(states.iter().all(|row| row["state"].as_deref() == Some("done")), "{states:?}");
    let checked = audit(&world.queue_path(), &world.s3, &sources).await;
    let faults: Vec<_> = checked.iter().filter(|file| file.fault.is_some()).collect();
    assert!(faults.is_empty(), "{faults:#?}");
    assert_eq!(world.s3.keys().len(), checked.len() + sources.len(), "an object a file, a sidecar a session");
    assert!(sources.values().flatten().all(|file| file.requests() == 1), "nothing was fetched twice");
    let validator = schema::validator();
    for session in sources.keys() {
        let sidecar: Value = serde_json::from_slice(&newest_sidecar(&world.s3, session).unwrap()).unwrap();
        assert!(validator.is_valid(&sidecar), "{sidecar:#}");
    }
    world.assert_clean();
    let (seconds, megabytes) = (took.as_secs_f64(), to_float(total) / 1e6);
    println!(
        "{} sessions, {} files, {megabytes:.0} MB in {seconds:.1} s ({:.0} MB/s); peak memory of the daemon {} MB",
        sources.len(),
        checked.len(),
        megabytes / seconds,
        peak,
    );
}

/// Every session goes through both waits; how long it stays in them differs.
fn script(world: &World, load: &Load) -> Sources {
    let mut sources = BTreeMap::new();
    for session in 0..load.sessions {
        let files = load.files(session);
        let timeline = Timeline::new()
            .polls(1 + session % 3, "call_in_progress")
            .polls(1 + session % 2, "media_in_progress")
            .finally(Answer::success(files.clone()));
        world.kore.session(&id(session), timeline);
        sources.insert(id(session), files);
    }
    sources
}

/// A rate, and the window in which Kore counts.
struct Limit {
    per_minute: u32,
    in_window: usize,
    window: Duration,
    /// How long each of two daemons works.
    each: Duration,
    /// How much of the budget is used at least: it is no use to hold one by asking nothing.
    used: f64,
}

#[tokio::test(flavor = "multi_thread")]
async fn the_budget_holds_in_every_window_with_a_thousand_due_rows_and_a_restart() {
    let limit = if is_long() {
        let minute = Duration::from_mins(1);
        Limit { per_minute: 60, in_window: 60, window: minute, each: 2 * minute, used: 0.9 }
    } else {
        // A fifth of a second less than 60 intervals: a busy machine holds up what is under way.
        let window = Duration::from_millis(5800);
        Limit { per_minute: 600, in_window: 60, window, each: Duration::from_secs(7), used: 0.5 }
    };
    let mut world = World::new().await;
    world.set("bots.default.requests_per_minute", &limit.per_minute.to_string());
    world.set("poll.call_in_progress", "{ initial = \"1h\", factor = 1.0, max = \"1h\" }");
    world.create_queue();
    world.kore.unknown_sessions_get(Answer::status("call_in_progress"));
    world.kore.set_rate_limit(Some(RateLimit {
        requests: limit.in_window,
        window: limit.window,
        answer: Answer::rate_limited(),
    }));
    let ids: Vec<_> = (0..1000).map(id).collect();
    world.execute(&inserts(&ids)).await.unwrap();

    let clock = SystemClock::new();
    let first = world.daemon().await;
    clock.sleep(limit.each).await;
    first.kill().await;
    let second = world.daemon().await;
    clock.sleep(limit.each).await;
    assert_eq!(second.stop().await, 0);
    let took = clock.elapsed();

    let polls = world.kore.polls();
    let most = world.kore.max_in_window(limit.window);
    let gap = world.kore.min_gap().unwrap();
    println!(
        "{} requests in {:.1} s, a restart among them: at most {most} in {:?}, never two within {} ms",
        polls.len(),
        took.as_secs_f64(),
        limit.window,
        gap.as_millis(),
    );
    assert!(most <= limit.in_window, "{most} in {:?}", limit.window);
    assert!(polls.iter().all(|poll| poll.code == 200), "Kore refused none of them");
    let asked: std::collections::BTreeSet<_> = polls.iter().map(|poll| &poll.session).collect();
    assert!(asked.len() + 1 >= polls.len(), "a kill costs one poll at most, the one under way");
    let most_possible = f64::from(limit.per_minute) * (2 * limit.each).as_secs_f64() / 60.0;
    assert!(to_float(polls.len() as u64) > limit.used * most_possible, "{} of {most_possible}", polls.len());
}

fn inserts<'a>(ids: impl IntoIterator<Item = &'a String>) -> String {
    let mut sql = "BEGIN IMMEDIATE;".to_owned();
    for id in ids {
        write!(sql, "INSERT INTO sessions (session_id) VALUES ('{id}');").expect("a String takes everything");
    }
    sql + "COMMIT;"
}

async fn until_nothing_is_pending(world: &World, patience: Duration) {
    let clock = SystemClock::new();
    while clock.elapsed() < patience {
        let pending = world.row("SELECT COUNT(*) AS n FROM sessions WHERE state = 'pending'").await.unwrap();
        if pending["n"].as_deref() == Some("0") {
            return;
        }
        clock.sleep(Duration::from_millis(200)).await;
    }
    panic!("still pending: {}", world.log());
}

#[expect(clippy::cast_precision_loss, reason = "lengths of files are below 2^53")]
fn to_float(number: u64) -> f64 {
    number as f64
}
