//! The proof that writing works: what `check --write` does.
//!
//! Two ways lead into a bucket, and both are gone. One small object goes the way that sidecars go, condition, checksum
//! and comparison included. Its bytes are always the same, so that the one that an earlier check left is found and
//! compared instead of written again. Being refused as taken proves no permission, though: in which order a store looks
//! at keys, policies and KMS is its own affair. So an upload in parts is begun as well, given a part, and aborted, which
//! needs the right to write, to abort, and to use the encryption key, and leaves nothing behind, every time anew.
//!
//! Left alone: a check that is killed before the abort leaves an upload of some bytes, for the bucket's own rule.

use async_trait::async_trait;
use bytes::Bytes;

use super::store::{Label, StoreError, UploadId};
use super::{Archive, CopyError, UploadLedger};
use crate::key::ObjectKey;
use crate::receipt::{Checksums, Receipt};
use crate::transfer::Segments;

const KEY: &str = "kore-archiver-check.txt";
const TEXT: &str = "kore-archiver was allowed to write here. This object may stay, or go.\n";

impl Archive {
    /// Puts the object, or finds it, and proves it. Says which, and under which key.
    ///
    /// # Errors
    /// [`CopyError`] of the bucket.
    pub async fn trial(&self) -> Result<(ObjectKey, &'static str), CopyError> {
        let key = key();
        let receipt = Receipt::of_bytes(TEXT.as_bytes());
        // Somebody else's, which a store that ignores the condition would give away.
        if matches!(self.look(&key, &receipt).await?, Some(Err(_))) {
            return Err(CopyError::Taken(key));
        }
        if self.put(&key, &label(), body(), &receipt).await?.is_some() {
            return Ok((key, "was put"));
        }
        self.verify(&key, &receipt).await?;
        Ok((key, "is there from before, and was refused a second time"))
    }

    /// Begins an upload on the same key, sends a part, and aborts it: nothing of it is ever seen in the bucket.
    ///
    /// # Errors
    /// [`CopyError`] of the bucket, of the first step that was refused. The upload is aborted whatever came before.
    pub async fn trial_of_parts(&self) -> Result<(), CopyError> {
        let (key, checksums) = (key(), Checksums::of([TEXT.as_bytes()]));
        let upload = match self.store.create_upload(&key, &label()).await {
            // It may have been begun all the same, under a name that nobody learned.
            Err(lost @ StoreError::Unavailable(_)) => {
                if let Err(error) = self.clear(&key).await {
                    tracing::warn!(%key, %error, "whether an upload was begun is not known");
                }
                return Err(lost.into());
            }
            created => created?,
        };
        let sent = self.store.put_part(&key, &upload, 1, body(), &checksums).await;
        let aborted = self.store.abort(&key, &upload).await;
        sent?;
        Ok(aborted?)
    }
}

fn key() -> ObjectKey {
    ObjectKey::parse(KEY.to_owned()).expect("a constant that is a key")
}

fn label() -> Label {
    Label { content_type: "text/plain".to_owned(), metadata: Vec::new(), at_hand: true }
}

fn body() -> Segments {
    Segments::from(Bytes::from_static(TEXT.as_bytes()))
}

/// The ledger of those whose uploads need not be found again.
#[derive(Debug)]
pub struct NoLedger;

#[async_trait]
impl UploadLedger for NoLedger {
    async fn intend(&self, _: &ObjectKey) -> Option<i64> {
        Some(0)
    }
    fn created(&self, _: i64, _: &UploadId) {}
    async fn told(&self, _: i64) -> bool {
        true
    }
    fn is_others(&self, _: i64) {}
    fn ended(&self, _: i64) {}
}
