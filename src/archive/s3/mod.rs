//! The bucket over the AWS SDK: [`ObjectStore`], one request a call.
//!
//! Every write is conditional (`If-None-Match: *`) and carries a checksum that was computed while the bytes came from
//! Kore, so that the store itself refuses what is not whole before anybody can see it: a put with one over its body, a
//! multipart upload with one over each part, and at the end one over all of it together with its length.
//!
//! Bodies are segments as they came, sent under an unsigned payload: the checksum already covers them, and hashing them
//! for the signature would cost more than everything else.
//!
//! Where room is short a part is sent while it comes, with its checksum behind it (`flowing`).
//!
//! What can stand between a call and its outcome: attempts inside it (`connect`), a body sent again because the store
//! received other bytes, less asked for because the store knows no better (`negotiation`). A put or complete
//! that nobody answered is sent again only after a look, and so is each that no condition protects; what that finds, or
//! a second attempt of the SDK after a 5xx, is [`StoreError::Exists`] or, of an upload that has ended,
//! [`StoreError::UploadLost`]: the caller looks whose it is. A completion that is refused leaves its upload as it is,
//! and is sent again without its parts.
//!
//! A future that is dropped in the middle leaves its upload open, and a part of a dead process stays: to abort, now or
//! in a later sweep, is the caller's. Nothing here ever deletes an object.

mod body;
mod connect;
mod errors;
mod flowing;
mod keys;
mod negotiation;
mod settings;
pub mod survey;
mod wire;

use std::fmt;

use async_trait::async_trait;
use aws_credential_types::Credentials;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::Builder;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::head_object::HeadObjectError;
use aws_sdk_s3::types::{ChecksumMode, ChecksumType, CompletedMultipartUpload};
use futures_util::StreamExt;
use futures_util::stream::unfold;

use self::connect::Connector;
use self::errors::{Call, Failure};
use self::flowing::{Flowed, Reception};
use self::negotiation::{Attempt, Negotiation, Proof, Stated, Terms};
use self::settings::Fixed;
use super::store::{Label, ObjectBody, ObjectHead, ObjectStore, OpenUpload, Part, StoreError, Stored, UploadId};
use crate::config::BucketSettings;
use crate::key::ObjectKey;
use crate::receipt::{Checksums, Receipt};
use crate::transfer::{Flow, Segments};

/// Pages of uploads that are read for one key. S3 puts 1,000 on a page, and a key has a handful.
const MOST_PAGES: usize = 100;

/// One bucket, over the AWS SDK.
pub struct S3Store {
    connector: Connector,
    fixed: Fixed,
    puts: Negotiation,
    uploads: Negotiation,
    completions: Negotiation,
    flows: Reception,
    flowed: Flowed,
}

impl fmt::Debug for S3Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Store").field("bucket", &self.fixed.bucket).finish_non_exhaustive()
    }
}

impl S3Store {
    /// A store for this bucket, with credentials of AWS's standard chain. Neither they nor the network are touched
    /// before the first call.
    pub async fn connect(settings: &BucketSettings) -> Self {
        Self::with(settings, None).await
    }

    /// The same with these keys instead of the chain, which is the whole process's: for tests.
    pub async fn connect_as(settings: &BucketSettings, access_key: &str, secret_key: &str) -> Self {
        Self::with(settings, Some(Credentials::new(access_key, secret_key, None, None, "given"))).await
    }

    async fn with(settings: &BucketSettings, keys: Option<Credentials>) -> Self {
        Self {
            connector: Connector::new(settings, keys).await,
            fixed: Fixed::from(settings),
            puts: Negotiation::of_puts(settings.checksum),
            uploads: Negotiation::of_uploads(settings.checksum),
            completions: Negotiation::of_completions(settings.checksum),
            flows: Reception::default(),
            flowed: Flowed::default(),
        }
    }

    async fn client(&self) -> Client {
        self.connector.client().await
    }

    fn failure<E>(&self, call: Call, error: &SdkError<E, HttpResponse>) -> Failure
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let failure = errors::failure(call, error, &self.connector.known());
        if matches!(failure.error, StoreError::Setup { reason: "credentials", .. }) {
            self.connector.distrust();
        }
        failure
    }

    fn error<E>(&self, call: Call, error: &SdkError<E, HttpResponse>) -> StoreError
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        self.failure(call, error).error
    }

    /// Why a HEAD was refused: its answer has no body, so that keys that are wrong, a clock that is off and a permission that
    /// is missing all look alike. Reading one byte takes the same permission, and is told.
    async fn why_not(&self, key: &ObjectKey, error: &SdkError<HeadObjectError, HttpResponse>) -> StoreError {
        let is_mute =
            error.raw_response().is_some_and(|response| matches!(response.status().as_u16(), 400 | 401 | 403));
        if is_mute {
            let told = self.fixed.get(&self.client().await, key).range("bytes=0-0").send().await;
            if let Err(told) = told
                && told.code().is_some_and(|code| !matches!(code, "NoSuchKey" | "InvalidRange" | "InvalidObjectState"))
            {
                return self.error(Call::Head, &told);
            }
        }
        self.error(Call::Head, error)
    }

    /// What takes the place of a condition: a look right before the write.
    async fn look_if_due(&self, key: &ObjectKey, attempt: &Attempt<'_>) -> Result<(), StoreError> {
        if attempt.needs_look() && self.head(key).await?.is_some() {
            return Err(StoreError::Exists(
                "HeadObject found the key taken right before it was to be written".to_owned(),
            ));
        }
        Ok(())
    }

    async fn send_put(
        &self,
        key: &ObjectKey,
        label: &Label,
        body: &Segments,
        receipt: &Receipt,
        terms: Terms,
    ) -> Result<Stored, Failure> {
        let (crc64nvme, crc32) = wire::of_whole(receipt, terms.proof);
        let request = self
            .fixed
            .put(&self.client().await, key, label)
            .set_if_none_match(terms.condition())
            .content_length(wire::signed(body.len()))
            .set_checksum_crc64_nvme(crc64nvme)
            .set_checksum_crc32(crc32)
            .body(body::replayable(body));
        let request = request.customize().disable_payload_signing().config_override(attempts(terms));
        let output = request.send().await.map_err(|error| self.failure(Call::Put, &error))?;
        Ok(Stored { etag: wire::plain_etag(output.e_tag()), version_id: output.version_id })
    }

    async fn send_part(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        number: u32,
        body: &Segments,
        checksums: &Checksums,
        proof: Proof,
    ) -> Result<String, Failure> {
        let (crc64nvme, crc32) = wire::of_part(checksums, proof);
        let request = self
            .fixed
            .part(&self.client().await, key, upload)
            .part_number(wire::part_number(number))
            .content_length(wire::signed(body.len()))
            .set_checksum_crc64_nvme(crc64nvme)
            .set_checksum_crc32(crc32)
            .body(body::replayable(body));
        let sent = request.customize().disable_payload_signing().send().await;
        let output = sent.map_err(|error| self.failure(Call::Part, &error))?;
        Ok(wire::plain_etag(output.e_tag()))
    }

    async fn send_flow(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        number: u32,
        flow: Flow,
    ) -> Result<String, StoreError> {
        let (bytes, clock) = (flow.bytes(), flow.clock());
        let proof = self.uploads.settled().proof;
        let (body, progress) = flowing::body(flow);
        let request = self
            .fixed
            .part(&self.client().await, key, upload)
            .part_number(wire::part_number(number))
            .content_length(wire::signed(bytes))
            .set_checksum_algorithm(wire::algorithm(proof))
            .body(body);
        let request = match proof {
            Proof::ReadBack => request.customize().disable_payload_signing(),
            Proof::Crc64Nvme | Proof::Crc32 => request.customize(),
        };
        tokio::select! {
            biased;
            sent = request.config_override(connect::one_long_attempt()).send() => {
                let output = sent.map_err(|error| self.error(Call::Part, &error))?;
                Ok(wire::plain_etag(output.e_tag()))
            }
            () = progress.standstill(&*clock, self.fixed.timeout) => {
                Err(StoreError::Unavailable("UploadPart stood still for bucket.timeout".to_owned()))
            }
        }
    }

    async fn send_create(&self, key: &ObjectKey, label: &Label, proof: Proof) -> Result<UploadId, Failure> {
        let algorithm = wire::algorithm(proof);
        let request = self
            .fixed
            .create(&self.client().await, key, label)
            .set_checksum_type(algorithm.as_ref().map(|_| ChecksumType::FullObject))
            .set_checksum_algorithm(algorithm);
        // A second attempt after a lost answer would leave the first one's upload behind, which nobody knows of.
        let request = request.customize().config_override(connect::one_attempt());
        let output = request.send().await.map_err(|error| self.failure(Call::Create, &error))?;
        let unnamed = || StoreError::Unavailable("CreateMultipartUpload was answered without an upload id".to_owned());
        output.upload_id.map(UploadId).ok_or_else(|| unnamed().into())
    }

    async fn send_complete(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        parts: &[Part],
        whole: &Receipt,
        terms: Terms,
    ) -> Result<Stored, Failure> {
        let proof = self.uploads.settled().proof;
        let listed = parts.iter().map(|part| wire::completed_part(part, proof, terms)).collect();
        let of_whole = if terms.stated == Stated::Whole { proof } else { Proof::ReadBack };
        let (crc64nvme, crc32) = wire::of_whole(whole, of_whole);
        let request = self
            .fixed
            .complete(&self.client().await, key, upload)
            .set_if_none_match(terms.condition())
            .set_mpu_object_size((!terms.sizeless).then(|| wire::signed(whole.bytes)))
            .set_checksum_type(wire::algorithm(of_whole).map(|_| ChecksumType::FullObject))
            .set_checksum_crc64_nvme(crc64nvme)
            .set_checksum_crc32(crc32)
            .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(listed)).build());
        let request = request.customize().config_override(attempts(terms));
        let output = request.send().await.map_err(|error| self.failure(Call::Complete, &error))?;
        Ok(Stored { etag: wire::plain_etag(output.e_tag()), version_id: output.version_id })
    }
}

/// Which attempts of a write are the SDK's own: none before which the key must be looked at.
fn attempts(terms: Terms) -> Builder {
    if terms.unconditional { connect::one_attempt() } else { connect::repeated_when_answered() }
}

#[async_trait]
impl ObjectStore for S3Store {
    async fn head(&self, key: &ObjectKey) -> Result<Option<ObjectHead>, StoreError> {
        let request = self.fixed.head(&self.client().await, key).checksum_mode(ChecksumMode::Enabled);
        match request.send().await {
            Ok(output) if output.delete_marker() == Some(true) => Ok(None),
            Ok(output) => Ok(Some(wire::object_head(&output))),
            // HEAD has no body: a missing bucket looks like this too, and the put that follows will say so.
            Err(error) if error.raw_response().is_some_and(|response| response.status().as_u16() == 404) => Ok(None),
            Err(error) => Err(self.why_not(key, &error).await),
        }
    }

    async fn read(&self, key: &ObjectKey) -> Result<ObjectBody, StoreError> {
        let request =
            self.fixed.get(&self.client().await, key).customize().config_override(self.fixed.download_guard());
        let output = request.send().await.map_err(|error| self.error(Call::Read, &error))?;
        Ok(unfold(Some(output.body), |body| async {
            let mut body = body?;
            match body.next().await? {
                Ok(bytes) => Some((Ok(bytes), Some(body))),
                Err(error) => Some((Err(errors::broken_off(&error)), None)),
            }
        })
        .boxed())
    }

    async fn put(
        &self,
        key: &ObjectKey,
        label: &Label,
        body: Segments,
        receipt: &Receipt,
    ) -> Result<Stored, StoreError> {
        let mut attempt = self.puts.attempt();
        loop {
            self.look_if_due(key, &attempt).await?;
            match self.send_put(key, label, &body, receipt, attempt.terms()).await {
                Ok(stored) => {
                    attempt.succeeded();
                    return Ok(stored);
                }
                Err(failure) => attempt.failed(failure)?,
            }
        }
    }

    async fn create_upload(&self, key: &ObjectKey, label: &Label) -> Result<UploadId, StoreError> {
        let mut attempt = self.uploads.attempt();
        loop {
            match self.send_create(key, label, attempt.terms().proof).await {
                Ok(upload) => {
                    attempt.succeeded();
                    return Ok(upload);
                }
                Err(failure) => attempt.failed(failure)?,
            }
        }
    }

    async fn put_part(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        number: u32,
        body: Segments,
        checksums: &Checksums,
    ) -> Result<String, StoreError> {
        let mut attempt = self.uploads.attempt();
        loop {
            match self.send_part(key, upload, number, &body, checksums, attempt.terms().proof).await {
                Ok(etag) => {
                    attempt.succeeded();
                    return Ok(etag);
                }
                Err(failure) => attempt.failed(failure)?,
            }
        }
    }

    async fn flow_part(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        number: u32,
        body: Flow,
    ) -> Result<String, StoreError> {
        self.flowed.note(upload);
        self.send_flow(key, upload, number, body).await.inspect_err(|error| self.flows.judge(error))
    }

    fn takes_flows(&self) -> bool {
        self.flows.is_open()
    }

    fn distrust_flows(&self, why: &str) {
        self.flows.close(why);
    }

    async fn complete(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        parts: &[Part],
        whole: &Receipt,
    ) -> Result<Stored, StoreError> {
        // What says that the whole is other than its parts may be right, unless the parts were compared as they came and
        // do add up: then the store knows no such comparison, or another one.
        let has_flowed = self.flowed.is_in(upload);
        let adds_up = !has_flowed && whole.is_of(parts.iter().map(|part| &part.checksums));
        let mut attempt = if adds_up { self.completions.attempt() } else { self.completions.attempt_with_all_sums() };
        loop {
            self.look_if_due(key, &attempt).await?;
            match self.send_complete(key, upload, parts, whole, attempt.terms()).await {
                Ok(stored) => {
                    attempt.succeeded();
                    self.flowed.forget(upload);
                    return Ok(stored);
                }
                // Held parts will do better.
                Err(failure) => attempt.failed(failure).inspect_err(|error| {
                    if has_flowed {
                        self.flows.judge(error);
                    }
                })?,
            }
        }
    }

    async fn abort(&self, key: &ObjectKey, upload: &UploadId) -> Result<(), StoreError> {
        self.flowed.forget(upload);
        match self.fixed.abort(&self.client().await, key, upload).send().await {
            Ok(_) => Ok(()),
            Err(error) => match self.error(Call::Abort, &error) {
                StoreError::UploadLost(_) => Ok(()),
                other => Err(other),
            },
        }
    }

    async fn uploads(&self, key: &ObjectKey) -> Result<Vec<OpenUpload>, StoreError> {
        let client = self.client().await;
        let mut found = Vec::new();
        let (mut next_key, mut next_upload) = (None, None);
        for _ in 0..MOST_PAGES {
            let request = self.fixed.list(&client, key).set_key_marker(next_key).set_upload_id_marker(next_upload);
            let page = request.send().await.map_err(|error| self.error(Call::Uploads, &error))?;
            // A prefix finds longer keys too.
            let ours = page.uploads().iter().filter(|upload| upload.key() == Some(key.as_str()));
            found.extend(ours.filter_map(wire::open_upload));
            if page.is_truncated() != Some(true) {
                break;
            }
            (next_key, next_upload) = (page.next_key_marker, page.next_upload_id_marker);
        }
        Ok(found)
    }
}
