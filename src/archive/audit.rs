//! Does the bucket still hold what the queue says it holds? What `reconcile` asks of every recording.
//!
//! One Head a file. Where the store reports a full-object checksum, that decides. Where it does not, length, tag and
//! version together do: a store that kept all three has not been written to. Reading back decides everything, and
//! costs the whole object; it is done on request only.

use super::store::{ObjectHead, StoreError};
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
    /// What a person must mend first; that uploads may not be listed is not held against it.
    pub async fn has_bucket(&self, key: &ObjectKey) -> Result<(), CopyError> {
        match self.unless_stopped(self.store.uploads(key)).await {
            Err(
                error @ CopyError::Store(
                    StoreError::Setup { reason: "no_such_bucket", .. } | StoreError::Unavailable(_),
                ),
            ) => Err(error),
            _ => Ok(()),
        }
    }

    /// Compares one object with what is claimed of it; `read_back` reads it whole, if its storage class lets it be read.
    ///
    /// # Errors
    /// [`CopyError`] of the bucket.
    pub async fn audit(&self, claim: &Claim, read_back: bool) -> Result<Audit, CopyError> {
        let Some(head) = self.unless_stopped(self.store.head(&claim.key)).await? else { return Ok(Audit::Missing) };
        let mut compared = Verified::compare(&claim.receipt, reported(&head));
        if read_back && !matches!(compared, Comparison::Different(_)) {
            match self.unless_stopped(self.read_back(&claim.key, claim.receipt.bytes)).await {
                Err(CopyError::Store(StoreError::Unreadable(why))) => {
                    tracing::warn!(
                        key = claim.key.as_str(),
                        why,
                        "not read back; what the store reports of it has to do"
                    );
                }
                read => compared = Verified::compare_read_back(&claim.receipt, &read?, reported(&head)),
            }
        }
        Ok(match compared {
            Comparison::Same(_) => Audit::Whole,
            Comparison::Different(how) => Audit::Different(how),
            Comparison::Unknown => by_tags(claim, &head),
        })
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

fn by_tags(claim: &Claim, head: &ObjectHead) -> Audit {
    if (&claim.etag, &claim.version_id) == (&head.etag, &head.version_id) {
        return Audit::Whole;
    }
    Audit::Different("the right length, another ETag or version, and no checksum; --read-back tells".to_owned())
}
