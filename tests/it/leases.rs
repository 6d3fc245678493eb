//! The right to write a row's result, and who has lost it (FAULTS Q11): the queue as the daemon's own code sees it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kore_archiver::clock::{Clock, SystemClock, Timestamp};
use kore_archiver::queue::write::{Note, Outcome};
use kore_archiver::queue::writer::Health;
use kore_archiver::queue::{Applied, Claimed, Hands, Queue, Row, Turn, Write};
use kore_archiver::session::Reason;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _};
use tokio_util::sync::CancellationToken;

async fn open(path: &Path) -> Queue {
    let opened = Queue::open(path, Arc::new(SystemClock::new()), &CancellationToken::new()).await.unwrap();
    opened.expect("nobody stops it")
}

async fn execute(path: &Path, sql: &str) {
    let mut other = SqliteConnectOptions::new().filename(path).connect().await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut other).await.unwrap();
}

async fn text(path: &Path, sql: &str) -> String {
    let mut other = SqliteConnectOptions::new().filename(path).connect().await.unwrap();
    sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(&mut other).await.unwrap()
}

async fn claim(queue: &mut Queue, hands: &Hands) -> Vec<Claimed> {
    let now = SystemClock::new().now();
    let due = queue.claims.next_due(&["default"], now, Turn::Longest).await.unwrap();
    queue.claims.claim(&due, "default", 10, now, hands).await.unwrap()
}

fn row(claimed: &Claimed) -> &Row {
    match claimed {
        Claimed::Row(row) => row,
        Claimed::Invalid { why, .. } => panic!("{why}"),
    }
}

fn finish(row: &Row) -> Write {
    let (lease, history, at) = (row.lease.clone(), row.history.clone(), SystemClock::new().now());
    let note = Some(Note::new("poll", false, "\0 told at length ".repeat(200).as_str()));
    let outcome = Outcome { lease, history, kore_status: None, note };
    Write::Finishes { outcome, reason: Reason::NotFound, at }
}

fn wait(row: &Row) -> Write {
    let next_poll_at = SystemClock::new().now().after(Duration::from_hours(1));
    let (lease, history) = (row.lease.clone(), row.history.clone());
    Write::Waits { outcome: Outcome { lease, history, kore_status: None, note: None }, next_poll_at }
}

#[tokio::test]
async fn a_result_changes_the_row_that_was_claimed_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    let mut queue = open(&path).await;
    for change in [
        "UPDATE sessions SET state = 'pending'",
        "INSERT OR REPLACE INTO sessions (session_id) VALUES ('a')",
        "DELETE FROM sessions; INSERT INTO sessions (session_id) VALUES ('a')",
        "UPDATE sessions SET session_id = 'b'",
        "UPDATE sessions SET bot = 'default'",
        "UPDATE sessions SET metadata = '{}'",
        "DELETE FROM sessions",
    ] {
        execute(&path, "DELETE FROM sessions; INSERT INTO sessions (session_id) VALUES ('a')").await;
        let claimed = claim(&mut queue, &Hands::default()).await;
        execute(&path, change).await;
        for write in [finish(row(&claimed[0])), wait(row(&claimed[0]))] {
            assert_eq!(queue.writer.submit(write).await.unwrap(), Applied::LeaseLost, "{change}");
        }
        let touched = "SELECT CAST(COUNT(*) AS TEXT) FROM sessions WHERE state <> 'pending' OR next_poll_at > strftime('%Y', 'now', '+1 year')";
        assert_eq!(text(&path, touched).await, "0", "{change}");
    }
}

#[tokio::test]
async fn what_does_not_concern_the_work_leaves_the_right_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    let mut queue = open(&path).await;
    execute(&path, "INSERT INTO sessions (session_id) VALUES ('a')").await;
    let claimed = claim(&mut queue, &Hands::default()).await;
    execute(&path, "UPDATE sessions SET priority = 7").await;
    assert_eq!(queue.writer.submit(finish(row(&claimed[0]))).await.unwrap(), Applied::Yes);
    assert_eq!(text(&path, "SELECT reason FROM sessions").await, "not_found");
    assert_eq!(text(&path, "SELECT CAST(length(last_error) AS TEXT) FROM sessions").await, "1000");
    assert_eq!(queue.writer.submit(finish(row(&claimed[0]))).await.unwrap(), Applied::LeaseLost, "it ends once");
    assert_eq!(text(&path, "SELECT group_concat(kind) FROM events").await, "error,failed");
}

#[tokio::test]
async fn a_session_in_hand_is_not_claimed_again_under_another_row() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    let mut queue = open(&path).await;
    execute(&path, "INSERT INTO sessions (session_id) VALUES ('a'), ('b')").await;
    let mut hands = Hands::default();
    for claimed in claim(&mut queue, &hands).await {
        hands.take(claimed.lease().clone());
    }
    execute(&path, "INSERT OR REPLACE INTO sessions (session_id) VALUES ('a')").await;
    assert_eq!(claim(&mut queue, &hands).await.len(), 0);
    hands.release(1).unwrap();
    let again = claim(&mut queue, &hands).await;
    assert_eq!(again.iter().map(|claimed| claimed.lease().label()).collect::<Vec<_>>(), ["a"]);
    hands.shun(again[0].lease().row(), Duration::from_secs(9));
    assert_eq!(claim(&mut queue, &hands).await.len(), 0);
    hands.forgive(Duration::from_secs(9));
    assert_eq!(claim(&mut queue, &hands).await.len(), 1);
}

/// Three years ahead for a while: waits of before keep what was left of them, and nobody waits for years.
#[tokio::test]
async fn a_clock_that_was_set_back_takes_what_waits_back_with_it_p3() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    let queue = open(&path).await;
    let three_years = Duration::from_hours(24 * (365 + 365 + 366));
    let now = Timestamp::parse("2026-11-23T08:15:00.000Z").unwrap();
    for (id, due, is_left_to) in [
        ("waits-by-the-wrong-clock", "2029-11-23T08:20:00.250Z", "2026-11-23T08:20:00.250Z"),
        ("waits-by-the-right-one", "2026-11-23T08:15:10.000Z", "2026-11-23T08:15:00.000Z"),
        ("is-due", "2026-11-23T08:15:00.000Z", "2026-11-23T08:15:00.000Z"),
        ("was-due", "2026-11-22T00:00:00.000Z", "2026-11-22T00:00:00.000Z"),
        ("no-calendar-has-it", "2029-19-39T29:59:69.999Z", "2026-11-23T08:15:00.000Z"),
    ] {
        let row = format!("INSERT INTO sessions (session_id, next_poll_at) VALUES ('{id}', '{due}')");
        execute(&path, &row).await;
        let set_back = Write::ClockSetBack { by: three_years, now };
        assert_eq!(queue.writer.submit(set_back).await, Ok(Applied::Yes));
        assert_eq!(text(&path, "SELECT next_poll_at FROM sessions").await, is_left_to, "{id}");
        execute(&path, "DELETE FROM sessions").await;
    }
    let over = "INSERT INTO sessions (session_id, state, reason, next_poll_at) \
                VALUES ('over', 'done', 'archived', '2029-11-23T08:15:00.000Z')";
    execute(&path, over).await;
    assert_eq!(queue.writer.submit(Write::ClockSetBack { by: three_years, now }).await, Ok(Applied::Yes));
    assert_eq!(text(&path, "SELECT next_poll_at FROM sessions").await, "2029-11-23T08:15:00.000Z");
}

#[tokio::test]
async fn a_writer_whose_run_is_over_writes_nothing_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    let mut queue = open(&path).await;
    execute(&path, "INSERT INTO sessions (session_id) VALUES ('a')").await;
    let claimed = claim(&mut queue, &Hands::default()).await;
    execute(&path, "UPDATE daemon SET run = 'a newer one'").await;
    assert!(queue.writer.submit(finish(row(&claimed[0]))).await.is_err());
    assert!(matches!(&*queue.writer.health().borrow(), Health::Ended(_, cause) if cause.contains("newer daemon")));
    assert_eq!(text(&path, "SELECT state FROM sessions").await, "pending");
}
