//! Bytes as they arrived, never gathered into one buffer.

use std::fmt;

use bytes::{Bytes, BytesMut};

use crate::receipt::Summing;

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

impl IntoIterator for Segments {
    type Item = Bytes;
    type IntoIter = std::vec::IntoIter<Bytes>;

    /// The pieces, in order; each is free once it is dropped.
    fn into_iter(self) -> Self::IntoIter {
        self.segments.into_iter()
    }
}

/// The pieces of one part, and their checksums, which are computed as each comes, while the processor's cache has it.
///
/// A piece keeps the whole buffer alive that its connection was read into (up to 400 KiB), which may be many times as large
/// as what came: all pieces but those that nearly fill one are copied together, so that what is held is what is counted.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    segments: Segments,
    block: BytesMut,
    /// Boxed, because it is larger than all the rest, and moved about.
    sums: Box<Summing>,
}

impl Gathering {
    /// Pieces below this are copied,
    const LARGE: usize = 336 * 1024;
    /// into blocks of this size.
    const BLOCK: usize = 256 * 1024;

    pub(super) fn len(&self) -> u64 {
        self.sums.bytes()
    }

    pub(super) fn push(&mut self, mut piece: Bytes) {
        self.sums.update(&piece);
        if piece.len() >= Self::LARGE {
            self.settle();
            self.segments.push(piece);
            return;
        }
        while !piece.is_empty() {
            if self.block.capacity() == 0 {
                self.block = BytesMut::with_capacity(Self::BLOCK);
            }
            let free = self.block.capacity() - self.block.len();
            self.block.extend_from_slice(&piece.split_to(piece.len().min(free)));
            if self.block.len() == self.block.capacity() {
                self.settle();
            }
        }
    }

    fn settle(&mut self) {
        if !self.block.is_empty() {
            self.segments.push(std::mem::take(&mut self.block).freeze());
        }
    }

    /// What it has so far, in order.
    pub(super) fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        self.segments.iter().map(AsRef::as_ref).chain(std::iter::once(&self.block[..]))
    }

    pub(super) fn finish(mut self) -> (Segments, Box<Summing>) {
        self.settle();
        (self.segments, self.sums)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_pieces_are_copied_out_of_the_buffers_that_they_came_in() {
        let mut gathering = Gathering::default();
        let buffer = Bytes::from(vec![7; 8 * 1024]);
        for _ in 0..1000 {
            gathering.push(buffer.slice(..1448));
        }
        let large = Bytes::from(vec![8; Gathering::LARGE]);
        gathering.push(large.clone());
        let (segments, _) = gathering.finish();
        assert_eq!(segments.len(), 1000 * 1448 + large.len() as u64);
        let segments: Vec<_> = segments.iter().collect();
        assert!(segments.len() < 10, "{}", segments.len());
        assert_eq!(segments.last().unwrap().as_ptr(), large.as_ptr(), "a large one is kept as it came");
    }
}
