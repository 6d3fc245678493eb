//! The vocabulary of misbehaviour: what a scenario can make of a decent server.
//!
//! One list of small words serves the recordings API and the file host alike. They compose: a file can be chunked
//! *and* cut, tagged *and* throttled, each for as many requests as its rule says ([`SourceFile::next`]). What is said
//! last wins where two speak of the same thing.

use std::time::Duration;

use bytes::Bytes;

use super::SourceFile;

/// One way in which a reply differs from a decent server's.
#[derive(Clone, Debug)]
pub enum Quirk {
    /// How its end is told.
    Framed(Framing),
    /// Another validator: `"strong"` or `W/"weak"`, in the quotes that are sent.
    ETag(&'static str),
    NoETag,
    Ranges(Ranges),
    /// The connection ends after so many bytes of the body.
    Cut {
        after: u64,
        how: Cut,
    },
    /// Nothing more comes after so many bytes of the body, and the connection stays.
    Stall {
        after: u64,
    },
    /// Not even a head comes.
    Silent,
    /// The connection ends without an answer.
    Vanish(Cut),
    /// The body comes byte by byte, with this pause after each.
    Drip(Duration),
    /// The head comes byte by byte.
    DripHead(Duration),
    /// At most so many bytes of the body a second.
    Throttle(u64),
    /// This code with a short JSON error in place of the content.
    Code(u16),
    /// 200 with a page that is no recording.
    Page {
        content_type: &'static str,
        text: &'static str,
    },
    Redirect(Target),
    /// The content gzipped, though nobody asked for that.
    Gzip,
    /// 200 and no bytes.
    Empty,
    /// 204.
    NoContent,
    /// Sets a header, in place of one of that name.
    Header(&'static str, String),
    /// These bytes in place of head and body, then FIN.
    Verbatim(Bytes),
}

/// How the end of a body is told.
#[derive(Clone, Copy, Debug)]
pub enum Framing {
    Length,
    Chunked,
    /// By closing the connection: a cut looks the same.
    UntilClose,
    /// A Content-Length that is wrong by so much; the connection closes after what there is.
    LengthOff(i64),
    /// A Content-Length of this text.
    LengthText(&'static str),
    /// Content-Length and Transfer-Encoding both, the body being chunked.
    LengthAndChunked,
}

/// What the server does with `Range`.
#[derive(Clone, Copy, Debug)]
pub enum Ranges {
    /// 206 for a satisfiable range whose `If-Range` matches, 416 for one past the end.
    Honoured,
    /// 206 also when `If-Range` names another validator.
    Blindly,
    /// 200 with everything.
    Ignored,
    /// 206 with the bytes from zero on, and a Content-Range that says so, whatever was asked.
    Shifted,
    /// 206 with the bytes that were asked for, and a Content-Range that names others.
    Misnamed,
    /// 416 to every range.
    Unsatisfiable,
    /// 206 with the first half though no range was asked.
    Unasked,
}

/// How a connection is broken off.
#[derive(Clone, Copy, Debug)]
pub enum Cut {
    Fin,
    Rst,
}

/// Where a redirect leads.
#[derive(Clone, Debug)]
pub enum Target {
    To(String),
    /// The same URL again.
    Itself,
    /// A file of the file host, by a fresh signed URL.
    File(SourceFile),
}
