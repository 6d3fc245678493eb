//! The multipart uploads of all runs: noted in the queue before they exist, and aborted if they lead nowhere.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use tokio::sync::oneshot;

use crate::archive::UploadLedger;
use crate::archive::store::UploadId;
use crate::archive::sweep::{Hold, LATEST, LeftUpload, TAIL};
use crate::backoff::Backoff;
use crate::clock::{Clock, Timestamp};
use crate::journey::Journeys;
use crate::key::ObjectKey;
use crate::queue::desk::Record;
use crate::queue::{Write, Writer};

/// How long the note of an upload may take before the upload is created, or told to complete, all the same: another
/// program may hold the queue's write lock for minutes, and a recording cannot wait for that. Should the daemon die in that
/// time, the bucket's own rule clears up what was created, and what was told to complete is taken for one that was not.
const LEDGER_PATIENCE: Duration = Duration::from_secs(5);

/// Aborts the uploads that lead nowhere: those of earlier runs, and those whose abortion failed. What cannot be reached
/// now is tried again, and so is to see what earlier runs left if that failed at first.
pub(super) async fn sweep(journeys: Journeys, mut is_recalled: bool) {
    let patience =
        Backoff::new(Duration::from_secs(10), 2.0, Duration::from_mins(15)).expect("the constants make sense");
    let mut step = 0;
    while !is_recalled {
        journeys.clock.sleep(patience.wait(step)).await;
        step += 1;
        is_recalled = recall_uploads(&journeys, journeys.writer.run()).await;
    }
    step = 0;
    loop {
        if journeys.archive.sweep().await == 0 {
            step = 0;
            journeys.archive.until_left().await;
        } else {
            let wait = patience.wait(step).min(journeys.archive.released_in().unwrap_or(Duration::MAX));
            tokio::select! {
                () = journeys.archive.until_left() => step = 0,
                () = journeys.clock.sleep(wait) => step += 1,
            }
        }
    }
}

/// Tells the archive what runs before this one left, and says whether that could be seen.
pub async fn recall_uploads(journeys: &Journeys, run: &str) -> bool {
    match journeys.desk.left_uploads(run).await {
        Ok(left) => {
            let (ours, others): (Vec<_>, Vec<_>) =
                left.iter().partition(|record| record.get("bucket").and_then(Value::as_str) == Some(&journeys.bucket));
            let ours = ours.into_iter().filter_map(|record| left_upload(record, &*journeys.clock));
            ours.for_each(|upload| journeys.archive.leave(upload));
            let buckets: BTreeSet<_> = others.iter().filter_map(|record| record.get("bucket")?.as_str()).collect();
            for bucket in buckets {
                tracing::warn!(
                    bucket,
                    "uploads may be left in the bucket of before; its rule for incomplete uploads ends them, or a person"
                );
            }
            true
        }
        Err(error) => {
            tracing::warn!(%error, "cannot see whether earlier runs left uploads; looking again");
            false
        }
    }
}

fn left_upload(record: &Record, clock: &dyn Clock) -> Option<LeftUpload> {
    let text = |column: &str| record.get(column)?.as_str().map(ToOwned::to_owned);
    let upload = text("upload_id").map(UploadId);
    let time = |column: &str| Timestamp::parse(&text(column)?).ok();
    let until = time("started_at").filter(|_| upload.is_none()).map(|noted| noted.after(LATEST));
    let hold = time("told_at").map(|told| {
        let (moment, may_come) = (clock.elapsed(), clock.now() < told.after(LATEST));
        if may_come { Hold::Since { moment, tail: TAIL } } else { Hold::to(moment) }
    });
    let (id, key) = (record.get("id")?.as_i64()?, ObjectKey::parse(text("key")?).ok()?);
    Some(LeftUpload { id, key, upload, until, hold })
}

/// The ledger of uploads, kept in the queue.
#[derive(Debug)]
pub struct QueueLedger {
    bucket: String,
    writer: Writer,
    clock: Arc<dyn Clock>,
    next: AtomicI64,
    /// Uploads whose notes have been waited for in vain.
    late: Mutex<BTreeSet<i64>>,
}

impl QueueLedger {
    /// A ledger of this bucket's uploads, behind this writer.
    #[must_use]
    pub fn new(bucket: String, writer: Writer, clock: Arc<dyn Clock>) -> Self {
        // Above what any earlier run has used, as long as the clock is not set back by more than it ran.
        let first = clock.now().as_millis().saturating_mul(1000);
        Self { bucket, writer, clock, next: AtomicI64::new(first), late: Mutex::default() }
    }

    /// Waits until it is noted, but not for long. `false`: the writer has ended, because this daemon is about to, or a newer
    /// one has taken the queue over.
    async fn note(&self, id: i64, write: Write, patience: Duration) -> bool {
        let noted: oneshot::Receiver<_> = self.writer.submit(write);
        tokio::select! {
            biased;
            noted = noted => noted.is_ok(),
            () = self.clock.sleep(patience) => {
                tracing::warn!("the queue cannot be written to; a large file goes up without a note of it");
                self.late.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
                true
            }
        }
    }
}

#[async_trait]
impl UploadLedger for QueueLedger {
    async fn intend(&self, key: &ObjectKey) -> Option<i64> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (bucket, key, run) = (self.bucket.clone(), key.as_str().to_owned(), self.writer.run().to_owned());
        let intended = Write::UploadIntended { id, bucket, key, run, at: self.clock.now() };
        self.note(id, intended, LEDGER_PATIENCE).await.then_some(id)
    }

    async fn told(&self, id: i64) -> bool {
        // Where the first note has been waited for in vain, this one comes behind it.
        let is_late = self.late.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        let patience = if is_late { Duration::ZERO } else { LEDGER_PATIENCE };
        self.note(id, Write::UploadTold { id, at: Some(self.clock.now()) }, patience).await
    }

    fn created(&self, id: i64, upload: &UploadId) {
        drop(self.writer.submit(Write::UploadCreated { id, upload_id: upload.0.clone() }));
    }

    fn is_others(&self, id: i64) {
        drop(self.writer.submit(Write::UploadTold { id, at: None }));
    }

    fn ended(&self, id: i64) {
        self.late.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        drop(self.writer.submit(Write::UploadEnded { id }));
    }
}
