//! Who may do what: keys, region, bucket, owner, permissions; asked before each call, with S3's codes for each "no".

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use http::HeaderMap;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::path::S3Path;
use s3s::{S3Error, S3Result, s3_error};

/// What the gate compares requests with.
#[derive(Debug)]
pub struct Gate {
    pub bucket: String,
    pub region: String,
    pub owner: String,
    pub demands_owner: bool,
    pub keys: Mutex<(String, String)>,
    pub denied: Mutex<BTreeSet<String>>,
}

impl Gate {
    pub fn denies(&self, permission: &str) -> bool {
        self.denied.lock().unwrap_or_else(PoisonError::into_inner).contains(permission)
    }

    fn check_region(&self, headers: &HeaderMap) -> S3Result<()> {
        let authorization = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
        // Credential=KEY/20261123/REGION/s3/aws4_request
        let scope = authorization.split("Credential=").nth(1).unwrap_or_default();
        let said = scope.split('/').nth(2).unwrap_or_default();
        if said == self.region {
            return Ok(());
        }
        let mut error = s3_error!(
            AuthorizationHeaderMalformed,
            "The authorization header is malformed; the region '{said}' is wrong; expecting '{}'",
            self.region
        );
        let region = self.region.parse().expect("a region is plain");
        error.set_headers(HeaderMap::from_iter([(http::HeaderName::from_static("x-amz-bucket-region"), region)]));
        Err(error)
    }

    fn check_owner(&self, headers: &HeaderMap) -> S3Result<()> {
        match headers.get("x-amz-expected-bucket-owner") {
            Some(owner) if owner != self.owner.as_str() => Err(s3_error!(AccessDenied, "Access Denied")),
            None if self.demands_owner => Err(s3_error!(AccessDenied, "Access Denied: whose bucket is it?")),
            _ => Ok(()),
        }
    }

    fn check_permission(&self, operation: &str, headers: &HeaderMap) -> S3Result<()> {
        let encrypts = headers.get("x-amz-server-side-encryption").is_some_and(|value| value == "aws:kms");
        let needed = permission(operation);
        let kms = matches!(operation, "PutObject" | "CreateMultipartUpload") && encrypts;
        let mut all = needed.into_iter().chain(kms.then_some("kms:GenerateDataKey"));
        all.try_for_each(|permission| self.check_one(permission))
    }

    fn check_one(&self, permission: &str) -> S3Result<()> {
        if self.denies(permission) { Err(denied(permission)) } else { Ok(()) }
    }
}

/// S3's words for a missing permission.
pub fn denied(permission: &str) -> S3Error {
    s3_error!(
        AccessDenied,
        "User: arn:aws:iam::111122223333:user/archiver is not authorized to perform: {permission} because no identity-based policy allows the {permission} action"
    )
}

fn permission(operation: &str) -> Option<&'static str> {
    match operation {
        "PutObject" | "CreateMultipartUpload" | "UploadPart" | "CompleteMultipartUpload" => Some("s3:PutObject"),
        "GetObject" | "HeadObject" => Some("s3:GetObject"),
        "DeleteObject" => Some("s3:DeleteObject"),
        "AbortMultipartUpload" => Some("s3:AbortMultipartUpload"),
        "ListMultipartUploads" => Some("s3:ListBucketMultipartUploads"),
        "ListParts" => Some("s3:ListMultipartUploadParts"),
        "ListObjectsV2" | "HeadBucket" => Some("s3:ListBucket"),
        "GetBucketLocation" => Some("s3:GetBucketLocation"),
        "GetBucketEncryption" => Some("s3:GetEncryptionConfiguration"),
        "GetPublicAccessBlock" => Some("s3:GetBucketPublicAccessBlock"),
        "GetBucketLifecycleConfiguration" => Some("s3:GetLifecycleConfiguration"),
        _ => None,
    }
}

/// The key pair, which can be changed while the server runs.
pub struct Keys(pub Arc<Gate>);

#[async_trait::async_trait]
impl S3Auth for Keys {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        let keys = self.0.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.0 == access_key {
            return Ok(SecretKey::from(keys.1.as_str()));
        }
        Err(s3_error!(InvalidAccessKeyId, "The AWS Access Key Id you provided does not exist in our records."))
    }
}

/// Asked after the signature was verified.
pub struct Access(pub Arc<Gate>);

#[async_trait::async_trait]
impl S3Access for Access {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        if cx.credentials().is_none() {
            return Err(s3_error!(AccessDenied, "Access Denied"));
        }
        self.0.check_region(cx.headers())?;
        match cx.s3_path() {
            S3Path::Root => return Err(s3_error!(NotImplemented)),
            S3Path::Bucket { bucket } | S3Path::Object { bucket, .. } if **bucket != *self.0.bucket => {
                return Err(s3_error!(NoSuchBucket, "The specified bucket does not exist"));
            }
            S3Path::Bucket { .. } | S3Path::Object { .. } => {}
        }
        self.0.check_owner(cx.headers())?;
        self.0.check_permission(cx.s3_op().name(), cx.headers())
    }
}
