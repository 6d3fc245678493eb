//! Ogg (RFC 3533) with Opus (RFC 7845), Vorbis, Speex or FLAC in it.
//!
//! A file is pages, each of which tells its length, which stream it belongs to, up to which sample it goes, and whether it
//! is that stream's last. An audio stream without its last page is cut. Where streams are chained, each new one starts
//! when the one before has ended, and their durations add up; of audio streams side by side the first one speaks.
//! What is no page ends the walk: harmless behind the last page, a hole before it.

use super::flac::StreamInfo;
use super::stride::Next;
use super::walk::{Account, Claim, End, Walk, little, nonzero, seconds};

const MAGIC: &[u8] = b"OggS";
/// Up to the number of segments.
const PAGE_HEADER: usize = 27;
/// Enough of the first packet for the longest header that is read: Speex, up to its channels.
const CODEC_HEADER: u64 = 52;
/// Opus counts samples at this rate whatever the input was.
const OPUS_CLOCK: u64 = 48_000;
const FIRST_PAGE: u8 = 0x02;
const LAST_PAGE: u8 = 0x04;
/// A page on which no packet ends has this position.
const NO_POSITION: u64 = u64::MAX;

#[derive(Debug, Default)]
pub(super) struct Ogg {
    stream: Option<Stream>,
    /// Of the chained streams before this one.
    seconds_before: f64,
}

#[derive(Debug)]
struct Stream {
    serial: u64,
    codec: Codec,
    position: u64,
    ended: bool,
}

#[derive(Clone, Copy, Debug)]
struct Codec {
    channels: u64,
    /// As the container names it: for Opus that of the original input.
    sample_rate: u64,
    clock: u64,
    pre_skip: u64,
}

impl Codec {
    fn read(packet: &[u8]) -> Option<Self> {
        let plain = |channels, rate| Self { channels, sample_rate: rate, clock: rate, pre_skip: 0 };
        if packet.starts_with(b"OpusHead") {
            let pre_skip = little(packet, 10, 2)?;
            let input_rate = nonzero(little(packet, 12, 4)?).unwrap_or(OPUS_CLOCK);
            Some(Self { pre_skip, clock: OPUS_CLOCK, ..plain(little(packet, 9, 1)?, input_rate) })
        } else if packet.starts_with(b"\x01vorbis") {
            Some(plain(little(packet, 11, 1)?, little(packet, 12, 4)?))
        } else if packet.starts_with(b"Speex   ") {
            Some(plain(little(packet, 48, 4)?, little(packet, 36, 4)?))
        } else if packet.starts_with(b"\x7FFLAC") {
            let info = StreamInfo::read(packet.get(17..)?)?;
            Some(plain(info.channels, info.sample_rate))
        } else {
            None
        }
    }
}

impl Stream {
    fn samples(&self) -> u64 {
        self.position.saturating_sub(self.codec.pre_skip)
    }

    fn seconds(&self) -> f64 {
        seconds(self.samples(), self.codec.clock).unwrap_or(0.0)
    }
}

impl Ogg {
    pub(super) fn sniff(head: &[u8]) -> Option<Self> {
        head.starts_with(MAGIC).then(Self::default)
    }

    fn begin(&mut self, serial: u64, packet: &[u8]) {
        let side_by_side = self.stream.as_ref().is_some_and(|stream| !stream.ended);
        if let Some(codec) = Codec::read(packet).filter(|_| !side_by_side) {
            self.seconds_before += self.stream.as_ref().map_or(0.0, Stream::seconds);
            self.stream = Some(Stream { serial, codec, position: 0, ended: false });
        }
    }

    fn note(&mut self, page: &[u8]) {
        let serial = little(page, 14, 4).unwrap_or(0);
        let position = little(page, 6, 8).unwrap_or(NO_POSITION);
        if let Some(stream) = self.stream.as_mut().filter(|stream| stream.serial == serial) {
            if position != NO_POSITION {
                stream.position = position;
            }
            stream.ended |= page[5] & LAST_PAGE != 0;
        }
    }
}

impl Walk for Ogg {
    fn first_window(&self) -> usize {
        PAGE_HEADER
    }

    fn step(&mut self, _at: u64, page: &[u8]) -> Next {
        if !page.starts_with(MAGIC) {
            return Next::DONE;
        }
        let header = PAGE_HEADER + usize::from(page[26]);
        if page.len() < header {
            return Next::more(header);
        }
        let body: u64 = page[PAGE_HEADER..header].iter().map(|segment| u64::from(*segment)).sum();
        if page[5] & FIRST_PAGE != 0 {
            // At most 52, so no number is lost.
            let wanted = header + usize::try_from(body.min(CODEC_HEADER)).unwrap_or(0);
            if page.len() < wanted {
                return Next::more(wanted);
            }
            self.begin(little(page, 14, 4).unwrap_or(0), &page[header..]);
        }
        self.note(page);
        Next::over(header as u64 + body, PAGE_HEADER)
    }

    fn close(&self, _end: End<'_>) -> Account {
        let codec = self.stream.as_ref().map(|stream| stream.codec);
        let duration = self.seconds_before + self.stream.as_ref().map_or(0.0, Stream::seconds);
        Account {
            content_type: "audio/ogg",
            duration_seconds: codec.map(|_| duration),
            channels: codec.and_then(|codec| nonzero(codec.channels)),
            sample_rate: codec.and_then(|codec| nonzero(codec.sample_rate)),
            claim: match &self.stream {
                None => Claim::NoAudio,
                Some(stream) if !stream.ended => Claim::Cut("its last page is missing: the stream has no end"),
                Some(stream) if stream.samples() == 0 && self.seconds_before <= 0.0 => Claim::NoAudio,
                Some(_) => Claim::Whole,
            },
        }
    }
}
