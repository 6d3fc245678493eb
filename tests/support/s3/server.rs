//! The socket: which call a request is, the faults that strike before S3 is asked, and the log of calls.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kore_archiver::clock::{Clock as _, SystemClock};
use s3s::Body;
use s3s::service::S3Service;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::faults::{Fault, Faults, Lie, Op, Quirks};

/// A request that was answered, or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub op: Op,
    /// Empty for calls on the bucket.
    pub key: String,
    /// `None` if the connection was closed instead.
    pub status: Option<u16>,
    /// Whether a fault that was armed struck it.
    pub faulted: bool,
}

/// What every connection shares.
pub struct Server {
    pub s3: S3Service,
    pub faults: Faults,
    pub calls: Mutex<Vec<Call>>,
}

/// Serves until it is dropped, connections included.
pub async fn serve(server: Arc<Server>, listener: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    connections.spawn(connection(server.clone(), stream));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(server: Arc<Server>, stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let server = server.clone();
        async move { server.answer(request).await }
    });
    // A connection that breaks is the client's, or a fault that was asked for.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// Enters a call into the record when it is over, also when the client has gone away and nobody answers it.
struct Noted<'a> {
    call: Option<Call>,
    calls: &'a Mutex<Vec<Call>>,
}

impl Drop for Noted<'_> {
    fn drop(&mut self) {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).extend(self.call.take());
    }
}

impl Server {
    async fn answer(&self, request: Request<Incoming>) -> io::Result<Response<Body>> {
        let (op, key) = call(&request);
        let (fault, quirks) = self.faults.strike(op);
        let faulted = fault.is_some() || !quirks.is_empty();
        let lie = quirks.lie();
        let mut noted = Noted { call: Some(Call { op, key, status: None, faulted }), calls: &self.calls };
        let answer = self.answer_or_drop(fault, quirks, request).await;
        if let (Ok(response), Some(call)) = (&answer, &mut noted.call) {
            call.status = Some(response.status().as_u16());
            if let Some(lie) = lie.filter(|lie| call.status == Some(404) && *lie != Lie::DeleteMarker) {
                self.faults.keep(op, &Fault::LieOnHead(lie));
                call.faulted = false;
            }
        }
        answer
    }

    async fn answer_or_drop(
        &self,
        fault: Option<Fault>,
        quirks: Quirks,
        mut request: Request<Incoming>,
    ) -> io::Result<Response<Body>> {
        request.extensions_mut().insert(quirks);
        match fault {
            None => self.apply(request).await,
            Some(Fault::DropBeforeApply) => Err(io::ErrorKind::ConnectionReset.into()),
            Some(Fault::DropAfterApply) => {
                self.apply(request).await?;
                Err(io::ErrorKind::ConnectionReset.into())
            }
            Some(Fault::Hang(how_long)) => {
                wait(how_long).await;
                Err(io::ErrorKind::TimedOut.into())
            }
            Some(Fault::ClockAhead(seconds)) => {
                let refuses = seconds.abs() > MOST_SKEW_SECONDS;
                let mut answer = if refuses {
                    error_answer(request, 403, "RequestTimeTooSkewed").await
                } else {
                    self.apply(request).await?
                };
                answer.headers_mut().insert(http::header::DATE, date(seconds));
                Ok(answer)
            }
            Some(Fault::Status(status, code)) => Ok(error_answer(request, status, code).await),
            Some(Fault::Says(status, code, message)) => Ok(refusal(request, status, code, &message).await),
            Some(Fault::SlowDown) => Ok(error_answer(request, 503, "SlowDown").await),
            Some(Fault::ErrorIn200) => Ok(error_answer(request, 200, "InternalError").await),
            Some(Fault::Misunderstood) => Ok(saying(request, 200, "<ListBucketResult/>".to_owned()).await),
            Some(quirk) => unreachable!("{quirk:?} is left to the backend"),
        }
    }

    async fn apply(&self, request: Request<Incoming>) -> io::Result<Response<Body>> {
        let may_refuse = Quirks::of(request.extensions()).refused().next().is_some();
        let request = if may_refuse { read_first(request).await? } else { request.map(Body::from) };
        self.s3.call(request).await.map_err(|error| io::Error::other(format!("{error:?}")))
    }
}

/// S3 refuses requests that are signed further away from its own time.
const MOST_SKEW_SECONDS: i64 = 15 * 60;

/// What time it is there, in HTTP's words.
fn date(ahead: i64) -> http::HeaderValue {
    let seconds = SystemClock::new().now().as_millis() / 1000 + ahead;
    let time = UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).expect("it is after 1970"));
    httpdate::fmt_http_date(time).parse().expect("a date is plain")
}

#[expect(clippy::disallowed_methods, reason = "the far end of a real socket hangs in real time")]
pub(super) async fn wait(how_long: Duration) {
    tokio::time::sleep(how_long).await;
}

/// With its body read: a client that is still sending would now and then see a broken pipe instead of a refusal.
async fn read_first(request: Request<Incoming>) -> io::Result<Request<Body>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    Ok(Request::from_parts(head, Body::from(body)))
}

async fn error_answer(request: Request<Incoming>, status: u16, code: &str) -> Response<Body> {
    refusal(request, status, code, "a fault that was asked for").await
}

async fn refusal(request: Request<Incoming>, status: u16, code: &str, message: &str) -> Response<Body> {
    let xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
    );
    saying(request, status, xml).await
}

async fn saying(request: Request<Incoming>, status: u16, xml: String) -> Response<Body> {
    let _ = read_first(request).await;
    let mut response = Response::new(Body::from(Bytes::from(xml)));
    *response.status_mut() = StatusCode::from_u16(status).expect("a test names a status that there is");
    response
}

/// Which call it is, and of which key.
fn call(request: &Request<Incoming>) -> (Op, String) {
    let path = request.uri().path().trim_start_matches('/');
    let key = path.split_once('/').map_or_else(String::new, |(_, key)| decoded(key));
    let query: Vec<&str> = request.uri().query().unwrap_or_default().split('&').collect();
    let has = |name: &str| query.iter().any(|pair| pair.split('=').next() == Some(name));
    let op = if key.is_empty() { bucket_call(request.method(), has) } else { object_call(request.method(), has) };
    (op, key)
}

fn bucket_call(method: &Method, has: impl Fn(&str) -> bool) -> Op {
    match *method {
        Method::HEAD => Op::HeadBucket,
        Method::GET if has("uploads") => Op::ListUploads,
        Method::GET if has("list-type") => Op::ListObjects,
        Method::GET if has("location") => Op::BucketLocation,
        Method::GET if has("encryption") => Op::Encryption,
        Method::GET if has("publicAccessBlock") => Op::PublicAccess,
        Method::GET if has("lifecycle") => Op::Lifecycle,
        _ => Op::Unknown,
    }
}

fn object_call(method: &Method, has: impl Fn(&str) -> bool) -> Op {
    match *method {
        Method::PUT if has("partNumber") => Op::UploadPart,
        Method::PUT => Op::PutObject,
        Method::POST if has("uploads") => Op::CreateUpload,
        Method::POST if has("uploadId") => Op::CompleteUpload,
        Method::DELETE if has("uploadId") => Op::AbortUpload,
        Method::DELETE => Op::DeleteObject,
        Method::HEAD => Op::HeadObject,
        Method::GET if has("uploadId") => Op::ListParts,
        Method::GET => Op::GetObject,
        _ => Op::Unknown,
    }
}

/// A path without its `%xx`.
fn decoded(path: &str) -> String {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let pair = tail.get(..2).filter(|_| *first == b'%').and_then(|pair| std::str::from_utf8(pair).ok());
        match pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(byte) => (bytes.push(byte), rest = &tail[2..]).1,
            None => (bytes.push(*first), rest = tail).1,
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
