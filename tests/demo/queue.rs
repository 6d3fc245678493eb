//! The queue from outside: another program's connection, which knows no more than the contract says.

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, SqliteConnection};

use crate::calls::Calls;

/// How long the daemon may hold the write lock before an insert fails.
const PATIENCE: Duration = Duration::from_secs(10);

const INSERT: &str = "INSERT INTO sessions (session_id, metadata) VALUES (?, ?)";
const LOOK: &str = "SELECT session_id, state, kore_status, reason, polls, \
    (SELECT COUNT(*) FROM recordings WHERE recordings.session_id = sessions.session_id) AS files, \
    (SELECT COALESCE(SUM(bytes), 0) FROM recordings WHERE recordings.session_id = sessions.session_id) AS bytes \
    FROM sessions ORDER BY rowid";

pub(crate) struct Outside(SqliteConnection);

/// A row as everybody can see it.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Seen {
    pub session_id: String,
    pub state: String,
    pub kore_status: Option<String>,
    pub reason: Option<String>,
    pub polls: i64,
    pub files: i64,
    pub bytes: i64,
}

impl Outside {
    pub(crate) async fn connect(queue: &Path) -> Result<Self, sqlx::Error> {
        Ok(Self(SqliteConnectOptions::new().filename(queue).busy_timeout(PATIENCE).connect().await?))
    }

    /// Enqueues all calls, one plain INSERT each.
    pub(crate) async fn insert(&mut self, calls: &Calls) -> anyhow::Result<()> {
        for (id, call) in &calls.by_id {
            sqlx::query(INSERT).bind(id).bind(&call.metadata).execute(&mut self.0).await?;
        }
        if let Some((id, call)) = calls.by_id.first_key_value() {
            println!("{} rows inserted, as any program would:\n", calls.by_id.len());
            println!("  INSERT INTO sessions (session_id, metadata) VALUES ('{id}', '{}');\n", call.metadata);
        }
        Ok(())
    }

    /// All rows, in the order in which they were inserted.
    pub(crate) async fn look(&mut self) -> Result<Vec<Seen>, sqlx::Error> {
        sqlx::query_as(LOOK).fetch_all(&mut self.0).await
    }
}

impl Seen {
    pub(crate) fn is_pending(&self) -> bool {
        self.state == "pending"
    }

    pub(crate) fn was_seen_by_the_daemon(&self) -> bool {
        !self.is_pending() || self.kore_status.is_some()
    }

    /// Where the session is, in a few words.
    pub(crate) fn stage(&self) -> String {
        if !self.is_pending() {
            return match (self.state.as_str(), self.reason.as_deref()) {
                ("done", _) => format!("done: {}, {}", count(self.files, "file"), size(self.bytes)),
                (state, reason) => format!("{state}: {}", reason.unwrap_or("no reason")),
            };
        }
        match self.kore_status.as_deref() {
            None => "not asked about yet".to_owned(),
            Some("success") => "copying".to_owned(),
            Some(status) => status.to_owned(),
        }
    }
}

pub(crate) fn count(number: i64, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// A length in MB, as people read it.
pub(crate) fn size(bytes: i64) -> String {
    let hundredths = bytes / 10_000;
    format!("{}.{:02} MB", hundredths / 100, hundredths % 100)
}
