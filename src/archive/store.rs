//! What the archive needs of an object store, and what can go wrong with it.
//!
//! [`ObjectStore`] is implemented by `s3` over the AWS SDK, and by simulations. It decides nothing: when to look,
//! what to compare and what to do about a conflict is the archive's. Each call is one request as far as the caller is
//! concerned: it may have been repeated inside (attempts of the SDK), and an error may mean "applied, but the answer
//! was lost"; the archive looks again with [`ObjectStore::head`] before it believes one.

use std::fmt;
use std::pin::Pin;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::Stream;

use crate::key::ObjectKey;
use crate::receipt::{Checksums, Crc32, Crc64Nvme, Receipt};
use crate::transfer::{Flow, Segments};

/// A store with S3's semantics, for one bucket.
#[async_trait]
pub trait ObjectStore: Send + Sync + fmt::Debug {
    /// What stands under the key; `None` if nothing does (404, or a delete marker).
    async fn head(&self, key: &ObjectKey) -> Result<Option<ObjectHead>, StoreError>;

    /// The object's bytes, from the first.
    async fn read(&self, key: &ObjectKey) -> Result<ObjectBody, StoreError>;

    /// Creates the object in one piece, unless the key is taken ([`StoreError::Exists`]).
    async fn put(&self, key: &ObjectKey, label: &Label, body: Segments, receipt: &Receipt) -> Result<(), StoreError>;

    /// Starts a multipart upload.
    async fn create_upload(&self, key: &ObjectKey, label: &Label) -> Result<UploadId, StoreError>;

    /// Sends one part, numbered from 1; `checksums` are of this part alone. Answered with the store's tag for it.
    async fn put_part(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        number: u32,
        body: Segments,
        checksums: &Checksums,
    ) -> Result<String, StoreError>;

    /// The same with a part that is not held: one attempt.
    async fn flow_part(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        number: u32,
        body: Flow,
    ) -> Result<String, StoreError>;

    /// Whether parts that are not held have a chance. A store may find out that they have none.
    fn takes_flows(&self) -> bool;

    /// What was made of such parts is not what was sent.
    fn distrust_flows(&self, why: &str);

    /// Makes the object visible, unless the key is taken; `whole` is of all parts together, in order.
    async fn complete(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        parts: &[Part],
        whole: &Receipt,
    ) -> Result<(), StoreError>;

    /// Ends an upload and frees its parts. One that is gone already is no error.
    async fn abort(&self, key: &ObjectKey, upload: &UploadId) -> Result<(), StoreError>;

    /// The uploads in progress on exactly this key.
    async fn uploads(&self, key: &ObjectKey) -> Result<Vec<UploadId>, StoreError>;
}

/// What an object is created with, beside its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// From the content.
    pub content_type: String,
    /// User metadata, in order: `session-id`, `bot`, and `sha256` when it is put in one piece.
    pub metadata: Vec<(String, String)>,
    /// It will be read again: no storage class of an archive.
    pub at_hand: bool,
}

impl Label {
    /// Of an object of this session; `whole` when it is put in one piece.
    #[must_use]
    pub fn new(session_id: &str, bot: &str, content_type: &str, whole: Option<&Receipt>) -> Self {
        let sha256 = whole.map(|receipt| ("sha256", receipt.sha256.to_string()));
        let metadata = [("session-id", session_id.to_owned()), ("bot", bot.to_owned())].into_iter().chain(sha256);
        let metadata = metadata.map(|(name, value)| (name.to_owned(), value)).collect();
        Self { content_type: content_type.to_owned(), metadata, at_hand: false }
    }
}

/// What the store reports of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectHead {
    /// Its length.
    pub bytes: u64,
    /// As the store spells it, without quotes.
    pub etag: String,
    /// In a versioned bucket.
    pub version_id: Option<String>,
    /// The full-object CRC64NVME that the store holds, if it does.
    pub crc64nvme: Option<Crc64Nvme>,
    /// The full-object CRC32 that the store holds, if it does.
    pub crc32: Option<Crc32>,
}

/// The store's name for a multipart upload.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UploadId(pub String);

/// A part that the store has taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// From 1.
    pub number: u32,
    /// The store's tag for it.
    pub etag: String,
    /// Of its bytes.
    pub checksums: Checksums,
}

/// The bytes of an object as they come.
pub type ObjectBody = Pin<Box<dyn Stream<Item = Result<Bytes, StoreError>> + Send>>;

/// What went wrong, by what the caller does next. Messages name the call, the store's code and what to do; they are
/// free of secrets, and at most 500 characters.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// 412: the key is taken. Look.
    #[error("{0}")]
    Exists(String),
    /// `NoSuchUpload`, or 409 on complete: this upload leads nowhere, a new one may.
    #[error("{0}")]
    UploadLost(String),
    /// The store received other bytes than were sent (`BadDigest`, a short body), also after sending again.
    #[error("{0}")]
    Corrupted(String),
    /// The object is there and cannot be read: its storage class wants it restored first. Nobody need do anything.
    #[error("{0}")]
    Unreadable(String),
    /// GET finds nothing where HEAD has seen something: it went between the two, or the store has lost bytes. Look.
    #[error("{0}")]
    Hollow(String),
    /// The set-up: permissions, credentials, keys, the bucket's name, region or owner, the clock. A person must act.
    #[error("{message}")]
    Setup {
        /// One word for metrics: `access_denied`, `credentials`, `no_such_bucket`, `wrong_region`, `kms`,
        /// `clock`, `quota`, `invalid`.
        reason: &'static str,
        /// What to do, naming the permission.
        message: String,
    },
    /// 5xx, throttling, timeouts, broken connections: it will pass.
    #[error("{0}")]
    Unavailable(String),
    /// The same of a completion that may be under way in the store for all that is known, and come to its end later.
    #[error("{0}")]
    Unanswered(String),
}
