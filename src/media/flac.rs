//! Native FLAC (RFC 9639): `fLaC`, metadata blocks that tell their length, then frames that do not.
//!
//! What can be proved of the end: STREAMINFO tells how many samples there are in all, a frame's header tells which
//! samples it holds, and a frame ends with a checksum over itself. So the last frame is looked for in the last
//! 128 to 256 KiB, which is where all but absurd ones begin. Its checksum must come out at the end of the file (`ID3v1` and
//! APE tags aside), and its samples must reach the total. Where STREAMINFO leaves the total at 0, as encoders that write
//! to a pipe do, a whole last frame is no proof, since the cut may lie between two frames.

use super::Container;
use super::stride::{LARGEST_WINDOW, Next};
use super::walk::{Account, Claim, End, Walk, big, nonzero, seconds};
use std::iter;

const MAGIC: &[u8] = b"fLaC";
const BLOCK_HEADER: usize = 4;
const STREAMINFO: usize = 34;
/// Sync, codes, a number of up to 7 bytes, block size, sample rate, checksum (section 9.1).
const LONGEST_FRAME_HEADER: usize = 4 + 7 + 2 + 2 + 1;

/// What STREAMINFO says; 0 where it does not know.
#[derive(Clone, Copy, Debug)]
pub(super) struct StreamInfo {
    longest_block: u64,
    pub(super) sample_rate: u64,
    pub(super) channels: u64,
    samples: u64,
}

impl StreamInfo {
    /// From the body of the block.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let packed = big(body, 10, 8)?;
        Some(Self {
            longest_block: big(body, 2, 2)?,
            sample_rate: packed >> 44,
            channels: (packed >> 41 & 0b111) + 1,
            samples: packed & 0xF_FFFF_FFFF,
        })
    }
}

#[derive(Debug)]
pub(super) struct Flac {
    started: bool,
    info: Option<StreamInfo>,
    frames_start: Option<u64>,
    /// The last full window of frames.
    before_rest: Vec<u8>,
}

impl Flac {
    pub(super) fn sniff(head: &[u8]) -> Option<Self> {
        let flac = Self { started: false, info: None, frames_start: None, before_rest: Vec::new() };
        head.starts_with(MAGIC).then_some(flac)
    }

    fn block(&mut self, at: u64, window: &[u8]) -> Next {
        let length = big(window, 1, 3).unwrap_or(0);
        let kind = window[0] & 0x7F;
        if kind == 0 && length >= STREAMINFO as u64 {
            if window.len() < BLOCK_HEADER + STREAMINFO {
                return Next::more(BLOCK_HEADER + STREAMINFO);
            }
            self.info = StreamInfo::read(&window[BLOCK_HEADER..]);
        }
        let size = BLOCK_HEADER as u64 + length;
        let is_last = window[0] & 0x80 != 0;
        self.frames_start = is_last.then(|| at.saturating_add(size));
        Next::over(size, if is_last { LARGEST_WINDOW } else { BLOCK_HEADER })
    }

    fn frames(&mut self, window: &[u8]) -> Next {
        self.before_rest.clear();
        self.before_rest.extend_from_slice(window);
        Next::over(window.len() as u64, LARGEST_WINDOW)
    }

    /// The sample behind the last frame, and whether that frame is whole.
    fn last_frame(&self, tail: &[u8]) -> Option<(u64, bool)> {
        let tail = without_tags(tail);
        let info = self.info?;
        let (start, end_sample) =
            (0..tail.len()).rev().find_map(|start| Some((start, frame_end(&tail[start..], &info)?)))?;
        Some((end_sample, crc16(&tail[start..]) == 0))
    }

    fn claim(&self, end: &End<'_>, tail: &[u8], last: Option<(u64, bool)>) -> Claim {
        let (Some(info), Some(start)) = (self.info, self.frames_start) else { return Claim::Cut };
        let tail_is_all = end.length.saturating_sub(start) <= tail.len() as u64;
        match last {
            Some((_, false)) => Claim::Cut,
            Some((samples, true)) if samples < info.samples => Claim::Cut,
            Some((_, true)) if info.samples > 0 => Claim::Whole,
            None if tail_is_all => Claim::NoAudio,
            Some((_, true)) | None => Claim::Open,
        }
    }
}

impl Walk for Flac {
    fn container(&self) -> Container {
        Container::Flac
    }

    fn first_window(&self) -> usize {
        MAGIC.len()
    }

    fn step(&mut self, at: u64, window: &[u8]) -> Next {
        if !self.started {
            self.started = true;
            return Next::over(MAGIC.len() as u64, BLOCK_HEADER);
        }
        if self.frames_start.is_some() { self.frames(window) } else { self.block(at, window) }
    }

    fn close(&self, end: End<'_>) -> Account {
        let rest = if self.frames_start.is_some() { end.rest } else { &[] };
        let tail = [&self.before_rest, rest].concat();
        let last = self.last_frame(&tail);
        let samples = self.info.and_then(|info| nonzero(info.samples)).or(last.map(|(samples, _)| samples));
        Account {
            content_type: "audio/flac",
            duration_seconds: self.info.and_then(|info| seconds(samples?, info.sample_rate)),
            channels: self.info.and_then(|info| nonzero(info.channels)),
            sample_rate: self.info.and_then(|info| nonzero(info.sample_rate)),
            claim: self.claim(&end, &tail, last),
        }
    }
}

/// The sample behind the frame that starts here, if one does that belongs to this stream.
fn frame_end(bytes: &[u8], info: &StreamInfo) -> Option<u64> {
    let [0xFF, sync @ (0xF8 | 0xF9), codes, layout, ..] = *bytes else { return None };
    let header = &bytes[..bytes.len().min(LONGEST_FRAME_HEADER)];
    let (number, mut at) = coded_number(header)?;
    let block = match codes >> 4 {
        0 => return None,
        1 => 192,
        code @ 2..=5 => 144 << code,
        6 => take(header, &mut at, 1)? + 1,
        7 => take(header, &mut at, 2)? + 1,
        code => 1 << code,
    };
    match codes & 0x0F {
        12 => take(header, &mut at, 1)?,
        13 | 14 => take(header, &mut at, 2)?,
        15 => return None,
        _ => 0,
    };
    let channels = match layout >> 4 {
        code @ 0..=7 => u64::from(code) + 1,
        8..=10 => 2,
        _ => return None,
    };
    let fits = channels == info.channels && block <= info.longest_block && layout & 1 == 0;
    let sealed = crc8(header.get(..at)?) == *header.get(at)?;
    let first = if sync & 1 == 1 { number } else { number.checked_mul(info.longest_block)? };
    let end = first.checked_add(block)?;
    (fits && sealed && (info.samples == 0 || end <= info.samples)).then_some(end)
}

/// The frame's or sample's number behind the first 4 bytes, coded as UTF-8 would up to 36 bits, and where it ends.
fn coded_number(header: &[u8]) -> Option<(u64, usize)> {
    let first = *header.get(4)?;
    let ones = first.leading_ones() as usize;
    let length = match ones {
        0 => 1,
        2..=7 => ones,
        _ => return None,
    };
    let top = u64::from(first) & (0x7F >> ones);
    let number = header.get(5..4 + length)?.iter().try_fold(top, |number, byte| {
        let continues = byte & 0xC0 == 0x80;
        continues.then_some(number << 6 | u64::from(byte & 0x3F))
    })?;
    Some((number, 4 + length))
}

fn take(header: &[u8], at: &mut usize, width: usize) -> Option<u64> {
    let number = big(header, *at, width)?;
    *at += width;
    Some(number)
}

/// What taggers that do not know FLAC append: `ID3v1`, and `APEv2` in front of it.
fn without_tags(tail: &[u8]) -> &[u8] {
    let id3v1 = tail.len().checked_sub(128).filter(|start| tail[*start..].starts_with(b"TAG"));
    let tail = &tail[..id3v1.unwrap_or(tail.len())];
    let ape = || {
        let footer = tail.len().checked_sub(32).filter(|footer| tail[*footer..].starts_with(b"APETAGEX"))?;
        let size = |bytes: &[u8]| super::walk::little(bytes, 12, 4);
        let items = usize::try_from(size(&tail[footer..])?).ok()?;
        let start = tail.len().checked_sub(items)?;
        let header = start.checked_sub(32).filter(|header| tail[*header..].starts_with(b"APETAGEX"));
        Some(header.unwrap_or(start))
    };
    &tail[..ape().unwrap_or(tail.len())]
}

/// Over a frame's header.
pub(super) fn crc8(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |crc, byte| {
        let shift = |crc: &u8| Some(crc << 1 ^ if crc & 0x80 == 0 { 0 } else { 0x07 });
        iter::successors(Some(crc ^ byte), shift).nth(8).unwrap_or(0)
    })
}

/// Over a whole frame; 0 when its own checksum is included.
pub(super) fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        let shift = |crc: &u16| Some(crc << 1 ^ if crc & 0x8000 == 0 { 0 } else { 0x8005 });
        iter::successors(Some(crc ^ u16::from(*byte) << 8), shift).nth(8).unwrap_or(0)
    })
}
