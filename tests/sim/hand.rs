//! Other people's hands on the table: what enqueuers do with a `sqlite3` prompt, and what the checks read.
//!
//! The schema's defaults and its trigger take the time from SQLite, which knows the machine's clock alone. Here the
//! hand sets those columns to the run's own time in the same transaction; nothing else about a row is done for it.

use std::path::Path;

use kore_archiver::clock::Timestamp;
use sqlx::sqlite::{SqliteConnectOptions, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions as _, SqliteConnection};

#[derive(Debug)]
pub(crate) struct Hand {
    sound: SqliteConnection,
    /// Has its CHECKs switched off: to switch them would have SQLite prepare all its statements again.
    bent: SqliteConnection,
}

/// A row as the checks see it: rowid, id, state, reason, failures.
pub(crate) type Seen = (i64, String, String, Option<String>, i64);
/// A recording: session, file name, key, bytes, SHA-256.
pub(crate) type SeenRecording = (String, String, String, i64, String);

/// What a row that goes around the CHECKs looks like.
const WEIRD: [&str; 5] = [
    "'../x%2F', 'default', NULL",
    "'weird-metadata', 'default', '[1]'",
    "'weird-bot', X'00ff', NULL",
    "'stranger', 'nobody', NULL",
    "'', 'default', NULL",
];

impl Hand {
    pub(crate) async fn open(path: &Path) -> Self {
        let options =
            SqliteConnectOptions::new().filename(path).synchronous(SqliteSynchronous::Off).disable_statement_logging();
        let sound = options.connect().await.expect("the queue was made just now");
        let mut bent = options.connect().await.expect("the queue was made just now");
        run(&mut bent, "PRAGMA ignore_check_constraints = ON", &[]).await;
        Self { sound, bent }
    }

    /// Empties the queue for the next run.
    pub(crate) async fn wipe(&mut self) {
        run(
            &mut self.sound,
            "BEGIN IMMEDIATE; DELETE FROM sessions; DELETE FROM recordings; DELETE FROM uploads; DELETE FROM pauses; \
             DELETE FROM models; DELETE FROM events; COMMIT",
            &[],
        )
        .await;
    }

    /// `verb` is `INSERT OR IGNORE` or `INSERT OR REPLACE`.
    pub(crate) async fn insert(&mut self, verb: &str, id: &str, bot: &str, now: Timestamp) {
        let priority = id.len() % 2;
        let sql = format!(
            "{verb} INTO sessions (session_id, bot, priority, enqueued_at, next_poll_at, pending_since) \
             VALUES (?1, ?2, {priority}, ?3, ?3, ?3)"
        );
        run(&mut self.sound, &sql, &[id, bot, &now.to_string()]).await;
    }

    pub(crate) async fn requeue(&mut self, id: &str, now: Timestamp) {
        run(
            &mut self.sound,
            "BEGIN IMMEDIATE; UPDATE sessions SET state = 'pending' WHERE session_id = ?1; \
             UPDATE sessions SET next_poll_at = ?2, pending_since = ?2 WHERE session_id = ?1; COMMIT",
            &[id, &now.to_string()],
        )
        .await;
    }

    pub(crate) async fn delete(&mut self, id: &str) {
        run(&mut self.sound, "DELETE FROM sessions WHERE session_id = ?1", &[id]).await;
    }

    pub(crate) async fn insert_weird(&mut self, which: u8, now: Timestamp) {
        let values = WEIRD[usize::from(which) % WEIRD.len()];
        let sql = format!(
            "INSERT OR IGNORE INTO sessions (session_id, bot, metadata, enqueued_at, next_poll_at, pending_since) \
             VALUES ({values}, ?1, ?1, ?1)"
        );
        run(&mut self.bent, &sql, &[&now.to_string()]).await;
    }

    pub(crate) async fn rows(&mut self) -> Vec<Seen> {
        sqlx::query_as(
            "SELECT rowid, CAST(session_id AS TEXT), state, reason, CAST(failures AS INTEGER) FROM sessions ORDER BY rowid",
        )
        .fetch_all(&mut self.sound)
        .await
        .expect("the table can be read")
    }

    /// Whether this text stands in a row, a recording or the history.
    pub(crate) async fn holds(&mut self, text: &str) -> bool {
        let sql = "SELECT EXISTS (SELECT 1 FROM events WHERE instr(detail, ?1)) \
                   OR EXISTS (SELECT 1 FROM sessions WHERE instr(COALESCE(last_error, ''), ?1)) \
                   OR EXISTS (SELECT 1 FROM recordings WHERE instr(file_name || key || source, ?1)) \
                   OR EXISTS (SELECT 1 FROM pauses WHERE instr(message, ?1))";
        sqlx::query_scalar(sql).bind(text).fetch_one(&mut self.sound).await.expect("the tables can be read")
    }

    /// As the store names them.
    pub(crate) async fn told_uploads(&mut self) -> Vec<String> {
        sqlx::query_scalar("SELECT upload_id FROM uploads WHERE told_at IS NOT NULL")
            .fetch_all(&mut self.sound)
            .await
            .expect("the table can be read")
    }

    pub(crate) async fn recordings(&mut self) -> Vec<SeenRecording> {
        sqlx::query_as("SELECT session_id, file_name, key, bytes, sha256 FROM recordings ORDER BY key")
            .fetch_all(&mut self.sound)
            .await
            .expect("the table can be read")
    }
}

async fn run(connection: &mut SqliteConnection, sql: &str, arguments: &[&str]) {
    let query = sqlx::query(AssertSqlSafe(sql.to_owned()));
    let query = arguments.iter().fold(query, |query, argument| query.bind((*argument).to_owned()));
    let done = query.execute(connection).await;
    done.expect("nobody holds the queue's lock for long, and the statement is right");
}
