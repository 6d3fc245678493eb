//! The bucket, as the journey sees it: keep a file, keep a sidecar, sweep what a dead run left.
//!
//! What it protects: nothing in the bucket is overwritten or deleted; what is called kept was compared with what the
//! store reports after the last write ([`Verified`]); an upload that does not complete is aborted on every path, and
//! noted in a ledger before it exists, so that also a run that dies leaves none (but for those begun while the ledger
//! took no notes for a while, and those that a store lists beside the object which they may have made: the bucket's
//! lifecycle rule ends them).
//!
//! `store` is the door to S3, `s3` what stands behind it; `keep` moves one file; `multipart` large ones; `sidecar`
//! writes `session.json`; `leftovers` remembers uploads that lead nowhere, and `sweep` aborts them.
//!
//! Races left alone: between the look at a key and the write somebody else may create it. Stores that honour
//! `If-None-Match` refuse our write then, and we look again; on one that ignores or refuses the condition, whoever
//! writes last wins, which the look can only make unlikely.

pub mod audit;
pub mod keep;
mod leftovers;
mod multipart;
pub mod s3;
pub mod sidecar;
pub mod store;
pub mod sweep;
mod trial;

pub use trial::NoLedger;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{FutureExt, StreamExt};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config::{BucketSettings, TransferSettings};
use crate::key::{NotAKey, ObjectKey};
use crate::media::Doubt;
use crate::receipt::{Comparison, Receipt, Reported, Tally, Verified};
use crate::source::FetchError;
use crate::transfer::{Memory, Pairing, Segments};
use leftovers::Leftovers;
use store::{Label, ObjectBody, ObjectHead, ObjectStore, StoreError, UploadId};

/// Why a file or sidecar was not kept.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The source.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The bucket.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The bucket reports something else than what was sent.
    #[error("{key}: the bucket reports {difference} after it was stored")]
    Mismatch {
        /// Which object.
        key: ObjectKey,
        /// How it differs.
        difference: String,
    },
    /// Text or nothing came where a recording should be, or what may be a cut one: to be asked for again.
    #[error("what the file host sent is no recording, or not all of one: {0}")]
    Odd(Doubt),
    /// The key would be too long for S3.
    #[error("{0}")]
    Key(#[from] NotAKey),
    /// The file changed whenever it was looked at.
    #[error("{0}")]
    Unsettled(String),
    /// Other bytes stand wherever the file may go; where.
    #[error("{0}: other bytes stand under this key and under the one beside it; move one of them away")]
    Taken(ObjectKey),
    /// The daemon is stopping.
    #[error("the daemon is stopping")]
    Stopped,
}

/// Where multipart uploads are noted before they exist. The queue does it.
#[async_trait]
pub trait UploadLedger: Send + Sync + fmt::Debug {
    /// An upload on this key is about to be created; the number is for the other calls. `None`: nothing can be noted
    /// any more, and nobody would find the upload again.
    async fn intend(&self, key: &ObjectKey) -> Option<i64>;
    /// The store has named it.
    fn created(&self, id: i64, upload: &UploadId);
    /// It is about to be told to complete: what comes of that may outlive this run. `false`: nothing can be noted any more.
    async fn told(&self, id: i64) -> bool;
    /// The object that stands under its key is not made of its parts.
    fn is_others(&self, id: i64);
    /// It is completed or aborted.
    fn ended(&self, id: i64);
}

/// The bucket and the rules for it.
#[derive(Clone, Debug)]
pub struct Archive {
    store: Arc<dyn ObjectStore>,
    ledger: Arc<dyn UploadLedger>,
    memory: Memory,
    pairing: Pairing,
    suspect_prefix: String,
    transfer: TransferSettings,
    leftovers: Leftovers,
    clock: Arc<dyn Clock>,
    /// Ends transfers that are under way.
    stop: CancellationToken,
}

/// How long a call that changes the bucket for good may go on when everything else is called off: what is dropped
/// half way may have been applied, and then the next start has to find it.
const LAST_CALL: Duration = Duration::from_secs(2);

/// When a put or a completion that was not applied is tried again: a store's bad moment is no reason to fetch the file
/// again.
const AGAIN: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(1)];

impl Archive {
    /// An archive in this store.
    #[must_use]
    pub fn new(
        store: Arc<dyn ObjectStore>,
        ledger: Arc<dyn UploadLedger>,
        bucket: &BucketSettings,
        transfer: &TransferSettings,
        clock: Arc<dyn Clock>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            store,
            ledger,
            memory: Memory::new(transfer.memory, Arc::clone(&clock)),
            pairing: Pairing::default(),
            suspect_prefix: bucket.suspect_prefix.clone(),
            transfer: *transfer,
            leftovers: Leftovers::default(),
            clock,
            stop,
        }
    }

    /// Ends with [`CopyError::Stopped`] when the daemon must.
    async fn unless_stopped<T, E: Into<CopyError>>(
        &self,
        work: impl Future<Output = Result<T, E>> + Send,
    ) -> Result<T, CopyError> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(CopyError::Stopped),
            result = work => result.map_err(Into::into),
        }
    }

    /// The same, with a moment for the call to end by itself.
    async fn to_its_end<T>(&self, call: impl Future<Output = Result<T, StoreError>> + Send) -> Result<T, CopyError> {
        let mut call = std::pin::pin!(call);
        tokio::select! {
            biased;
            result = &mut call => return result.map_err(Into::into),
            () = self.stop.cancelled() => {}
        }
        match self.within(LAST_CALL, call).await {
            Some(result) => result.map_err(Into::into),
            None => Err(CopyError::Stopped),
        }
    }

    /// `None` if it takes longer.
    async fn within<T>(&self, patience: Duration, work: impl Future<Output = T> + Send) -> Option<T> {
        tokio::select! {
            biased;
            value = work => Some(value),
            () = self.clock.sleep(patience) => None,
        }
    }

    /// Puts an object in one piece where nothing is yet, and proves it. `None` if something is there after all.
    async fn put(
        &self,
        key: &ObjectKey,
        label: &Label,
        body: Segments,
        receipt: &Receipt,
    ) -> Result<Option<Verified>, CopyError> {
        let mut waits = AGAIN.into_iter();
        loop {
            let began = self.clock.elapsed();
            let lost = match self.to_its_end(self.store.put(key, label, body.clone(), receipt)).await {
                Ok(()) => {
                    self.wrote(key, began);
                    return self.verify(key, receipt).await.map(Some);
                }
                Err(CopyError::Store(StoreError::Exists(_))) => return Ok(None),
                Err(CopyError::Store(lost @ StoreError::Unavailable(_))) => lost,
                Err(error) => return Err(error),
            };
            let wait = waits.next();
            self.wait(wait.unwrap_or_default()).await?;
            // It may have been applied, and only the answer lost; or somebody else was faster.
            match self.look(key, receipt).await? {
                Some(Ok(verified)) => return Ok(Some(verified)),
                Some(Err(_)) => return Ok(None),
                None if wait.is_some() => {}
                None => return Err(lost.into()),
            }
        }
    }

    async fn wait(&self, length: Duration) -> Result<(), CopyError> {
        self.unless_stopped(self.clock.sleep(length).map(Ok::<_, CopyError>)).await
    }

    /// The proof that what was sent arrived although the store did not say so; else the error that it gave.
    async fn found(&self, key: &ObjectKey, receipt: &Receipt, lost: StoreError) -> Result<Verified, CopyError> {
        self.still_there(key, receipt).await?.ok_or_else(|| lost.into())
    }

    /// What stands under a key, compared; `None` if nothing does.
    async fn look(&self, key: &ObjectKey, receipt: &Receipt) -> Result<Option<Compared>, CopyError> {
        match self.unless_stopped(self.store.head(key)).await? {
            Some(head) => self.compare(key, receipt, &head).await.map(Some),
            None => Ok(None),
        }
    }

    /// The proof after a write.
    async fn verify(&self, key: &ObjectKey, receipt: &Receipt) -> Result<Verified, CopyError> {
        let mismatch = |difference: String| CopyError::Mismatch { key: key.clone(), difference };
        let head = self.unless_stopped(self.store.head(key)).await?;
        let head = head.ok_or_else(|| mismatch("nothing".into()))?;
        self.compare(key, receipt, &head).await?.map_err(|difference| mismatch(difference.how))
    }

    /// Compares by what the store reports, or, if it holds no checksum, by reading back.
    async fn compare(&self, key: &ObjectKey, receipt: &Receipt, head: &ObjectHead) -> Result<Compared, CopyError> {
        match Verified::compare(receipt, reported(head)) {
            Comparison::Same(verified) => return Ok(Ok(verified)),
            Comparison::Different(how) => return Ok(Err(Difference { how, is_seen: false })),
            Comparison::Unknown => {}
        }
        let seen = |how| Difference { how, is_seen: true };
        match self.unless_stopped(self.read_back(key, receipt.bytes)).await {
            Err(CopyError::Store(StoreError::Unreadable(why) | StoreError::Hollow(why))) => Ok(Err(seen(why))),
            read => Ok(Verified::compare_read_back(receipt, &read?, reported(head)).map_err(seen)),
        }
    }

    /// Whether what stands under the key really is other than what the receipt says. A store whose report differs while
    /// the bytes do not is out of order: nothing is put beside on its word, and nothing is proven by it.
    ///
    /// # Errors
    /// [`CopyError::Mismatch`] for such a store.
    async fn is_really_other(&self, key: &ObjectKey, receipt: &Receipt, found: Difference) -> Result<(), CopyError> {
        if found.is_seen {
            return Ok(());
        }
        let read = match self.unless_stopped(self.read_back(key, receipt.bytes)).await {
            // Then the report is all that there is.
            Err(CopyError::Store(StoreError::Unreadable(_) | StoreError::Hollow(_))) => return Ok(()),
            read => read?,
        };
        if (read.bytes, read.sha256) == (receipt.bytes, receipt.sha256) {
            let difference = format!("{}, though the right bytes are there,", found.how);
            return Err(CopyError::Mismatch { key: key.clone(), difference });
        }
        Ok(())
    }

    /// Reads an object back, to one byte beyond what it should have at most.
    async fn read_back(&self, key: &ObjectKey, expected: u64) -> Result<Receipt, StoreError> {
        let mut body = self.open(key).await?;
        let mut tally = Tally::default();
        while tally.bytes() <= expected
            && let Some(bytes) = body.next().await
        {
            tally.update(&bytes?);
        }
        Ok(tally.receipt())
    }

    /// The bytes of an object that a look has found. [`StoreError::Hollow`] only if another look finds it again.
    async fn open(&self, key: &ObjectKey) -> Result<ObjectBody, StoreError> {
        match self.store.read(key).await {
            Err(StoreError::Hollow(said)) if self.store.head(key).await?.is_none() => {
                Err(StoreError::Unavailable(said))
            }
            Err(StoreError::Hollow(said)) => Err(StoreError::Hollow(format!("{said}, though HeadObject finds it"))),
            read => read,
        }
    }
}

/// What stands under a key: proven to be the same, or other.
type Compared = Result<Verified, Difference>;

/// What stands under a key is not what the receipt says.
struct Difference {
    /// How that shows.
    how: String,
    /// Its bytes were read, or cannot be; else the store's report alone says so.
    is_seen: bool,
}

/// A store that takes no write because something is there, and finds nothing when it is asked what.
fn neither(key: &ObjectKey) -> CopyError {
    CopyError::Mismatch { key: key.clone(), difference: "nothing, and refuses it as taken,".into() }
}

fn reported(head: &ObjectHead) -> Reported<'_> {
    Reported {
        bytes: head.bytes,
        crc64nvme: head.crc64nvme,
        crc32: head.crc32,
        etag: &head.etag,
        version_id: head.version_id.as_deref(),
    }
}
