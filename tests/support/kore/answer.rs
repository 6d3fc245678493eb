//! What the recordings API says to a poll that it lets through.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::SourceFile;
use super::body::Body;
use super::quirk::{Cut, Framing, Quirk, Target};
use super::reply::Reply;
use super::url::Signer;
use super::wire::Request;

/// One answer, decent unless it is bent by quirks. A plain text is a status: `"call_in_progress".into()`.
#[derive(Clone, Debug)]
pub struct Answer {
    code: u16,
    content: Content,
    quirks: Vec<Quirk>,
}

#[derive(Clone, Debug)]
enum Content {
    /// A status with the files that go with it; fields that are added take the place of those of the same name.
    Listing {
        status: String,
        files: Vec<SourceFile>,
        more: Map<String, Value>,
    },
    Other {
        content_type: String,
        body: Body,
    },
}

/// The documented text; its HTTP code is not documented.
pub const RATE_LIMIT_TEXT: &str =
    "You've exceeded the per-minute rate limit. Please wait for sometime before retrying.";

impl Answer {
    /// 200 with any status and an empty list.
    pub fn status(text: &str) -> Self {
        Self::listing(text, Vec::new())
    }

    /// 200 with `success` and these files, whose URLs are signed afresh at each poll.
    pub fn success(files: impl IntoIterator<Item = SourceFile>) -> Self {
        Self::listing("success", files.into_iter().collect())
    }

    /// `{"errors":[{"msg","code"}]}` under this HTTP code (200 included).
    pub fn error(code: u16, msg: &str) -> Self {
        Self::json(code, &json!({ "errors": [{ "msg": msg, "code": 4000 + i64::from(code) }] }))
    }

    /// 429 with the documented text and no Retry-After.
    pub fn rate_limited() -> Self {
        Self::error(429, RATE_LIMIT_TEXT)
    }

    /// 403 with the same text, as seen in public code.
    pub fn forbidden_for_rate() -> Self {
        Self::error(403, RATE_LIMIT_TEXT)
    }

    pub fn json(code: u16, body: &Value) -> Self {
        Self::page(code, "application/json; charset=utf-8", Body::bytes(body.to_string()))
    }

    /// Any text under any code.
    pub fn page(code: u16, content_type: &str, body: impl Into<Body>) -> Self {
        let content = Content::Other { content_type: content_type.to_owned(), body: body.into() };
        Self { code, content, quirks: Vec::new() }
    }

    /// The request is taken, and nothing ever comes back.
    pub fn hang() -> Self {
        Self::status("success").with(Quirk::Silent)
    }

    /// The request is taken, and the connection ends.
    pub fn vanish(how: Cut) -> Self {
        Self::status("success").with(Quirk::Vanish(how))
    }

    /// These bytes in place of an HTTP answer, then FIN.
    pub fn verbatim(bytes: impl Into<Bytes>) -> Self {
        Self::status("success").with(Quirk::Verbatim(bytes.into()))
    }

    pub fn redirect(location: &str) -> Self {
        Self::status("success").with(Quirk::Redirect(Target::To(location.to_owned())))
    }

    /// JSON that never gets to its point, chunked and so of no known length.
    pub fn endless(len: u64) -> Self {
        let body = Body::chain([Body::bytes("{\"status\":\""), Body::repeat("success ", len)]);
        Self::page(200, "application/json", body).with(Quirk::Framed(Framing::Chunked))
    }

    /// About a megabyte on the wire, 1 GiB of blanks once it is unpacked.
    pub fn gzip_bomb() -> Self {
        let mut member = Reply::new(200, "", Body::repeat(" ", 1 << 20));
        member.gzip();
        // Members of a gzip file may follow each other, and unpack to one stream.
        let member = member.payload.body.to_vec();
        let len = member.len() as u64 * 1024;
        Self::page(200, "application/json", Body::repeat(member, len)).header("Content-Encoding", "gzip")
    }

    /// The answer byte by byte, with this pause after each.
    #[must_use]
    pub fn dripping(self, every: Duration) -> Self {
        self.with(Quirk::Drip(every))
    }

    #[must_use]
    pub fn with(mut self, quirk: Quirk) -> Self {
        self.quirks.push(quirk);
        self
    }

    #[must_use]
    pub fn header(self, name: &'static str, value: &str) -> Self {
        self.with(Quirk::Header(name, value.to_owned()))
    }

    #[must_use]
    pub fn retry_after(self, text: &str) -> Self {
        self.header("Retry-After", text)
    }

    /// One more field in a listing, or another value for one of its own (`status`, `recording`).
    #[must_use]
    pub fn field(mut self, name: &str, value: Value) -> Self {
        if let Content::Listing { more, .. } = &mut self.content {
            more.insert(name.to_owned(), value);
        }
        self
    }

    /// A listing that says it is about this session.
    #[must_use]
    pub fn about(self, session: &str) -> Self {
        self.field("sessionId", Value::from(session))
    }

    /// A listing under another HTTP code.
    #[must_use]
    pub fn code(mut self, code: u16) -> Self {
        self.code = code;
        self
    }

    fn listing(status: &str, files: Vec<SourceFile>) -> Self {
        let content = Content::Listing { status: status.to_owned(), files, more: Map::new() };
        Self { code: 200, content, quirks: Vec::new() }
    }

    pub(super) fn files(&self) -> &[SourceFile] {
        match &self.content {
            Content::Listing { files, .. } => files,
            Content::Other { .. } => &[],
        }
    }

    pub(super) fn reply(&self, signer: &Signer, request: &Request) -> Reply {
        let reply = match &self.content {
            Content::Listing { status, files, more } => {
                let body = listing(status, files, more, signer);
                Reply::new(self.code, "application/json; charset=utf-8", Body::bytes(body.to_string()))
            }
            Content::Other { content_type, body } => Reply::new(self.code, content_type, body.clone()),
        };
        reply.bent(&self.quirks, signer, request)
    }
}

impl From<&str> for Answer {
    fn from(status: &str) -> Self {
        Self::status(status)
    }
}

fn listing(status: &str, files: &[SourceFile], more: &Map<String, Value>, signer: &Signer) -> Value {
    let item = |file: &SourceFile| json!({ "fileName": file.name(), "fileUrl": file.url(signer) });
    let recording: Vec<Value> = files.iter().map(item).collect();
    let mut body = json!({ "status": status, "recording": recording });
    body.as_object_mut().expect("just made as an object").extend(more.clone());
    body
}
