//! The statements of the daemon's results, one function a kind of [`Write`].
//!
//! Each UPDATE of a row names what it expects to find: the row, its token, and that it is still pending. Where that
//! does not hold it changes nothing, and says so.

use std::time::Duration;

use sqlx::SqliteConnection;

use super::is_refusal;
use super::rows::{Lease, mark};
use super::write::{Applied, Outcome, Recording, Write};
use crate::clock::Timestamp;
use crate::key::ObjectKey;
use crate::pause::Pause;
use crate::session::Reason;

/// Carries out one write inside the batch's transaction: one statement that says whether it was applied, and perhaps
/// another beside it, of which nothing hangs.
///
/// # Errors
/// What SQLite reports of the one statement, which then has changed nothing; of the other, only what is not about it.
pub(super) async fn apply(connection: &mut SqliteConnection, write: &Write) -> Result<Applied, sqlx::Error> {
    let applied = match write {
        Write::Waits { outcome, next_poll_at } => waits(connection, outcome, &next_poll_at.to_string()).await?,
        Write::Finishes { outcome, reason, at } => finishes(connection, outcome, *reason, &at.to_string()).await?,
        Write::Refuses { lease, why, at } => refuses(connection, lease, why, &at.to_string()).await?,
        Write::Event { session_id, kind, detail } => {
            event(connection, session_id, kind, &detail.to_string()).await?;
            Applied::Yes
        }
        Write::Archived(recording) => {
            archived(connection, recording).await?;
            Applied::Yes
        }
        Write::UploadIntended { id, bucket, key, run, at } => {
            sqlx::query("INSERT INTO uploads (id, bucket, key, run, started_at) VALUES (?1, ?2, ?3, ?4, ?5)")
                .bind(id)
                .bind(bucket)
                .bind(key)
                .bind(run)
                .bind(at.to_string())
                .execute(connection)
                .await?;
            Applied::Yes
        }
        Write::UploadCreated { id, upload_id } => {
            let sql = "UPDATE uploads SET upload_id = ?2 WHERE id = ?1";
            sqlx::query(sql).bind(id).bind(upload_id).execute(connection).await?;
            Applied::Yes
        }
        Write::UploadTold { id, at } => {
            let sql = "UPDATE uploads SET told_at = ?2 WHERE id = ?1";
            sqlx::query(sql).bind(id).bind(at.map(|at| at.to_string())).execute(connection).await?;
            Applied::Yes
        }
        Write::UploadEnded { id } => {
            sqlx::query("DELETE FROM uploads WHERE id = ?1").bind(id).execute(connection).await?;
            Applied::Yes
        }
        Write::Learned { bot, state, at } => {
            sqlx::query(
                "INSERT INTO models (bot, state, updated_at) VALUES (?1, ?2, ?3) ON CONFLICT (bot) \
                 DO UPDATE SET state = excluded.state, updated_at = excluded.updated_at",
            )
            .bind(bot)
            .bind(state)
            .bind(at.to_string())
            .execute(connection)
            .await?;
            Applied::Yes
        }
        Write::Paused(pause) => {
            paused(connection, pause).await?;
            Applied::Yes
        }
        Write::Resumed { what, reason } => {
            let sql = "DELETE FROM pauses WHERE what = ?1 AND reason = ?2";
            sqlx::query(sql).bind(what).bind(*reason).execute(connection).await?;
            Applied::Yes
        }
        Write::ClockSetBack { by, now } => {
            clock_set_back(connection, *by, *now).await?;
            Applied::Yes
        }
    };
    Ok(applied)
}

/// Waits keep their lengths; what would be due before now, or is no time at all, is due now.
async fn clock_set_back(connection: &mut SqliteConnection, by: Duration, now: Timestamp) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE sessions SET next_poll_at = \
            MAX(?1, COALESCE(strftime('%Y-%m-%dT%H:%M:%fZ', next_poll_at, ?2 || ' seconds'), ?1)) \
          WHERE state = 'pending' AND next_poll_at > ?1",
    )
    .bind(now.to_string())
    .bind(format!("-{:.3}", by.as_secs_f64()))
    .execute(connection)
    .await?;
    Ok(())
}

/// Sets what an outcome says (the lease is 1 and 2), and what is named after it, from 16 on.
macro_rules! remembered {
    ($more:literal) => {
        concat!(
            "UPDATE sessions SET polls = ?3, failures = ?4, first_failure_at = ?5, wait_kind = ?6, wait_step = ?7, ",
            "error_step = ?8, denials = ?9, odd_bodies = ?10, kore_status = COALESCE(?11, kore_status), ",
            "last_error = COALESCE(?12, last_error), in_call_at = ?13, over_at = ?14, not_ready_at = ?15, ",
            $more,
            " WHERE rowid = ?1 AND lease_token = ?2 AND state = 'pending'"
        )
    };
}

async fn waits(
    connection: &mut SqliteConnection,
    outcome: &Outcome,
    next_poll_at: &str,
) -> Result<Applied, sqlx::Error> {
    let statement = remember(remembered!("next_poll_at = ?16"), outcome).bind(next_poll_at);
    if statement.execute(&mut *connection).await?.rows_affected() != 1 {
        return Ok(Applied::LeaseLost);
    }
    if let Some(note) = &outcome.note {
        let detail = note.detail().to_string();
        unless_refused(event(connection, &outcome.lease.label, "error", &detail).await)?;
    }
    Ok(Applied::Yes)
}

async fn finishes(
    connection: &mut SqliteConnection,
    outcome: &Outcome,
    reason: Reason,
    at: &str,
) -> Result<Applied, sqlx::Error> {
    if let Outcome { lease, note: Some(note), .. } = outcome {
        // Before the end, as it was: the end is told by a trigger.
        let sql = "INSERT INTO events (session_id, kind, detail) SELECT ?3, 'error', ?4 WHERE EXISTS \
                   (SELECT 1 FROM sessions WHERE rowid = ?1 AND lease_token = ?2 AND state = 'pending')";
        let query = sqlx::query(sql).bind(lease.rowid).bind(lease.token.as_str());
        let written = query.bind(&lease.label).bind(note.detail().to_string()).execute(&mut *connection).await;
        unless_refused(written.map(drop))?;
    }
    let statement = remember(remembered!("state = ?16, reason = ?17, finished_at = ?18"), outcome);
    let statement = statement.bind(reason.state().as_str()).bind(reason.as_str()).bind(at);
    let changed = statement.execute(&mut *connection).await?.rows_affected();
    Ok(if changed == 1 { Applied::Yes } else { Applied::LeaseLost })
}

type Statement<'q> = sqlx::query::Query<'q, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>;

/// Binds what [`remembered`] names.
fn remember<'q>(sql: &'static str, outcome: &'q Outcome) -> Statement<'q> {
    let Outcome { lease, history, kore_status, note } = outcome;
    sqlx::query(sql)
        .bind(lease.rowid)
        .bind(lease.token.as_str())
        .bind(history.polls)
        .bind(history.failures)
        .bind(history.first_failure_at.map(|at| at.to_string()))
        .bind(history.wait_kind.map_or("", |kind| kind.as_str()))
        .bind(history.wait_step)
        .bind(history.error_step)
        .bind(history.denials)
        .bind(history.odd_bodies)
        .bind(kore_status.as_deref())
        .bind(note.as_ref().map(|note| note.error.as_str()))
        .bind(history.in_call_at.map(|at| at.to_string()))
        .bind(history.over_at.map(|at| at.to_string()))
        .bind(history.not_ready_at.map(|at| at.to_string()))
}

/// What was to be written beside a result that is there.
fn unless_refused(written: Result<(), sqlx::Error>) -> Result<(), sqlx::Error> {
    written.or_else(|error| {
        if !is_refusal(&error) {
            return Err(error);
        }
        tracing::error!(error = %error, "the queue refused what belongs to a result; the result is written");
        Ok(())
    })
}

/// A bent row may hold anything in any column, its token included: it is known by its place and its mark. What would break
/// the CHECKs again is left as it is; they are off for this statement.
async fn refuses(
    connection: &mut SqliteConnection,
    lease: &Lease,
    why: &str,
    at: &str,
) -> Result<Applied, sqlx::Error> {
    let sql = concat!(
        "UPDATE sessions SET state = 'failed', reason = 'invalid_row', last_error = ?2, finished_at = ?3 \
         WHERE rowid = ?1 AND state = 'pending' AND ",
        mark!(),
        " = ?4"
    );
    sqlx::query("PRAGMA ignore_check_constraints = ON").execute(&mut *connection).await?;
    let refused = sqlx::query(sql).bind(lease.rowid).bind(why).bind(at).bind(&lease.token);
    let changed = refused.execute(&mut *connection).await;
    sqlx::query("PRAGMA ignore_check_constraints = OFF").execute(connection).await?;
    Ok(if changed?.rows_affected() == 1 { Applied::Yes } else { Applied::LeaseLost })
}

async fn event(
    connection: &mut SqliteConnection,
    session_id: &str,
    kind: &str,
    detail: &str,
) -> Result<(), sqlx::Error> {
    let sql = "INSERT INTO events (session_id, kind, detail) VALUES (?1, ?2, ?3)";
    sqlx::query(sql).bind(session_id).bind(kind).bind(detail).execute(connection).await?;
    Ok(())
}

async fn archived(connection: &mut SqliteConnection, recording: &Recording) -> Result<(), sqlx::Error> {
    let receipt = recording.verified.receipt();
    sqlx::query(
        "INSERT INTO recordings (session_id, file_name, bucket, key, bytes, sha256, crc64nvme, etag, version_id, \
         content_type, suspect, archived_at, source, duration_seconds, channels, sample_rate) \
         SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16 WHERE ?11 IS NULL \
            OR EXISTS (SELECT 1 FROM sessions WHERE rowid = ?17 AND lease_token = ?18 AND state = 'pending') \
         ON CONFLICT (bucket, key) DO UPDATE SET session_id = excluded.session_id, file_name = excluded.file_name, \
         bytes = excluded.bytes, sha256 = excluded.sha256, crc64nvme = excluded.crc64nvme, etag = excluded.etag, \
         version_id = excluded.version_id, content_type = excluded.content_type, suspect = excluded.suspect, \
         archived_at = excluded.archived_at, source = excluded.source, \
         duration_seconds = excluded.duration_seconds, channels = excluded.channels, \
         sample_rate = excluded.sample_rate",
    )
    .bind(recording.session_id.as_str())
    .bind(&recording.file_name)
    .bind(&recording.bucket)
    .bind(recording.key.as_str())
    .bind(i64::try_from(receipt.bytes).unwrap_or(i64::MAX))
    .bind(receipt.sha256.to_string())
    .bind(receipt.crc64nvme.to_string())
    .bind(recording.verified.etag())
    .bind(recording.verified.version_id())
    .bind(&recording.facts.content_type)
    .bind(recording.facts.suspect.as_deref())
    .bind(recording.archived_at.to_string())
    .bind(recording.source.to_string())
    .bind(recording.facts.duration_seconds)
    .bind(recording.facts.channels)
    .bind(recording.facts.sample_rate)
    .bind(recording.lease.rowid)
    .bind(recording.lease.token.as_str())
    .execute(&mut *connection)
    .await?;
    if let Some(key) = &recording.instead_of {
        unless_refused(taken_back(connection, recording, key).await)?;
    }
    Ok(())
}

async fn taken_back(
    connection: &mut SqliteConnection,
    recording: &Recording,
    key: &ObjectKey,
) -> Result<(), sqlx::Error> {
    let sql = "DELETE FROM recordings WHERE bucket = ?1 AND key = ?2 AND session_id = ?3";
    let session_id = recording.session_id.as_str();
    sqlx::query(sql).bind(&recording.bucket).bind(key.as_str()).bind(session_id).execute(connection).await?;
    Ok(())
}

async fn paused(connection: &mut SqliteConnection, pause: &Pause) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO pauses (what, reason, message, since, until) VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (what, reason) \
         DO UPDATE SET message = excluded.message, until = excluded.until",
    )
    .bind(&pause.what)
    .bind(pause.reason)
    .bind(&pause.message)
    .bind(pause.since.to_string())
    .bind(pause.until.to_string())
    .execute(connection)
    .await?;
    Ok(())
}
