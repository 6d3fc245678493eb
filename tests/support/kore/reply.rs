//! An answer before it is written: what is sent, how it is framed, how fast, and how it ends.
//!
//! A [`Reply`] starts out as what a decent server would send; each [`Quirk`] bends one thing of it. Ranges are
//! honoured last, on whatever the quirks left of the content.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bytes::Bytes;

use super::body::Body;
use super::quirk::{Cut, Framing, Quirk, Ranges, Target};
use super::range;
use super::url::Signer;
use super::wire::Request;

/// How fast bytes are written.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pace {
    Full,
    Drip(Duration),
    Rate(u64),
}

/// What comes after the last byte that is sent.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ending {
    Complete,
    Cut {
        after: u64,
        how: Cut,
    },
    Stall {
        after: u64,
    },
    /// Nothing is sent, and the connection stays.
    Silence,
    /// Nothing is sent, and the connection ends.
    Vanish(Cut),
}

/// A window into a body.
#[derive(Clone, Debug)]
pub(super) struct Payload {
    pub(super) body: Body,
    pub(super) start: u64,
    pub(super) len: u64,
}

#[derive(Debug)]
pub(super) struct Reply {
    pub(super) code: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) payload: Payload,
    pub(super) framing: Framing,
    pub(super) ranges: Ranges,
    pub(super) head_pace: Pace,
    pub(super) pace: Pace,
    pub(super) ending: Ending,
    pub(super) verbatim: Option<Bytes>,
    /// Bytes of the body that were written so far.
    pub(super) sent: Arc<AtomicU64>,
}

impl Reply {
    pub(super) fn new(code: u16, content_type: &str, body: Body) -> Self {
        Self {
            code,
            headers: vec![("Content-Type", content_type.to_owned())],
            payload: Payload::whole(body),
            framing: Framing::Length,
            ranges: Ranges::Ignored,
            head_pace: Pace::Full,
            pace: Pace::Full,
            ending: Ending::Complete,
            verbatim: None,
            sent: Arc::default(),
        }
    }

    /// `{"errors":[{"msg","code"}]}`, the shape of Kore's errors.
    pub(super) fn error(code: u16, msg: &str, kore_code: i64) -> Self {
        let body = serde_json::json!({ "errors": [{ "msg": msg, "code": kore_code }] });
        Self::new(code, "application/json; charset=utf-8", Body::bytes(body.to_string()))
    }

    /// Bends the reply by each quirk in turn, then cuts the asked range out of what is left.
    pub(super) fn bent(mut self, quirks: &[Quirk], signer: &Signer, request: &Request) -> Self {
        for quirk in quirks {
            self.bend(quirk, signer, request);
        }
        if self.code == 200 {
            range::narrow(&mut self, request);
        }
        self
    }

    fn bend(&mut self, quirk: &Quirk, signer: &Signer, request: &Request) {
        match quirk {
            Quirk::Framed(framing) => self.framing = *framing,
            Quirk::ETag(tag) => self.set_header("ETag", (*tag).to_owned()),
            Quirk::NoETag => self.headers.retain(|(name, _)| *name != "ETag"),
            Quirk::Ranges(ranges) => self.ranges = *ranges,
            Quirk::Cut { after, how } => self.ending = Ending::Cut { after: *after, how: *how },
            Quirk::Stall { after } => self.ending = Ending::Stall { after: *after },
            Quirk::Silent => self.ending = Ending::Silence,
            Quirk::Vanish(how) => self.ending = Ending::Vanish(*how),
            Quirk::Drip(every) => self.pace = Pace::Drip(*every),
            Quirk::DripHead(every) => self.head_pace = Pace::Drip(*every),
            Quirk::Throttle(rate) => self.pace = Pace::Rate(*rate),
            Quirk::Code(code) => self.replace(Self::error(*code, "the file host says no", i64::from(*code))),
            Quirk::Page { content_type, text } => self.replace(Self::new(200, content_type, Body::bytes(*text))),
            Quirk::Redirect(target) => self.redirect(target, signer, request),
            Quirk::Gzip => self.gzip(),
            Quirk::Empty => self.payload = Payload::whole(Body::bytes("")),
            Quirk::NoContent => self.replace(Self::new(204, "", Body::bytes(""))),
            Quirk::Header(name, value) => self.set_header(name, value.clone()),
            Quirk::Verbatim(bytes) => self.verbatim = Some(bytes.clone()),
        }
    }

    /// Another answer over the same connection: framing, pace and ending stay bent as they were.
    fn replace(&mut self, other: Self) {
        self.code = other.code;
        self.headers = other.headers;
        self.payload = other.payload;
        self.ranges = other.ranges;
    }

    fn redirect(&mut self, target: &Target, signer: &Signer, request: &Request) {
        let location = match target {
            Target::To(location) => location.clone(),
            Target::Itself => request.target.clone(),
            Target::File(file) => file.url(signer),
        };
        self.replace(Self::new(302, "text/html", Body::bytes("<a>Found</a>")));
        self.set_header("Location", location);
    }

    pub(super) fn gzip(&mut self) {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(&self.payload.body.to_vec()).expect("writing to memory");
        self.payload = Payload::whole(encoder.finish().expect("writing to memory").into());
        self.set_header("Content-Encoding", "gzip".to_owned());
    }

    /// The code for the records: 0 where no head ever comes.
    pub(super) fn code_on_record(&self) -> u16 {
        if matches!(self.ending, Ending::Silence | Ending::Vanish(_)) { 0 } else { self.code }
    }

    pub(super) fn set_header(&mut self, name: &'static str, value: String) {
        self.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        self.headers.push((name, value));
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str())
    }

    /// Status line and headers, as they go out.
    pub(super) fn head(&self) -> String {
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.code, reason_phrase(self.code));
        for (name, value) in self.headers.iter().filter(|(_, value)| !value.is_empty()) {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        if self.code != 204 {
            head.push_str(&self.framing.headers(self.payload.len));
        }
        head.push_str("\r\n");
        head
    }
}

impl Framing {
    fn headers(self, len: u64) -> String {
        match self {
            Self::Length => format!("Content-Length: {len}\r\n"),
            Self::Chunked => "Transfer-Encoding: chunked\r\n".to_owned(),
            Self::UntilClose => "Connection: close\r\n".to_owned(),
            Self::LengthOff(off) => format!("Content-Length: {}\r\n", len.saturating_add_signed(off)),
            Self::LengthText(text) => format!("Content-Length: {text}\r\n"),
            Self::LengthAndChunked => format!("Content-Length: {len}\r\nTransfer-Encoding: chunked\r\n"),
        }
    }

    pub(super) fn is_chunked(self) -> bool {
        matches!(self, Self::Chunked | Self::LengthAndChunked)
    }

    pub(super) fn marks_its_end(self) -> bool {
        matches!(self, Self::Length | Self::Chunked)
    }
}

impl Pace {
    /// How much is written at once, and the pause after it.
    pub(super) fn piece(self) -> (usize, Option<Duration>) {
        /// Fine enough to look like a slow line, coarse enough for a timer.
        const PIECES_A_SECOND: u32 = 20;
        match self {
            Self::Full => (256 * 1024, None),
            Self::Drip(every) => (1, Some(every)),
            Self::Rate(rate) => {
                let piece = usize::try_from(rate / u64::from(PIECES_A_SECOND)).unwrap_or(usize::MAX);
                (piece.max(1), Some(Duration::from_secs(1) / PIECES_A_SECOND))
            }
        }
    }
}

impl Ending {
    /// The bytes of the body after which it comes, if before the end.
    pub(super) fn limit(self) -> Option<u64> {
        match self {
            Self::Complete | Self::Silence | Self::Vanish(_) => None,
            Self::Cut { after, .. } | Self::Stall { after } => Some(after),
        }
    }
}

impl Payload {
    pub(super) fn whole(body: Body) -> Self {
        Self { start: 0, len: body.len(), body }
    }

    pub(super) fn read(&self, at: u64, most: usize) -> Bytes {
        self.body.read(self.start + at, most)
    }
}

fn reason_phrase(code: u16) -> &'static str {
    http::StatusCode::from_u16(code).ok().and_then(|code| code.canonical_reason()).unwrap_or("Unknown")
}
