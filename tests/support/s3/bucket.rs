//! The bucket's state: objects, uploads in progress, and who may write which key now.

use std::collections::{BTreeMap, BTreeSet};

use http::HeaderMap;
use s3s::dto::{ETag, ETagCondition, Metadata, Timestamp};
use s3s::{S3Result, s3_error};

use super::bodies::{Body, Storage};
use super::digests::{Algorithm, Digests};

/// What an object is created with.
#[derive(Clone, Debug, Default)]
pub struct Label {
    pub content_type: Option<String>,
    pub metadata: Metadata,
    pub tags: Option<String>,
    pub storage_class: Option<String>,
    pub encryption: Option<String>,
    pub kms_key: Option<String>,
}

impl Label {
    /// `metadata` is parsed by s3s, the rest stands in the headers.
    pub fn new(headers: &HeaderMap, metadata: Option<Metadata>) -> Self {
        let text = |name: &str| Some(headers.get(name)?.to_str().ok()?.to_owned());
        Self {
            content_type: text("content-type"),
            metadata: metadata.unwrap_or_default(),
            tags: text("x-amz-tagging"),
            storage_class: text("x-amz-storage-class"),
            encryption: text("x-amz-server-side-encryption"),
            kms_key: text("x-amz-server-side-encryption-aws-kms-key-id"),
        }
    }
}

#[derive(Clone, Debug)]
pub struct Object {
    pub body: Body,
    pub bytes: u64,
    pub etag: String,
    pub digests: Digests,
    pub checksum_type: &'static str,
    pub version_id: Option<String>,
    pub modified: Timestamp,
    pub label: Label,
}

#[derive(Debug)]
pub struct Upload {
    pub key: String,
    pub label: Label,
    /// `None` if the client named none; the store computes CRC64NVME then.
    pub algorithm: Option<Algorithm>,
    pub full_object: bool,
    pub parts: BTreeMap<i32, StoredPart>,
    pub initiated: Timestamp,
    /// An object is made of its parts.
    pub is_made: bool,
}

#[derive(Clone, Debug)]
pub struct StoredPart {
    pub body: Body,
    pub bytes: u64,
    pub etag: String,
    pub digests: Digests,
}

/// Everything that is behind the lock.
#[derive(Debug, Default)]
pub struct Bucket {
    pub objects: BTreeMap<String, Object>,
    pub uploads: BTreeMap<String, Upload>,
    /// Keys whose upload is being put together: a conditional write to them is a conflict.
    pub completing: BTreeSet<String>,
    pub overwrites: usize,
    pub deletes: usize,
    counter: u64,
}

impl Bucket {
    /// A number that was not given before.
    pub fn next_number(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    /// Whether a write under this condition may go on.
    pub fn permits(&self, key: &str, condition: Option<&ETagCondition>) -> S3Result<()> {
        match condition {
            Some(ETagCondition::ETag(_)) => {
                Err(s3_error!(NotImplemented, "A header you provided implies functionality that is not implemented"))
            }
            Some(ETagCondition::Any) if self.objects.contains_key(key) => {
                Err(s3_error!(PreconditionFailed, "At least one of the pre-conditions you specified did not hold"))
            }
            Some(ETagCondition::Any) if self.completing.contains(key) => Err(s3_error!(
                ConditionalRequestConflict,
                "The conditional request cannot succeed due to a conflicting operation against this resource."
            )),
            None | Some(ETagCondition::Any) => Ok(()),
        }
    }

    /// Makes it visible. The caller has asked [`Bucket::permits`] under the same lock.
    pub fn insert(&mut self, storage: &Storage, key: &str, mut object: Object) -> S3Result<()> {
        object.body = storage.publish(key, object.body)?;
        if self.objects.insert(key.to_owned(), object).is_some() {
            self.overwrites += 1;
        }
        Ok(())
    }

    /// The upload, if it is one of this key.
    pub fn upload(&mut self, key: &str, id: &str) -> S3Result<&mut Upload> {
        let upload = self.uploads.get_mut(id).filter(|upload| upload.key == key);
        upload.ok_or_else(|| {
            s3_error!(
                NoSuchUpload,
                "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed."
            )
        })
    }
}

/// An entity tag that is no MD5, as under SSE-KMS: nobody may take it for one.
pub fn etag(crc64nvme: &str, bytes: u64) -> String {
    let crc = crc64nvme
        .bytes()
        .fold(bytes, |hash, byte| hash.rotate_left(5) ^ u64::from(byte).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    format!("{crc:016x}{bytes:016x}")
}

pub fn strong(etag: &str) -> ETag {
    ETag::Strong(etag.to_owned())
}
