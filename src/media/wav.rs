//! RIFF/WAVE, and its kin: RIFX (big endian), RF64 and BW64 (EBU Tech 3306, ITU-R BS.2088: 64-bit sizes in `ds64`).
//!
//! A file is a RIFF header and then chunks, each an id, a size, that many bytes, and a pad byte if the size is odd (the
//! "Multimedia Programming Interface and Data Specifications 1.0" of 1991). What is believed of all those sizes:
//! - `data` is the evidence: when it ends beyond the file, the file is cut. Sizes 0 and `0xFFFFFFFF` are those of writers
//!   that could not seek back; the audio then runs to the end of the file, whose length only HTTP knows.
//! - A pad byte that is missing at the end is no cut; one that is missing in the middle is not looked for.
//! - The RIFF size is off by 8 or by the pad byte in many files, so only more than that is a cut.
//! - Chunks may follow the data (`LIST`, `id3 `); what has no chunk's id there is audio that the size left out. What
//!   follows the RIFF's own end is junk, and harmless.

use super::stride::Next;
use super::walk::{Account, Claim, End, Walk, big, little, nonzero, seconds};

/// Some writers count the 8 bytes of the RIFF header itself, or a pad byte that they did not write.
const RIFF_SLACK: u64 = 8 + 1;
const CHUNK_HEADER: usize = 8;
/// Up to bits per sample; what extensions say behind it is not needed.
const FORMAT: usize = 16;
/// RIFF size, data size, sample count.
const DS64: usize = 24;
/// The number of samples.
const FACT: usize = 4;
/// Chunks that may stand behind a data chunk that is really empty.
const KNOWN_CHUNKS: [&[u8]; 8] = [b"LIST", b"fact", b"id3 ", b"ID3 ", b"bext", b"cue ", b"PEAK", b"JUNK"];

#[derive(Debug)]
pub(super) struct Wav {
    big_endian: bool,
    at: At,
    riff_end: Option<u64>,
    long_data_size: Option<u64>,
    format: Option<Format>,
    /// Samples of a channel, as compressed audio counts them.
    samples: Option<u64>,
    data: Option<Data>,
}

#[derive(Debug)]
enum At {
    Riff,
    Chunk,
    Pad,
}

#[derive(Debug)]
struct Format {
    codec: u64,
    channels: u64,
    sample_rate: u64,
    byte_rate: u64,
    block: u64,
}

#[derive(Debug)]
struct Data {
    start: u64,
    /// `None`: to the end of the file.
    size: Option<u64>,
}

impl Wav {
    pub(super) fn sniff(head: &[u8]) -> Option<Self> {
        let magic = head.get(..4)?;
        let known = [b"RIFF", b"RIFX", b"RF64", b"BW64"].iter().any(|known| magic == *known);
        let wave = head.get(8..12)? == b"WAVE";
        (known && wave).then(|| Self {
            big_endian: magic == b"RIFX",
            at: At::Riff,
            riff_end: None,
            long_data_size: None,
            format: None,
            samples: None,
            data: None,
        })
    }

    fn number(&self, bytes: &[u8], at: usize, width: usize) -> u64 {
        let number = if self.big_endian { big(bytes, at, width) } else { little(bytes, at, width) };
        // Every caller reads inside the window that it asked for.
        number.unwrap_or(0)
    }

    fn known_size(size: u64) -> Option<u64> {
        (size != 0 && size != u64::from(u32::MAX) && size != u64::MAX).then_some(size)
    }

    fn riff(&mut self, at: u64, window: &[u8]) -> Next {
        self.riff_end = Self::known_size(self.number(window, 4, 4)).map(|size| at.saturating_add(8 + size));
        self.at = At::Chunk;
        Next::over(12, CHUNK_HEADER)
    }

    fn chunk(&mut self, at: u64, window: &[u8]) -> Next {
        let size = self.number(window, 4, 4);
        let body = usize::try_from(size).unwrap_or(usize::MAX);
        match &window[..4] {
            b"fmt " if body >= FORMAT => self.format(size, window),
            b"ds64" if body >= DS64 => self.ds64(size, window),
            b"fact" if body >= FACT => self.fact(size, window),
            b"data" if self.data.is_none() => self.data(at, size, window),
            // A size that says less than came leaves audio where a chunk would be.
            id if self.data.is_some() && !is_chunk_id(id) => Next::DONE,
            _ => self.past_chunk(size),
        }
    }

    fn format(&mut self, size: u64, window: &[u8]) -> Next {
        if window.len() < CHUNK_HEADER + FORMAT {
            return Next::more(CHUNK_HEADER + FORMAT);
        }
        self.format = Some(Format {
            codec: self.number(window, 8, 2),
            channels: self.number(window, 10, 2),
            sample_rate: self.number(window, 12, 4),
            byte_rate: self.number(window, 16, 4),
            block: self.number(window, 20, 2),
        });
        self.past_chunk(size)
    }

    fn ds64(&mut self, size: u64, window: &[u8]) -> Next {
        if window.len() < CHUNK_HEADER + DS64 {
            return Next::more(CHUNK_HEADER + DS64);
        }
        self.riff_end = Self::known_size(self.number(window, 8, 8)).map(|size| size.saturating_add(8));
        self.long_data_size = Self::known_size(self.number(window, 16, 8));
        self.past_chunk(size)
    }

    fn fact(&mut self, size: u64, window: &[u8]) -> Next {
        if window.len() < CHUNK_HEADER + FACT {
            return Next::more(CHUNK_HEADER + FACT);
        }
        self.samples = Self::known_size(self.number(window, 8, 4));
        self.past_chunk(size)
    }

    fn data(&mut self, at: u64, size: u64, window: &[u8]) -> Next {
        if size == 0 && window.len() < 2 * CHUNK_HEADER {
            return Next::more(2 * CHUNK_HEADER);
        }
        let empty = size == 0 && KNOWN_CHUNKS.contains(&&window[CHUNK_HEADER..CHUNK_HEADER + 4]);
        let size = match Self::known_size(size) {
            None if size != 0 => self.long_data_size,
            None if empty => Some(0),
            size => size,
        };
        let start = at.saturating_add(CHUNK_HEADER as u64);
        self.data = Some(Data { start, size });
        match size {
            Some(size) if self.riff_end > Some(start.saturating_add(size)) => self.past_chunk(size),
            Some(size) => Next::over(size.saturating_add(CHUNK_HEADER as u64), 0),
            None => Next::over(CHUNK_HEADER as u64, 0),
        }
    }

    fn past_chunk(&mut self, size: u64) -> Next {
        let odd = size % 2 == 1;
        self.at = if odd { At::Pad } else { At::Chunk };
        Next::over(size.saturating_add(CHUNK_HEADER as u64), if odd { 1 } else { CHUNK_HEADER })
    }

    /// Behind the data only what lies within the RIFF is a chunk.
    fn at_junk(&self, at: u64) -> bool {
        self.data.is_some() && self.riff_end.is_none_or(|end| at.saturating_add(CHUNK_HEADER as u64) > end)
    }

    fn duration(&self, audio: u64) -> Option<f64> {
        let format = self.format.as_ref()?;
        // PCM, float, A-law and mu-law have blocks of one sample a channel, whatever the writer put as byte rate.
        let plain = matches!(format.codec, 1 | 3 | 6 | 7) && format.block > 0 && format.sample_rate > 0;
        if plain {
            return seconds(audio / format.block, format.sample_rate);
        }
        self.samples.map_or_else(|| seconds(audio, format.byte_rate), |samples| seconds(samples, format.sample_rate))
    }

    fn claim(&self, end: &End<'_>, audio: u64) -> Claim {
        let header_cut = !end.rest.is_empty() && self.riff_end > Some(end.length);
        match &self.data {
            _ if header_cut => Claim::Cut("it ends within a chunk"),
            _ if audio == 0 || self.format.is_none() => Claim::NoAudio,
            Some(Data { size: None, .. }) => Claim::Open,
            Some(_) | None => Claim::Whole,
        }
    }
}

/// Ids are letters and digits, filled up with blanks.
fn is_chunk_id(id: &[u8]) -> bool {
    id.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b' ' | b'_'))
}

impl Walk for Wav {
    fn first_window(&self) -> usize {
        12
    }

    fn step(&mut self, at: u64, window: &[u8]) -> Next {
        match self.at {
            At::Riff => self.riff(at, window),
            _ if self.at_junk(at) => Next::DONE,
            At::Chunk => self.chunk(at, window),
            At::Pad => {
                self.at = At::Chunk;
                // A writer that forgot the pad byte goes on with the next chunk's id, which is never 0.
                Next::over(u64::from(window[0] == 0), CHUNK_HEADER)
            }
        }
    }

    fn promised_end(&self) -> u64 {
        self.riff_end.map_or(0, |end| end.saturating_sub(RIFF_SLACK))
    }

    fn close(&self, end: End<'_>) -> Account {
        let audio = self.data.as_ref().map_or(0, |data| {
            let came = end.length.saturating_sub(data.start);
            data.size.unwrap_or(came)
        });
        Account {
            content_type: "audio/wav",
            duration_seconds: self.duration(audio),
            channels: self.format.as_ref().and_then(|format| nonzero(format.channels)),
            sample_rate: self.format.as_ref().and_then(|format| nonzero(format.sample_rate)),
            claim: self.claim(&end, audio),
        }
    }
}
