//! Native FLAC (RFC 9639): `fLaC`, metadata blocks that tell their length, then frames that do not.
//!
//! What can be proved of the end: STREAMINFO tells how many samples there are in all, a frame's header tells which
//! samples it holds, and a frame ends with a checksum over itself. So the last frame is looked for in the last
//! 128 to 256 KiB, which is where all but absurd ones begin. Its checksum must come out at the end of the file (`ID3v1` and
//! APE tags aside), and its samples must reach the total. Where STREAMINFO leaves the total at 0, as encoders that write
//! to a pipe do, a whole last frame is no proof, since the cut may lie between two frames.
//!
//! Audio may look like a frame's header, whose own checksum has 8 bits. So a header has to say what STREAMINFO and the
//! first frame say, and if nothing whole starts at the last one, the ones before it are tried. A cut hides behind none
//! of them: a whole frame leaves the checksum at 0, so from any frame on it comes to what the cut one makes of it.

use super::stride::{LARGEST_WINDOW, Next};
use super::walk::{Account, Claim, End, Walk, big, nonzero, seconds};
use std::iter;

const MAGIC: &[u8] = b"fLaC";
const BLOCK_HEADER: usize = 4;
const STREAMINFO: usize = 34;
/// What a frame starts with, its first code included.
const SYNC: usize = 2;
/// Sync, codes, a number of up to 7 bytes, block size, sample rate, checksum (section 9.1).
const LONGEST_FRAME_HEADER: usize = 4 + 7 + 2 + 2 + 1;
/// How many headers are tried. Chance puts a false one into the last frame of one stereo file in a million, and hardly
/// ever two. A cut file offers all its true ones, thousands where it is silent, and each costs a sum of up to 256 KiB.
const MOST_CANDIDATES: usize = 8;
/// In Hz, by their codes from 1 on (section 9.1.2).
const SAMPLE_RATES: [u64; 11] =
    [88_200, 176_400, 192_000, 8000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000];
/// By their codes from 1 on (section 9.1.4); 0: reserved, and no stream has it.
const SAMPLE_BITS: [u64; 7] = [8, 12, 0, 16, 20, 24, 32];

/// What STREAMINFO says; 0 where it does not know.
#[derive(Clone, Copy, Debug)]
pub(super) struct StreamInfo {
    longest_block: u64,
    pub(super) sample_rate: u64,
    pub(super) channels: u64,
    sample_bits: u64,
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
            sample_bits: (packed >> 36 & 0b1_1111) + 1,
            samples: packed & 0xF_FFFF_FFFF,
        })
    }
}

#[derive(Debug)]
pub(super) struct Flac {
    at: At,
    info: Option<StreamInfo>,
    frames_start: Option<u64>,
    /// The second byte of the first frame, which all others repeat.
    sync: Option<u8>,
    /// The last full window of frames.
    before_rest: Vec<u8>,
}

#[derive(Debug)]
enum At {
    Magic,
    Block,
    FirstFrame,
    Frames,
}

impl Flac {
    pub(super) fn sniff(head: &[u8]) -> Option<Self> {
        let flac = Self { at: At::Magic, info: None, frames_start: None, sync: None, before_rest: Vec::new() };
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
        if window[0] & 0x80 == 0 {
            return Next::over(size, BLOCK_HEADER);
        }
        self.at = At::FirstFrame;
        self.frames_start = Some(at.saturating_add(size));
        Next::over(size, SYNC)
    }

    fn first_frame(&mut self, window: &[u8]) -> Next {
        self.at = At::Frames;
        self.sync = sync(window);
        Next::more(LARGEST_WINDOW)
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
        let header = |start: usize| Some((start, frame_end(&tail[start..], &info, self.sync)?));
        let mut candidates = (0..tail.len()).rev().filter_map(header).take(MOST_CANDIDATES).peekable();
        let nearest = candidates.peek().map(|(_, end_sample)| (*end_sample, false));
        let whole = candidates.find(|(start, _)| crc16(&tail[*start..]) == 0);
        whole.map(|(_, end_sample)| (end_sample, true)).or(nearest)
    }

    fn claim(&self, end: &End<'_>, tail: &[u8], last: Option<(u64, bool)>) -> Claim {
        let (Some(info), Some(start)) = (self.info, self.frames_start) else {
            return Claim::Cut("its header is not whole");
        };
        let tail_is_all = end.length.saturating_sub(start) <= tail.len() as u64;
        match last {
            Some((_, false)) => Claim::Cut("its last frame is cut or damaged"),
            Some((samples, true)) if samples < info.samples => Claim::Cut("its last frames are missing"),
            Some((_, true)) if info.samples > 0 => Claim::Whole,
            None if tail_is_all => Claim::NoAudio,
            Some((_, true)) | None => Claim::Open,
        }
    }
}

impl Walk for Flac {
    fn first_window(&self) -> usize {
        MAGIC.len()
    }

    fn step(&mut self, at: u64, window: &[u8]) -> Next {
        match self.at {
            At::Magic => {
                self.at = At::Block;
                Next::over(MAGIC.len() as u64, BLOCK_HEADER)
            }
            At::Block => self.block(at, window),
            At::FirstFrame => self.first_frame(window),
            At::Frames => self.frames(window),
        }
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

/// The second byte of a frame that starts here: whether it counts samples, or frames of one size.
fn sync(bytes: &[u8]) -> Option<u8> {
    match *bytes {
        [0xFF, sync @ (0xF8 | 0xF9), ..] => Some(sync),
        _ => None,
    }
}

/// The sample behind the frame that starts here, if one does that belongs to this stream.
fn frame_end(bytes: &[u8], info: &StreamInfo, first_sync: Option<u8>) -> Option<u64> {
    let sync = sync(bytes).filter(|sync| first_sync.is_none_or(|first| first == *sync))?;
    let header = &bytes[..bytes.len().min(LONGEST_FRAME_HEADER)];
    let [_, _, codes, layout, ..] = *header else { return None };
    let (number, mut at) = coded_number(header)?;
    let block = match codes >> 4 {
        0 => return None,
        1 => 192,
        code @ 2..=5 => 144 << code,
        6 => take(header, &mut at, 1)? + 1,
        7 => take(header, &mut at, 2)? + 1,
        code => 1 << code,
    };
    let sample_rate = match codes & 0x0F {
        0 => info.sample_rate,
        code @ 1..=11 => SAMPLE_RATES[usize::from(code) - 1],
        12 => take(header, &mut at, 1)? * 1000,
        13 => take(header, &mut at, 2)?,
        14 => take(header, &mut at, 2)? * 10,
        _ => return None,
    };
    let sealed = crc8(header.get(..at)?) == *header.get(at)?;
    let has_rate = [0, sample_rate].contains(&info.sample_rate);
    let fits = has_layout(layout, info) && has_rate && block <= info.longest_block;
    let first = if sync & 1 == 1 { number } else { number.checked_mul(info.longest_block)? };
    let end = first.checked_add(block)?;
    (fits && sealed && (info.samples == 0 || end <= info.samples)).then_some(end)
}

/// Channels and sample size as in STREAMINFO, and a last bit that is reserved.
fn has_layout(layout: u8, info: &StreamInfo) -> bool {
    let channels = match layout >> 4 {
        code @ 0..=7 => u64::from(code) + 1,
        8..=10 => 2,
        _ => return false,
    };
    let sample_bits = match layout >> 1 & 0b111 {
        0 => info.sample_bits,
        code => SAMPLE_BITS[usize::from(code) - 1],
    };
    channels == info.channels && sample_bits == info.sample_bits && layout & 1 == 0
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
