//! What `check` and `reconcile` ask of a queue: is it whole and writable, and what of it claims to be in the bucket.
//!
//! The walk over the done rows is by session id, page after page, on an index: it holds one page in memory whatever the
//! queue's length, a row that is re-queued or inserted meanwhile moves no other, and the last id of a page is all that
//! is needed to go on from there another day.

use super::desk::Record;
use super::{Desk, QueueError};
use crate::clock::Timestamp;

/// A row in no state that there is: it went around the CHECKs, and nobody works on it.
pub const STATELESS: &str =
    "typeof(state) <> 'text' OR state NOT IN ('pending', 'done', 'suspect', 'unavailable', 'failed')";

impl Desk {
    /// Reads the database's structure whole, and takes its write lock for a moment. SQLite's version.
    ///
    /// # Errors
    /// [`QueueError::NotUsable`] if it is damaged, [`QueueError::Busy`] if somebody else writes for too long.
    pub async fn prove(&self) -> Result<String, QueueError> {
        // A row that went around the CHECKs is no damage: the daemon refuses it by itself.
        self.read("PRAGMA ignore_check_constraints = ON", &[]).await?;
        let verdict = self.read("PRAGMA quick_check(1)", &[]).await;
        self.read("PRAGMA ignore_check_constraints = OFF", &[]).await?;
        let verdict = verdict?;
        let verdict = verdict.first().and_then(|row| row.values().next()?.as_str().map(ToOwned::to_owned));
        if verdict.as_deref() != Some("ok") {
            return Err(self.damaged(&verdict.unwrap_or_default()));
        }
        self.write(async |_| Ok(())).await?;
        let version = self.read("SELECT sqlite_version() AS version", &[]).await?;
        Ok(version.first().and_then(|row| row["version"].as_str()).unwrap_or_default().to_owned())
    }

    /// How many rows are [`STATELESS`].
    ///
    /// # Errors
    /// [`QueueError`] if the queue cannot be read.
    pub async fn count_stateless(&self) -> Result<u64, QueueError> {
        let rows = self.read(&format!("SELECT COUNT(*) AS sessions FROM sessions WHERE {STATELESS}"), &[]).await?;
        Ok(rows.first().and_then(|row| row["sessions"].as_u64()).unwrap_or_default())
    }

    /// How many rows are `done` and finished at `since` or later, with an id after `after`.
    ///
    /// # Errors
    /// [`QueueError`] if the queue cannot be read.
    pub async fn count_done(&self, after: &str, since: Option<Timestamp>) -> Result<u64, QueueError> {
        let sql = "SELECT COUNT(*) AS sessions FROM sessions \
                   WHERE state = 'done' AND session_id > ?1 AND (?2 = '' OR finished_at >= ?2)";
        let rows = self.read(sql, &[after, &text(since)]).await?;
        Ok(rows.first().and_then(|row| row["sessions"].as_u64()).unwrap_or_default())
    }

    /// The next `most` of them by id, each once a recording; without recordings, once with NULL in `key`.
    ///
    /// # Errors
    /// [`QueueError`] if the queue cannot be read.
    pub async fn done_page(&self, after: &str, since: Option<Timestamp>, most: u32) -> Result<Vec<Record>, QueueError> {
        let sql = "WITH page AS (SELECT session_id, bot, enqueued_at FROM sessions \
                     WHERE state = 'done' AND session_id > ?1 AND (?2 = '' OR finished_at >= ?2) \
                     ORDER BY session_id LIMIT CAST(?3 AS INTEGER)) \
                   SELECT page.session_id, page.bot, page.enqueued_at, r.file_name, r.bucket, r.key, r.bytes, r.sha256, \
                          r.crc64nvme, r.etag, r.version_id, r.source, r.archived_at \
                     FROM page LEFT JOIN recordings r ON r.session_id = page.session_id \
                    ORDER BY page.session_id, r.key";
        self.read(sql, &[after, &text(since), &most.to_string()]).await
    }
}

fn text(since: Option<Timestamp>) -> String {
    since.map(|since| since.to_string()).unwrap_or_default()
}
