//! What the daemon asks of its own tables beside its claims: what waits, what is known of a session, what a run left.

use serde_json::Value;

use super::desk::{Desk, RECORDING_COLUMNS, Record};
use super::index::{count_due, count_due_of};
use super::write::Facts;
use super::{Lease, QueueError};
use crate::clock::Timestamp;
use crate::key::ObjectKey;
use crate::receipt::{Crc64Nvme, Receipt, Sha256};
use crate::session::{SessionId, State};

/// How many rows are in each state that any is in.
#[derive(Clone, Debug, Default)]
pub struct Counts(pub Vec<Count>);

/// The rows of one state.
#[derive(Clone, Debug)]
pub struct Count {
    /// As it stands in the table: another word than a [`State`]'s, where somebody switched the table's checks off.
    pub state: String,
    /// How many rows.
    pub sessions: i64,
    /// When the first of them was enqueued.
    pub oldest: Option<Timestamp>,
}

impl Counts {
    /// How many rows are in this state.
    #[must_use]
    pub fn of(&self, state: State) -> i64 {
        self.in_state(state).map_or(0, |count| count.sessions)
    }

    /// When the first row of this state was enqueued.
    #[must_use]
    pub fn oldest(&self, state: State) -> Option<Timestamp> {
        self.in_state(state)?.oldest
    }

    fn in_state(&self, state: State) -> Option<&Count> {
        self.0.iter().find(|count| count.state == state.as_str())
    }
}

/// Where a recording was put, and which bytes, as its line says; `None` if the line is not of the daemon's making.
#[must_use]
pub fn proven(record: &Record) -> Option<(ObjectKey, Receipt)> {
    let text = |column: &str| record.get(column)?.as_str();
    let receipt = Receipt {
        bytes: record.get("bytes")?.as_u64()?,
        sha256: Sha256::from_hex(text("sha256")?)?,
        crc64nvme: Crc64Nvme::from_base64(text("crc64nvme")?)?,
        crc32: None,
    };
    Some((ObjectKey::parse(text("key")?.to_owned()).ok()?, receipt))
}

/// A file that was proven to be in a bucket.
#[derive(Clone, Debug)]
pub struct Known {
    /// In which.
    pub bucket: String,
    /// Under which key.
    pub key: ObjectKey,
    /// Which bytes.
    pub receipt: Receipt,
    /// SHA-256 of the path of its URL.
    pub source: Sha256,
    /// What it is.
    pub facts: Facts,
    /// When that was proven.
    pub archived_at: Timestamp,
}

impl Known {
    /// `None` if the line is not of the daemon's making.
    fn read(record: &Record) -> Option<Self> {
        let text = |column: &str| record.get(column)?.as_str().map(ToOwned::to_owned);
        let count = |column: &str| record.get(column)?.as_u64();
        let (key, receipt) = proven(record)?;
        let facts = Facts {
            content_type: text("content_type")?,
            suspect: text("suspect"),
            duration_seconds: record.get("duration_seconds").and_then(Value::as_f64),
            channels: count("channels").and_then(|channels| channels.try_into().ok()),
            sample_rate: count("sample_rate").and_then(|rate| rate.try_into().ok()),
        };
        let source = Sha256::from_hex(&text("source")?)?;
        let archived_at = Timestamp::parse(&text("archived_at")?).ok()?;
        Some(Self { bucket: text("bucket")?, key, receipt, source, facts, archived_at })
    }
}

impl Desk {
    /// How many rows are in each state, by an index alone.
    ///
    /// # Errors
    /// [`QueueError`] if the queue cannot be read.
    pub async fn counts(&self) -> Result<Counts, QueueError> {
        let sql = "SELECT state, COUNT(*) AS sessions, MIN(enqueued_at) AS oldest FROM sessions GROUP BY state";
        let rows = self.read(sql, &[]).await?;
        let count = |row: &Record| Count {
            state: row["state"].as_str().unwrap_or_default().to_owned(),
            sessions: row["sessions"].as_i64().unwrap_or_default(),
            oldest: row["oldest"].as_str().and_then(|text| Timestamp::parse(text).ok()),
        };
        Ok(Counts(rows.iter().map(count).collect()))
    }

    /// How many rows are pending, counted up to one more than `most`.
    ///
    /// # Errors
    /// [`QueueError`] if the queue cannot be read.
    pub async fn pending(&self, most: i64) -> Result<i64, QueueError> {
        let sql = "SELECT COUNT(*) AS it FROM (SELECT 1 FROM sessions WHERE state = 'pending' \
                   LIMIT CAST(?1 AS INTEGER) + 1)";
        let rows = self.read(sql, &[&most.to_string()]).await?;
        Ok(rows.first().and_then(|row| row["it"].as_i64()).unwrap_or(0))
    }

    /// How many pending rows are due, counted up to `most`.
    ///
    /// # Errors
    /// [`QueueError`] if the queue cannot be read.
    pub async fn due(&self, now: Timestamp, most: i64) -> Result<i64, QueueError> {
        self.with(async |connection| count_due(connection, now, most).await).await
    }

    /// How many pending rows of a bot are due, counted up to `most`.
    ///
    /// # Errors
    /// [`QueueError`] if the queue cannot be read.
    pub async fn due_of(&self, bot: &str, now: Timestamp, most: i64) -> Result<i64, QueueError> {
        self.with(async |connection| count_due_of(connection, bot, now, most).await).await
    }

    /// What the adaptive schedule knew of each bot when it was last written down.
    ///
    /// # Errors
    /// [`QueueError`] if the queue cannot be read.
    pub async fn models(&self) -> Result<Vec<(String, String)>, QueueError> {
        let rows = self.read("SELECT bot, state FROM models", &[]).await?;
        let text = |row: &Record, column: &str| row[column].as_str().unwrap_or_default().to_owned();
        Ok(rows.iter().map(|row| (text(row, "bot"), text(row, "state"))).collect())
    }

    /// Whether a row is still as it was when it was claimed.
    ///
    /// # Errors
    /// [`QueueError`] if the queue cannot be read.
    pub async fn is_held(&self, lease: &Lease) -> Result<bool, QueueError> {
        let sql = "SELECT 1 AS it FROM sessions \
                   WHERE rowid = CAST(?1 AS INTEGER) AND lease_token = ?2 AND state = 'pending'";
        Ok(!self.read(sql, &[&lease.rowid.to_string(), &lease.token]).await?.is_empty())
    }

    /// Whether a row's history has an event of this kind.
    ///
    /// # Errors
    /// [`QueueError`] if the queue cannot be read.
    pub async fn has_event(&self, id: &str, kind: &str) -> Result<bool, QueueError> {
        let sql = "SELECT 1 AS it FROM events WHERE session_id = ?1 AND kind = ?2 LIMIT 1";
        Ok(!self.read(sql, &[id, kind]).await?.is_empty())
    }

    /// What of a session is known to be in a bucket. A line that is not of the daemon's making says nothing.
    ///
    /// # Errors
    /// [`QueueError`] if the queue cannot be read.
    pub async fn known(&self, id: &SessionId) -> Result<Vec<Known>, QueueError> {
        let sql = format!(
            "SELECT {RECORDING_COLUMNS}, source, duration_seconds, channels, sample_rate FROM recordings \
             WHERE session_id = ?1 ORDER BY archived_at, key"
        );
        Ok(self.read(&sql, &[id.as_str()]).await?.iter().filter_map(Known::read).collect())
    }

    /// Uploads that runs other than `run` left open: id, bucket, key, the store's name, when each was begun, and when it
    /// was told to complete.
    ///
    /// # Errors
    /// [`QueueError`] if the queue cannot be read.
    pub async fn left_uploads(&self, run: &str) -> Result<Vec<Record>, QueueError> {
        let sql = "SELECT id, bucket, key, upload_id, started_at, told_at FROM uploads WHERE run <> ?1 ORDER BY id";
        self.read(sql, &[run]).await
    }
}
