//! What a file is, told by its bytes: container, length, duration, and whether it can be a recording at all.
//!
//! Placeholder while the inspector is being written: interface only.

use std::fmt;

/// How the transfer of a file ended, as far as HTTP can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All of a promised length came, or the last chunk did.
    Marked,
    /// The connection closed without either: a cut looks the same.
    Unmarked,
}

/// A container that recordings come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    /// RIFF/RF64 WAVE.
    Wav,
    /// Native FLAC.
    Flac,
    /// Ogg (Opus, Vorbis, Speex, FLAC).
    Ogg,
    /// MPEG audio, layers I to III, with or without ID3.
    Mp3,
    /// ISO base media: MP4, M4A, 3GP.
    Mp4,
    /// WebM or Matroska.
    WebM,
    /// AMR and AMR-WB.
    Amr,
    /// Sun/NeXT AU.
    Au,
}

/// Why a file is suspect (CONTRACT section 4). Its `Display` is the text for tables and sidecars.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// No container that we know.
    UnknownContainer,
    /// The container says that it is longer than what came.
    Truncated,
    /// A container without any audio.
    NoAudio,
    /// HTML, JSON, XML or plain text.
    Text,
    /// Nothing at all.
    Empty,
    /// The end was not marked by HTTP, and the container does not prove that it is whole.
    Unproven,
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownContainer => "unknown container",
            Self::Truncated => "the container says that it is longer than what came",
            Self::NoAudio => "no audio in it",
            Self::Text => "text, not a recording",
            Self::Empty => "nothing in it",
            Self::Unproven => "cannot be told from a cut file",
        })
    }
}

/// What was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Inspection {
    /// The container, if it is a known one.
    pub container: Option<Container>,
    /// For S3 and the sidecar: from the bytes, never from a header.
    pub content_type: &'static str,
    /// When the container says so, in seconds.
    pub duration_seconds: Option<f64>,
    /// When the container says so.
    pub channels: Option<u16>,
    /// In Hz, when the container says so.
    pub sample_rate: Option<u32>,
    /// Why it is suspect, if it is.
    pub doubt: Option<Doubt>,
}

/// Looks at a file as it streams by, in bounded memory.
#[derive(Debug)]
pub struct Inspector {
    _promised: Option<u64>,
}

impl Inspector {
    /// For a file of which HTTP promised that many bytes, if it did.
    #[must_use]
    pub fn new(promised: Option<u64>) -> Self {
        Self { _promised: promised }
    }

    /// The next bytes, in order.
    pub fn feed(&mut self, _bytes: &[u8]) {}

    /// What can be said already: a doubt that later bytes cannot lift. Known as soon as the header came, where the
    /// promised length contradicts it.
    #[must_use]
    pub fn doubt_so_far(&self) -> Option<Doubt> {
        None
    }

    /// The content type, as far as what has come tells.
    #[must_use]
    pub fn content_type_so_far(&self) -> &'static str {
        "application/octet-stream"
    }

    /// The verdict, after the last byte.
    #[must_use]
    pub fn finish(self, _ending: Ending) -> Inspection {
        unreachable!("interface only")
    }
}
