//! What can be written: a result, or a note, with the right that it takes.

use std::time::Duration;

use serde_json::{Value, json};

use super::rows::Lease;
use crate::clock::Timestamp;
use crate::decide::History;
use crate::key::ObjectKey;
use crate::pause::Pause;
use crate::receipt::{Sha256, Verified};
use crate::session::{Reason, SessionId};

/// A result to be written.
#[derive(Clone, Debug)]
pub enum Write {
    /// The row is looked at again later.
    Waits {
        /// Of the attempt.
        outcome: Outcome,
        /// When.
        next_poll_at: Timestamp,
    },
    /// The row ends.
    Finishes {
        /// Of the attempt.
        outcome: Outcome,
        /// Why, and thereby in which state.
        reason: Reason,
        /// When.
        at: Timestamp,
    },
    /// The row is none: `failed` / `invalid_row`.
    Refuses {
        /// The right to say so.
        lease: Lease,
        /// What is wrong with it.
        why: String,
        /// When.
        at: Timestamp,
    },
    /// Something for the row's history that changes nothing else.
    Event {
        /// Whose.
        session_id: String,
        /// One word.
        kind: &'static str,
        /// More of it.
        detail: Value,
    },
    /// A file is proven whole in the bucket.
    Archived(Box<Recording>),
    /// A multipart upload is about to be created.
    UploadIntended {
        /// Ours, for the three that follow.
        id: i64,
        /// Where.
        bucket: String,
        /// Under which key.
        key: String,
        /// By which run.
        run: String,
        /// When.
        at: Timestamp,
    },
    /// The store has named it.
    UploadCreated {
        /// Ours.
        id: i64,
        /// The store's.
        upload_id: String,
    },
    /// It is told to complete; or it is known that the object under its key is not made of its parts.
    UploadTold {
        /// Ours.
        id: i64,
        /// When; `None` for the other.
        at: Option<Timestamp>,
    },
    /// It is completed or aborted.
    UploadEnded {
        /// Ours.
        id: i64,
    },
    /// What the adaptive schedule knows of a bot.
    Learned {
        /// Whose.
        bot: String,
        /// As text.
        state: String,
        /// When.
        at: Timestamp,
    },
    /// Work waits for somebody else.
    Paused(Pause),
    /// It goes on.
    Resumed {
        /// What was paused,
        what: String,
        /// for what.
        reason: &'static str,
    },
    /// The wall clock was set back: rows wait for times that are that much farther off than was meant.
    ClockSetBack {
        /// By how much.
        by: Duration,
        /// What the clock says now.
        now: Timestamp,
    },
}

impl Write {
    /// Why the row is no longer pending once this is applied, if it is not.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        self.verdict()?.1
    }

    /// The attempt that ends with it, if one does.
    pub(super) fn ends_attempt(&self) -> Option<&Lease> {
        Some(self.verdict()?.0)
    }

    /// Whose attempt ends with it, and why the row ends as well, if it does.
    fn verdict(&self) -> Option<(&Lease, Option<Reason>)> {
        match self {
            Self::Waits { outcome, .. } => Some((&outcome.lease, None)),
            Self::Finishes { outcome, reason, .. } => Some((&outcome.lease, Some(*reason))),
            Self::Refuses { lease, .. } => Some((lease, Some(Reason::InvalidRow))),
            Self::Event { .. }
            | Self::Archived(_)
            | Self::UploadIntended { .. }
            | Self::UploadCreated { .. }
            | Self::UploadTold { .. }
            | Self::UploadEnded { .. }
            | Self::Learned { .. }
            | Self::Paused(_)
            | Self::Resumed { .. }
            | Self::ClockSetBack { .. } => None,
        }
    }
}

/// What came of an attempt, whether its row waits or ends.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The right to say so.
    pub lease: Lease,
    /// What the row remembers from now on.
    pub history: History,
    /// What Kore said, if it said something.
    pub kore_status: Option<String>,
    /// What went wrong, if something did.
    pub note: Option<Note>,
}

/// What went wrong, for `last_error` and the row's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Free of secrets; at most 1,000 characters are kept.
    pub error: String,
    /// Where it went wrong: `poll`, `download`, `upload`, `verify`.
    pub stage: &'static str,
    /// Whether it counted against the row.
    pub charged: bool,
}

impl Note {
    /// The longest error that the table takes.
    const LONGEST: usize = 1000;

    /// A note; the error is cut to what the table takes.
    #[must_use]
    pub fn new(stage: &'static str, charged: bool, error: &str) -> Self {
        Self { error: error.chars().filter(|c| *c != '\0').take(Self::LONGEST).collect(), stage, charged }
    }

    pub(super) fn detail(&self) -> Value {
        json!({ "stage": self.stage, "charged": self.charged, "error": self.error })
    }
}

/// A row of `recordings`. It takes a [`Verified`] to make one.
#[derive(Clone, Debug)]
pub struct Recording {
    /// By whose right. A suspect file is noted only while that holds: a row that was sent back meanwhile fetches it again.
    pub lease: Lease,
    /// Whose.
    pub session_id: SessionId,
    /// As Kore named it.
    pub file_name: String,
    /// SHA-256 of the path of its URL.
    pub source: Sha256,
    /// Where.
    pub bucket: String,
    /// Under which key.
    pub key: ObjectKey,
    /// Under which key the table has it, if other bytes stand there by now: that entry is taken back.
    pub instead_of: Option<ObjectKey>,
    /// The proof that it is whole there.
    pub verified: Verified,
    /// What it is.
    pub facts: Facts,
    /// When that was proven.
    pub archived_at: Timestamp,
}

/// What is known of a recording beside its bytes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// From its bytes.
    pub content_type: String,
    /// Why it is suspect, if it is.
    pub suspect: Option<String>,
    /// In seconds, when the container says so.
    pub duration_seconds: Option<f64>,
    /// When the container says so.
    pub channels: Option<u16>,
    /// In Hz, when the container says so.
    pub sample_rate: Option<u32>,
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// Committed.
    Yes,
    /// The row is not as it was when it was claimed; nothing was changed.
    LeaseLost,
    /// SQLite does not take it, or did not take a recording of its row: somebody bent the table. Nothing was changed.
    Refused,
}
