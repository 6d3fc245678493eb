//! ISO base media (ISO 14496-12): MP4, M4A, 3GP, `QuickTime`, plain or fragmented.
//!
//! Everything is boxes that tell their length, and boxes in boxes. Those that lead to what is wanted (`moov/trak/mdia/
//! minf/stbl`) are entered by passing over their headers only, so there is no stack and no recursion: which track a box
//! belongs to is told by the `trak` before it. A box in `moov` that claims to reach beyond `moov` is taken to end with it.
//!
//! Proof of the end: every box came whole, `moov` and the media are there. An `mdat` of size 0 runs to the end of the
//! file, and fragments may always be followed by more, unless the index of fragments (`mfra`) closes them.

use super::stride::Next;
use super::walk::{Account, Claim, End, Walk, big, nonzero, seconds};

const BOX_HEADER: usize = 8;
/// With the 64-bit size that follows a size of 1.
const LARGE_HEADER: usize = 16;
/// What a file may start with; `QuickTime` knows no `ftyp`.
const FIRST_BOXES: [&[u8]; 6] = [b"ftyp", b"moov", b"free", b"skip", b"wide", b"styp"];
/// Behind the media only these are boxes: anything else is junk, and harmless.
const LATER_BOXES: [&[u8]; 13] = [
    b"moov", b"mdat", b"moof", b"mfra", b"free", b"skip", b"wide", b"udta", b"uuid", b"meta", b"styp", b"sidx", b"emsg",
];

#[derive(Debug, Default)]
pub(super) struct Mp4 {
    /// Where the `moov` ends that the walker has entered.
    moov_end: Option<u64>,
    media: Media,
    fragments: Fragments,
    movie: Clock,
    track: Track,
    audio: Option<Track>,
    has_video: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Media {
    #[default]
    Absent,
    Sized,
    /// To the end of the file.
    Open,
}

#[derive(Clone, Copy, Debug, Default)]
enum Fragments {
    #[default]
    None,
    /// There may be more.
    Open,
    /// By an index, which comes last.
    Closed,
}

#[derive(Clone, Copy, Debug, Default)]
struct Clock {
    units: u64,
    per_second: u64,
}

impl Clock {
    /// From the body of `mvhd` or `mdhd`, which agree so far.
    fn read(body: &[u8]) -> Option<Self> {
        let (at, width) = if *body.first()? == 0 { (12, 4) } else { (20, 8) };
        let units = big(body, at + 4, width)?;
        let unknown = if width == 4 { u64::from(u32::MAX) } else { u64::MAX };
        Some(Self { units: if units == unknown { 0 } else { units }, per_second: big(body, at, 4)? })
    }

    fn seconds(self) -> Option<f64> {
        seconds(nonzero(self.units)?, self.per_second)
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Track {
    handler: [u8; 4],
    clock: Clock,
    channels: u64,
    sample_rate: u64,
}

impl Mp4 {
    pub(super) fn sniff(head: &[u8]) -> Option<Self> {
        let kind = head.get(4..8)?;
        // A size of 16 MiB and more would be odd for these, and letters there are text.
        let small = head[0] == 0 && FIRST_BOXES.contains(&kind);
        let size = big(head, 0, 4)?;
        let media = kind == b"mdat" && (size <= 1 || size >= BOX_HEADER as u64);
        (small || media).then(Self::default)
    }

    fn top(&mut self, at: u64, window: &[u8], header: usize, size: u64) -> Next {
        let kind = &window[4..8];
        let is_junk = self.moov_end.is_some() && self.media != Media::Absent && !LATER_BOXES.contains(&kind);
        if is_junk || size < header as u64 {
            if kind == b"mdat" && size == 0 {
                self.media = Media::Open;
            }
            return Next::DONE;
        }
        match kind {
            b"moov" => {
                self.moov_end = Some(at.saturating_add(size));
                return Next::over(header as u64, BOX_HEADER);
            }
            b"mdat" if size > header as u64 => self.media = Media::Sized,
            b"moof" => self.fragments = Fragments::Open,
            b"mfra" => self.fragments = Fragments::Closed,
            _ => {}
        }
        Next::over(size, BOX_HEADER)
    }

    fn inner(&mut self, left: u64, window: &[u8], header: usize, size: u64) -> Next {
        if size < header as u64 || size > left {
            return Next::over(left, BOX_HEADER);
        }
        let wanted = match &window[4..8] {
            b"mvhd" | b"mdhd" => 32,
            b"hdlr" => 12,
            b"stsd" => 44,
            _ => 0,
        };
        let wanted = usize::try_from(size).map_or(header + wanted, |size| size.min(header + wanted));
        if window.len() < wanted {
            return Next::more(wanted);
        }
        let entered = self.note(&window[4..8], &window[header..]).is_some();
        Next::over(if entered { header as u64 } else { size }, BOX_HEADER)
    }

    /// `Some` when the box is to be entered.
    fn note(&mut self, kind: &[u8], body: &[u8]) -> Option<()> {
        match kind {
            b"trak" => {
                self.end_track();
                return Some(());
            }
            b"mdia" | b"minf" | b"stbl" => return Some(()),
            b"mvex" => self.fragments = Fragments::Open,
            b"mvhd" => self.movie = Clock::read(body).unwrap_or_default(),
            b"mdhd" => self.track.clock = Clock::read(body).unwrap_or_default(),
            // QuickTime has a second one in `minf`, which speaks of data, not of media.
            b"hdlr" if self.track.handler == [0; 4] => {
                self.track.handler.copy_from_slice(body.get(8..12)?);
            }
            b"stsd" => {
                self.track.channels = big(body, 32, 2).unwrap_or(0);
                // 16.16 fixed point.
                self.track.sample_rate = big(body, 40, 4).unwrap_or(0) >> 16;
            }
            _ => {}
        }
        None
    }

    fn end_track(&mut self) {
        let track = std::mem::take(&mut self.track);
        self.has_video |= &track.handler == b"vide";
        self.audio = self.audio.or(Some(track).filter(|track| &track.handler == b"soun"));
    }

    fn claim(&self, end: &End<'_>, audio: Option<Track>) -> Claim {
        if self.moov_end.is_none() {
            return Claim::Cut("its index (moov) is missing");
        }
        if audio.is_none() {
            return Claim::NoAudio;
        }
        match (self.media, self.fragments) {
            (Media::Absent, _) => Claim::NoAudio,
            (Media::Sized, Fragments::Open) if !end.rest.is_empty() => Claim::Cut("it ends within a box"),
            (Media::Open, _) | (Media::Sized, Fragments::Open) => Claim::Open,
            (Media::Sized, Fragments::None | Fragments::Closed) => Claim::Whole,
        }
    }
}

impl Walk for Mp4 {
    fn first_window(&self) -> usize {
        BOX_HEADER
    }

    fn step(&mut self, at: u64, window: &[u8]) -> Next {
        let (size, header) = match big(window, 0, 4).unwrap_or(0) {
            1 if window.len() < LARGE_HEADER => return Next::more(LARGE_HEADER),
            1 => (big(window, 8, 8).unwrap_or(0), LARGE_HEADER),
            size => (size, BOX_HEADER),
        };
        match self.moov_end.and_then(|end| end.checked_sub(at)) {
            Some(left @ 1..) => self.inner(left, window, header, size),
            Some(0) | None => self.top(at, window, header, size),
        }
    }

    fn promised_end(&self) -> u64 {
        self.moov_end.unwrap_or(0)
    }

    fn close(&self, end: End<'_>) -> Account {
        let is = |kind: &[u8; 4]| &self.track.handler == kind;
        let audio = self.audio.or(is(b"soun").then_some(self.track));
        let rate = |track: Track| nonzero(track.sample_rate).or_else(|| nonzero(track.clock.per_second));
        Account {
            content_type: if self.has_video || is(b"vide") { "video/mp4" } else { "audio/mp4" },
            duration_seconds: audio.and_then(|track| track.clock.seconds()).or_else(|| self.movie.seconds()),
            channels: audio.and_then(|track| nonzero(track.channels)),
            sample_rate: audio.and_then(rate),
            claim: self.claim(&end, audio),
        }
    }
}
