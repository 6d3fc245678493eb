//! `WebM` and Matroska (RFC 8794 for EBML, RFC 9559 for the elements).
//!
//! A file is an EBML header and a Segment of elements, each an id, a size and that many bytes. Elements that lead to what
//! is wanted are entered by passing over their headers, as in MP4: no stack, no recursion. What claims to reach beyond
//! its parent is taken to end with it.
//!
//! Live recorders (browsers' above all) leave the sizes of Segment and Clusters unknown; their blocks are then walked one
//! by one, and nothing proves the end. With a known size the Segment's end is the file's; what follows is harmless.

use super::stride::Next;
use super::walk::{Account, Claim, End, Walk, big, nonzero, seconds};

const MAGIC: &[u8] = &[0x1A, 0x45, 0xDF, 0xA3];
const SEGMENT: u64 = 0x1853_8067;
const INFO: u64 = 0x1549_A966;
const TIMESTAMP_SCALE: u64 = 0x2A_D7B1;
const DURATION: u64 = 0x4489;
const TRACKS: u64 = 0x1654_AE6B;
const TRACK: u64 = 0xAE;
const TRACK_TYPE: u64 = 0x83;
const AUDIO: u64 = 0xE1;
const SAMPLING_FREQUENCY: u64 = 0xB5;
const CHANNELS: u64 = 0x9F;
const CLUSTER: u64 = 0x1F43_B675;

/// The shortest element: an id and a size of one byte each.
const SHORTEST: usize = 2;
/// In nanoseconds, unless the file says otherwise.
const DEFAULT_SCALE: u64 = 1_000_000;
const NANOS: u64 = 1_000_000_000;
/// The document type stands within the first bytes of the EBML header, whose elements may give their sizes eight bytes.
const DOCUMENT_TYPE: usize = 256;

#[derive(Debug)]
pub(super) struct WebM {
    has_segment: bool,
    /// `None`: unknown.
    segment_end: Option<u64>,
    /// Where the `Info` or `Tracks` ends that the walker has entered.
    group_end: u64,
    scale: u64,
    /// In units of the scale.
    duration: f64,
    track: Track,
    audio: Option<Track>,
    has_video: bool,
    has_media: bool,
}

#[derive(Clone, Copy, Debug)]
struct Track {
    kind: u64,
    channels: u64,
    sample_rate: f64,
}

impl Track {
    /// What RFC 9559 says that holds where a file says nothing.
    const DEFAULT: Self = Self { kind: 0, channels: 1, sample_rate: 8000.0 };

    fn is_audio(&self) -> bool {
        self.kind == 2
    }

    fn is_video(&self) -> bool {
        self.kind == 1
    }
}

/// An element's id, the length of its header, and its size unless that is unknown.
struct Element {
    id: u64,
    header: usize,
    size: Option<u64>,
}

/// How many bytes the number has that starts with this one; `None` for more than 8.
fn width(first: u8) -> Option<usize> {
    let width = first.leading_zeros() as usize + 1;
    (width <= 8).then_some(width)
}

/// An element's header, or how many bytes it takes to read on, or nothing: no element.
fn element(window: &[u8]) -> Option<Result<Element, usize>> {
    let id_width = width(window[0]).filter(|width| *width <= 4)?;
    let Some(first) = window.get(id_width) else { return Some(Err(id_width + 1)) };
    let header = id_width + width(*first)?;
    if window.len() < header {
        return Some(Err(header));
    }
    let size_width = header - id_width;
    let mask = (1 << (7 * size_width)) - 1;
    let size = big(window, id_width, size_width)? & mask;
    Some(Ok(Element { id: big(window, 0, id_width)?, header, size: (size != mask).then_some(size) }))
}

fn float(body: &[u8]) -> Option<f64> {
    let number = match body.len() {
        4 => f64::from(f32::from_bits(u32::try_from(big(body, 0, 4)?).ok()?)),
        8 => f64::from_bits(big(body, 0, 8)?),
        _ => return None,
    };
    (number.is_finite() && number > 0.0).then_some(number)
}

impl WebM {
    pub(super) fn sniff(head: &[u8]) -> Option<Self> {
        let start = &head[..head.len().min(DOCUMENT_TYPE)];
        let named = |name: &[u8]| start.windows(name.len()).any(|window| window == name);
        let is_known = start.starts_with(MAGIC) && (named(b"webm") || named(b"matroska"));
        is_known.then_some(Self {
            has_segment: false,
            segment_end: None,
            group_end: 0,
            scale: DEFAULT_SCALE,
            duration: 0.0,
            track: Track::DEFAULT,
            audio: None,
            has_video: false,
            has_media: false,
        })
    }

    fn enter(&mut self, at: u64, element: &Element) -> Next {
        let end = element.size.map(|size| at.saturating_add(element.header as u64).saturating_add(size));
        match element.id {
            SEGMENT => {
                self.has_segment = true;
                self.segment_end = end;
            }
            INFO | TRACKS => self.group_end = end.unwrap_or(0),
            TRACK => self.end_track(),
            CLUSTER => self.has_media = true,
            _ => {}
        }
        Next::over(element.header as u64, SHORTEST)
    }

    /// A leaf of known size, or a cluster that need not be entered.
    fn pass(&mut self, at: u64, window: &[u8], element: &Element, size: u64) -> Next {
        let is_wanted = matches!(
            element.id,
            TIMESTAMP_SCALE | DURATION | TRACK_TYPE | SAMPLING_FREQUENCY | CHANNELS if size <= 8
        );
        let body = if is_wanted { usize::try_from(size).unwrap_or(0) } else { 0 };
        if window.len() < element.header + body {
            return Next::more(element.header + body);
        }
        self.note(element.id, &window[element.header..element.header + body]);
        self.has_media |= element.id == CLUSTER && size > 0;
        let end = at.saturating_add(element.header as u64).saturating_add(size);
        let parent_end = if at < self.group_end { self.group_end } else { self.segment_end.unwrap_or(u64::MAX) };
        Next::over(end.min(parent_end.max(at + element.header as u64)) - at, SHORTEST)
    }

    fn note(&mut self, id: u64, body: &[u8]) {
        let number = big(body, 0, body.len());
        match id {
            TIMESTAMP_SCALE => self.scale = number.unwrap_or(DEFAULT_SCALE),
            DURATION => self.duration = float(body).unwrap_or(0.0),
            TRACK_TYPE => self.track.kind = number.unwrap_or(0),
            CHANNELS => self.track.channels = number.unwrap_or(1),
            SAMPLING_FREQUENCY => self.track.sample_rate = float(body).unwrap_or(0.0),
            _ => {}
        }
    }

    fn end_track(&mut self) {
        let track = std::mem::replace(&mut self.track, Track::DEFAULT);
        self.has_video |= track.is_video();
        self.audio = self.audio.or(Some(track).filter(Track::is_audio));
    }

    fn duration(&self) -> Option<f64> {
        let scale = seconds(self.scale, NANOS)?;
        Some(self.duration * scale).filter(|duration| duration.is_finite() && *duration > 0.0)
    }

    fn claim(&self, end: &End<'_>, has_audio: bool) -> Claim {
        match self.segment_end {
            None if !self.has_segment => Claim::Cut("its segment is missing"),
            None if !end.rest.is_empty() => Claim::Cut("it ends within an element"),
            _ if !has_audio || !self.has_media => Claim::NoAudio,
            None => Claim::Open,
            Some(_) => Claim::Whole,
        }
    }
}

impl Walk for WebM {
    fn first_window(&self) -> usize {
        SHORTEST
    }

    fn step(&mut self, at: u64, window: &[u8]) -> Next {
        if self.segment_end.is_some_and(|end| at >= end) {
            return Next::DONE;
        }
        let element = match element(window) {
            Some(Ok(element)) => element,
            Some(Err(wanted)) => return Next::more(wanted),
            None => return Next::DONE,
        };
        match (element.id, element.size) {
            (SEGMENT | INFO | TRACKS | TRACK | AUDIO, _) | (CLUSTER, None) => self.enter(at, &element),
            (_, Some(size)) => self.pass(at, window, &element, size),
            // Nothing else may be of unknown size.
            (_, None) => Next::DONE,
        }
    }

    fn promised_end(&self) -> u64 {
        self.segment_end.unwrap_or(0).max(self.group_end)
    }

    fn close(&self, end: End<'_>) -> Account {
        let audio = self.audio.or(Some(self.track).filter(Track::is_audio));
        let has_video = self.has_video || self.track.is_video();
        Account {
            content_type: if has_video { "video/webm" } else { "audio/webm" },
            duration_seconds: self.duration(),
            channels: audio.and_then(|track| nonzero(track.channels)),
            sample_rate: audio.and_then(|track| whole_hertz(track.sample_rate)),
            claim: self.claim(&end, audio.is_some()),
        }
    }
}

/// A rate as a whole number, by way of a duration, whose conversion refuses what does not fit.
fn whole_hertz(rate: f64) -> Option<u32> {
    let rounded = std::time::Duration::try_from_secs_f64(rate.round()).ok()?;
    nonzero(rounded.as_secs())
}
