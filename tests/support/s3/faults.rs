//! What can be made to go wrong, and when.
//!
//! A fault is armed for an operation and a number of calls. Some strike before S3 is asked at all (the connection is
//! dropped, the answer is an error); the others are [quirks](Fault::is_quirk): S3 is asked, and behaves like a store
//! that does not keep the rules. All quirks that are armed apply at once, of the others the first.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::digests::Algorithm;

/// A call of S3's API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Op {
    /// Matches every call, when a fault is armed.
    Any,
    PutObject,
    GetObject,
    HeadObject,
    DeleteObject,
    CreateUpload,
    UploadPart,
    CompleteUpload,
    AbortUpload,
    ListUploads,
    ListParts,
    ListObjects,
    HeadBucket,
    BucketLocation,
    Encryption,
    PublicAccess,
    Lifecycle,
    /// Something that this server does not implement.
    Unknown,
}

/// How often a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// At the next calls, so many of them.
    Next(usize),
    /// Until [`super::FakeS3::heal`].
    Forever,
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// The answer is this status with this S3 code; nothing is applied.
    Status(u16, &'static str),
    /// The same, and this is its message.
    Says(u16, &'static str, String),
    /// 503 `SlowDown`.
    SlowDown,
    /// 200, and the body says `InternalError`: what a complete may do. Nothing is applied.
    ErrorIn200,
    /// 200, and the answer to another question. Nothing is applied.
    Misunderstood,
    /// The connection is closed before anything is applied.
    DropBeforeApply,
    /// It is applied, and the connection closed instead of an answer.
    DropAfterApply,
    /// No answer for so long, then the connection is closed. Nothing is applied.
    Hang(Duration),
    /// A bit of the body turns over on the way.
    FlipBit,
    /// The body is taken at so many bytes a second, over a narrow line.
    Narrow(u32),
    /// HEAD does not tell the truth.
    LieOnHead(Lie),
    /// Half of an object, then the connection is closed.
    CutRead,
    /// Half of an object, then nothing more.
    StallRead,
    /// Conditions are ignored: what is there is overwritten.
    IgnoreIfNoneMatch,
    /// Checksums are neither checked nor kept nor reported.
    NoChecksums,
    /// The store's clock is so many seconds ahead. S3 takes 15 minutes of it.
    ClockAhead(i64),
    /// A request that asks for this is answered with this status and S3 code. Others are served.
    Refuse(Asked, u16, &'static str),
    /// The checksum of an upload in parts is one of its parts' checksums, whatever was asked for; the store knows no other.
    CompositeOnly,
    /// Parts are taken whatever is said of their bytes; the whole is compared.
    BelieveParts,
    /// A completion fails in its last step: the object is there, the answer is 500, and the upload is listed still. What
    /// aborts that takes the object's bytes, as in Swift.
    HalfDone,
}

/// What a request may ask for beyond having its bytes taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// `If-None-Match`.
    Condition,
    /// A checksum by one of these algorithms: as a header, behind the body, by name, or of the whole of an upload.
    Checksums(&'static [Algorithm]),
    /// A checksum of the whole of an upload when it is completed, or that it be one.
    WholeChecksum,
    /// A checksum of each part when an upload is completed.
    PartChecksums,
    /// `x-amz-mp-object-size`.
    ObjectSize,
    /// To be kept unread: it names neither `Content-MD5` nor `x-amz-sdk-checksum-algorithm`, one of which is asked for where
    /// Object Lock sets a retention.
    Trust,
}

/// What HEAD says instead of the truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// This length.
    Bytes(u64),
    /// Checksums of something else.
    WrongChecksum,
    /// No checksum.
    NoChecksum,
    /// Checksums, and not of what: as a store may that keeps the headers that it is sent.
    Untyped,
    /// That the newest version is a delete marker.
    DeleteMarker,
}

impl Fault {
    /// Whether S3 is asked, and misbehaves, rather than not being asked.
    pub fn is_quirk(&self) -> bool {
        match self {
            Self::FlipBit
            | Self::Narrow(_)
            | Self::LieOnHead(_)
            | Self::CutRead
            | Self::StallRead
            | Self::IgnoreIfNoneMatch
            | Self::NoChecksums
            | Self::CompositeOnly
            | Self::BelieveParts
            | Self::HalfDone
            | Self::Refuse(..) => true,
            Self::Status(..)
            | Self::Says(..)
            | Self::SlowDown
            | Self::ErrorIn200
            | Self::Misunderstood
            | Self::DropBeforeApply
            | Self::DropAfterApply
            | Self::ClockAhead(_)
            | Self::Hang(_) => false,
        }
    }
}

/// The quirks of one request, for the backend: they travel in the request's extensions.
#[derive(Clone, Debug, Default)]
pub struct Quirks(Vec<Fault>);

impl Quirks {
    pub fn of(extensions: &http::Extensions) -> Self {
        extensions.get().cloned().unwrap_or_default()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn has(&self, fault: &Fault) -> bool {
        self.0.contains(fault)
    }

    pub fn lie(&self) -> Option<Lie> {
        self.0.iter().find_map(|fault| if let Fault::LieOnHead(lie) = fault { Some(*lie) } else { None })
    }

    /// How long so many bytes take.
    pub fn delay(&self, bytes: usize) -> Duration {
        let rate = self.0.iter().find_map(|fault| if let Fault::Narrow(rate) = fault { Some(*rate) } else { None });
        rate.map_or(Duration::ZERO, |rate| Duration::from_secs(bytes as u64) / rate)
    }

    /// What is refused, and with which status and code.
    pub fn refused(&self) -> impl Iterator<Item = (Asked, u16, &'static str)> {
        self.0.iter().filter_map(|fault| {
            if let Fault::Refuse(asked, status, code) = fault { Some((*asked, *status, *code)) } else { None }
        })
    }
}

#[derive(Debug)]
struct Armed {
    op: Op,
    skip: usize,
    times: Times,
    fault: Fault,
}

impl Armed {
    /// Whether it strikes this call; counts.
    fn strikes(&mut self, op: Op) -> bool {
        if self.op != op && self.op != Op::Any {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        match &mut self.times {
            Times::Forever => true,
            Times::Next(0) => false,
            Times::Next(left) => {
                *left -= 1;
                true
            }
        }
    }
}

/// The faults that are armed.
#[derive(Debug, Default)]
pub struct Faults(Mutex<Vec<Armed>>);

impl Faults {
    pub fn arm(&self, op: Op, skip: usize, times: Times, fault: Fault) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Armed { op, skip, times, fault });
    }

    pub fn heal(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// It struck where it could not bite, as a lie about nothing: it is kept for a later call.
    pub fn keep(&self, op: Op, fault: &Fault) {
        let mut armed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let spent = armed.iter_mut().find(|entry| entry.op == op && entry.fault == *fault);
        if let Some(Armed { times: Times::Next(left), .. }) = spent {
            *left += 1;
        }
    }

    /// What strikes this call: at most one fault before S3, and quirks.
    pub fn strike(&self, op: Op) -> (Option<Fault>, Quirks) {
        let mut armed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut before, mut quirks) = (None, Vec::new());
        for entry in armed.iter_mut() {
            // A second fault before S3 keeps its count for a later call.
            if (before.is_none() || entry.fault.is_quirk()) && entry.strikes(op) {
                if entry.fault.is_quirk() {
                    quirks.push(entry.fault.clone());
                } else {
                    before = Some(entry.fault.clone());
                }
            }
        }
        (before, Quirks(quirks))
    }
}
