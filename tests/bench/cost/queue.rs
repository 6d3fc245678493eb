//! The queue by its size: start-up, claiming a batch, and recording its verdicts.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kore_archiver::clock::{Clock, SystemClock};
use kore_archiver::queue::write::Outcome;
use kore_archiver::queue::{Applied, Claimed, Hands, Queue, Turn, Write};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use tokio_util::sync::CancellationToken;

/// Rows that are claimed together: the default of `poll.concurrency`.
const BATCH: usize = 16;
const BATCHES: usize = 400;

struct Cost {
    open: Duration,
    claim: Duration,
    verdict: Duration,
}

/// As many rows as a long life leaves behind: one in ten is pending, and of those one in ten is due, but a hundred at
/// least, so that a batch is as large in a small queue.
async fn fill(path: &Path, rows: u64) {
    let mut connection = SqliteConnectOptions::new().filename(path).connect().await.expect("it can be opened");
    let every = (rows / 100).clamp(10, 100);
    let sql = format!(
        "PRAGMA synchronous = OFF; BEGIN; \
         WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {rows} - 1) \
         INSERT INTO sessions (session_id, state, reason, next_poll_at) SELECT \
           '65e7133a3242653c' || printf('%08x', i), iif(i % 10 = 0, 'pending', 'done'), \
           iif(i % 10 = 0, NULL, 'archived'), \
           strftime('%Y-%m-%dT%H:%M:%fZ', 'now', iif(i % {every} = 0, '-1 hour', '+1 day')) FROM n; COMMIT"
    );
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.expect("the rows are good");
    connection.close().await.expect("it can be closed");
}

async fn open(path: &Path, clock: &Arc<dyn Clock>) -> Queue {
    let opened = Queue::open(path, Arc::clone(clock), &CancellationToken::new()).await;
    opened.expect("a queue can be made, and opened again").expect("nobody stops it")
}

async fn cost(rows: u64) -> Cost {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = folder.path().join("queue.db");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    drop(open(&path, &clock).await);
    fill(&path, rows).await;
    let began = Instant::now();
    let Queue { mut claims, writer, lock: _lock, .. } = open(&path, &clock).await;
    let open = began.elapsed();
    let (mut claim, mut verdict) = (Vec::new(), Vec::new());
    for _ in 0..BATCHES {
        let (began, now) = (Instant::now(), clock.now());
        let due = claims.next_due(&["default"], now, Turn::drawn(rand::random())).await.expect("it can be read");
        let rows = claims.claim(&due, "default", BATCH, now, &Hands::default()).await.expect("it can be read");
        claim.push(began.elapsed());
        assert_eq!(rows.len(), BATCH, "a whole batch, whatever the size of the queue");
        let began = Instant::now();
        let committed = rows.iter().map(|claimed| {
            let Claimed::Row(row) = claimed else { panic!("every row is good") };
            let (lease, history) = (row.lease.clone(), row.history.clone());
            let outcome = Outcome { lease, history, kore_status: Some("call_in_progress".to_owned()), note: None };
            // Due again at once, behind the others.
            writer.submit(Write::Waits { outcome, next_poll_at: now })
        });
        for applied in futures_util::future::join_all(committed).await {
            assert_eq!(applied.expect("the writer lives"), Applied::Yes);
        }
        verdict.push(began.elapsed());
    }
    Cost { open, claim: median(claim), verdict: median(verdict) }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

pub async fn by_size() {
    let most = std::env::var("KORE_ARCHIVER_ROWS").ok().and_then(|rows| rows.parse().ok()).unwrap_or(10_000_000);
    println!("\nclaiming {BATCH} rows, and their verdicts in one durable transaction; medians of {BATCHES}\n");
    println!("| rows | start-up ms | claim µs | verdicts µs | claim, as a multiple of 1,000 rows' | verdicts |");
    println!("|---|---|---|---|---|---|");
    let few = cost(1000).await;
    for (rows, cost) in [(1000, None), (1_000_000, Some(cost(1_000_000).await)), (most, Some(cost(most).await))] {
        let cost = cost.as_ref().unwrap_or(&few);
        println!(
            "| {rows} | {} | {} | {} | {:.2} | {:.2} |",
            cost.open.as_millis(),
            cost.claim.as_micros(),
            cost.verdict.as_micros(),
            cost.claim.as_secs_f64() / few.claim.as_secs_f64(),
            cost.verdict.as_secs_f64() / few.verdict.as_secs_f64()
        );
    }
}
