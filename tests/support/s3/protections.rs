//! How the bucket is protected: what its owner set, in S3's words, and S3's error for what was never set.

use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Result};

/// What the owner of the bucket set; a new bucket of the archiver's documentation has all of it.
#[derive(Clone, Debug)]
pub struct Protections {
    /// `AES256` or `aws:kms`.
    pub encryption: Option<&'static str>,
    /// Whether public policies are blocked, beside the other three; `None` if nothing was ever set.
    pub blocks_public_policy: Option<bool>,
    /// Days, and the prefix of the rule that aborts incomplete uploads.
    pub aborts_uploads: Option<(i32, &'static str)>,
}

impl Default for Protections {
    fn default() -> Self {
        Self { encryption: Some("AES256"), blocks_public_policy: Some(true), aborts_uploads: Some((7, "")) }
    }
}

impl Protections {
    pub fn encryption(&self) -> S3Result<GetBucketEncryptionOutput> {
        let none = || not_set("ServerSideEncryptionConfigurationNotFoundError");
        let algorithm = ServerSideEncryption::from_static(self.encryption.ok_or_else(none)?);
        let default = ServerSideEncryptionByDefault { kms_master_key_id: None, sse_algorithm: algorithm };
        let rule =
            ServerSideEncryptionRule { apply_server_side_encryption_by_default: Some(default), ..Default::default() };
        let configuration = ServerSideEncryptionConfiguration { rules: vec![rule] };
        Ok(GetBucketEncryptionOutput { server_side_encryption_configuration: Some(configuration) })
    }

    pub fn public_access(&self) -> S3Result<GetPublicAccessBlockOutput> {
        let none = || not_set("NoSuchPublicAccessBlockConfiguration");
        let policy = self.blocks_public_policy.ok_or_else(none)?;
        let configuration = PublicAccessBlockConfiguration {
            block_public_acls: Some(true),
            ignore_public_acls: Some(true),
            block_public_policy: Some(policy),
            restrict_public_buckets: Some(true),
        };
        Ok(GetPublicAccessBlockOutput { public_access_block_configuration: Some(configuration) })
    }

    pub fn lifecycle(&self) -> S3Result<GetBucketLifecycleConfigurationOutput> {
        let (days, prefix) = self.aborts_uploads.ok_or_else(|| not_set("NoSuchLifecycleConfiguration"))?;
        let abort = AbortIncompleteMultipartUpload { days_after_initiation: Some(days) };
        let filter = LifecycleRuleFilter { prefix: Some(prefix.to_owned()), ..Default::default() };
        let rule = LifecycleRule {
            abort_incomplete_multipart_upload: Some(abort),
            expiration: None,
            filter: Some(filter),
            id: Some("incomplete uploads".to_owned()),
            noncurrent_version_expiration: None,
            noncurrent_version_transitions: None,
            prefix: None,
            status: ExpirationStatus::from_static(ExpirationStatus::ENABLED),
            transitions: None,
        };
        Ok(GetBucketLifecycleConfigurationOutput { rules: Some(vec![rule]), ..Default::default() })
    }
}

/// 404, as for everything that an owner never set.
fn not_set(code: &'static str) -> S3Error {
    let code = S3ErrorCode::from_bytes(code.as_bytes()).expect("it is text");
    let mut error = S3Error::with_message(code, "The configuration was not found");
    error.set_status_code(http::StatusCode::NOT_FOUND);
    error
}
