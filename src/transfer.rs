//! A body on its way: read in parts, counted, hashed and looked at as it passes, in bounded memory.
//!
//! Bytes are kept as the segments that arrived and never gathered into one buffer. Before a part is read its room is
//! taken from one [`Memory`] that all transfers share; the room goes back when the part is dropped, which is after the
//! bucket has it. A transfer holds at most one part that is not full, and full ones leave by themselves, so that
//! waiting for room always ends.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::media::{Ending, Inspection, Inspector};
use crate::receipt::{Checksums, Receipt, Tally};
use crate::source::{Download, FetchError};

/// What parts may hold at once, over all transfers (`transfer.memory`).
#[derive(Clone, Debug)]
pub struct Memory {
    kib: Arc<Semaphore>,
    all: u32,
}

impl Memory {
    /// Room for so many bytes.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        let all = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        Self { kib: Arc::new(Semaphore::new(all as usize)), all }
    }

    async fn take(&self, bytes: u64) -> OwnedSemaphorePermit {
        // More than there is would wait for ever.
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX).clamp(1, self.all);
        Arc::clone(&self.kib).acquire_many_owned(kib).await.expect("this semaphore is never closed")
    }
}

/// A body as it arrived, never gathered into one buffer: cheap to clone, so that it can be sent again.
#[derive(Clone, Default)]
pub struct Segments {
    segments: Vec<Bytes>,
    bytes: u64,
}

impl fmt::Debug for Segments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Segments").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl Segments {
    /// Adds the next bytes.
    pub fn push(&mut self, segment: Bytes) {
        self.bytes += segment.len() as u64;
        self.segments.push(segment);
    }

    /// How many bytes in all.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.bytes
    }

    /// Whether there is not one byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// The pieces, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Bytes> {
        self.segments.iter()
    }
}

impl From<Bytes> for Segments {
    fn from(bytes: Bytes) -> Self {
        let mut segments = Self::default();
        segments.push(bytes);
        segments
    }
}

/// One part of a body, with the room that it takes.
#[derive(Debug)]
pub struct Portion {
    /// The bytes.
    pub segments: Segments,
    /// Their checksums.
    pub checksums: Checksums,
    /// Whether the body ends with it.
    pub is_last: bool,
    /// Given back when this is dropped.
    _room: OwnedSemaphorePermit,
}

/// A body that is being read.
#[derive(Debug)]
pub struct Intake {
    download: Download,
    memory: Memory,
    part_size: u64,
    tally: Tally,
    inspector: Inspector,
    /// What arrived beyond the part that was asked for.
    ahead: Option<Bytes>,
    ended: bool,
}

/// A body that came to its end.
#[derive(Debug)]
pub struct Arrival {
    /// What was counted.
    pub receipt: Receipt,
    /// What it is.
    pub inspection: Inspection,
    /// Whether HTTP marked the end; if not, it may have been cut there.
    pub ending: Ending,
}

/// The pieces of one part. Each piece keeps the whole buffer alive that its connection was read into, which for a
/// source that trickles is many times as large as what came: small ones are copied together.
#[derive(Default)]
struct Gathering {
    segments: Segments,
    small: Vec<u8>,
}

impl Gathering {
    /// Pieces below this are copied: 32 KiB, what a source that is in any hurry sends at once.
    const SMALL: usize = 32 * 1024;
    /// In blocks of about this size.
    const BLOCK: usize = 256 * 1024;

    fn len(&self) -> u64 {
        self.segments.len() + self.small.len() as u64
    }

    fn push(&mut self, piece: Bytes) {
        if piece.len() >= Self::SMALL {
            self.settle();
            self.segments.push(piece);
            return;
        }
        self.small.extend_from_slice(&piece);
        if self.small.len() >= Self::BLOCK {
            self.settle();
        }
    }

    fn settle(&mut self) {
        if !self.small.is_empty() {
            self.segments.push(Bytes::copy_from_slice(&self.small));
            self.small.clear();
        }
    }

    fn finish(mut self) -> Segments {
        self.settle();
        self.segments
    }
}

/// S3's limit.
const MOST_PARTS: u64 = 10_000;

impl Intake {
    /// Starts reading. Parts are of `part_size`, or larger if the longest possible body would need more than 10,000.
    #[must_use]
    pub fn new(download: Download, memory: Memory, part_size: u64, max_bytes: u64) -> Self {
        let longest = download.length.unwrap_or(max_bytes);
        let inspector = Inspector::new(download.length);
        let part_size = part_size.max(longest.div_ceil(MOST_PARTS));
        Self { download, memory, part_size, tally: Tally::default(), inspector, ahead: None, ended: false }
    }

    /// The next part; after the last one there is none.
    ///
    /// # Errors
    /// What went wrong with the source. The body cannot be read on after that.
    #[expect(clippy::missing_panics_doc, reason = "a length that is less than that of bytes in memory is a usize")]
    pub async fn portion(&mut self) -> Result<Portion, FetchError> {
        let room = self.memory.take(self.expected()).await;
        let mut segments = Gathering::default();
        while let Some(mut bytes) = self.next().await? {
            let free = self.part_size - segments.len();
            if bytes.len() as u64 > free {
                let split = usize::try_from(free).expect("it is less than the length of these bytes");
                self.ahead = Some(bytes.split_off(split));
            }
            if !bytes.is_empty() {
                segments.push(bytes);
            }
            if segments.len() == self.part_size {
                break;
            }
        }
        let segments = segments.finish();
        let is_last = self.ends_with(segments.len()).await?;
        let checksums = Checksums::of(segments.iter().map(AsRef::as_ref));
        segments.iter().for_each(|segment| {
            self.tally.update(segment);
            self.inspector.feed(segment);
        });
        Ok(Portion { segments, checksums, is_last, _room: room })
    }

    /// Reads the rest and keeps nothing of it.
    ///
    /// # Errors
    /// What went wrong with the source.
    pub async fn drain(&mut self) -> Result<(), FetchError> {
        while let Some(bytes) = self.next().await? {
            self.tally.update(&bytes);
            self.inspector.feed(&bytes);
        }
        Ok(())
    }

    /// Whether what has come so far makes the file suspect, whatever follows.
    #[must_use]
    pub fn is_suspect_so_far(&self) -> bool {
        self.inspector.doubt_so_far().is_some()
    }

    /// The content type, as far as what has come tells.
    #[must_use]
    pub fn content_type_so_far(&self) -> &'static str {
        self.inspector.content_type_so_far()
    }

    /// What was read, and what it is.
    #[must_use]
    pub fn finish(self) -> Arrival {
        let ending = if self.download.end_is_marked { Ending::Marked } else { Ending::Unmarked };
        Arrival { receipt: self.tally.receipt(), inspection: self.inspector.finish(ending), ending }
    }

    /// How much the next part will hold at most.
    fn expected(&self) -> u64 {
        let left = self.download.length.map(|length| length.saturating_sub(self.tally.bytes()));
        left.unwrap_or(self.part_size).min(self.part_size)
    }

    /// Whether the body ends with the part that is in hand. Where its length is known this waits for no further byte:
    /// a source that stalls at the edge of a part must not keep that part from the bucket.
    async fn ends_with(&mut self, in_hand: u64) -> Result<bool, FetchError> {
        if self.download.length.is_some_and(|length| self.tally.bytes() + in_hand < length) {
            return Ok(false);
        }
        while self.ahead.is_none() && !self.ended {
            self.ahead = self.next().await?.filter(|bytes| !bytes.is_empty());
        }
        Ok(self.ahead.is_none())
    }

    async fn next(&mut self) -> Result<Option<Bytes>, FetchError> {
        if let Some(ahead) = self.ahead.take() {
            return Ok(Some(ahead));
        }
        if self.ended {
            return Ok(None);
        }
        let next = self.download.body.next().await.transpose()?;
        self.ended = next.is_none();
        Ok(next)
    }
}

#[cfg(test)]
mod tests;
