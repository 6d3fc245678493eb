//! What people's commands need of the queue: enqueue, look, send back.
//!
//! Each command has a connection of its own, and takes no lock beyond a short write transaction, so that it works
//! beside a running daemon. The daemon has two of these: for its pages and metrics, and for what its journeys look up.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value};
use sqlx::sqlite::SqliteRow;
use sqlx::{Column as _, Connection as _, Row as _, SqliteConnection, TypeInfo as _, ValueRef as _};
use tokio::sync::Mutex;

use super::file::{connect, create_folder, create_if_missing, log_path};
use super::{QueueError, lock};
use crate::clock::Timestamp;
use crate::session::{Reason, SessionId, State};

/// A connection for people.
#[derive(Debug)]
pub struct Desk {
    path: PathBuf,
    /// None after an error, and after [`Desk::close`]: the next look opens one.
    connection: Mutex<Option<SqliteConnection>>,
}

/// What one wants to have archived.
#[derive(Clone, Debug)]
pub struct Order {
    /// `[bots.NAME]`
    pub bot: String,
    /// Higher goes first.
    pub priority: i64,
    /// When the calls ended, if one knows.
    pub call_ended_at: Option<Timestamp>,
    /// A JSON object for the sidecars.
    pub metadata: Option<String>,
}

/// One line of `queue_overview`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Overview {
    /// The state.
    pub state: String,
    /// How many rows are in it.
    pub sessions: i64,
    /// The oldest of them.
    pub oldest_enqueued_at: Option<String>,
    /// Pending ones: when the next is due.
    pub next_due_at: Option<String>,
}

/// Which rows `retry` sends back.
#[derive(Clone, Debug)]
pub enum Selection {
    /// These.
    Ids(Vec<SessionId>),
    /// All in this state.
    State(State),
}

/// What the README recommends to programs that insert.
const A_PERSONS_PATIENCE: Duration = Duration::from_secs(30);

/// A row as an object whose keys are the columns.
pub type Record = Map<String, Value>;

/// The columns of `sessions` that CONTRACT section 2 names.
const SESSION_COLUMNS: &str = "session_id, bot, priority, call_ended_at, metadata, enqueued_at, state, kore_status, \
    next_poll_at, polls, failures, reason, last_error, finished_at";
/// Of a row among others, what is shown: a caller's metadata may have megabytes, and a bent row any column.
const OUTLINE: &str = "substr(session_id, 1, 200) AS session_id, substr(bot, 1, 200) AS bot, state, reason, \
    substr(kore_status, 1, 200) AS kore_status, polls, failures, enqueued_at, finished_at, \
    substr(last_error, 1, 1000) AS last_error";
/// And those of `recordings`.
pub(super) const RECORDING_COLUMNS: &str = "session_id, file_name, bucket, key, bytes, sha256, crc64nvme, etag, version_id, content_type, suspect, archived_at";

impl Desk {
    /// Opens an existing queue.
    ///
    /// # Errors
    /// [`QueueError::NotUsable`], also if there is none: only `run` and `enqueue` create one.
    pub async fn open(path: &Path) -> Result<Self, QueueError> {
        Ok(Self { path: path.to_owned(), connection: Mutex::new(Some(connect(path).await?)) })
    }

    /// Opens the queue, and creates it first if there is none.
    ///
    /// # Errors
    /// [`QueueError::NotUsable`]
    pub async fn open_or_create(path: &Path) -> Result<Self, QueueError> {
        create_folder(path)?;
        create_if_missing(path).await?;
        Self::open(path).await
    }

    /// The same for a person's command, which waits for another program's write as long as others are told to wait.
    ///
    /// # Errors
    /// [`QueueError`] if the queue cannot be read.
    pub async fn patient(self) -> Result<Self, QueueError> {
        let pragma = format!("PRAGMA busy_timeout = {}", A_PERSONS_PATIENCE.as_millis());
        self.with(async |connection| sqlx::raw_sql(sqlx::AssertSqlSafe(pragma)).execute(connection).await).await?;
        Ok(self)
    }

    /// Inserts what is not there yet, in one transaction; says how many were new.
    ///
    /// # Errors
    /// [`QueueError`]; nothing is inserted then.
    pub async fn enqueue(&self, ids: &[SessionId], order: &Order) -> Result<u64, QueueError> {
        self.write(async |connection| {
            let mut new = 0;
            for id in ids {
                // OR IGNORE would also hide a broken CHECK; only the id's own conflict is meant.
                new += sqlx::query(
                    "INSERT INTO sessions (session_id, bot, priority, call_ended_at, metadata) \
                     VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (session_id) DO NOTHING",
                )
                .bind(id.as_str())
                .bind(&order.bot)
                .bind(order.priority)
                .bind(order.call_ended_at.map(|at| at.to_string()))
                .bind(&order.metadata)
                .execute(&mut *connection)
                .await?
                .rows_affected();
            }
            Ok(new)
        })
        .await
    }

    /// Sends rows back to `pending`; says how many were.
    ///
    /// # Errors
    /// [`QueueError`]; nothing is changed then.
    pub async fn retry(&self, which: &Selection, reason: Option<Reason>) -> Result<u64, QueueError> {
        let reason = reason.map(Reason::as_str);
        self.write(async |connection| {
            let sql = "UPDATE sessions SET state = 'pending' WHERE state = ?1 AND (?2 IS NULL OR reason = ?2)";
            match which {
                Selection::State(state) => {
                    let changed = sqlx::query(sql).bind(state.as_str()).bind(reason).execute(connection).await?;
                    Ok(changed.rows_affected())
                }
                Selection::Ids(ids) => retry_ids(connection, ids, reason).await,
            }
        })
        .await
    }

    pub(super) async fn write<T>(
        &self,
        work: impl AsyncFn(&mut SqliteConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, QueueError> {
        self.with(async |connection| {
            let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
            let value = work(&mut transaction).await?;
            transaction.commit().await?;
            Ok(value)
        })
        .await
    }

    /// A connection that failed, or whose work was called off, is not trusted again.
    pub(super) async fn with<T>(
        &self,
        work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, QueueError> {
        let mut held = self.connection.lock().await;
        let mut connection = match held.take() {
            Some(connection) => connection,
            None => connect(&self.path).await?,
        };
        let value = work(&mut connection).await.map_err(|error| QueueError::from_sqlx(&self.path, &error))?;
        *held = Some(connection);
        Ok(value)
    }

    /// A line a state; states without rows are left out.
    ///
    /// # Errors
    /// [`QueueError`] if the queue cannot be read.
    pub async fn overview(&self) -> Result<Vec<Overview>, QueueError> {
        let rows =
            self.read("SELECT state, sessions, oldest_enqueued_at, next_due_at FROM queue_overview", &[]).await?;
        let text = |row: &Record, column: &str| row[column].as_str().map(ToOwned::to_owned);
        let overview = rows.iter().map(|row| Overview {
            state: text(row, "state").unwrap_or_default(),
            sessions: row["sessions"].as_i64().unwrap_or_default(),
            oldest_enqueued_at: text(row, "oldest_enqueued_at"),
            next_due_at: text(row, "next_due_at"),
        });
        Ok(overview.collect())
    }

    /// The newest rows that need a person.
    ///
    /// # Errors
    /// [`QueueError`] if the queue cannot be read.
    pub async fn newest_in_need(&self, most: u32) -> Result<Vec<Record>, QueueError> {
        let sql = format!(
            "SELECT {OUTLINE} FROM sessions WHERE state IN ('suspect', 'failed') \
             ORDER BY finished_at DESC LIMIT CAST(?1 AS INTEGER)"
        );
        self.read(&sql, &[&most.to_string()]).await
    }

    /// The pauses that the daemon noted, that of the queue itself included.
    ///
    /// # Errors
    /// [`QueueError`] if the queue cannot be read.
    pub async fn pauses(&self) -> Result<Vec<Record>, QueueError> {
        let mut pauses = self.read("SELECT what, reason, message, since, until FROM pauses ORDER BY what", &[]).await?;
        let noted = lock::noted(&self.path);
        pauses.extend(noted.filter(|noted| pauses.iter().all(|pause| pause["what"] != noted["what"])));
        Ok(pauses)
    }

    /// One row; `None` if there is none of that id.
    ///
    /// # Errors
    /// [`QueueError`] if the queue cannot be read.
    pub async fn session(&self, id: &str) -> Result<Option<Record>, QueueError> {
        let sql = format!("SELECT {SESSION_COLUMNS} FROM sessions WHERE session_id = ?1");
        Ok(self.read(&sql, &[id]).await?.pop())
    }

    /// What of a session is in the bucket.
    ///
    /// # Errors
    /// [`QueueError`] if the queue cannot be read.
    pub async fn recordings(&self, id: &str) -> Result<Vec<Record>, QueueError> {
        let sql = format!("SELECT {RECORDING_COLUMNS} FROM recordings WHERE session_id = ?1 ORDER BY archived_at, key");
        self.read(&sql, &[id]).await
    }

    /// What happened to a row, oldest first.
    ///
    /// # Errors
    /// [`QueueError`] if the queue cannot be read.
    pub async fn events(&self, id: &str) -> Result<Vec<Record>, QueueError> {
        self.read("SELECT session_id, at, kind, detail FROM events WHERE session_id = ?1 ORDER BY id", &[id]).await
    }

    /// Whether somebody's look is under way: a simulation lets it end before it goes on.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.connection.try_lock().is_err()
    }

    pub(super) fn damaged(&self, verdict: &str) -> QueueError {
        QueueError::not_usable(&self.path, format!("it is damaged ({verdict}); restore it from a backup"))
    }

    /// Who holds the queue now, if a daemon does.
    #[must_use]
    pub fn daemon(&self) -> Option<String> {
        lock::holder(&self.path)
    }

    /// Bytes of the write-ahead log.
    #[must_use]
    pub fn wal_bytes(&self) -> u64 {
        std::fs::metadata(log_path(&self.path)).map_or(0, |meta| meta.len())
    }

    pub(super) async fn read(&self, sql: &str, arguments: &[&str]) -> Result<Vec<Record>, QueueError> {
        let query = arguments.iter().fold(sqlx::query(sqlx::AssertSqlSafe(sql.to_owned())), |query, argument| {
            query.bind((*argument).to_owned())
        });
        let rows = self.with(async |connection| query.fetch_all(connection).await).await?;
        Ok(rows.iter().map(record).collect())
    }

    /// Closes the connection, and returns when that is done: the last one that closes takes the `-wal` and the `-shm`
    /// with it. A later look opens another.
    pub async fn close(&self) {
        if let Some(connection) = self.connection.lock().await.take() {
            // What was committed is durable; what was not is nobody's.
            let _ = connection.close().await;
        }
    }
}

async fn retry_ids(
    connection: &mut SqliteConnection,
    ids: &[SessionId],
    reason: Option<&str>,
) -> Result<u64, sqlx::Error> {
    let sql = "UPDATE sessions SET state = 'pending' WHERE session_id = ?1 AND (?2 IS NULL OR reason = ?2)";
    let mut changed = 0;
    for id in ids {
        changed += sqlx::query(sql).bind(id.as_str()).bind(reason).execute(&mut *connection).await?.rows_affected();
    }
    Ok(changed)
}

/// A row as JSON, by the types of its values: a bent row may hold any in any column.
fn record(row: &SqliteRow) -> Record {
    let value = |index: usize| {
        let raw = row.try_get_raw(index).ok()?;
        if raw.is_null() {
            return None;
        }
        match raw.type_info().name() {
            "INTEGER" | "BOOLEAN" => row.try_get_unchecked::<i64, _>(index).ok().map(Value::from),
            "REAL" => row.try_get_unchecked::<f64, _>(index).ok().map(Value::from),
            _ => {
                let bytes = row.try_get_unchecked::<Vec<u8>, _>(index).ok()?;
                Some(Value::from(String::from_utf8_lossy(&bytes).into_owned()))
            }
        }
    };
    let columns = row.columns().iter().enumerate();
    columns.map(|(index, column)| (column.name().to_owned(), value(index).unwrap_or(Value::Null))).collect()
}
