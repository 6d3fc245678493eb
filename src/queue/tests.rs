//! Commits of others are noticed. Rows as strangers leave them: whatever stands in a column, whoever switched the CHECKs
//! off, the row is claimed, as one to work on or as one to refuse with a reason, and the queue goes on.

use proptest::sample::select;
use proptest::test_runner::TestRunner;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, SqliteConnection};
use tempfile::TempDir;

use super::*;
use crate::clock::{SystemClock, Timestamp};
use crate::corpus;

/// Every column but `state`: a row in another state is nobody's business.
const COLUMNS: [&str; 19] = [
    "session_id",
    "bot",
    "priority",
    "call_ended_at",
    "metadata",
    "enqueued_at",
    "next_poll_at",
    "polls",
    "failures",
    "kore_status",
    "last_error",
    "pending_since",
    "lease_token",
    "wait_kind",
    "wait_step",
    "error_step",
    "first_failure_at",
    "denials",
    "over_at",
];
/// As what the bytes are stored; text need not be UTF-8.
const FORMS: [&str; 5] = ["CAST(?1 AS TEXT)", "?1", "CAST(?1 AS INTEGER)", "CAST(?1 AS REAL)", "CAST(?1 AS NUMERIC)"];

struct Scene {
    queue: Queue,
    stranger: SqliteConnection,
    folder: TempDir,
}

impl Scene {
    async fn new() -> Self {
        // Thousands of commits: on a memory disk, where there is one.
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
        let path = folder.path().join("queue.db");
        let opened = Queue::open(&path, Arc::new(SystemClock::new()), &CancellationToken::new()).await;
        let queue = opened.unwrap().expect("nobody stops it");
        let mut stranger = SqliteConnectOptions::new().filename(&path).connect().await.unwrap();
        let sql = "PRAGMA ignore_check_constraints = ON; PRAGMA synchronous = OFF";
        sqlx::raw_sql(sql).execute(&mut stranger).await.unwrap();
        Self { queue, stranger, folder }
    }

    /// Puts a row with these bytes in this column, and claims it.
    async fn judge(&mut self, column: &str, form: &str, bytes: &[u8]) {
        sqlx::raw_sql("DELETE FROM sessions").execute(&mut self.stranger).await.unwrap();
        let sql = match column {
            "session_id" => format!("INSERT OR IGNORE INTO sessions (session_id) VALUES ({form})"),
            _ => format!("INSERT OR IGNORE INTO sessions (session_id, {column}) VALUES ('sound', {form})"),
        };
        let inserted = sqlx::query(AssertSqlSafe(sql)).bind(bytes).execute(&mut self.stranger).await;
        // What SQLite itself does not take, such as a NULL, never becomes a row.
        if inserted.is_ok_and(|inserted| inserted.rows_affected() == 1) {
            self.claim(column).await;
        }
    }

    async fn claim(&mut self, column: &str) {
        let (bots, now) = (["default"], SystemClock::new().now().after(std::time::Duration::from_secs(1)));
        let due = self.queue.claims.next_due(&bots, now, Turn::Longest).await.unwrap();
        let hands = Hands::default();
        let mut rows = self.queue.claims.claim(&due, bots[0], 10, now, &hands).await.unwrap();
        rows.extend(self.queue.claims.claim_strangers(&bots, 10, now, &hands).await.unwrap());
        assert_eq!(!rows.is_empty(), due.is_now(now), "what is due is there, and the other way round");
        // A time that can be read, and lies in the days to come, is waited for.
        assert!(rows.len() == 1 || column == "next_poll_at" && due.bots.len() == 1, "{due:?}");
        for row in rows {
            let label = row.lease().label().to_owned();
            assert!(label.chars().count() <= 128 && !label.chars().any(char::is_control), "{label:?}");
            if let Claimed::Invalid { lease, why, .. } = row {
                assert!(
                    !why.is_empty() && why.chars().count() <= 1000 && !why.chars().any(char::is_control),
                    "{why:?}"
                );
                let refused = self.queue.writer.submit(Write::Refuses { lease, why, at: now }).await;
                assert_eq!(refused, Ok(Applied::Yes));
            }
        }
    }
}

/// What a look that asks SQLite does: a commit that the log's time does not tell of is found by it alone.
fn pretend_that_the_log_is_as_it_was(claims: &mut Claims, path: &Path) {
    claims.log_written = file::log_written(path);
}

#[tokio::test]
async fn a_commit_is_noticed_by_the_logs_time_or_at_worst_some_looks_later() {
    let mut scene = Scene::new().await;
    let path = scene.folder.path().join("queue.db");
    let claims = &mut scene.queue.claims;
    let insert = async |stranger: &mut SqliteConnection, id: &str| {
        let sql = format!("INSERT INTO sessions (session_id) VALUES ('{id}')");
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(stranger).await.unwrap();
    };
    let later = SystemClock::new().now().after(std::time::Duration::from_hours(1));
    claims.has_changed(later).await.unwrap();
    assert!(!claims.has_changed(later).await.unwrap());
    insert(&mut scene.stranger, "told-by-the-log").await;
    assert!(claims.has_changed(later).await.unwrap(), "the log was written to");

    insert(&mut scene.stranger, "fresh").await;
    pretend_that_the_log_is_as_it_was(claims, &path);
    assert!(claims.has_changed(SystemClock::new().now()).await.unwrap(), "what was just written may not be flushed");

    insert(&mut scene.stranger, "flushed-late").await;
    pretend_that_the_log_is_as_it_was(claims, &path);
    let mut looks = 1;
    while !claims.has_changed(later).await.unwrap() {
        looks += 1;
        assert!(looks < 15, "it is never noticed");
    }
    assert!(looks > 1, "a quiet queue was asked");
}

#[tokio::test]
async fn a_time_that_no_calendar_has_is_due_when_its_text_is_and_until_then_nobody_runs_in_circles() {
    let mut scene = Scene::new().await;
    // It passes the schema's CHECK: the thirty-first of November.
    let sql = "INSERT INTO sessions (session_id, next_poll_at) VALUES ('odd', '2026-11-31T00:00:00.000Z')";
    sqlx::raw_sql(sql).execute(&mut scene.stranger).await.unwrap();
    let (bots, claims) = (["default"], &mut scene.queue.claims);
    let now = Timestamp::parse("2026-11-30T08:00:00.000Z").unwrap();
    let due = claims.next_due(&bots, now, Turn::Longest).await.unwrap();
    assert!(!due.is_now(now) && due.is_now(now.after(std::time::Duration::from_mins(1))), "{due:?}");
    assert!(claims.claim(&due, bots[0], 1, now, &Hands::default()).await.unwrap().is_empty());

    let now = Timestamp::parse("2026-12-01T00:00:00.000Z").unwrap();
    let due = claims.next_due(&bots, now, Turn::Longest).await.unwrap();
    assert!(due.is_now(now));
    assert_eq!(claims.claim(&due, bots[0], 1, now, &Hands::default()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_page_that_is_not_given_is_read_again_and_only_for_long_a_reason_to_end_q5() {
    let mut scene = Scene::new().await;
    let path = scene.folder.path().join("queue.db");
    let sql = "INSERT INTO sessions (session_id) VALUES ('one'); PRAGMA wal_checkpoint(TRUNCATE)";
    sqlx::raw_sql(sql).execute(&mut scene.stranger).await.unwrap();
    let root: i64 = sqlx::query_scalar("SELECT rootpage FROM sqlite_schema WHERE name = 'sessions_due'")
        .fetch_one(&mut scene.stranger)
        .await
        .unwrap();
    let size: i64 = sqlx::query_scalar("PRAGMA page_size").fetch_one(&mut scene.stranger).await.unwrap();
    // As another process would: SQLite's locks of this one stay.
    let place = format!("seek={}", root - 1);
    let (of, size) = (format!("of={}", path.display()), format!("bs={size}"));
    let spoil = std::process::Command::new("dd")
        .args(["if=/dev/zero", &of, &size, &place, "count=1", "conv=notrunc", "status=none"])
        .status();
    assert!(spoil.unwrap().success());
    let (bots, now) = (["default"], SystemClock::new().now());
    let mut claims = Claims::connect(&path).await.unwrap();
    let mut looks = 0;
    let error = loop {
        match claims.next_due(&bots, now, Turn::Longest).await.unwrap_err() {
            QueueError::Io(_) => looks += 1,
            error => break error,
        }
    };
    assert!(looks >= 30, "it ends after {looks} looks");
    let QueueError::NotUsable { cause, .. } = error else { panic!("{error}") };
    assert!(cause.contains("again and again"), "{cause}");
}

#[test]
fn fuzz_rows() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let mut scene = runtime.block_on(Scene::new());
    for bytes in corpus::kept("rows") {
        for (column, form) in COLUMNS.iter().flat_map(|column| FORMS.map(|form| (column, form))) {
            runtime.block_on(scene.judge(column, form, &bytes));
        }
    }
    let rows = (select(&COLUMNS[..]), select(&FORMS[..]), corpus::bent("rows"));
    let scene = std::cell::RefCell::new(scene);
    let judged = TestRunner::default().run(&rows, |(column, form, bytes)| {
        runtime.block_on(scene.borrow_mut().judge(column, form, &bytes));
        Ok(())
    });
    judged.unwrap();
}

#[tokio::test]
async fn a_row_that_was_mended_or_replaced_meanwhile_is_not_refused() {
    let mut scene = Scene::new().await;
    let bent = "PRAGMA ignore_check_constraints = ON; INSERT INTO sessions (session_id, polls) VALUES ('bent', -1)";
    sqlx::raw_sql(bent).execute(&mut scene.stranger).await.unwrap();
    let (bots, now) = (["default"], SystemClock::new().now().after(std::time::Duration::from_secs(1)));
    let due = scene.queue.claims.next_due(&bots, now, Turn::Longest).await.unwrap();
    let rows = scene.queue.claims.claim(&due, bots[0], 10, now, &Hands::default()).await.unwrap();
    let Some(Claimed::Invalid { lease, why, .. }) = rows.into_iter().next() else { panic!("its polls are below none") };
    let mended = "DELETE FROM sessions; INSERT INTO sessions (session_id) VALUES ('sound')";
    sqlx::raw_sql(mended).execute(&mut scene.stranger).await.unwrap();
    let refused = scene.queue.writer.submit(Write::Refuses { lease, why, at: now }).await;
    assert_eq!(refused, Ok(Applied::LeaseLost));
}
