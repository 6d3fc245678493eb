//! Where recordings come from, as everybody but the vendor's own module sees it: a [`Vendor`] is asked for a session,
//! and opens a file; these are the words of its answers.
//!
//! `kore` is the vendor that there is, and simulations are others. The journey, the transfer and the archive know only
//! what is here, so that the source and the bucket never know of each other.

mod url;

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::Stream;

use crate::session::{SessionId, Status};
pub use url::SignedUrl;

/// What the journey asks of the vendor, for one bot.
#[async_trait]
pub trait Vendor: FileHost {
    /// Waits for the account's turn to ask: one turn is the right to one request.
    async fn turn(&self);

    /// Asks Kore for the session's status and recordings, on a turn that the caller has waited for. Takes a turn of its
    /// own for a second request, should the first token be refused.
    async fn poll(&self, session: &SessionId) -> Result<Answer, PollError>;

    /// How many first tokens were refused, and asked again for with another, since the last call: requests that no answer of
    /// [`Self::poll`] speaks of.
    fn take_repeats(&self) -> u64 {
        0
    }
}

/// Where the files are that the vendor names.
#[async_trait]
pub trait FileHost: Send + Sync + fmt::Debug {
    /// Opens one file. The returned body resumes by itself where the server proves that it is the same file.
    async fn open(&self, url: &SignedUrl) -> Result<Download, FetchError>;
}

/// An answer of the recordings API that could be read.
#[derive(Clone, Debug)]
pub struct Answer {
    /// What Kore says of the session.
    pub status: Status,
    /// The files, each once (by what of its URL names it), in Kore's order. Empty unless the status is `success`.
    pub recordings: Vec<SourceFile>,
    /// What is wrong with an item of the list that is no file: its siblings are copied, and the row is not done.
    pub fault: Option<String>,
}

/// One file of a session, as Kore lists it.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// Kore's name for it, unchanged: any text, safe for nothing.
    pub name: String,
    /// Where it can be had, for a while.
    pub url: SignedUrl,
}

/// Why a poll brought no status. The variants are what the caller does next; messages are free of secrets,
/// at most 300 characters, with control characters escaped.
#[derive(Debug, thiserror::Error)]
pub enum PollError {
    /// 429, 503, or a 403 that speaks of a rate limit: the whole account waits.
    #[error("{message}")]
    RateLimited {
        /// `Retry-After`, clamped to 1 s .. 15 min; `None` without a readable one.
        retry_after: Option<Duration>,
        /// What Kore said.
        message: String,
    },
    /// 401 or another 403, also with a second, fresh token: the bot's set-up is wrong.
    #[error("{message}")]
    Unauthorized {
        /// What Kore said, and what to do about it.
        message: String,
    },
    /// Another 5xx, a timeout, a broken connection, DNS, TLS: nobody's fault here.
    #[error("{message}")]
    Unreachable {
        /// What happened.
        message: String,
    },
    /// 404: Kore does not know the session, or not yet.
    #[error("{message}")]
    NotFound {
        /// What Kore said.
        message: String,
    },
    /// Another 4xx, or an answer that cannot be read, carries `errors` or speaks of another session.
    #[error("{message}")]
    Refused {
        /// What came, and why it was not accepted.
        message: String,
    },
}

/// Why a file did not come, or not whole. Messages as in [`PollError`]; the URL's query is never in them.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FetchError {
    /// 401, 403, 404, 410, or an `e` in the past: ask Kore for a new URL.
    #[error("{message}")]
    Expired {
        /// The HTTP code, if the file host was asked at all.
        code: Option<u16>,
        /// What happened.
        message: String,
    },
    /// The URL or a redirect leads outside `media_hosts`, to a private address, or off https.
    #[error("{message}")]
    HostRefused {
        /// Names the host and the setting.
        message: String,
    },
    /// Longer than `transfer.max_bytes`.
    #[error("{message}")]
    TooLarge {
        /// Names both sizes.
        message: String,
    },
    /// 5xx, 429, a timeout, a stall, a broken connection, DNS, TLS.
    #[error("{message}")]
    Unreachable {
        /// `Retry-After`, clamped as for polls.
        retry_after: Option<Duration>,
        /// What happened.
        message: String,
    },
    /// The host answered something that is not the file: another code, a Content-Encoding, more or fewer bytes
    /// than it said, again and again.
    #[error("{message}")]
    Refused {
        /// What came.
        message: String,
    },
}

/// A file that is being fetched.
pub struct Download {
    /// The length that HTTP promised, if it did.
    pub length: Option<u64>,
    /// The body in order, each byte once. It ends cleanly only when all of `length` came, or, without a length, at
    /// the protocol's own end.
    pub body: Pin<Box<dyn Stream<Item = Result<Bytes, FetchError>> + Send>>,
    /// Whether HTTP itself marks the end (a length, or chunks). Where it does not, a cut looks like an end, and the
    /// container must prove itself whole.
    pub end_is_marked: bool,
}

impl fmt::Debug for Download {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Download")
            .field("length", &self.length)
            .field("end_is_marked", &self.end_is_marked)
            .finish_non_exhaustive()
    }
}
