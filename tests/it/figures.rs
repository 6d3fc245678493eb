//! The figures that people and alarms rely on: counters, gauges and histograms of known sessions by number, and the same
//! queue through its view and its history.

use kore_archiver::clock::{Clock as _, SystemClock, Timestamp};

use crate::support::kore::{Answer, Body, Cut, FakeKore, Options, Quirk, SourceFile, Timeline};
use crate::support::rows::eventually;
use crate::support::s3::{Fault, Lie, Op, Times};
use crate::support::scene::recording;
use crate::support::world::{Daemon, World, id};

/// When the rows of this page say that they were enqueued.
const LONG_AGO: &str = "2026-01-02T03:04:05.000Z";

/// The file of a session, of as many bytes as nobody else's.
fn file(number: u32) -> SourceFile {
    SourceFile::new("a.wav", recording(number.into(), 1000 + u64::from(number)))
}

/// What Kore says of each session of the default bot before it says success, if it does, and how the session ends.
fn sessions() -> Vec<(Timeline, &'static str)> {
    let ready = |before: Timeline, number| before.finally(Answer::success([file(number)]));
    let cut = file(7).always(Quirk::NoETag).next(1, Quirk::Cut { after: 500, how: Cut::Rst });
    vec![
        (ready(Timeline::new().polls(2, "call_in_progress").polls(1, "media_in_progress"), 1), "done/archived"),
        (ready(Timeline::new().polls(1, "media_conversion_failed").polls(1, "Transcoding"), 2), "done/archived"),
        (Timeline::new().finally("recording_disabled"), "unavailable/recording_disabled"),
        (Timeline::new().finally("failed"), "failed/kore_failed"),
        (Timeline::new().finally(Answer::error(404, "Session not found")), "failed/not_found"),
        (ready(Timeline::new().polls(1, Answer::rate_limited().retry_after("1")), 6), "done/archived"),
        (Timeline::ready([cut]), "done/archived"),
        (ready(Timeline::new().polls(2, Answer::error(401, "invalid token")), 8), "done/archived"),
        (Timeline::ready([SourceFile::new("a.bin", Body::noise(9, 1009))]), "suspect/suspect_content"),
    ]
}

async fn assert_metrics(daemon: &Daemon, expected: &[(&str, f64)]) {
    let page = daemon.get("/metrics").await.1;
    for (line, value) in expected {
        let line = format!("kore_archiver_{line}");
        let found = page.lines().find_map(|text| text.strip_prefix(&line)?.trim().parse::<f64>().ok());
        assert_eq!(found, Some(*value), "{line} in {page}");
    }
}

/// The counters of one name that are not zero, as `labels value`.
async fn counted(daemon: &Daemon, name: &str) -> Vec<String> {
    let page = daemon.get("/metrics").await.1;
    let lines = page.lines().filter_map(|line| line.strip_prefix(&format!("kore_archiver_{name}{{")));
    let mut counted: Vec<_> = lines.filter(|line| !line.ends_with(" 0")).map(str::to_owned).collect();
    counted.sort();
    counted
}

/// Plays all sessions one after the other, so that each fault is one session's alone.
async fn played(world: &World) -> Daemon {
    let daemon = world.daemon().await;
    for (number, (timeline, end)) in (1..).zip(sessions()) {
        world.kore.session(&id(number), timeline);
        insert(world, "default", number).await;
        assert_eq!(world.end_of(&id(number)).await, end, "{number}");
    }
    for (number, op, fault) in [
        (10, Op::PutObject, Fault::Status(403, "AccessDenied")),
        (11, Op::HeadObject, Fault::LieOnHead(Lie::WrongChecksum)),
    ] {
        world.s3.fail_next(op, Times::Next(1), fault);
        world.kore.session(&id(number), Timeline::ready([file(number)]));
        insert(world, "default", number).await;
        assert_eq!(world.end_of(&id(number)).await, "done/archived", "{number}");
    }
    insert(world, "nobody", 12).await;
    assert_eq!(world.end_of(&id(12)).await, "failed/unknown_bot");
    daemon
}

async fn insert(world: &World, bot: &str, number: u32) {
    let columns = "session_id, bot, enqueued_at, next_poll_at";
    let values = format!("'{}', '{bot}', '{LONG_AGO}', '{LONG_AGO}'", id(number));
    world.execute(&format!("INSERT INTO sessions ({columns}) VALUES ({values})")).await.expect("it is a good row");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_figure_of_known_sessions_is_the_one_that_was_to_come() {
    let mut world = World::new().await;
    let limited = FakeKore::start(Options::default()).await;
    limited.unknown_sessions_get(Answer::rate_limited().retry_after("600"));
    world.add_bot("limited", "another", &limited);
    world.set("poll.max_failures", "2").set("poll.fail_after", "\"0s\"");
    world.create_queue();
    let daemon = played(&world).await;
    // Three that are due, and nobody takes.
    insert(&world, "limited", 20).await;
    let paused = "kore_archiver_paused{what=\"bot:limited\",reason=\"rate_limited\"}";
    eventually("the other bot is paused", async || daemon.metric(paused).await == Some(1.0)).await;
    insert(&world, "limited", 21).await;
    insert(&world, "limited", 22).await;
    eventually("they are due", async || daemon.metric("kore_archiver_due_sessions").await == Some(3.0)).await;

    let polls = [
        ("call_in_progress", 2),
        ("error", 2),
        ("failed", 2),
        ("media_in_progress", 1),
        ("other_status", 2),
        ("success", 11),
        ("unauthorized", 2),
        ("unavailable", 1),
    ];
    let of = |bot: &str, outcome: &str, count: i32| format!("bot=\"{bot}\",outcome=\"{outcome}\"}} {count}");
    let mut expected: Vec<_> = polls.iter().map(|(outcome, count)| of("default", outcome, *count)).collect();
    expected.extend([of("default", "rate_limited", 1), of("limited", "rate_limited", 1)]);
    expected.sort();
    assert_eq!(counted(&daemon, "polls_total").await, expected);
    assert_eq!(world.kore.polls().len(), 24, "and Kore saw as many");
    let failures = ["stage=\"download\"} 1", "stage=\"poll\"} 6", "stage=\"upload\"} 1", "stage=\"verify\"} 1"];
    assert_eq!(counted(&daemon, "failures_total").await, failures);
    let finished = [
        "bot=\"default\",state=\"done\",reason=\"archived\"} 7",
        "bot=\"default\",state=\"failed\",reason=\"kore_failed\"} 1",
        "bot=\"default\",state=\"failed\",reason=\"not_found\"} 1",
        "bot=\"default\",state=\"suspect\",reason=\"suspect_content\"} 1",
        "bot=\"default\",state=\"unavailable\",reason=\"recording_disabled\"} 1",
        "bot=\"unknown\",state=\"failed\",reason=\"unknown_bot\"} 1",
    ];
    assert_eq!(counted(&daemon, "sessions_finished_total").await, finished);
    let states = [
        "state=\"done\"} 7",
        "state=\"failed\"} 3",
        "state=\"pending\"} 3",
        "state=\"suspect\"} 1",
        "state=\"unavailable\"} 1",
    ];
    assert_eq!(counted(&daemon, "sessions").await, states);
    assert_metrics(
        &daemon,
        &[
            ("recordings_archived_total{bot=\"default\"}", 7.0),
            ("archived_bytes_total{bot=\"default\"}", 7000.0 + 45.0),
            ("ready_to_archived_seconds_count", 7.0),
            ("transfer_seconds_count", 8.0),
            ("transfers_in_flight", 0.0),
        ],
    )
    .await;
    let waits = SystemClock::new().now().since(Timestamp::parse(LONG_AGO).unwrap()).as_secs_f64();
    let told = daemon.metric("kore_archiver_oldest_pending_seconds").await.unwrap();
    assert!((waits - told).abs() < 2.0, "{told} s where it is {waits} s");

    assert_eq!(overview(&world).await, OVERVIEW);
    assert_eq!(history(&world).await, HISTORY);
    assert_eq!(daemon.stop().await, 0);
}

/// `state sessions oldest_enqueued_at next_due_at` of each row.
async fn overview(world: &World) -> Vec<String> {
    let rows = world.rows("SELECT * FROM queue_overview ORDER BY state").await;
    let columns = ["state", "sessions", "oldest_enqueued_at", "next_due_at"];
    let line = |row: &std::collections::BTreeMap<String, Option<String>>| {
        assert_eq!(row.len(), columns.len(), "{row:?}");
        columns.map(|column| row[column].clone().unwrap_or_else(|| "-".to_owned())).join(" ")
    };
    rows.iter().map(line).collect()
}

const OVERVIEW: [&str; 5] = [
    "done 7 2026-01-02T03:04:05.000Z -",
    "failed 3 2026-01-02T03:04:05.000Z -",
    "pending 3 2026-01-02T03:04:05.000Z 2026-01-02T03:04:05.000Z",
    "suspect 1 2026-01-02T03:04:05.000Z -",
    "unavailable 1 2026-01-02T03:04:05.000Z -",
];

/// The kinds of the events of each session, in order.
async fn history(world: &World) -> Vec<String> {
    let sql = "SELECT session_id, group_concat(kind, ' ') AS kinds FROM \
               (SELECT session_id, kind FROM events ORDER BY id) GROUP BY session_id ORDER BY session_id";
    let rows = world.rows(sql).await;
    rows.into_iter().map(|row| row["kinds"].clone().unwrap()).collect()
}

const HISTORY: [&str; 13] = [
    "done",
    "unknown_status done",
    "unavailable",
    "failed",
    "error error failed",
    "error done",
    "error done",
    "error done",
    "suspect",
    "error done",
    "error done",
    "error failed",
    "error",
];

#[tokio::test(flavor = "multi_thread")]
async fn the_length_of_the_write_ahead_log_is_told_while_a_reader_keeps_it_growing_q8() {
    let world = World::new().await;
    world.create_queue();
    let daemon = world.daemon().await;
    let mut reader = world.sql().await;
    sqlx::raw_sql("BEGIN; SELECT COUNT(*) FROM sessions").execute(&mut reader).await.unwrap();
    let length = || std::fs::metadata(world.path("queue.db-wal")).unwrap().len();
    // More than SQLite lets it be where nobody reads: it starts afresh at a thousand pages.
    let long = 3 * 1000 * 4096;
    let many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) \
                INSERT INTO sessions (session_id, next_poll_at) SELECT 'later-' || i, '2999-01-01T00:00:00.000Z' FROM n; \
                DELETE FROM sessions";
    for _ in 0..10 {
        world.execute(many).await.unwrap();
    }
    assert!(length() > long, "{}", length());
    let told = async || daemon.metric("kore_archiver_queue_wal_bytes").await;
    #[expect(clippy::cast_precision_loss, reason = "it is far below 2^53")]
    eventually("it is told to the byte", async || told().await == Some(length() as f64)).await;
    assert_eq!(daemon.stop().await, 0);
}
