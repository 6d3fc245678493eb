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
mod progress;
mod requests;
mod settings;
pub mod survey;
mod wire;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use aws_credential_types::Credentials;
use aws_sdk_s3::types::ChecksumMode;
use futures_util::StreamExt;
use futures_util::stream::unfold;

use self::connect::Connector;
use self::errors::Call;
use self::flowing::{Flowed, Reception};
use self::negotiation::{Attempt, Negotiation};
use self::settings::Fixed;
use super::store::{Label, ObjectBody, ObjectHead, ObjectStore, Part, StoreError, UploadId};
use crate::clock::Clock;
use crate::config::{BucketSettings, ChecksumChoice};
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
    clock: Arc<dyn Clock>,
    /// Whoever asks for reading back does not believe what the store reports.
    believes_reports: bool,
}

impl fmt::Debug for S3Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Store").field("bucket", &self.fixed.bucket).finish_non_exhaustive()
    }
}

impl S3Store {
    /// A store for this bucket, with credentials of AWS's standard chain. Neither they nor the network are touched
    /// before the first call.
    pub async fn connect(settings: &BucketSettings, clock: Arc<dyn Clock>) -> Self {
        Self::with(settings, clock, None).await
    }

    /// The same with these keys instead of the chain, which is the whole process's: for tests.
    pub async fn connect_as(
        settings: &BucketSettings,
        clock: Arc<dyn Clock>,
        access_key: &str,
        secret_key: &str,
    ) -> Self {
        Self::with(settings, clock, Some(Credentials::new(access_key, secret_key, None, None, "given"))).await
    }

    async fn with(settings: &BucketSettings, clock: Arc<dyn Clock>, keys: Option<Credentials>) -> Self {
        Self {
            connector: Connector::new(settings, keys).await,
            fixed: Fixed::from(settings),
            puts: Negotiation::of_puts(settings.checksum),
            uploads: Negotiation::of_uploads(settings.checksum),
            completions: Negotiation::of_completions(settings.checksum),
            flows: Reception::default(),
            flowed: Flowed::default(),
            clock,
            believes_reports: settings.checksum != ChecksumChoice::ReadBack,
        }
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
}

#[async_trait]
impl ObjectStore for S3Store {
    async fn head(&self, key: &ObjectKey) -> Result<Option<ObjectHead>, StoreError> {
        let request = self.fixed.head(&self.client().await, key).checksum_mode(ChecksumMode::Enabled);
        match request.send().await {
            Ok(output) if output.delete_marker() == Some(true) => Ok(None),
            Ok(output) => Ok(Some(wire::object_head(&output, self.believes_reports))),
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

    async fn put(&self, key: &ObjectKey, label: &Label, body: Segments, receipt: &Receipt) -> Result<(), StoreError> {
        let mut attempt = self.puts.attempt();
        loop {
            self.look_if_due(key, &attempt).await?;
            match self.send_put(key, label, &body, receipt, attempt.terms()).await {
                Ok(()) => {
                    attempt.succeeded();
                    return Ok(());
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
    ) -> Result<(), StoreError> {
        let has_flowed = self.flowed.is_in(upload);
        let mut attempt = self.completions.attempt();
        let mut was_refused = false;
        loop {
            self.look_if_due(key, &attempt).await?;
            match self.send_complete(key, upload, parts, whole, attempt.terms()).await {
                Ok(()) => {
                    attempt.succeeded();
                    self.flowed.forget(upload);
                    return Ok(());
                }
                Err(failure) => {
                    // What says that the whole is other than its parts may be right, unless the parts were compared as
                    // they came and do add up: then the store knows no such comparison, or another one.
                    let is_first = !std::mem::replace(&mut was_refused, true);
                    if is_first && (has_flowed || !whole.is_of(parts.iter().map(|part| &part.checksums))) {
                        attempt.keep_sums();
                    }
                    // Held parts will do better.
                    attempt.failed(failure).inspect_err(|error| {
                        if has_flowed {
                            self.flows.judge(error);
                        }
                    })?;
                }
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

    async fn uploads(&self, key: &ObjectKey) -> Result<Vec<UploadId>, StoreError> {
        let client = self.client().await;
        let mut found = Vec::new();
        let (mut next_key, mut next_upload) = (None, None);
        for _ in 0..MOST_PAGES {
            let request = self.fixed.list(&client, key).set_key_marker(next_key).set_upload_id_marker(next_upload);
            let page = request.send().await.map_err(|error| self.error(Call::Uploads, &error))?;
            // A prefix finds longer keys too.
            let ours = page.uploads().iter().filter(|upload| upload.key() == Some(key.as_str()));
            found.extend(ours.filter_map(|upload| Some(UploadId(upload.upload_id()?.to_owned()))));
            if page.is_truncated() != Some(true) {
                break;
            }
            (next_key, next_upload) = (page.next_key_marker, page.next_upload_id_marker);
        }
        Ok(found)
    }
}
