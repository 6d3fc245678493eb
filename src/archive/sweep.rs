//! What a dead run left: multipart uploads that are in the ledger, and nobody else's.
//!
//! A run that died may have created an upload whose name it never learned. The ledger has the key, so that the bucket
//! is asked for the uploads on exactly that key. Uploads on keys that are not in the ledger are never touched.

use super::Archive;
use super::store::{StoreError, UploadId};
use crate::key::ObjectKey;

/// A line of the ledger from an earlier run.
#[derive(Clone, Debug)]
pub struct LeftUpload {
    /// The ledger's number.
    pub id: i64,
    /// On which key.
    pub key: ObjectKey,
    /// Under which name, if the run learned it.
    pub upload: Option<UploadId>,
}

impl Archive {
    /// Aborts what is left of this upload.
    ///
    /// # Errors
    /// [`StoreError`]; it stays in the ledger then.
    pub async fn sweep(&self, left: &LeftUpload) -> Result<(), StoreError> {
        match &left.upload {
            Some(upload) => self.store.abort(&left.key, upload).await?,
            None => {
                for open in self.store.uploads(&left.key).await? {
                    self.store.abort(&left.key, &open.upload).await?;
                }
            }
        }
        self.ledger.ended(left.id);
        Ok(())
    }
}
