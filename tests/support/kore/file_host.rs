//! The file host: serves a file to whoever has its signed URL, and to nobody who brings anything else.
//!
//! What must never reach it (the token, credentials, a Referer, cookies) is refused and remembered as a violation,
//! so that a leak fails a test even where the download would have been retried and come through.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::SourceFile;
use super::answer::Answer;
use super::clock::FakeClock;
use super::host::Service;
use super::quirk::Ranges;
use super::records::{Records, Served};
use super::reply::Reply;
use super::token::Refusal;
use super::url::{BadUrl, Signer};
use super::wire::Request;

pub(super) struct FileHost {
    pub(super) clock: Arc<FakeClock>,
    pub(super) signer: Arc<Signer>,
    pub(super) records: Arc<Records>,
    files: Mutex<HashMap<String, SourceFile>>,
}

/// The URL is its own authority: none of these belongs here.
const FORBIDDEN_HEADERS: [&str; 4] = ["auth", "authorization", "referer", "cookie"];

impl FileHost {
    pub(super) fn new(clock: Arc<FakeClock>, signer: Arc<Signer>, records: Arc<Records>) -> Self {
        Self { clock, signer, records, files: Mutex::default() }
    }

    pub(super) fn add(&self, file: &SourceFile) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.insert(file.path().to_owned(), file.clone());
    }

    fn find(&self, path: &str) -> Option<SourceFile> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned()
    }

    /// The file, or what is said to one who may not have it.
    fn admit(&self, request: &Request) -> Result<SourceFile, Refusal> {
        if let Some(name) = FORBIDDEN_HEADERS.into_iter().find(|name| request.header(name).is_some()) {
            self.records.violation(format!("{name} sent to the file host: {} {}", request.method, request.path()));
            return Err(Refusal::new(400, "Bad Request"));
        }
        if request.method != "GET" {
            return Err(Refusal::new(405, "Method Not Allowed"));
        }
        let file = self.find(request.path()).ok_or_else(|| Refusal::new(404, "Not Found"))?;
        match self.signer.check(request.path(), request.query()) {
            Ok(()) => Ok(file),
            Err(BadUrl::Expired) => Err(Refusal::new(403, "URL expired")),
            Err(BadUrl::BadSignature) => Err(Refusal::new(403, "URL signature mismatch")),
        }
    }

    fn serve(&self, file: &SourceFile, request: &Request) -> Reply {
        let mut reply = Reply::new(200, "audio/wav", file.body().clone());
        reply.ranges = Ranges::Honoured;
        reply.set_header("ETag", file.etag());
        reply.set_header("Accept-Ranges", "bytes".to_owned());
        let reply = reply.bent(&file.quirks_of_this_request(), &self.signer, request);
        self.records.serving(
            Served {
                at: self.clock.elapsed(),
                path: file.path().to_owned(),
                range: request.header("range").map(str::to_owned),
                code: reply.code_on_record(),
                bytes: 0,
            },
            Arc::clone(&reply.sent),
        );
        reply
    }
}

impl Service for FileHost {
    fn answer(&self, request: &Request, outage: Option<&Answer>) -> Reply {
        match (self.admit(request), outage) {
            (_, Some(answer)) => answer.reply(&self.signer, request),
            (Ok(file), None) => self.serve(&file, request),
            (Err(refusal), None) => Reply::error(refusal.code, &refusal.msg, i64::from(refusal.code)),
        }
    }
}
