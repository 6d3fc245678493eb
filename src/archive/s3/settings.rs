//! What the settings put on every request: the bucket, its owner, and how objects are created.

use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::Builder;
use aws_sdk_s3::operation::abort_multipart_upload::builders::AbortMultipartUploadFluentBuilder;
use aws_sdk_s3::operation::complete_multipart_upload::builders::CompleteMultipartUploadFluentBuilder;
use aws_sdk_s3::operation::create_multipart_upload::builders::CreateMultipartUploadFluentBuilder;
use aws_sdk_s3::operation::get_bucket_encryption::builders::GetBucketEncryptionFluentBuilder;
use aws_sdk_s3::operation::get_bucket_lifecycle_configuration::builders::GetBucketLifecycleConfigurationFluentBuilder;
use aws_sdk_s3::operation::get_object::builders::GetObjectFluentBuilder;
use aws_sdk_s3::operation::get_public_access_block::builders::GetPublicAccessBlockFluentBuilder;
use aws_sdk_s3::operation::head_bucket::builders::HeadBucketFluentBuilder;
use aws_sdk_s3::operation::head_object::builders::HeadObjectFluentBuilder;
use aws_sdk_s3::operation::list_multipart_uploads::builders::ListMultipartUploadsFluentBuilder;
use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::operation::upload_part::builders::UploadPartFluentBuilder;
use aws_sdk_s3::types::{ServerSideEncryption, StorageClass};
use url::form_urlencoded;

use super::connect;
use crate::archive::store::{Label, UploadId};
use crate::config::{BucketSettings, Sse};
use crate::key::ObjectKey;

/// The fixed part of every request.
pub(super) struct Fixed {
    pub(super) bucket: String,
    owner: Option<String>,
    storage_class: Option<StorageClass>,
    archives: bool,
    encryption: Option<ServerSideEncryption>,
    kms_key: Option<String>,
    tags: Option<String>,
    pub(super) timeout: Duration,
}

impl From<&BucketSettings> for Fixed {
    fn from(settings: &BucketSettings) -> Self {
        let (encryption, kms_key) = match &settings.sse {
            Sse::Default => (None, None),
            Sse::Aes256 => (Some(ServerSideEncryption::Aes256), None),
            Sse::Kms(key) => (Some(ServerSideEncryption::AwsKms), key.clone()),
        };
        // Not every store takes a `+` for a blank; one that is meant is escaped.
        let tags = form_urlencoded::Serializer::new(String::new()).extend_pairs(&settings.tags).finish();
        let tags = tags.replace('+', "%20");
        Self {
            bucket: settings.name.clone(),
            owner: settings.expected_owner.clone(),
            storage_class: settings.storage_class.as_deref().map(StorageClass::from),
            archives: settings.archives(),
            encryption,
            kms_key,
            tags: Some(tags).filter(|tags| !tags.is_empty()),
            timeout: settings.timeout,
        }
    }
}

impl Fixed {
    pub(super) fn head(&self, client: &Client, key: &ObjectKey) -> HeadObjectFluentBuilder {
        client.head_object().bucket(&self.bucket).set_expected_bucket_owner(self.owner.clone()).key(key.as_str())
    }

    pub(super) fn get(&self, client: &Client, key: &ObjectKey) -> GetObjectFluentBuilder {
        client.get_object().bucket(&self.bucket).set_expected_bucket_owner(self.owner.clone()).key(key.as_str())
    }

    pub(super) fn list(&self, client: &Client, prefix: &ObjectKey) -> ListMultipartUploadsFluentBuilder {
        let request = client.list_multipart_uploads().bucket(&self.bucket).prefix(prefix.as_str());
        request.set_expected_bucket_owner(self.owner.clone())
    }

    pub(super) fn list_some(&self, client: &Client) -> ListMultipartUploadsFluentBuilder {
        let request = client.list_multipart_uploads().bucket(&self.bucket).max_uploads(1);
        request.set_expected_bucket_owner(self.owner.clone())
    }

    pub(super) fn head_bucket(&self, client: &Client) -> HeadBucketFluentBuilder {
        client.head_bucket().bucket(&self.bucket).set_expected_bucket_owner(self.owner.clone())
    }

    pub(super) fn encryption(&self, client: &Client) -> GetBucketEncryptionFluentBuilder {
        client.get_bucket_encryption().bucket(&self.bucket).set_expected_bucket_owner(self.owner.clone())
    }

    pub(super) fn public_access(&self, client: &Client) -> GetPublicAccessBlockFluentBuilder {
        client.get_public_access_block().bucket(&self.bucket).set_expected_bucket_owner(self.owner.clone())
    }

    pub(super) fn lifecycle(&self, client: &Client) -> GetBucketLifecycleConfigurationFluentBuilder {
        client.get_bucket_lifecycle_configuration().bucket(&self.bucket).set_expected_bucket_owner(self.owner.clone())
    }

    pub(super) fn put(&self, client: &Client, key: &ObjectKey, label: &Label) -> PutObjectFluentBuilder {
        client
            .put_object()
            .bucket(&self.bucket)
            .set_expected_bucket_owner(self.owner.clone())
            .key(key.as_str())
            .content_type(&label.content_type)
            .set_metadata(Some(label.metadata.iter().cloned().collect()))
            .set_storage_class(self.storage_class.clone().filter(|_| !(self.archives && label.at_hand)))
            .set_server_side_encryption(self.encryption.clone())
            .set_ssekms_key_id(self.kms_key.clone())
            .set_tagging(self.tags.clone())
    }

    pub(super) fn create(&self, client: &Client, key: &ObjectKey, label: &Label) -> CreateMultipartUploadFluentBuilder {
        client
            .create_multipart_upload()
            .bucket(&self.bucket)
            .set_expected_bucket_owner(self.owner.clone())
            .key(key.as_str())
            .content_type(&label.content_type)
            .set_metadata(Some(label.metadata.iter().cloned().collect()))
            .set_storage_class(self.storage_class.clone())
            .set_server_side_encryption(self.encryption.clone())
            .set_ssekms_key_id(self.kms_key.clone())
            .set_tagging(self.tags.clone())
    }

    pub(super) fn part(&self, client: &Client, key: &ObjectKey, upload: &UploadId) -> UploadPartFluentBuilder {
        let request = client.upload_part().bucket(&self.bucket).set_expected_bucket_owner(self.owner.clone());
        request.key(key.as_str()).upload_id(&upload.0)
    }

    pub(super) fn complete(
        &self,
        client: &Client,
        key: &ObjectKey,
        upload: &UploadId,
    ) -> CompleteMultipartUploadFluentBuilder {
        let request = client.complete_multipart_upload().bucket(&self.bucket);
        request.set_expected_bucket_owner(self.owner.clone()).key(key.as_str()).upload_id(&upload.0)
    }

    pub(super) fn abort(
        &self,
        client: &Client,
        key: &ObjectKey,
        upload: &UploadId,
    ) -> AbortMultipartUploadFluentBuilder {
        let request = client.abort_multipart_upload().bucket(&self.bucket);
        request.set_expected_bucket_owner(self.owner.clone()).key(key.as_str()).upload_id(&upload.0)
    }

    /// Ends a download that stands still.
    pub(super) fn download_guard(&self) -> Builder {
        connect::guarded_download(self.timeout)
    }
}
