//! The requests of an [`S3Store`], each as it goes over the wire once; what becomes of a failure is its caller's.

use std::sync::Arc;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::Builder;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::head_object::HeadObjectError;
use aws_sdk_s3::types::{ChecksumType, CompletedMultipartUpload};

use super::errors::{self, Call, Failure};
use super::negotiation::{Proof, Stated, Terms};
use super::progress::Progress;
use super::{S3Store, body, connect, flowing, wire};
use crate::archive::store::{Label, Part, StoreError, UploadId};
use crate::key::ObjectKey;
use crate::receipt::{Checksums, Receipt};
use crate::transfer::{Flow, Segments};

impl S3Store {
    pub(super) async fn client(&self) -> Client {
        self.connector.client().await
    }

    pub(super) fn failure<E>(&self, call: Call, error: &SdkError<E, HttpResponse>) -> Failure
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let failure = errors::failure(call, error, &self.connector.known());
        // Keys that are right may be another user's.
        if matches!(failure.error, StoreError::Setup { reason: "credentials" | "access_denied" | "kms", .. }) {
            self.connector.distrust();
        }
        failure
    }

    pub(super) fn error<E>(&self, call: Call, error: &SdkError<E, HttpResponse>) -> StoreError
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        self.failure(call, error).error
    }

    /// Why a HEAD was refused: its answer has no body, so that keys that are wrong, a clock that is off and a permission that
    /// is missing all look alike. Reading one byte takes the same permission, and is told.
    pub(super) async fn why_not(&self, key: &ObjectKey, error: &SdkError<HeadObjectError, HttpResponse>) -> StoreError {
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

    pub(super) async fn send_put(
        &self,
        key: &ObjectKey,
        label: &Label,
        body: &Segments,
        receipt: &Receipt,
        terms: Terms,
    ) -> Result<(), Failure> {
        let (crc64nvme, crc32) = wire::of_whole(receipt, terms.proof);
        let progress = Arc::default();
        let request = self
            .fixed
            .put(&self.client().await, key, label)
            .set_if_none_match(terms.condition())
            .content_length(wire::signed(body.len()))
            // Said beside the value, because a bucket with a default retention asks for it.
            .set_checksum_algorithm(wire::algorithm(terms.proof))
            .set_checksum_crc64_nvme(crc64nvme)
            .set_checksum_crc32(crc32)
            .body(body::replayable(body, &progress));
        // Again only after a look: on a store that ignores conditions it could overwrite what was put there since.
        let once = connect::unhurried(connect::one_attempt());
        let request = request.customize().disable_payload_signing().config_override(once);
        let sent = self.watched(&progress, request.send()).await.ok_or_else(|| stood_still(Call::Put))?;
        sent.map(drop).map_err(|error| self.failure(Call::Put, &error))
    }

    pub(super) async fn send_part(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        number: u32,
        body: &Segments,
        checksums: &Checksums,
        proof: Proof,
    ) -> Result<String, Failure> {
        let (crc64nvme, crc32) = wire::of_part(checksums, proof);
        for _ in 0..connect::ATTEMPTS {
            let progress = Arc::default();
            let request = self
                .fixed
                .part(&self.client().await, key, upload)
                .part_number(wire::part_number(number))
                .content_length(wire::signed(body.len()))
                .set_checksum_crc64_nvme(crc64nvme.clone())
                .set_checksum_crc32(crc32.clone())
                .body(body::replayable(body, &progress));
            let unhurried = connect::unhurried(Builder::new());
            let request = request.customize().disable_payload_signing().config_override(unhurried);
            if let Some(sent) = self.watched(&progress, request.send()).await {
                let output = sent.map_err(|error| self.failure(Call::Part, &error))?;
                return Ok(wire::plain_etag(output.e_tag()));
            }
        }
        Err(stood_still(Call::Part).into())
    }

    /// Nothing if the body stood still for `bucket.timeout`.
    async fn watched<T>(&self, progress: &Progress, sent: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            sent = sent => Some(sent),
            () = progress.standstill(&*self.clock, self.fixed.timeout) => None,
        }
    }

    pub(super) async fn send_flow(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        number: u32,
        flow: Flow,
    ) -> Result<String, StoreError> {
        let (bytes, progress) = (flow.bytes(), Arc::default());
        let proof = self.uploads.settled().proof;
        let body = flowing::body(flow, &progress);
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
        let sent = self.watched(&progress, request.config_override(connect::one_flow()).send()).await;
        let sent = sent.ok_or_else(|| stood_still(Call::Part))?;
        let output = sent.map_err(|error| self.error(Call::Part, &error))?;
        Ok(wire::plain_etag(output.e_tag()))
    }

    pub(super) async fn send_create(&self, key: &ObjectKey, label: &Label, proof: Proof) -> Result<UploadId, Failure> {
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

    pub(super) async fn send_complete(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        parts: &[Part],
        whole: &Receipt,
        terms: Terms,
    ) -> Result<(), Failure> {
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
        let request = request.customize().config_override(connect::one_attempt());
        request.send().await.map(drop).map_err(|error| self.failure(Call::Complete, &error))
    }
}

fn stood_still(call: Call) -> StoreError {
    StoreError::Unavailable(format!("{} stood still for bucket.timeout", call.name()))
}
