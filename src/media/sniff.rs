//! Which container a file is, from its first bytes.
//!
//! Magics that cannot be mistaken go first, MPEG audio, which has none, goes last, and text is what is left and reads as
//! text. `ID3v2` tags may stand in front of MP3 and, by common usage though against its specification, of FLAC: they are
//! passed over, and what follows is looked at as if it were the start.

use super::amr::Amr;
use super::au::Au;
use super::flac::Flac;
use super::mp3::{self, Mp3};
use super::mp4::Mp4;
use super::ogg::Ogg;
use super::text;
use super::walk::Walk;
use super::wav::Wav;
use super::webm::WebM;

/// Room for two of the longest MPEG audio frames (1,728 bytes: layer II at 384 kbit/s and 32 kHz).
pub(crate) const HEAD: usize = 4096;

/// What the start of a file shows.
pub(super) enum Sniffed {
    /// A tag of that length; what the file is follows it.
    Tag(u64),
    /// What it is.
    Known(Known),
}

/// What a file is.
pub(super) enum Known {
    /// A container, whose walker starts right here.
    Container(Box<dyn Walk>),
    /// Text of that content type.
    Text(&'static str),
    /// Nothing that we know.
    Nothing,
}

/// Looks at up to [`HEAD`] bytes: fewer only where the file ends. `tagged`: they follow a tag.
pub(super) fn sniff(head: &[u8], tagged: bool) -> Sniffed {
    if let Some(length) = mp3::id3v2_length(head) {
        return Sniffed::Tag(length);
    }
    Sniffed::Known(match (container(head, tagged), text::sniff(head)) {
        (Some(walker), _) => Known::Container(walker),
        (None, Some(content_type)) => Known::Text(content_type),
        (None, None) => Known::Nothing,
    })
}

fn container(head: &[u8], tagged: bool) -> Option<Box<dyn Walk>> {
    fn boxed(walker: impl Walk + 'static) -> Box<dyn Walk> {
        Box::new(walker)
    }
    Wav::sniff(head)
        .map(boxed)
        .or_else(|| Flac::sniff(head).map(boxed))
        .or_else(|| Ogg::sniff(head).map(boxed))
        .or_else(|| Amr::sniff(head).map(boxed))
        .or_else(|| Au::sniff(head).map(boxed))
        .or_else(|| WebM::sniff(head).map(boxed))
        .or_else(|| Mp4::sniff(head).map(boxed))
        .or_else(|| Mp3::sniff(head, tagged).map(boxed))
}
