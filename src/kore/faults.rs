//! What went wrong inside the HTTP libraries, told without the URL.
//!
//! `reqwest::Error` prints the whole URL in `Display` and in `Debug`: nothing outside this module formats one. Below it,
//! where files are fetched, errors know at most host and port. What the caller needs to tell apart is in [`Fault`]; the
//! words for people are in [`describe`].

use std::error::Error;
use std::io;

use super::line::Surplus;
use super::resolver::NotPublic;
use crate::words::{causes, plain, told};

/// How much of an error's chain is told.
const LONGEST_DESCRIPTION: usize = 200;

/// The kinds of failure that are treated differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The resolver found no public address.
    NotPublic,
    /// `Content-Length` is larger than HTTP libraries count, or the head has over a thousand lines, or more bytes
    /// than are read at once.
    BeyondCounting,
    /// What came is not HTTP.
    NotHttp,
    /// The connection was closed in good order before the promised end.
    EndedShort,
    /// The same without TLS's goodbye: by the host, which may mean it as the end, or by somebody on the way.
    NoGoodbye,
    /// More came than was promised.
    Surplus,
    /// Reset, refused, timed out, TLS, DNS.
    Broken,
}

/// Sorts an error by what lies at its bottom.
pub(crate) fn fault(error: &(dyn Error + 'static)) -> Fault {
    causes(error).find_map(known).unwrap_or(Fault::Broken)
}

fn known(cause: &(dyn Error + 'static)) -> Option<Fault> {
    if cause.is::<NotPublic>() {
        return Some(Fault::NotPublic);
    }
    if cause.is::<Surplus>() {
        return Some(Fault::Surplus);
    }
    if let Some(hyper) = cause.downcast_ref::<hyper::Error>() {
        return match hyper {
            hyper if hyper.is_parse_too_large() => Some(Fault::BeyondCounting),
            hyper if hyper.is_parse() => Some(Fault::NotHttp),
            _ => None,
        };
    }
    let io = cause.downcast_ref::<io::Error>()?;
    if io.kind() != io::ErrorKind::UnexpectedEof {
        return None;
    }
    // TLS says so by the same kind, and in words alone.
    Some(if io.to_string().contains("close_notify") { Fault::NoGoodbye } else { Fault::EndedShort })
}

/// What happened, in the words of the libraries.
pub(crate) fn describe(error: &(dyn Error + 'static)) -> String {
    plain(&told(error), LONGEST_DESCRIPTION)
}

/// The same of an error that holds a URL, which may name a session.
pub(crate) fn describe_without_url(error: reqwest::Error) -> String {
    describe(&error.without_url())
}
