//! Sun/NeXT audio: a header of at least 24 bytes, highest byte first, then samples to the end (the au(4) manual page of
//! Solaris). The size of the samples stands in the header, or is `0xFFFFFFFF` where the writer did not know it; 0 is read
//! as that too.

use super::stride::Next;
use super::walk::{Account, Claim, End, Walk, big, nonzero, seconds};

const HEADER: usize = 24;

#[derive(Debug, Default)]
pub(super) struct Au {
    start: u64,
    size: Option<u64>,
    encoding: u64,
    sample_rate: u64,
    channels: u64,
}

impl Au {
    pub(super) fn sniff(head: &[u8]) -> Option<Self> {
        let at_least = head.starts_with(b".snd") && big(head, 4, 4)? >= HEADER as u64;
        at_least.then(Self::default)
    }

    /// Of one channel, where every sample has as many.
    fn bytes_a_sample(&self) -> Option<u64> {
        match self.encoding {
            1 | 2 | 27 => Some(1),
            3 => Some(2),
            4 => Some(3),
            5 | 6 => Some(4),
            7 => Some(8),
            _ => None,
        }
    }

    fn duration(&self, audio: u64) -> Option<f64> {
        let frame = self.bytes_a_sample()?.checked_mul(self.channels)?;
        seconds(audio.checked_div(frame)?, self.sample_rate)
    }
}

impl Walk for Au {
    fn first_window(&self) -> usize {
        HEADER
    }

    fn step(&mut self, at: u64, window: &[u8]) -> Next {
        let number = |at| big(window, at, 4).unwrap_or(0);
        self.start = at.saturating_add(number(4));
        self.size = Some(number(8)).filter(|size| *size != 0 && *size != u64::from(u32::MAX));
        (self.encoding, self.sample_rate, self.channels) = (number(12), number(16), number(20));
        Next::over(number(4).saturating_add(self.size.unwrap_or(0)), 0)
    }

    fn close(&self, end: End<'_>) -> Account {
        let audio = match self.size {
            _ if self.start == 0 => 0,
            Some(size) => size,
            None => end.length.saturating_sub(self.start),
        };
        Account {
            content_type: "audio/basic",
            duration_seconds: self.duration(audio),
            channels: nonzero(self.channels),
            sample_rate: nonzero(self.sample_rate),
            claim: match self.size {
                _ if audio == 0 => Claim::NoAudio,
                Some(_) => Claim::Whole,
                None => Claim::Open,
            },
        }
    }
}
