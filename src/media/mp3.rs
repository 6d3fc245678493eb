//! MPEG audio, layers I to III of MPEG 1, 2 and 2.5 (ISO 11172-3, 13818-3), bare or behind `ID3v2`.
//!
//! There is no container: frames follow one another, each telling its length. Their sync is 11 bits, so one frame proves
//! nothing; two in a row of the same kind are demanded. Bitrates of no stated size ("free format") are not known here.
//! The first frame of most files is a Xing, Info or VBRI header, which counts bytes and frames of the whole: it is what
//! proves the end. Without one a last frame that is cut tells, and a cut between two frames does not.
//!
//! What is no frame ends the walk. Behind the last frame it is a tag or padding; elsewhere the duration stays unknown
//! unless the header tells.

use super::stride::Next;
use super::walk::{Account, Claim, End, Walk, big, nonzero, seconds};

const FRAME_HEADER: usize = 4;
/// Enough for a Xing header with both counts, and for VBRI.
const FIRST_FRAME: usize = 64;
/// As the version is coded.
const MPEG_1: u8 = 0b11;
const BITRATES_1_I: [u32; 14] = [32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448];
const BITRATES_1_II: [u32; 14] = [32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384];
const BITRATES_1_III: [u32; 14] = [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
const BITRATES_2_I: [u32; 14] = [32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256];
const BITRATES_2: [u32; 14] = [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];

/// The length of the `ID3v2` tag that starts here, if one does (id3.org, "ID3 tag version 2.4.0", section 3).
pub(super) fn id3v2_length(head: &[u8]) -> Option<u64> {
    let [b'I', b'D', b'3', 2..=4, _, flags, size @ ..] = head else { return None };
    let size = size.get(..4)?;
    let is_safe = size.iter().all(|byte| *byte < 0x80);
    let body = size.iter().fold(0, |length, byte| length << 7 | u64::from(*byte));
    let footer = if flags & 0x10 == 0 { 0 } else { 10 };
    is_safe.then_some(10 + body + footer)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Frame {
    /// Version, layer and sample rate, as they are coded: the same in all frames of a stream.
    kind: (u8, u8, u8),
    sample_rate: u32,
    channels: u16,
    samples: u32,
    length: u32,
}

impl Frame {
    fn read(bytes: &[u8]) -> Option<Self> {
        let [0xFF, codes, rates, mode, ..] = *bytes else { return None };
        let (version, layer, rate) = (codes >> 3 & 0b11, codes >> 1 & 0b11, rates >> 2 & 0b11);
        let halving = match version {
            MPEG_1 => 0,
            0b10 => 1,
            0b00 => 2,
            _ => return None,
        };
        let sample_rate = [44_100, 48_000, 32_000].get(usize::from(rate))? >> halving;
        let bitrates = match (layer, halving) {
            (0b11, 0) => BITRATES_1_I,
            (0b10, 0) => BITRATES_1_II,
            (0b01, 0) => BITRATES_1_III,
            (0b11, _) => BITRATES_2_I,
            (0b10 | 0b01, _) => BITRATES_2,
            _ => return None,
        };
        let bitrate = 1000 * bitrates.get(usize::from(rates >> 4).checked_sub(1)?)?;
        let padding = u32::from(rates >> 1 & 1);
        let (samples, slot) = match (layer, halving) {
            (0b11, _) => (384, 4),
            (0b01, 1 | 2) => (576, 1),
            _ => (1152, 1),
        };
        let length = (samples / 8 / slot * bitrate / sample_rate + padding) * slot;
        let channels = if mode >> 6 == 0b11 { 1 } else { 2 };
        let synced = codes & 0xE0 == 0xE0;
        synced.then_some(Self { kind: (version, layer, rate), sample_rate, channels, samples, length })
    }

    fn starts_two(bytes: &[u8]) -> Option<Self> {
        let first = Self::read(bytes)?;
        let second = Self::read(bytes.get(first.length as usize..)?)?;
        (first.kind == second.kind).then_some(first)
    }
}

/// What the first frame counts; 0 where it does not.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    bytes: u64,
    frames: u64,
}

impl Counts {
    fn read(frame: &Frame, bytes: &[u8]) -> Option<Self> {
        let side_info = match (frame.kind.0 == MPEG_1, frame.channels) {
            (true, 1) | (false, 2) => 17,
            (true, _) => 32,
            (false, _) => 9,
        };
        let xing = bytes.get(FRAME_HEADER + side_info..)?;
        if xing.starts_with(b"Xing") || xing.starts_with(b"Info") {
            let flags = big(xing, 4, 4)?;
            let frames = if flags & 1 == 0 { 0 } else { big(xing, 8, 4)? };
            let bytes = if flags & 2 == 0 { 0 } else { big(xing, 8 + 4 * usize::from(flags & 1 == 1), 4)? };
            return Some(Self { bytes, frames });
        }
        let vbri = bytes.get(FRAME_HEADER + 32..).filter(|vbri| vbri.starts_with(b"VBRI"))?;
        Some(Self { bytes: big(vbri, 10, 4)?, frames: big(vbri, 14, 4)? })
    }
}

#[derive(Debug)]
pub(super) struct Mp3 {
    /// Junk between a tag and the first frame.
    lead: usize,
    first: Frame,
    at: At,
    start: u64,
    counts: Option<Counts>,
    frames: u64,
    lost: bool,
}

#[derive(Debug)]
enum At {
    Lead,
    First,
    Frames,
}

impl Mp3 {
    /// Behind a tag the first frame may be anywhere in the head: taggers leave padding there.
    pub(super) fn sniff(head: &[u8], tagged: bool) -> Option<Self> {
        let furthest = if tagged { head.len() } else { 1 };
        let (lead, first) = (0..furthest).find_map(|lead| Some((lead, Frame::starts_two(head.get(lead..)?)?)))?;
        Some(Self { lead, first, at: At::Lead, start: 0, counts: None, frames: 0, lost: false })
    }

    fn first(&mut self, at: u64, window: &[u8]) -> Next {
        self.at = At::Frames;
        self.start = at;
        self.counts = Counts::read(&self.first, window);
        self.frames = u64::from(self.counts.is_none());
        Next::over(u64::from(self.first.length), FRAME_HEADER)
    }

    fn next(&mut self, window: &[u8]) -> Next {
        if let Some(frame) = Frame::read(window).filter(|frame| frame.kind == self.first.kind) {
            self.frames += 1;
            return Next::over(u64::from(frame.length), FRAME_HEADER);
        }
        let is_tag = [&b"TAG"[..], b"APE", b"LYR", b"ID3", &[0; 4]].iter().any(|tag| window.starts_with(tag));
        self.lost = !is_tag;
        Next::DONE
    }

    /// As counted by the header, else by the walk.
    fn all_frames(&self) -> Option<u64> {
        let counted = self.counts.and_then(|counts| nonzero(counts.frames));
        counted.or((!self.lost).then_some(self.frames))
    }

    fn claim(&self, end: &End<'_>) -> Claim {
        let counts = self.counts.unwrap_or_default();
        match counts {
            Counts { bytes: 0, frames } if self.frames < frames => Claim::Cut("its last frames are missing"),
            // The sync of a frame that is not there.
            Counts { bytes: 0, .. } if end.rest.first() == Some(&0xFF) => Claim::Cut("it ends within a frame"),
            Counts { bytes: 0, frames: 0 } => Claim::Open,
            Counts { .. } => Claim::Whole,
        }
    }
}

impl Walk for Mp3 {
    fn first_window(&self) -> usize {
        self.lead + FRAME_HEADER
    }

    fn step(&mut self, at: u64, window: &[u8]) -> Next {
        match self.at {
            At::Lead => {
                self.at = At::First;
                let whole_frame = self.first.length as usize;
                Next::over(self.lead as u64, whole_frame.min(FIRST_FRAME))
            }
            At::First => self.first(at, window),
            At::Frames => self.next(window),
        }
    }

    fn promised_end(&self) -> u64 {
        self.counts.map_or(0, |counts| self.start.saturating_add(counts.bytes))
    }

    fn close(&self, end: End<'_>) -> Account {
        let rate = u64::from(self.first.sample_rate);
        let samples = |frames: u64| frames.saturating_mul(u64::from(self.first.samples));
        Account {
            content_type: "audio/mpeg",
            duration_seconds: self.all_frames().and_then(|frames| seconds(samples(frames), rate)),
            channels: Some(self.first.channels),
            sample_rate: Some(self.first.sample_rate),
            claim: self.claim(&end),
        }
    }
}
