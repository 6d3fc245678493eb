//! One small object that proves that writing works: what `check --write` does.
//!
//! It goes the way that sidecars go, condition, checksum and comparison included. Its bytes are always the same, so that
//! the one that an earlier check left is found and compared instead of written again.

use async_trait::async_trait;
use bytes::Bytes;

use super::store::{Label, UploadId};
use super::{Archive, CopyError, UploadLedger};
use crate::key::ObjectKey;
use crate::receipt::Tally;
use crate::transfer::Segments;

const KEY: &str = "kore-archiver-check.txt";
const TEXT: &str = "kore-archiver was allowed to write here. This object may stay, or go.\n";

impl Archive {
    /// Puts the object, or finds it, and proves it. Says which, and under which key.
    ///
    /// # Errors
    /// [`CopyError`] of the bucket.
    ///
    /// # Panics
    /// Never: the key is a constant.
    pub async fn trial(&self) -> Result<(ObjectKey, &'static str), CopyError> {
        let key = ObjectKey::parse(KEY.to_owned()).expect("a constant that is a key");
        let mut tally = Tally::default();
        tally.update(TEXT.as_bytes());
        let receipt = tally.receipt();
        let label = Label { content_type: "text/plain".to_owned(), metadata: Vec::new() };
        let body = Segments::from(Bytes::from_static(TEXT.as_bytes()));
        if self.put(&key, &label, body, &receipt).await?.is_some() {
            return Ok((key, "was put"));
        }
        self.verify(&key, &receipt).await?;
        Ok((key, "is there from before, and was refused a second time"))
    }
}

/// The ledger of those who start no multipart upload.
#[derive(Debug)]
pub struct NoLedger;

#[async_trait]
impl UploadLedger for NoLedger {
    async fn intend(&self, _: &ObjectKey) -> Option<i64> {
        Some(0)
    }
    fn created(&self, _: i64, _: &UploadId) {}
    fn ended(&self, _: i64) {}
}
