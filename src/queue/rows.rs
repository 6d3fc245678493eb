//! Rows as they are read: what the contract wants of one is checked here, whatever the schema's CHECKs let through.
//!
//! Any program may have written a row, also one that switched the CHECKs off. Text is therefore read as bytes, cut to
//! a length, and parsed; a row that does not parse is [`Claimed::Invalid`] with the reason, and loses nobody's time.

use std::cmp::Reverse;

use serde_json::value::RawValue;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, ValueRef as _};

use super::index::Turn;
use crate::clock::Timestamp;
use crate::decide::{History, WaitKind};
use crate::session::SessionId;

/// The right to write one row's result: the row as it was when it was read. Only this module makes one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    pub(super) rowid: i64,
    /// The row's token, or the mark of a row that is no row.
    pub(super) token: String,
    /// For events, also of rows whose id is no session id: escaped, at most 128 characters.
    pub(super) label: String,
}

impl Lease {
    /// Tells rows apart while they are in hand.
    #[must_use]
    pub fn row(&self) -> i64 {
        self.rowid
    }

    /// The session's id, or what stands in its place, fit for a log.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }
}

/// A row that is due.
#[derive(Clone, Debug)]
pub enum Claimed {
    /// One to work on.
    Row(Box<Row>),
    /// One that went around the CHECKs.
    Invalid {
        /// The right to refuse it.
        lease: Lease,
        /// Whatever it says.
        bot: String,
        /// What is wrong with it.
        why: String,
    },
}

impl Claimed {
    /// The right to write its result.
    #[must_use]
    pub fn lease(&self) -> &Lease {
        match self {
            Self::Row(row) => &row.lease,
            Self::Invalid { lease, .. } => lease,
        }
    }

    /// Which `[bots.NAME]` it says.
    #[must_use]
    pub fn bot(&self) -> &str {
        match self {
            Self::Row(row) => &row.bot,
            Self::Invalid { bot, .. } => bot,
        }
    }

    /// Who comes first among what is due, the least first: by priority, then by age, if it is the turn of what is due for
    /// longest. What is no row is soon done with.
    #[must_use]
    pub fn rank(&self, turn: Turn) -> (Reverse<i64>, Option<Timestamp>) {
        match self {
            Self::Row(row) => (Reverse(row.priority), (turn == Turn::Longest).then_some(row.due_at)),
            Self::Invalid { .. } => (Reverse(i64::MAX), None),
        }
    }
}

/// A row to work on.
#[derive(Clone, Debug)]
pub struct Row {
    /// The right to write its result.
    pub lease: Lease,
    /// Kore's id.
    pub session_id: SessionId,
    /// Which `[bots.NAME]`.
    pub bot: String,
    /// Higher goes first.
    pub priority: i64,
    /// The caller's hint, if it is a time in the past.
    pub call_ended_at: Option<Timestamp>,
    /// The caller's hint, if it is none of that: ignored, with an event.
    pub unusable_hint: Option<String>,
    /// The caller's own.
    pub metadata: Option<Box<RawValue>>,
    /// When it was inserted.
    pub enqueued_at: Timestamp,
    /// The status that Kore last reported.
    pub kore_status: Option<String>,
    /// When it was due.
    pub due_at: Timestamp,
    /// What it remembers.
    pub history: History,
}

/// What stands in the place of a token, whatever it is: by this a row that is no row is known again.
macro_rules! mark {
    () => {
        "hex(CASE WHEN octet_length(lease_token) <= 64 THEN CAST(lease_token AS BLOB) END)"
    };
}
pub(super) use mark;

/// The pattern of times in the schema's CHECKs.
macro_rules! utc {
    () => {
        "'[0-9][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9].[0-9][0-9][0-9]Z'"
    };
}

/// A column's first so many characters, as bytes; nothing of what is longer than any column may be, which is not even
/// read: SQLite knows a value's length without it.
macro_rules! head {
    ($column:literal, $characters:literal) => {
        concat!(
            "CAST(CASE WHEN octet_length(",
            $column,
            ") <= 4000000 THEN substr(",
            $column,
            ", 1, ",
            $characters,
            ") END AS BLOB) AS ",
            $column,
            ", "
        )
    };
}

/// The columns that [`claimed`] reads. Lengths are bounded in SQL, so that a bent row cannot fill the memory.
pub(super) const COLUMNS: &str = concat!(
    "rowid, ",
    head!("session_id", 200),
    head!("bot", 200),
    head!("lease_token", 64),
    mark!(),
    " AS mark, ",
    head!("call_ended_at", 200),
    head!("metadata", 1_000_001),
    head!("enqueued_at", 40),
    head!("kore_status", 200),
    head!("next_poll_at", 40),
    head!("pending_since", 40),
    head!("first_failure_at", 40),
    head!("wait_kind", 40),
    head!("in_call_at", 40),
    head!("over_at", 40),
    head!("not_ready_at", 40),
    "CAST(priority AS INTEGER) AS priority, CAST(polls AS INTEGER) AS polls, CAST(failures AS INTEGER) AS failures, \
    CAST(wait_step AS INTEGER) AS wait_step, CAST(error_step AS INTEGER) AS error_step, \
    CAST(denials AS INTEGER) AS denials, CAST(odd_bodies AS INTEGER) AS odd_bodies, \
    CASE \
    WHEN max(ifnull(octet_length(session_id), 0), ifnull(octet_length(bot), 0), ifnull(octet_length(call_ended_at), 0), \
        ifnull(octet_length(metadata), 0), ifnull(octet_length(enqueued_at), 0), ifnull(octet_length(next_poll_at), 0), \
        ifnull(octet_length(kore_status), 0), ifnull(octet_length(last_error), 0)) > 4000000 \
        THEN 'each column must be of at most 4,000,000 bytes' \
    WHEN typeof(session_id) <> 'text' THEN 'session_id must be text' \
    WHEN length(CAST(session_id AS BLOB)) NOT BETWEEN 1 AND 128 OR length(CAST(session_id AS BLOB)) <> length(session_id) \
        THEN 'session_id must be 1 to 128 characters, each one of A-Z a-z 0-9 _ - .' \
    WHEN typeof(bot) <> 'text' OR length(bot) NOT BETWEEN 1 AND 128 THEN 'bot must be text of 1 to 128 characters' \
    WHEN typeof(lease_token) <> 'text' OR octet_length(lease_token) > 64 OR lease_token GLOB '*[^ -~]*' \
        THEN 'lease_token is text, written by the daemon' \
    WHEN typeof(priority) <> 'integer' THEN 'priority must be a whole number' \
    WHEN typeof(call_ended_at) NOT IN ('text', 'null') OR length(call_ended_at) > 100 \
        THEN 'call_ended_at must be text like 2026-11-23T08:15:00Z, or NULL' \
    WHEN typeof(metadata) NOT IN ('text', 'null') OR length(metadata) > 1000000 \
        THEN 'metadata must be text holding a JSON object of at most 1,000,000 characters, or NULL' \
    WHEN typeof(enqueued_at) <> 'text' OR enqueued_at NOT GLOB ",
    utc!(),
    " \
        THEN 'enqueued_at must be UTC text like 2026-11-23T08:15:00.000Z' \
    WHEN typeof(next_poll_at) <> 'text' OR next_poll_at NOT GLOB ",
    utc!(),
    " \
        THEN 'next_poll_at must be UTC text like 2026-11-23T08:15:00.000Z' \
    WHEN typeof(reason) NOT IN ('text', 'null') OR typeof(finished_at) NOT IN ('text', 'null') \
        THEN 'reason and finished_at are text, written by the daemon' \
    WHEN typeof(polls) <> 'integer' OR typeof(failures) <> 'integer' OR polls < 0 OR failures < 0 \
        THEN 'polls and failures are counts, written by the daemon' \
    WHEN typeof(kore_status) NOT IN ('text', 'null') OR typeof(last_error) NOT IN ('text', 'null') \
        OR length(last_error) > 1000 THEN 'kore_status and last_error are text, written by the daemon' \
    END AS fault"
);

/// Reads a row of [`COLUMNS`].
pub(super) fn claimed(row: &SqliteRow, now: Timestamp) -> Result<Claimed, sqlx::Error> {
    let id = text(row, "session_id")?.unwrap_or_default();
    let lease = Lease {
        rowid: row.try_get("rowid")?,
        token: text(row, "lease_token")?.unwrap_or_default(),
        label: id.escape_debug().take(128).collect(),
    };
    let bot = text(row, "bot")?.unwrap_or_default();
    match read(row, lease.clone(), &id, &bot, now)? {
        Ok(row) => Ok(Claimed::Row(Box::new(row))),
        Err(why) => {
            let mark = row.try_get("mark")?;
            Ok(Claimed::Invalid { lease: Lease { token: mark, ..lease }, bot, why })
        }
    }
}

fn read(
    row: &SqliteRow,
    lease: Lease,
    id: &str,
    bot: &str,
    now: Timestamp,
) -> Result<Result<Row, String>, sqlx::Error> {
    if let Some(fault) = text(row, "fault")? {
        return Ok(Err(fault));
    }
    let session_id = match SessionId::parse(id) {
        Ok(session_id) => session_id,
        Err(error) => return Ok(Err(format!("session_id: {error}"))),
    };
    let metadata = match text(row, "metadata")?.map(|text| metadata(&text)).transpose() {
        Ok(metadata) => metadata,
        Err(why) => return Ok(Err(why)),
    };
    let (call_ended_at, unusable_hint) = hint(text(row, "call_ended_at")?, now);
    let history = history(row, &session_id, now)?;
    Ok(Ok(Row {
        lease,
        bot: bot.to_owned(),
        priority: row.try_get("priority")?,
        call_ended_at,
        unusable_hint,
        metadata,
        enqueued_at: time(row, "enqueued_at")?.map_or(now, |at| at.min(now)),
        kore_status: text(row, "kore_status")?,
        due_at: time(row, "next_poll_at")?.unwrap_or(now),
        history,
        session_id,
    }))
}

fn history(row: &SqliteRow, session_id: &SessionId, now: Timestamp) -> Result<History, sqlx::Error> {
    let count = |column| Ok::<_, sqlx::Error>(u32::try_from(row.try_get::<i64, _>(column)?.max(0)).unwrap_or(u32::MAX));
    Ok(History {
        // A time in the future is a clock that was set back since.
        pending_since: time(row, "pending_since")?.map_or(now, |at| at.min(now)),
        // An id that tells a time to come tells none.
        started_at: session_id.started_at().filter(|at| *at <= now),
        polls: count("polls")?,
        failures: count("failures")?,
        first_failure_at: time(row, "first_failure_at")?.map(|at| at.min(now)),
        wait_kind: text(row, "wait_kind")?.and_then(|kind| WaitKind::parse(&kind)),
        wait_step: count("wait_step")?,
        error_step: count("error_step")?,
        denials: count("denials")?,
        odd_bodies: count("odd_bodies")?,
        in_call_at: time(row, "in_call_at")?.map(|at| at.min(now)),
        over_at: time(row, "over_at")?.map(|at| at.min(now)),
        not_ready_at: time(row, "not_ready_at")?.map(|at| at.min(now)),
    })
}

/// Of what is said of a row that is none.
const LONGEST_REASON: usize = 300;

/// A caller's own object, kept as it is written: numbers, keys and escapes are theirs.
///
/// # Errors
/// Why it is none.
pub fn metadata(text: &str) -> Result<Box<RawValue>, String> {
    match serde_json::from_str::<Box<RawValue>>(text) {
        Ok(object) if object.get().starts_with('{') => Ok(object),
        Ok(_) => Err("metadata is not a JSON object: it is another JSON value".to_owned()),
        // The error may quote the text.
        Err(error) => {
            Err(format!("metadata is not a JSON object: {error}").escape_debug().take(LONGEST_REASON).collect())
        }
    }
}

/// The hint where it is usable, or the text that was not.
fn hint(text: Option<String>, now: Timestamp) -> (Option<Timestamp>, Option<String>) {
    let Some(text) = text else { return (None, None) };
    match Timestamp::parse(&text) {
        Ok(at) if at <= now => (Some(at), None),
        _ => (None, Some(text.chars().take(100).collect())),
    }
}

fn text(row: &SqliteRow, column: &str) -> Result<Option<String>, sqlx::Error> {
    if row.try_get_raw(column)?.is_null() {
        return Ok(None);
    }
    let bytes: Vec<u8> = row.try_get(column)?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

fn time(row: &SqliteRow, column: &str) -> Result<Option<Timestamp>, sqlx::Error> {
    Ok(text(row, column)?.and_then(|text| Timestamp::parse(&text).ok()))
}
