//! What a file is, told by its bytes: container, length, duration, and whether it can be a recording at all.
//!
//! Never by a name or a header of HTTP: a login page arrives as `audio/wav` too. The [`Inspector`] goes along while the
//! file streams to the bucket, and holds a bounded part of it. The order of its work:
//! 1. `sniff` decides on the first 4 KiB which container it is, or that it is text, or unknown.
//! 2. One walker for each container follows its structure: chunks, pages, boxes, frames. `stride` carries it past the
//!    audio itself, which is not looked at, save for the last frame of FLAC. At most 384 KiB are held.
//! 3. At the end the walker says whether what the container promised is there.
//!
//! Being wrong costs a person a look when a sound file is called suspect, and evidence when a cut one is not. So what a
//! container promises and what did not come is a doubt, always; what it leaves open is none, as long as HTTP marked the
//! end; and a doubt once told by [`Inspector::doubt_so_far`] stays.
//!
//! No library: those that read durations want a whole file to seek in, and say nothing about cuts. The structure that has
//! to be walked for that holds duration, channels and sample rate anyway.

mod amr;
mod au;
mod flac;
mod mp3;
mod mp4;
mod ogg;
mod sniff;
mod stride;
mod text;
mod walk;
mod wav;
mod webm;

#[cfg(test)]
mod odd;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;

pub(crate) use sniff::HEAD;
use sniff::{Known, Sniffed};
use std::fmt;
use stride::{Next, Stride};
use walk::{Account, Claim, End, Walk};

/// How the transfer of a file ended, as far as HTTP can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All of a promised length came, or the last chunk did.
    Marked,
    /// The connection closed without either: a cut looks the same.
    Unmarked,
}

/// Why a file is suspect (CONTRACT section 4). Its `Display` is the text for tables and sidecars.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// No container that we know.
    UnknownContainer,
    /// The container says that it is longer than what came.
    Truncated {
        /// The least length that its words make it.
        declared: u64,
        /// The length that came, or that HTTP promises to come.
        received: u64,
    },
    /// The container is not at its end, as what is missing shows.
    Cut(&'static str),
    /// Less came than HTTP promised.
    Short {
        /// By HTTP.
        promised: u64,
        /// That came.
        received: u64,
    },
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
        match self {
            Self::UnknownContainer => f.write_str("unknown container"),
            Self::Truncated { declared, received } => {
                write!(f, "the container says that it has at least {declared} bytes, and {received} came")
            }
            Self::Cut(missing) => f.write_str(missing),
            Self::Short { promised, received } => write!(f, "HTTP promised {promised} bytes, and {received} came"),
            Self::NoAudio => f.write_str("no audio in it"),
            Self::Text => f.write_str("text, not a recording"),
            Self::Empty => f.write_str("nothing in it"),
            Self::Unproven => f.write_str("cannot be told from a cut file"),
        }
    }
}

/// What was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Inspection {
    /// For S3 and the sidecar: from the bytes, never from a header. `video/mp4` and `video/webm` (Matroska too) when there
    /// is a picture; `application/octet-stream` when nothing is known.
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
    promised: Option<u64>,
    received: u64,
    stride: Stride,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Sniffing { tagged: bool },
    Walking(Box<dyn Walk>),
    Text(&'static str),
    Unknown,
}

impl Stage {
    fn step(&mut self, promised: Option<u64>, at: u64, window: &[u8]) -> Next {
        match self {
            Self::Sniffing { tagged } => match sniff::sniff(window, *tagged) {
                Sniffed::Tag(length) => {
                    *tagged = true;
                    Next::over(length, head_window(promised, at.saturating_add(length)))
                }
                Sniffed::Known(known) => self.settle(known),
            },
            Self::Walking(walker) => walker.step(at, window),
            Self::Text(_) | Self::Unknown => Next::DONE,
        }
    }

    fn settle(&mut self, known: Known) -> Next {
        let (stage, next) = match known {
            Known::Container(walker) => {
                let next = Next::more(walker.first_window());
                (Self::Walking(walker), next)
            }
            Known::Text(content_type) => (Self::Text(content_type), Next::DONE),
            Known::Nothing => (Self::Unknown, Next::DONE),
        };
        *self = stage;
        next
    }

    /// What is certain whatever follows.
    fn doubt(&self) -> Option<Doubt> {
        match self {
            Self::Text(_) => Some(Doubt::Text),
            Self::Unknown => Some(Doubt::UnknownContainer),
            Self::Sniffing { .. } | Self::Walking(_) => None,
        }
    }
}

/// How much is sniffed at: less where the file is to end sooner, so that a short one is decided on as soon as it is there.
fn head_window(promised: Option<u64>, at: u64) -> usize {
    let left = promised.map_or(u64::MAX, |promised| promised.saturating_sub(at).max(1));
    usize::try_from(left).map_or(sniff::HEAD, |left| left.min(sniff::HEAD))
}

impl Inspector {
    /// For a file of which HTTP promised that many bytes, if it did.
    #[must_use]
    pub fn new(promised: Option<u64>) -> Self {
        let stage = Stage::Sniffing { tagged: false };
        Self { promised, received: 0, stride: Stride::new(head_window(promised, 0)), stage }
    }

    /// The next bytes, in order.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.received = self.received.saturating_add(bytes.len() as u64);
        self.stride.run(bytes, |at, window| self.stage.step(self.promised, at, window));
    }

    /// What can be said already: a doubt that later bytes cannot lift. Known as soon as the header came, where the
    /// promised length contradicts it.
    #[must_use]
    pub fn doubt_so_far(&self) -> Option<Doubt> {
        let contradiction = || self.promised.and_then(|promised| self.truncation(promised));
        self.stage.doubt().or_else(contradiction)
    }

    /// The content type, as far as what has come tells: an MP4 whose index comes last may yet turn out to have a picture.
    #[must_use]
    pub fn content_type_so_far(&self) -> &'static str {
        self.account(self.promised.unwrap_or(self.received)).content_type
    }

    /// The verdict, after the last byte.
    #[must_use]
    pub fn finish(mut self, ending: Ending) -> Inspection {
        self.sniff_what_came();
        // More bytes than promised are another's worry; here they cannot lift a doubt that the promise raised.
        let length = self.promised.map_or(self.received, |promised| promised.min(self.received));
        let account = self.account(length);
        Inspection {
            content_type: account.content_type,
            duration_seconds: account.duration_seconds,
            channels: account.channels,
            sample_rate: account.sample_rate,
            doubt: self.doubt(length, account.claim, ending),
        }
    }

    /// A file shorter than the sniffer's window is decided on what there is.
    fn sniff_what_came(&mut self) {
        while matches!(self.stage, Stage::Sniffing { .. }) && !self.stride.rest().is_empty() {
            self.stride.settle_for_rest(|at, window| self.stage.step(self.promised, at, window));
        }
    }

    fn account(&self, length: u64) -> Account {
        let bare = |content_type| Account {
            content_type,
            duration_seconds: None,
            channels: None,
            sample_rate: None,
            claim: Claim::NoAudio,
        };
        match &self.stage {
            Stage::Walking(walker) => walker.close(End { length, rest: self.stride.rest() }),
            Stage::Text(content_type) => bare(content_type),
            Stage::Sniffing { .. } | Stage::Unknown => bare("application/octet-stream"),
        }
    }

    fn doubt(&self, length: u64, claim: Claim, ending: Ending) -> Option<Doubt> {
        if self.received == 0 {
            return Some(Doubt::Empty);
        }
        let certain = self.stage.doubt().or_else(|| self.truncation(length)).or_else(|| self.broken_promise());
        certain.or(match (claim, ending) {
            (Claim::Cut(missing), _) => Some(Doubt::Cut(missing)),
            (Claim::NoAudio, _) => Some(Doubt::NoAudio),
            (Claim::Open, Ending::Unmarked) => Some(Doubt::Unproven),
            (Claim::Open, Ending::Marked) | (Claim::Whole, _) => None,
        })
    }

    /// What the container has promised so far does not fit into a file of that length.
    fn truncation(&self, length: u64) -> Option<Doubt> {
        let promised_end = match &self.stage {
            Stage::Walking(walker) => walker.promised_end(),
            Stage::Sniffing { .. } | Stage::Text(_) | Stage::Unknown => 0,
        };
        let declared = promised_end.max(self.stride.position());
        (declared > length).then_some(Doubt::Truncated { declared, received: length })
    }

    fn broken_promise(&self) -> Option<Doubt> {
        let promised = self.promised.filter(|promised| *promised > self.received)?;
        Some(Doubt::Short { promised, received: self.received })
    }
}

/// The verdict over bytes that are all there.
#[must_use]
pub fn inspect(bytes: &[u8], promised: Option<u64>, ending: Ending) -> Inspection {
    let mut inspector = Inspector::new(promised);
    inspector.feed(bytes);
    inspector.finish(ending)
}
