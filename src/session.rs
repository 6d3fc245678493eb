//! The nouns: what a session is called, what Kore says of it, and how a row ends.
//!
//! Everything here is parsed once, at the edge, and carried as a type afterwards. Nothing here knows of SQLite,
//! HTTP or S3. Kore's statuses are an open set (KORE.md): [`Status`] keeps the word as it was spelled and sorts it
//! into a [`StatusKind`] by one total function; what it does not know is [`StatusKind::Other`], never an error.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::clock::Timestamp;

/// Kore's id of a call session: 1 to 128 of `A-Z a-z 0-9 _ - .` (CONTRACT section 2).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(String);

/// A text that cannot be a session id.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a session id is 1 to 128 of A-Z a-z 0-9 _ - .")]
pub struct NotASessionId;

impl SessionId {
    /// In characters, each of which is a byte.
    pub const LONGEST: usize = 128;

    /// # Errors
    /// [`NotASessionId`] if the text is empty, longer than 128, or has any other character.
    pub fn parse(text: &str) -> Result<Self, NotASessionId> {
        let fits = (1..=Self::LONGEST).contains(&text.len());
        let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
        if fits && plain { Ok(Self(text.to_owned())) } else { Err(NotASessionId) }
    }

    /// The id as Kore and the queue spell it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The session's start, where the id tells: the first 8 hex digits of a 24-digit Mongo ObjectId are its Unix
    /// second (KORE.md, inferred and checked on ten samples).
    #[must_use]
    pub fn started_at(&self) -> Option<Timestamp> {
        let object_id = self.0.len() == 24 && self.0.bytes().all(|b| b.is_ascii_hexdigit());
        if !object_id {
            return None;
        }
        let seconds = u32::from_str_radix(&self.0[..8], 16).ok()?;
        Some(Timestamp::from_seconds(i64::from(seconds)))
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What Kore said of a session: the word as it was spelled (at most 100 characters of it), and what it means to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    text: String,
    kind: StatusKind,
}

/// The sorts of status that the daemon treats differently (CONTRACT section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusKind {
    /// `call_in_progress`: people are talking.
    CallInProgress,
    /// `media_in_progress`: the call is over, its media is not made yet.
    MediaInProgress,
    /// `success`: the list of recordings came with it.
    Success,
    /// `media_unavailable`: not on Kore's server; soon after a call that may be early, not final.
    Unavailable,
    /// `failed`, `media_generation_failed`: not made; looked at again before it is believed.
    Failed,
    /// `media_conversion_failed`, `partial_download_failed`, `partial_upload_failed`: Kore retries by itself.
    KoreRetrying,
    /// `media_unavailable_short_duration`: there never will be one.
    TooShort,
    /// `recording_disabled`: there never will be one.
    RecordingDisabled,
    /// Anything else: waited for, warned about, counted, never fatal.
    Other,
}

impl Status {
    const LONGEST: usize = 100;

    /// Sorts Kore's word. Case and surrounding blanks do not matter; the text is kept as it came.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let kind = match text.trim().to_ascii_lowercase().as_str() {
            "call_in_progress" => StatusKind::CallInProgress,
            "media_in_progress" => StatusKind::MediaInProgress,
            "success" => StatusKind::Success,
            "media_unavailable" => StatusKind::Unavailable,
            "failed" | "media_generation_failed" => StatusKind::Failed,
            "media_conversion_failed" | "partial_download_failed" | "partial_upload_failed" => StatusKind::KoreRetrying,
            "media_unavailable_short_duration" => StatusKind::TooShort,
            "recording_disabled" => StatusKind::RecordingDisabled,
            _ => StatusKind::Other,
        };
        Self { text: text.chars().take(Self::LONGEST).collect(), kind }
    }

    /// Kore's spelling. It may hold any character: escape it before it reaches a terminal or a page.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What it means to us.
    #[must_use]
    pub fn kind(&self) -> StatusKind {
        self.kind
    }
}

/// The states of a row (CONTRACT section 5). The schema's CHECK lists the same words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Being watched or copied.
    Pending,
    /// Every recording is whole in the bucket.
    Done,
    /// Archived, but at least one file is not what a recording looks like.
    Suspect,
    /// There is no recording, says Kore.
    Unavailable,
    /// Given up, for the row's reason.
    Failed,
}

impl State {
    /// Every state, in the order people expect to read them.
    pub const ALL: [Self; 5] = [Self::Pending, Self::Done, Self::Suspect, Self::Unavailable, Self::Failed];

    /// The word in the table.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Done => "done",
            Self::Suspect => "suspect",
            Self::Unavailable => "unavailable",
            Self::Failed => "failed",
        }
    }

    /// The state of that name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// Why a row left `pending` (CONTRACT section 5); each belongs to one [`State`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// Every recording is whole in the bucket.
    Archived,
    /// At least one archived file is suspect.
    SuspectContent,
    /// Kore has no media, also on a second look.
    MediaUnavailable,
    /// The bot does not record.
    RecordingDisabled,
    /// The call was too short to be recorded.
    TooShort,
    /// Kore failed to make the media, also on a second look.
    KoreFailed,
    /// `poll.give_up_after` passed while Kore said "not yet".
    NeverReady,
    /// Kore knows no such session.
    NotFound,
    /// The row cannot be read as the contract wants it.
    InvalidRow,
    /// The settings know no such bot.
    UnknownBot,
    /// `poll.max_failures` and `poll.fail_after` are both spent.
    TooManyFailures,
    /// A recording is larger than `transfer.max_bytes`.
    TooLarge,
    /// Until `poll.give_up_after`, Kore kept naming a file host that `media_hosts` does not list.
    HostRefused,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 13] = [
        Self::Archived,
        Self::SuspectContent,
        Self::MediaUnavailable,
        Self::RecordingDisabled,
        Self::TooShort,
        Self::KoreFailed,
        Self::NeverReady,
        Self::NotFound,
        Self::InvalidRow,
        Self::UnknownBot,
        Self::TooManyFailures,
        Self::TooLarge,
        Self::HostRefused,
    ];

    /// The word in the table.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Archived => "archived",
            Self::SuspectContent => "suspect_content",
            Self::MediaUnavailable => "media_unavailable",
            Self::RecordingDisabled => "recording_disabled",
            Self::TooShort => "too_short",
            Self::KoreFailed => "kore_failed",
            Self::NeverReady => "never_ready",
            Self::NotFound => "not_found",
            Self::InvalidRow => "invalid_row",
            Self::UnknownBot => "unknown_bot",
            Self::TooManyFailures => "too_many_failures",
            Self::TooLarge => "too_large",
            Self::HostRefused => "host_refused",
        }
    }

    /// What a person can do about it.
    #[must_use]
    pub fn advice(self) -> &'static str {
        match self {
            Self::Archived => "Nothing to do: it is whole in the bucket.",
            Self::SuspectContent => {
                "Listen to the file under bucket.suspect_prefix: it may be cut, silent, or no recording at all."
            }
            Self::MediaUnavailable => "If there should be a recording, ask Kore.ai; then `kore-archiver retry ID`.",
            Self::RecordingDisabled => "Nothing to do, unless this bot should record: then switch it on at Kore.ai.",
            Self::TooShort => "Nothing to do: the call was too short to be recorded.",
            Self::KoreFailed => "Ask Kore.ai about this session; once it is mended there, `kore-archiver retry ID`.",
            Self::NeverReady => "Kore.ai never finished it: ask there, and then `kore-archiver retry ID`.",
            Self::NotFound => "Check the id and its bot; Kore.ai may also have deleted it after its retention time.",
            Self::InvalidRow => "Whoever inserted it must correct it: `kore-archiver show ID` says what is wrong.",
            Self::UnknownBot => "Add [bots.NAME] to the settings and restart, or correct the row's bot; then retry it.",
            Self::TooManyFailures => {
                "Read the error and `kore-archiver show ID`; mend it, then `kore-archiver retry ID`."
            }
            Self::TooLarge => "Raise transfer.max_bytes and restart, then `kore-archiver retry ID`.",
            Self::HostRefused => {
                "If the host is right, add it to media_hosts and restart, then `kore-archiver retry ID`."
            }
        }
    }

    /// The state that a row with this reason is in.
    #[must_use]
    pub fn state(self) -> State {
        match self {
            Self::Archived => State::Done,
            Self::SuspectContent => State::Suspect,
            Self::MediaUnavailable | Self::RecordingDisabled | Self::TooShort => State::Unavailable,
            Self::KoreFailed
            | Self::NeverReady
            | Self::NotFound
            | Self::InvalidRow
            | Self::UnknownBot
            | Self::TooManyFailures
            | Self::TooLarge
            | Self::HostRefused => State::Failed,
        }
    }

    /// The reason of that name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
    }
}

impl Serialize for State {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_outside_the_alphabet_is_refused() {
        for bad in ["", " a", "a ", "a/b", "../x", "a%2Fb", "a\0", "a\n", "é", "'", &"x".repeat(129)] {
            assert_eq!(SessionId::parse(bad), Err(NotASessionId), "{bad:?}");
        }
        assert!(SessionId::parse(&"x".repeat(128)).is_ok());
        assert!(SessionId::parse("A-z_0.9").is_ok());
    }

    #[test]
    fn an_object_id_tells_the_second_of_its_session() {
        let id = SessionId::parse("65e7133a3242653c58d70001").unwrap();
        assert_eq!(id.started_at().unwrap().to_string(), "2024-03-05T12:42:34.000Z");
        assert_eq!(SessionId::parse("65e7133a3242653c58d7000").unwrap().started_at(), None);
        assert_eq!(SessionId::parse("65e7133a3242653c58d7000g").unwrap().started_at(), None);
    }

    #[test]
    fn a_status_is_sorted_whatever_its_case_and_kept_as_it_came() {
        let status = Status::new(" Media_In_Progress");
        assert_eq!((status.as_str(), status.kind()), (" Media_In_Progress", StatusKind::MediaInProgress));
        assert_eq!(Status::new("transcoding").kind(), StatusKind::Other);
        assert_eq!(Status::new("").kind(), StatusKind::Other);
    }

    #[test]
    fn states_and_reasons_read_back() {
        for state in State::ALL {
            assert_eq!(State::parse(state.as_str()), Some(state));
        }
        for reason in Reason::ALL {
            assert_eq!(Reason::parse(reason.as_str()), Some(reason));
            assert_ne!(reason.state(), State::Pending);
        }
    }
}
