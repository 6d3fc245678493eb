//! S3, strict: conditional writes, multipart uploads, checksums over whole objects; and every mood of FAULTS S.
//!
//! A call is applied at once when it is let through; its answer may come later, or never. What an archive must not do
//! (send other bytes than it says, complete with parts that it did not send) is refused and noted.

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use kore_archiver::archive::store::{Label, ObjectBody, ObjectHead, ObjectStore, Part, StoreError, UploadId};
use kore_archiver::clock::Clock;
use kore_archiver::key::ObjectKey;
use kore_archiver::receipt::{Checksums, Crc64Nvme, Receipt};
use kore_archiver::transfer::{Flow, Segments};

use crate::bucket::{Upload, etag};
use crate::fault::Fault;
use crate::world::World;

#[derive(Debug)]
pub(crate) struct SimStore(pub(crate) World);

fn down() -> StoreError {
    StoreError::Unavailable("503 SlowDown, says the simulation".into())
}

impl SimStore {
    /// A call that changes nothing when it fails.
    async fn arrive(&self, name: &'static str) -> Result<(), StoreError> {
        self.0.stage.call(name).await;
        self.0.go_on(20);
        if self.0.strikes(Fault::StoreDown) {
            return Err(down());
        }
        if self.0.strikes(Fault::AccessDenied) {
            return Err(StoreError::Setup { reason: "access_denied", message: "s3:PutObject is missing".into() });
        }
        Ok(())
    }

    /// What was applied is answered, unless the answer is lost.
    async fn answered<T>(&self, name: &'static str, value: T) -> Result<T, StoreError> {
        self.0.answer(name).await;
        if self.0.strikes(Fault::AnswerLost) { Err(down()) } else { Ok(value) }
    }

    fn check_whole(&self, key: &ObjectKey, body: &[u8], receipt: &Receipt) -> Result<(), StoreError> {
        let sums = Checksums::of([body]);
        if (sums.bytes, sums.crc64nvme) == (receipt.bytes, receipt.crc64nvme) {
            return Ok(());
        }
        self.0.violation(format!("{key}: other bytes were sent than the checksum says"));
        Err(StoreError::Corrupted("BadDigest".into()))
    }

    /// Makes an object of these bytes, unless the key is taken.
    fn create(&self, key: &ObjectKey, body: Bytes) -> Result<(), StoreError> {
        // A store that spoils both of a file's names leaves none for it: only the first is ever spoilt.
        let short = !key.as_str().contains(".conflict-") && self.0.strikes(Fault::ShortObject);
        let mut state = self.0.lock();
        if state.bucket.objects.contains_key(key.as_str()) {
            return Err(StoreError::Exists("412".into()));
        }
        let kept = if short { body.slice(..body.len() / 2) } else { body };
        state.bucket.store(key.as_str(), kept);
        let now = self.0.stage.elapsed();
        state.bucket.wrote(key.as_str(), now);
        Ok(())
    }
}

#[async_trait]
impl ObjectStore for SimStore {
    async fn head(&self, key: &ObjectKey) -> Result<Option<ObjectHead>, StoreError> {
        self.arrive("head").await?;
        let mut head = self.0.lock().bucket.head(key.as_str());
        if let Some(head) = &mut head
            && self.0.strikes(Fault::HeadLies)
        {
            if self.0.lock().rng.chance(500) {
                head.bytes /= 2;
            } else {
                head.crc64nvme = head.crc64nvme.map(|crc| Crc64Nvme(crc.0 ^ 1));
            }
        }
        self.0.answer("head: answer").await;
        Ok(head)
    }

    async fn read(&self, key: &ObjectKey) -> Result<ObjectBody, StoreError> {
        self.arrive("read").await?;
        let body = self.0.lock().bucket.objects.get(key.as_str()).cloned().ok_or_else(down)?;
        let mut chunks: Vec<Result<Bytes, StoreError>> = vec![Ok(body.slice(..body.len() / 2))];
        chunks.push(if self.0.strikes(Fault::ReadCut) { Err(down()) } else { Ok(body.slice(body.len() / 2..)) });
        Ok(Box::pin(stream::iter(chunks)))
    }

    async fn put(&self, key: &ObjectKey, _: &Label, body: Segments, receipt: &Receipt) -> Result<(), StoreError> {
        self.arrive("put").await?;
        let body = gathered(&body);
        self.check_whole(key, &body, receipt)?;
        if self.0.strikes(Fault::BitFlip) {
            return Err(StoreError::Corrupted("BadDigest".into()));
        }
        if self.0.strikes(Fault::SpuriousExists) {
            return Err(StoreError::Exists("412".into()));
        }
        self.create(key, body)?;
        self.answered("put: answer", ()).await
    }

    async fn create_upload(&self, key: &ObjectKey, _: &Label) -> Result<UploadId, StoreError> {
        self.arrive("create").await?;
        let upload = self.0.lock().bucket.begin(key.as_str());
        let answered = self.answered("create: answer", UploadId(upload.clone())).await;
        if answered.is_err() {
            self.0.lock().bucket.postpone(&upload);
        }
        answered
    }

    async fn put_part(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        number: u32,
        body: Segments,
        checksums: &Checksums,
    ) -> Result<String, StoreError> {
        self.arrive("part").await?;
        let body = gathered(&body);
        if Checksums::of([&body[..]]) != *checksums {
            self.0.violation(format!("{key}: part {number} is not what its checksum says"));
        }
        self.take_part(key, upload, number, body).await
    }

    async fn flow_part(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        number: u32,
        mut body: Flow,
    ) -> Result<String, StoreError> {
        self.arrive("part").await?;
        let mut gathered = BytesMut::new();
        while (gathered.len() as u64) < body.bytes() {
            let piece = body.next().await.ok_or_else(down)?;
            gathered.extend_from_slice(&piece);
        }
        self.0.lock().flows += 1;
        self.take_part(key, upload, number, gathered.freeze()).await
    }

    fn takes_flows(&self) -> bool {
        true
    }

    fn distrust_flows(&self, _: &str) {}

    async fn complete(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        parts: &[Part],
        whole: &Receipt,
    ) -> Result<(), StoreError> {
        self.arrive("complete").await?;
        if self.0.strikes(Fault::UploadLost) {
            self.0.lock().bucket.uploads.remove(&upload.0);
        }
        let mut body = BytesMut::new();
        self.with_upload(key, upload, |open| {
            for part in parts {
                let sent = open.parts.get(&part.number).filter(|sent| etag(sent) == part.etag);
                body.extend_from_slice(sent.map_or(&[], |sent| &sent[..]));
            }
        })?;
        self.check_whole(key, &body, whole)?;
        if self.0.strikes(Fault::SpuriousExists) {
            return Err(StoreError::Exists("412".into()));
        }
        let body = body.freeze();
        if self.0.strikes(Fault::Hangs) && self.hangs(key, upload, &body) {
            self.0.answer("complete: no answer").await;
            // Or one that says nothing.
            let is_answered = self.0.lock().rng.chance(400);
            return Err(if is_answered {
                down()
            } else {
                StoreError::Unanswered("no answer, says the simulation".into())
            });
        }
        self.create(key, body)?;
        if self.0.strikes(Fault::HalfDone) {
            self.0.lock().bucket.leave_half_done(key.as_str(), &upload.0);
            self.0.answer("complete: answer").await;
            return Err(down());
        }
        self.0.lock().bucket.uploads.remove(&upload.0);
        self.answered("complete: answer", ()).await
    }

    async fn abort(&self, _: &ObjectKey, upload: &UploadId) -> Result<(), StoreError> {
        self.arrive("abort").await?;
        if self.0.strikes(Fault::CannotAbort) {
            return Err(StoreError::Setup { reason: "access_denied", message: "s3:AbortMultipartUpload".into() });
        }
        let lost = self.0.lock().bucket.abort(&upload.0);
        if let Some(key) = lost {
            self.0.violation(format!("{key}: the upload that it was made by was aborted, and its bytes are gone"));
        }
        self.answered("abort: answer", ()).await
    }

    async fn uploads(&self, key: &ObjectKey) -> Result<Vec<UploadId>, StoreError> {
        self.arrive("list").await?;
        let state = self.0.lock();
        let on_key = state.bucket.uploads.iter().filter(|(_, upload)| upload.key == key.as_str());
        Ok(on_key.map(|(name, _)| UploadId(name.clone())).collect())
    }
}

impl SimStore {
    /// Whether it may.
    fn hangs(&self, key: &ObjectKey, upload: &UploadId, body: &Bytes) -> bool {
        let bucket = &mut self.0.lock().bucket;
        if !bucket.is_shared {
            bucket.hang(key.as_str(), &upload.0, body.clone());
        }
        !bucket.is_shared
    }

    async fn take_part(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        number: u32,
        body: Bytes,
    ) -> Result<String, StoreError> {
        if self.0.strikes(Fault::BitFlip) {
            return Err(StoreError::Corrupted("BadDigest".into()));
        }
        if self.0.strikes(Fault::UploadLost) {
            self.0.lock().bucket.uploads.remove(&upload.0);
        }
        let etag = etag(&body);
        self.with_upload(key, upload, |upload| drop(upload.parts.insert(number, body)))?;
        self.answered("part: answer", etag).await
    }

    fn with_upload(&self, key: &ObjectKey, name: &UploadId, work: impl FnOnce(&mut Upload)) -> Result<(), StoreError> {
        let mut state = self.0.lock();
        let upload = state.bucket.uploads.get_mut(&name.0).filter(|upload| upload.key == key.as_str());
        let upload = upload.ok_or_else(|| StoreError::UploadLost("NoSuchUpload".into()))?;
        work(upload);
        Ok(())
    }
}

fn gathered(body: &Segments) -> Bytes {
    let mut whole = BytesMut::new();
    body.iter().for_each(|segment| whole.extend_from_slice(segment));
    whole.freeze()
}
