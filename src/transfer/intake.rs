//! A body, read part by part: each is held, or flows to whoever takes it, and all of it is counted, hashed and looked at.

use bytes::Bytes;
use futures_util::StreamExt;

use super::memory::{Memory, Room};
use super::segments::Gathering;
use super::{Arrival, Coming, Pairing, Portion, Poured, Sink};
use crate::media::{self, Ending, Inspector};
use crate::receipt::{Checksums, Hashing, Receipt, Summing};
use crate::source::{Download, FetchError};

/// What a part that flows holds at most: two connections' buffers, and what is between them.
const WINDOW: u64 = 512 * 1024;

/// S3's limit.
const MOST_PARTS: u64 = 10_000;
/// Of a body of unknown length so many parts are of one size, and the next of twice that: nobody knows whether it needs
/// large ones, and 10,000 of 8 MiB are 80 GiB.
const PARTS_OF_A_SIZE: u32 = 1000;

/// A body that is being read.
#[derive(Debug)]
pub struct Intake {
    download: Download,
    memory: Memory,
    pairing: Pairing,
    part_size: u64,
    /// Held so far.
    parts: u32,
    may_flow: bool,
    /// Of all parts before the one that comes.
    sums: Checksums,
    sha256: Hashing,
    inspector: Inspector,
    /// What arrived beyond the part that was asked for.
    ahead: Option<Bytes>,
    ended: bool,
    /// Of a part that is to flow, what was held until then.
    begun: Option<(Gathering, Room)>,
    /// Room was short before: the next part need not wait to find out.
    has_flowed: bool,
}

impl Intake {
    /// Starts reading. Parts are of `part_size`, or larger if the body would need more than 10,000. They flow if they may
    /// and must.
    #[must_use]
    pub fn new(download: Download, memory: Memory, pairing: Pairing, part_size: u64, may_flow: bool) -> Self {
        let needed = download.length.map_or(0, |length| length.div_ceil(MOST_PARTS));
        Self {
            inspector: Inspector::new(download.length),
            part_size: part_size.max(needed),
            parts: 0,
            may_flow: may_flow && download.length.is_some_and(|length| length > 0),
            download,
            memory,
            pairing,
            sums: Checksums::default(),
            sha256: Hashing::default(),
            ahead: None,
            ended: false,
            begun: None,
            has_flowed: false,
        }
    }

    /// The next part; after the last one there is none.
    ///
    /// # Errors
    /// What went wrong with the source. The body cannot be read on after that.
    pub async fn next_part(&mut self) -> Result<Coming, FetchError> {
        let Some(room) = self.room().await else {
            let window = self.memory.take(WINDOW.min(self.expected())).await;
            let head = self.head().await?;
            return Ok(self.flows(head, window));
        };
        let (mut gathering, may_flow, memory) = (Gathering::default(), self.may_flow, self.memory.clone());
        let give_way = memory.wanted();
        tokio::pin!(give_way);
        loop {
            let piece = tokio::select! {
                biased;
                piece = self.take(self.part_size - gathering.len()) => piece?,
                () = &mut give_way, if may_flow => return Ok(self.flows(gathering, room)),
            };
            let Some(piece) = piece else { break };
            gathering.push(piece);
            if gathering.len() == self.part_size {
                break;
            }
        }
        let (segments, sums) = gathering.finish();
        let checksums = self.add(&sums);
        segments.iter().for_each(|segment| self.inspector.feed(segment));
        let is_last = self.ends().await?;
        self.parts += 1;
        if self.download.length.is_none() && self.parts.is_multiple_of(PARTS_OF_A_SIZE) {
            self.part_size = (2 * self.part_size).min(self.memory.bytes().max(self.part_size));
        }
        if self.pairing.is_open() {
            self.pairing.update(&mut self.sha256, &segments).await;
        }
        Ok(Coming::Held(Portion { segments, checksums, is_last, _room: room }))
    }

    /// Passes a part on that [flows](Coming::Flows), to whoever holds the other end.
    ///
    /// # Errors
    /// What went wrong with the source. The body cannot be read on after that.
    pub async fn pour(&mut self, sink: Sink) -> Result<Poured, FetchError> {
        let bytes = self.expected();
        let (gathering, mut window) = self.begun.take().unzip();
        let (pieces, mut sums) = gathering.unwrap_or_default().finish();
        for piece in pieces {
            self.pass(piece, &sink).await;
        }
        if let Some(room) = &mut window {
            room.shrink_to(WINDOW);
        }
        while sums.bytes() < bytes
            && let Some(piece) = self.take(bytes - sums.bytes()).await?
        {
            sums.update(&piece);
            self.pass(piece, &sink).await;
        }
        drop((sink, window));
        Ok(Poured { checksums: self.add(&sums), is_last: self.ends().await? })
    }

    async fn pass(&mut self, piece: Bytes, sink: &Sink) {
        if piece.is_empty() {
            return;
        }
        self.look_at(&piece);
        sink.send(piece).await;
    }

    /// A part has come.
    fn add(&mut self, part: &Summing) -> Checksums {
        let checksums = part.checksums();
        self.sums = self.sums.then(&checksums);
        checksums
    }

    /// Room for the next part; none if it is short, and the part may flow.
    async fn room(&mut self) -> Option<Room> {
        let expected = self.expected();
        if !self.may_flow {
            return Some(self.memory.take(expected).await);
        }
        if self.has_flowed {
            return self.memory.try_take(expected);
        }
        self.memory.take_soon(expected).await
    }

    /// The first bytes of a body, for the upload is begun under the name of what they are; nothing where they have passed.
    async fn head(&mut self) -> Result<Gathering, FetchError> {
        let mut head = Gathering::default();
        while self.sums.bytes == 0
            && head.len() < (media::HEAD as u64).min(self.expected())
            && let Some(piece) = self.take(self.expected() - head.len()).await?
        {
            head.push(piece);
        }
        Ok(head)
    }

    fn flows(&mut self, gathering: Gathering, room: Room) -> Coming {
        self.begun = Some((gathering, room));
        self.has_flowed = true;
        Coming::Flows(self.expected())
    }

    /// Whether a part of it was sent without being held.
    #[must_use]
    pub fn has_flowed(&self) -> bool {
        self.has_flowed
    }

    /// Reads the rest and keeps nothing of it.
    ///
    /// # Errors
    /// What went wrong with the source.
    pub async fn drain(&mut self) -> Result<(), FetchError> {
        let begun = self.begun.take().map(|(gathering, _room)| gathering);
        let (pieces, mut sums) = begun.unwrap_or_default().finish();
        pieces.into_iter().for_each(|piece| self.look_at(&piece));
        while let Some(piece) = self.take(u64::MAX).await? {
            sums.update(&piece);
            self.look_at(&piece);
        }
        self.add(&sums);
        Ok(())
    }

    /// Whether what has come so far makes the file suspect, whatever follows.
    #[must_use]
    pub fn is_suspect_so_far(&self) -> bool {
        self.ask(|inspector| inspector.doubt_so_far().is_some())
    }

    /// The content type, as far as what has come tells.
    #[must_use]
    pub fn content_type_so_far(&self) -> &'static str {
        self.ask(Inspector::content_type_so_far)
    }

    /// Asks the inspector, or, where what is in hand of the first part has not passed it yet, one of its kind.
    fn ask<T>(&self, question: impl FnOnce(&Inspector) -> T) -> T {
        let Some((gathering, _)) = self.begun.as_ref().filter(|_| self.sums.bytes == 0) else {
            return question(&self.inspector);
        };
        let mut ahead = Inspector::new(self.download.length);
        gathering.pieces().for_each(|piece| ahead.feed(piece));
        question(&ahead)
    }

    /// What was read, and what it is.
    #[must_use]
    pub fn finish(self) -> Arrival {
        let ending = if self.download.end_is_marked { Ending::Marked } else { Ending::Unmarked };
        Arrival {
            receipt: Receipt::of(&self.sums, self.sha256.finish()),
            inspection: self.inspector.finish(ending),
            ending,
        }
    }

    /// How much the next part will hold at most.
    fn expected(&self) -> u64 {
        let left = self.download.length.map(|length| length.saturating_sub(self.sums.bytes));
        left.unwrap_or(self.part_size).min(self.part_size)
    }

    /// Whether the body ends with the part that has come. Where its length is known this waits for no further byte:
    /// a source that stalls at the edge of a part must not keep that part from the bucket.
    async fn ends(&mut self) -> Result<bool, FetchError> {
        if self.download.length.is_some_and(|length| self.sums.bytes < length) {
            return Ok(false);
        }
        while self.ahead.is_none() && !self.ended {
            self.ahead = self.next(u64::MAX).await?.filter(|bytes| !bytes.is_empty());
        }
        Ok(self.ahead.is_none())
    }

    /// A piece that passes without becoming part of something held.
    fn look_at(&mut self, piece: &[u8]) {
        if self.pairing.is_open() {
            self.sha256.update(piece);
        }
        self.inspector.feed(piece);
    }

    /// The next piece, of at most so many bytes. Where nothing is gained by hashing two files at once, it is hashed here,
    /// while the processor's caches have it.
    async fn take(&mut self, most: u64) -> Result<Option<Bytes>, FetchError> {
        let piece = self.next(most).await?;
        if let Some(piece) = piece.as_ref().filter(|_| !self.pairing.is_open()) {
            self.sha256.update(piece);
        }
        Ok(piece)
    }

    /// At most so many bytes, as soon as there are some.
    async fn next(&mut self, most: u64) -> Result<Option<Bytes>, FetchError> {
        let Some(mut piece) = self.next_piece().await? else { return Ok(None) };
        if piece.len() as u64 > most {
            let most = usize::try_from(most).expect("it is less than the length of these bytes");
            self.ahead = Some(piece.split_off(most));
        }
        Ok(Some(piece))
    }

    async fn next_piece(&mut self) -> Result<Option<Bytes>, FetchError> {
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
