//! What `check` asks of a bucket, and the daemon never does: is it there, in which region, with which protections.
//!
//! Apart from [`ObjectStore`](crate::archive::store::ObjectStore), so that a store for tests or simulations need not
//! know of it. The first call also overhears two headers: the store's clock, and the region that the bucket is in, which
//! S3 names even to those whom it refuses for having asked another one.
//!
//! The look at a protection may itself be forbidden, or unknown to a store that is not AWS: that is [`Look::Hidden`],
//! and says nothing about the bucket.

use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::{BoxError, ProvideErrorMetadata, SdkError};
use aws_sdk_s3::types::{ExpirationStatus, LifecycleRule};

use super::S3Store;
use super::errors::Call;
use crate::archive::store::StoreError;
use crate::clock::Timestamp;

/// How the bucket introduced itself.
#[derive(Debug)]
pub struct Introduction {
    /// Whether it is there, and these credentials may list it.
    pub answer: Result<(), StoreError>,
    /// The region that it is in, if the store says so.
    pub region: Option<String>,
    /// The store's clock, to the second.
    pub their_time: Option<Timestamp>,
}

/// What a look at a protection came to.
#[derive(Debug)]
pub enum Look<T> {
    /// It is set so; `None` if it is not set at all.
    Seen(Option<T>),
    /// These credentials may not look, or the store knows no such thing.
    Hidden(StoreError),
    /// The look failed.
    Failed(StoreError),
}

impl S3Store {
    /// Whether the bucket is there (`HeadBucket`), where, and what time it is there.
    pub async fn introduce(&self) -> Introduction {
        let overheard = Overheard::default();
        let request = self.fixed.head_bucket(&self.client().await).customize().interceptor(overheard.clone());
        let mut answer = request.send().await.map(drop).map_err(|error| self.error(Call::Bucket, &error));
        let heard = overheard.take();
        // HEAD carries no reason, where a list is told one.
        if matches!(answer, Err(StoreError::Setup { .. }))
            && let Err(told @ StoreError::Setup { reason: "credentials", .. }) = self.lists_uploads().await
        {
            answer = Err(told);
        }
        Introduction { answer, region: heard.region, their_time: heard.date }
    }

    /// Whether uploads in progress may be listed, which the sweep after a crash needs.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn lists_uploads(&self) -> Result<(), StoreError> {
        let request = self.fixed.list_some(&self.client().await);
        request.send().await.map(drop).map_err(|error| self.error(Call::Uploads, &error))
    }

    /// How objects are encrypted that name no encryption: `AES256` or `aws:kms`.
    pub async fn default_encryption(&self) -> Look<String> {
        let answer = self.fixed.encryption(&self.client().await).send().await;
        self.look(Call::Encryption, "ServerSideEncryptionConfigurationNotFoundError", answer, |output| {
            let rules = output.server_side_encryption_configuration?.rules;
            let default = rules.into_iter().find_map(|rule| rule.apply_server_side_encryption_by_default)?;
            Some(default.sse_algorithm.as_str().to_owned())
        })
    }

    /// Which of the four blocks of public access are off, by name.
    pub async fn public_access(&self) -> Look<Vec<&'static str>> {
        let answer = self.fixed.public_access(&self.client().await).send().await;
        self.look(Call::PublicAccess, "NoSuchPublicAccessBlockConfiguration", answer, |output| {
            let blocks = output.public_access_block_configuration?;
            let all = [
                ("BlockPublicAcls", blocks.block_public_acls),
                ("IgnorePublicAcls", blocks.ignore_public_acls),
                ("BlockPublicPolicy", blocks.block_public_policy),
                ("RestrictPublicBuckets", blocks.restrict_public_buckets),
            ];
            Some(all.into_iter().filter(|(_, is_on)| *is_on != Some(true)).map(|(name, _)| name).collect())
        })
    }

    /// After how many days the bucket itself aborts an incomplete upload on any key.
    pub async fn aborts_uploads_after(&self) -> Look<i32> {
        let answer = self.fixed.lifecycle(&self.client().await).send().await;
        self.look(Call::Lifecycle, "NoSuchLifecycleConfiguration", answer, |output| {
            output.rules.unwrap_or_default().iter().filter_map(aborts_all_after).min()
        })
    }

    fn look<O, E, T>(
        &self,
        call: Call,
        code_for_none: &str,
        answer: Result<O, SdkError<E, HttpResponse>>,
        read: impl FnOnce(O) -> Option<T>,
    ) -> Look<T>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let error = match answer {
            Ok(output) => return Look::Seen(read(output)),
            Err(error) => error,
        };
        let code = error.as_service_error().and_then(ProvideErrorMetadata::code).unwrap_or_default();
        let status = error.raw_response().map(|response| response.status().as_u16());
        match status {
            Some(_) if code == code_for_none => Look::Seen(None),
            // A store that does not know the question may answer another one, with a list of objects.
            Some(200..=299 | 403 | 405 | 501) => Look::Hidden(self.error(call, &error)),
            _ if code == "NotImplemented" => Look::Hidden(self.error(call, &error)),
            _ => Look::Failed(self.error(call, &error)),
        }
    }
}

/// The days of a rule that is on and for every key.
fn aborts_all_after(rule: &LifecycleRule) -> Option<i32> {
    let filter = rule.filter();
    #[expect(deprecated, reason = "old rules still say their prefix here")]
    let prefix = rule.prefix().or(filter.and_then(|filter| filter.prefix())).unwrap_or_default();
    let narrowed = filter.is_some_and(|filter| filter.tag().is_some() || filter.and().is_some());
    let for_all = prefix.is_empty() && !narrowed && *rule.status() == ExpirationStatus::Enabled;
    rule.abort_incomplete_multipart_upload().filter(|_| for_all)?.days_after_initiation()
}

#[derive(Debug, Default)]
struct Heard {
    date: Option<Timestamp>,
    region: Option<String>,
}

/// Keeps two headers of whatever is answered.
#[derive(Clone, Debug, Default)]
struct Overheard(Arc<Mutex<Heard>>);

impl Overheard {
    fn take(&self) -> Heard {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Intercept for Overheard {
    fn name(&self) -> &'static str {
        "Overheard"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let header = |name: &str| context.response().headers().get(name);
        let heard = Heard {
            date: header("date").and_then(Timestamp::parse_http),
            region: header("x-amz-bucket-region").map(|region| region.escape_debug().take(LONGEST_REGION).collect()),
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = heard;
        Ok(())
    }
}

/// Regions are under 20 characters; a store may say anything.
const LONGEST_REGION: usize = 40;
