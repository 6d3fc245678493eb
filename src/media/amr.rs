//! AMR and AMR-WB as files (RFC 4867, section 5): a magic line, then frames of 20 ms, each with a byte that tells its size.
//!
//! Nothing says how many frames there are: frames that end exactly with the file are the best that it can show, and no
//! proof, as a cut between two frames looks the same. A byte that starts no frame ends the walk: a tag behind the audio
//! is no fault.

use super::stride::Next;
use super::walk::{Account, Claim, End, Walk, seconds};

const NARROW: &[u8] = b"#!AMR\n";
const WIDE: &[u8] = b"#!AMR-WB\n";
const NARROW_MULTI: &[u8] = b"#!AMR_MC1.0\n";
const WIDE_MULTI: &[u8] = b"#!AMR-WB_MC1.0\n";

/// Bytes of a frame, its first one included, by frame type; 0: a type that no file may contain.
/// From tables 1 of 3GPP TS 26.101 and 26.201; 14 is speech lost, 15 is no data.
const NARROW_FRAMES: [u8; 16] = [13, 14, 16, 18, 20, 21, 27, 32, 6, 0, 0, 0, 0, 0, 0, 1];
const WIDE_FRAMES: [u8; 16] = [18, 24, 33, 37, 41, 47, 51, 59, 61, 6, 0, 0, 0, 0, 1, 1];
const FRAMES_PER_SECOND: u64 = 50;

#[derive(Debug)]
pub(super) struct Amr {
    magic: &'static [u8],
    channels: u16,
    started: bool,
    frames: u64,
}

impl Amr {
    pub(super) fn sniff(head: &[u8]) -> Option<Self> {
        let magic = [NARROW, WIDE, NARROW_MULTI, WIDE_MULTI].into_iter().find(|magic| head.starts_with(magic))?;
        Some(Self { magic, channels: 1, started: false, frames: 0 })
    }

    fn is_wide(&self) -> bool {
        self.magic == WIDE || self.magic == WIDE_MULTI
    }

    fn is_multi(&self) -> bool {
        self.magic == NARROW_MULTI || self.magic == WIDE_MULTI
    }

    fn start(&mut self, window: &[u8]) -> Next {
        self.started = true;
        if self.is_multi() {
            // The last 4 bits of the channel description, which are at least 1.
            self.channels = window.last().map_or(1, |last| u16::from(last & 0x0F).max(1));
        }
        Next::over(window.len() as u64, 1)
    }

    fn frame(&mut self, head: u8) -> Next {
        let sizes = if self.is_wide() { &WIDE_FRAMES } else { &NARROW_FRAMES };
        let size = sizes[usize::from(head >> 3 & 0x0F)];
        // The first and the last two bits are padding, which is 0.
        if head & 0b1000_0011 != 0 || size == 0 {
            return Next::DONE;
        }
        self.frames += 1;
        Next::over(u64::from(size), 1)
    }
}

impl Walk for Amr {
    fn first_window(&self) -> usize {
        self.magic.len() + if self.is_multi() { 4 } else { 0 }
    }

    fn step(&mut self, _at: u64, window: &[u8]) -> Next {
        if self.started { self.frame(window[0]) } else { self.start(window) }
    }

    fn close(&self, _end: End<'_>) -> Account {
        let blocks = self.frames / u64::from(self.channels);
        Account {
            content_type: if self.is_wide() { "audio/amr-wb" } else { "audio/amr" },
            duration_seconds: seconds(blocks, FRAMES_PER_SECOND),
            channels: Some(self.channels),
            sample_rate: Some(if self.is_wide() { 16_000 } else { 8_000 }),
            claim: if self.frames == 0 { Claim::NoAudio } else { Claim::Open },
        }
    }
}
