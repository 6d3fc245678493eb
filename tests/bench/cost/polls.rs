//! Asking: how many polls a second, and what waiting costs.

use std::time::{Duration, Instant};

use crate::process::{Usage, usage};
use crate::support::kore::{Answer, Timeline};
use crate::support::world::{Daemon, World, id};

/// Rows with sessions that are never ready, by one statement of another program.
async fn fill(world: &World, rows: u32, next_poll_at: &str) {
    world.create_queue();
    let numbers = format!("WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {rows} - 1)");
    let sql = format!(
        "{numbers} INSERT INTO sessions (session_id, next_poll_at) \
         SELECT '65e7133a3242653c' || printf('%08x', i), strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '{next_poll_at}') FROM n"
    );
    world.execute(&sql).await.expect("the ids are good");
}

async fn polls(daemon: &Daemon) -> f64 {
    daemon.metric("kore_archiver_polls_total{bot=\"default\",outcome=\"call_in_progress\"}").await.unwrap_or_default()
}

async fn over(daemon: &Daemon, span: Duration) -> (f64, Usage, f64) {
    let (began, asked, before) = (Instant::now(), polls(daemon).await, usage(daemon.id()).expect("it runs"));
    tokio::time::sleep(span).await;
    let (after, answered) = (usage(daemon.id()).expect("it runs"), polls(daemon).await);
    let used = Usage {
        cpu_seconds: after.cpu_seconds - before.cpu_seconds,
        voluntary_switches: after.voluntary_switches - before.voluntary_switches,
        ..after
    };
    (answered - asked, used, began.elapsed().as_secs_f64())
}

/// More rows due than can be asked about, and no budget.
pub async fn sustained() {
    let rows = 20_000;
    let mut world = World::new().await;
    world
        .set("log.level", "\"warn\"")
        .set("bots.default.requests_per_minute", "10000000")
        .set("poll.concurrency", "64")
        .set("poll.call_in_progress", "{ initial = \"1s\", factor = 1.0, max = \"1s\" }");
    for number in 0..rows {
        world.kore.session(&id(number), Timeline::new().finally(Answer::status("call_in_progress")));
    }
    fill(&world, rows, "+0 seconds").await;
    let daemon = world.daemon().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (asked, used, seconds) = over(&daemon, Duration::from_secs(10)).await;
    let waiting = usage(std::process::id()).expect("that is this process");
    println!(
        "\n{:.0} polls a second, each with a durable verdict; {:.0} µs of CPU a poll, peak {:.0} MB (fakes, {:.1} CPU s so far, share the machine)",
        asked / seconds,
        used.cpu_seconds / asked * 1e6,
        used.peak_mb,
        waiting.cpu_seconds
    );
    assert_eq!(daemon.stop().await, 0);
}

/// Many rows, all due later.
pub async fn idle() {
    let mut world = World::new().await;
    world.set("log.level", "\"info\"");
    fill(&world, 100_000, "+1 hour").await;
    let daemon = world.daemon().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let span = Duration::from_secs(30);
    let (asked, used, seconds) = over(&daemon, span).await;
    #[expect(clippy::cast_precision_loss, reason = "these are figures for people")]
    let switches = used.voluntary_switches as f64 / seconds;
    println!(
        "\n100,000 rows due in an hour: {:.2} % of a core, the main thread slept {switches:.1} times a second; {asked} polls",
        used.cpu_seconds / seconds * 100.0,
    );
    assert_eq!(daemon.stop().await, 0);
}

/// Another program inserts 100,000 rows in one transaction: how long polling pauses for it at most.
pub async fn inserts() {
    let mut world = World::new().await;
    world.set("log.level", "\"warn\"").set("bots.default.requests_per_minute", "6000");
    world.set("poll.call_in_progress", "{ initial = \"1s\", factor = 1.0, max = \"1s\" }");
    world.kore.unknown_sessions_get(Answer::status("call_in_progress"));
    fill(&world, 1000, "+0 seconds").await;
    let daemon = world.daemon().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (began, from) = (Instant::now(), world.kore.elapsed());
    let sql = "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 99999) \
               INSERT INTO sessions (session_id) SELECT '65e7133a3242653d' || printf('%08x', i) FROM n";
    world.execute(sql).await.expect("the ids are good");
    let took = began.elapsed();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let at: Vec<Duration> = world.kore.polls().iter().map(|poll| poll.at).filter(|at| *at >= from).collect();
    let pause = at.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).max().expect("it polls");
    println!(
        "\n100,000 rows inserted at once in {:.2} s: polling paused for {:.2} s at most",
        took.as_secs_f64(),
        pause.as_secs_f64()
    );
    assert_eq!(daemon.stop().await, 0);
}
