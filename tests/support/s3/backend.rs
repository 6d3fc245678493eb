//! S3's calls on one bucket, as strict as the real one where the archiver could be wrong.
//!
//! Bodies are taken in outside the lock; whether a write may stand is decided under it, together with the write, so that
//! of two conditional writes to one key one always loses.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use http::HeaderMap;
use s3s::dto::*;
use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, StdError, s3_error};

use super::bodies::{Body, Storage};
use super::bucket::{self, Bucket, Label, Object, StoredPart, Upload, strong};
use super::digests::{self, Algorithm, Declaration, Digests, Hasher};
use super::faults::{Asked, Fault, Lie, Quirks};
use super::gate::{self, Gate};
use super::protections::Protections;
use super::server::wait;
use super::uploads;

/// The largest body of one PUT.
const LARGEST_PUT: i64 = 5 * 1024 * 1024 * 1024;

/// The bucket and what guards it.
#[derive(Clone)]
pub struct Backend {
    pub gate: Arc<Gate>,
    pub storage: Storage,
    pub versioned: bool,
    pub page_size: usize,
    pub bucket: Arc<Mutex<Bucket>>,
    pub protections: Arc<Mutex<Protections>>,
}

/// A body that was taken in, and is what was declared.
struct Taken {
    body: Body,
    bytes: u64,
    etag: String,
    digests: Digests,
}

/// A narrow line's.
const STEP: usize = 1 << 20;

impl Backend {
    pub fn lock(&self) -> MutexGuard<'_, Bucket> {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads a body, hashing it, and compares it with what the request said of it.
    async fn take<T>(
        &self,
        request: &mut S3Request<T>,
        body: Option<StreamingBlob>,
        wanted: &[Algorithm],
    ) -> S3Result<Taken> {
        let quirks = Quirks::of(&request.extensions);
        let declaration = Declaration::new(&request.headers, request.trailing_headers.take());
        let mut hasher = Hasher::new(wanted, declaration.wants_md5());
        let mut sink = self.storage.sink().await?;
        let (mut bytes, mut owed, mut flip) = (0, 0, quirks.has(&Fault::FlipBit));
        let mut stream = body.ok_or_else(|| s3_error!(IncompleteBody))?;
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(broken_body)?;
            let chunk = if std::mem::take(&mut flip) { flipped(&chunk) } else { chunk };
            bytes += chunk.len() as u64;
            // In steps that timers are fine enough for.
            owed += chunk.len();
            if owed >= STEP {
                wait(quirks.delay(std::mem::take(&mut owed))).await;
            }
            hasher.update(&chunk);
            sink.write(chunk).await?;
        }
        let body = sink.finish().await?;
        let (mut digests, md5) = hasher.finish();
        let etag = bucket::etag(&digests[&Algorithm::Crc64Nvme], bytes);
        if quirks.has(&Fault::NoChecksums) {
            digests.clear();
        } else if !quirks.has(&Fault::BelieveParts)
            && let Err(error) = declaration.verify(&digests, md5.as_deref())
        {
            body.discard();
            return Err(error);
        }
        Ok(Taken { body, bytes, etag, digests })
    }

    async fn put(&self, mut request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let quirks = Quirks::of(&request.extensions);
        refuse(&quirks, &request.headers, false)?;
        if request.input.content_length.is_some_and(|bytes| bytes > LARGEST_PUT) {
            return Err(s3_error!(EntityTooLarge, "Your proposed upload exceeds the maximum allowed size"));
        }
        self.storage.accepts(&request.input.key)?;
        let body = request.input.body.take();
        let wanted = digests::named(&request.headers);
        let taken = self.take(&mut request, body, &wanted).await?;
        let label = Label::new(&request.headers, request.input.metadata.take());
        let object = self.object(
            taken.body,
            taken.bytes,
            taken.etag,
            sent_or_default(taken.digests, &wanted),
            "FULL_OBJECT",
            label,
        );
        let (etag, version_id, digests) = (strong(&object.etag), object.version_id.clone(), object.digests.clone());
        let condition = request.input.if_none_match.filter(|_| !quirks.has(&Fault::IgnoreIfNoneMatch));
        let mut bucket = self.lock();
        if let Err(error) = bucket.permits(&request.input.key, condition.as_ref()) {
            object.body.discard();
            return Err(error);
        }
        bucket.insert(&self.storage, &request.input.key, object)?;
        let mut response = S3Response::new(PutObjectOutput { e_tag: Some(etag), version_id, ..Default::default() });
        digests::as_headers(&digests, &mut response.headers);
        Ok(response)
    }

    /// What a body becomes.
    pub fn object(
        &self,
        body: Body,
        bytes: u64,
        etag: String,
        digests: Digests,
        checksum_type: &'static str,
        label: Label,
    ) -> Object {
        let version_id = self.versioned.then(|| format!("v{:06}", self.lock().next_number()));
        Object { body, bytes, etag, digests, checksum_type, version_id, modified: now(), label }
    }

    /// The object, or S3's way of saying that there is none, which depends on what one may list.
    fn find(&self, key: &str, lie: Option<Lie>) -> S3Result<Object> {
        if lie == Some(Lie::DeleteMarker) {
            let mut error = s3_error!(NoSuchKey, "The specified key does not exist.");
            let marker = http::HeaderName::from_static("x-amz-delete-marker");
            error.set_headers(HeaderMap::from_iter([(marker, http::HeaderValue::from_static("true"))]));
            return Err(error);
        }
        match self.lock().objects.get(key) {
            Some(object) => Ok(object.clone()),
            None if self.gate.denies("s3:ListBucket") => Err(gate::denied("s3:ListBucket")),
            None => Err(s3_error!(NoSuchKey, "The specified key does not exist.")),
        }
    }

    fn head(&self, request: &S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let lie = Quirks::of(&request.extensions).lie();
        let object = self.find(&request.input.key, lie)?;
        let bytes = if let Some(Lie::Bytes(bytes)) = lie { bytes } else { object.bytes };
        let mut response = S3Response::new(HeadObjectOutput {
            content_length: Some(signed(bytes)),
            content_type: object.label.content_type.clone(),
            e_tag: Some(strong(&object.etag)),
            last_modified: Some(object.modified.clone()),
            metadata: Some(object.label.metadata.clone()),
            version_id: object.version_id.clone(),
            ..Default::default()
        });
        let asked = request.input.checksum_mode.as_ref().is_some_and(|mode| mode.as_str() == ChecksumMode::ENABLED);
        match lie {
            Some(Lie::NoChecksum) => {}
            _ if !asked || object.digests.is_empty() => {}
            _ => report_checksums(&object, lie, &mut response.headers),
        }
        Ok(response)
    }

    async fn get(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let quirks = Quirks::of(&request.extensions);
        let object = self.find(&request.input.key, None)?;
        let range = request.input.range.map(|range| range.check(object.bytes)).transpose();
        let range = range.map_err(|_| s3_error!(InvalidRange, "The requested range is not satisfiable"))?;
        let (start, end) = range.as_ref().map_or((0, object.bytes), |range| (range.start, range.end));
        let body = if quirks.has(&Fault::CutRead) || quirks.has(&Fault::StallRead) {
            half(object.body.stream(start, (end - start) / 2).await?, quirks.has(&Fault::StallRead))
        } else {
            object.body.stream(start, end - start).await?
        };
        let mut response = S3Response::new(GetObjectOutput {
            body: Some(body),
            content_length: Some(signed(end - start)),
            content_range: range.is_some().then(|| format!("bytes {start}-{}/{}", end - 1, object.bytes)),
            content_type: object.label.content_type.clone(),
            e_tag: Some(strong(&object.etag)),
            last_modified: Some(object.modified.clone()),
            metadata: Some(object.label.metadata.clone()),
            version_id: object.version_id.clone(),
            ..Default::default()
        });
        response.status = range.is_some().then_some(http::StatusCode::PARTIAL_CONTENT);
        Ok(response)
    }
}

fn report_checksums(object: &Object, lie: Option<Lie>, headers: &mut HeaderMap) {
    let mut digests = object.digests.clone();
    if lie == Some(Lie::WrongChecksum) {
        let (wrong, _) = Hasher::new(&digests.keys().copied().collect::<Vec<_>>(), false).finish();
        digests = wrong.into_iter().filter(|(algorithm, _)| digests.contains_key(algorithm)).collect();
    }
    digests::as_headers(&digests, headers);
    if lie == Some(Lie::Untyped) {
        return;
    }
    headers.insert("x-amz-checksum-type", http::HeaderValue::from_static(object.checksum_type));
}

/// S3 reports the checksum that it was sent, or the one that it computed by itself.
fn sent_or_default(mut digests: Digests, wanted: &[Algorithm]) -> Digests {
    digests
        .retain(|algorithm, _| wanted.contains(algorithm) || wanted.is_empty() && *algorithm == Algorithm::Crc64Nvme);
    digests
}

/// A store that knows less than S3 says so before it looks at the body. `lists_sums`: whether a checksum of each part is named.
fn refuse(quirks: &Quirks, headers: &HeaderMap, lists_sums: bool) -> S3Result<()> {
    let named = digests::named(headers);
    let asks = |asked| match asked {
        Asked::Condition => headers.contains_key("if-none-match"),
        Asked::Checksums(which) => named.iter().any(|algorithm| which.contains(algorithm)),
        Asked::WholeChecksum => !named.is_empty() || headers.contains_key("x-amz-checksum-type"),
        Asked::PartChecksums => lists_sums,
        Asked::ObjectSize => headers.contains_key("x-amz-mp-object-size"),
        Asked::Trust => !["content-md5", "x-amz-sdk-checksum-algorithm"].iter().any(|name| headers.contains_key(*name)),
    };
    match quirks.refused().find(|(asked, ..)| asks(*asked)) {
        Some((asked, status, code)) => {
            let code = S3ErrorCode::from_bytes(code.as_bytes()).expect("it is text");
            let mut error = S3Error::with_message(code, format!("this store knows no {asked:?}"));
            error.set_status_code(http::StatusCode::from_u16(status).expect("a test names a status that there is"));
            Err(error)
        }
        None => Ok(()),
    }
}

/// The client went away, or what it signed is not what it sent.
#[expect(clippy::needless_pass_by_value, reason = "map_err passes it")]
fn broken_body(error: StdError) -> S3Error {
    if error.is::<hyper::Error>() {
        return s3_error!(
            IncompleteBody,
            "You did not provide the number of bytes specified by the Content-Length HTTP header"
        );
    }
    let code = S3ErrorCode::from_bytes(b"XAmzContentSHA256Mismatch").expect("it is text");
    let message = format!("The provided 'x-amz-content-sha256' header does not match what was computed: {error}");
    let mut error = S3Error::with_message(code, message);
    error.set_status_code(http::StatusCode::BAD_REQUEST);
    error
}

/// What there is of it, then an error that breaks the connection, or nothing.
fn half(body: StreamingBlob, stalls: bool) -> StreamingBlob {
    let end = stream::once(async move {
        if stalls {
            std::future::pending::<()>().await;
        }
        Err(io::Error::from(io::ErrorKind::ConnectionReset))
    });
    StreamingBlob::wrap(body.map(|chunk| chunk.map_err(io::Error::other)).chain(end))
}

fn flipped(chunk: &Bytes) -> Bytes {
    let mut chunk = BytesMut::from(&chunk[..]);
    if let Some(byte) = chunk.first_mut() {
        *byte ^= 1;
    }
    chunk.freeze()
}

#[expect(clippy::disallowed_methods, reason = "the far end of a real socket has a clock of its own")]
fn now() -> Timestamp {
    SystemTime::now().into()
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).expect("no object has 8 EiB")
}

mod calls;
mod multipart;
