//! Does the bucket still hold what the queue says it holds? What `reconcile` asks of every recording.
//!
//! One Head a file. Where the store reports a full-object checksum, that decides. Where it does not, length, tag and
//! version together do: a store that kept all three has not been written to. One that did not is perhaps a copy, and
//! read back: a row is sent back for no suspicion. Reading back decides everything, and costs the whole object; else it
//! is done on request only.

use super::store::StoreError;
use super::{Archive, CopyError, reported};
use crate::key::ObjectKey;
use crate::receipt::{Comparison, Receipt, Verified};

/// What the queue says of an object.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Where.
    pub key: ObjectKey,
    /// Its bytes.
    pub receipt: Receipt,
    /// The store's tag for them, as it was then.
    pub etag: String,
    /// In a versioned bucket.
    pub version_id: Option<String>,
}

/// What the bucket says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audit {
    /// The same bytes.
    Whole,
    /// Nothing is there.
    Missing,
    /// Other bytes, or what may be other bytes; how that shows.
    Different(String),
}

impl Archive {
    /// Whether there is a bucket at all: in one that is not there, a look at an object finds nothing either.
    ///
    /// # Errors
    /// What a person must mend first, or what keeps the answer from us; that uploads may not be listed, or cannot be in
    /// this store, is not held against the bucket.
    pub async fn has_bucket(&self, key: &ObjectKey) -> Result<(), CopyError> {
        match self.unless_stopped(self.store.uploads(key)).await {
            Ok(_) | Err(CopyError::Store(StoreError::Setup { reason: "access_denied" | "invalid", .. })) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Compares one object with what is claimed of it; `read_back` reads it whole, if its storage class lets it be read.
    ///
    /// # Errors
    /// [`CopyError`] of the bucket.
    pub async fn audit(&self, claim: &Claim, read_back: bool) -> Result<Audit, CopyError> {
        let Some(head) = self.unless_stopped(self.store.head(&claim.key)).await? else { return Ok(Audit::Missing) };
        let seems_whole = match Verified::compare(&claim.receipt, reported(&head)) {
            Comparison::Different(how) => return Ok(Audit::Different(how)),
            Comparison::Same(_) => true,
            Comparison::Unknown => (&claim.etag, &claim.version_id) == (&head.etag, &head.version_id),
        };
        if seems_whole && !read_back {
            return Ok(Audit::Whole);
        }
        match self.unless_stopped(self.read_back(&claim.key, claim.receipt.bytes)).await {
            Err(CopyError::Store(StoreError::Unreadable(why))) if seems_whole => {
                tracing::warn!(key = claim.key.as_str(), why, "not read back; what the store reports of it has to do");
                Ok(Audit::Whole)
            }
            Err(CopyError::Store(StoreError::Unreadable(why))) => {
                Ok(Audit::Different(format!("the right length, another ETag or version, no checksum, and {why}")))
            }
            Err(CopyError::Store(StoreError::Hollow(why))) => Ok(Audit::Different(why)),
            read => Ok(match Verified::compare_read_back(&claim.receipt, &read?, reported(&head)) {
                Ok(_) => Audit::Whole,
                Err(how) => Audit::Different(how),
            }),
        }
    }

    /// Whether anything stands under one of these keys.
    ///
    /// # Errors
    /// [`CopyError`] of the bucket.
    pub async fn holds_any(&self, keys: &[ObjectKey]) -> Result<bool, CopyError> {
        for key in keys {
            if self.unless_stopped(self.store.head(key)).await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
