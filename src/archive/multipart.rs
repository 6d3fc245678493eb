//! A large file: up in parts while it comes down.
//!
//! A few parts are under way at once, and the next one is read meanwhile. Each part stays in hand until the bucket has
//! it, so that it can be sent again without a new download. The upload is in the ledger before it exists, and every
//! path out of here ends in its completion or its abortion; what an abort could not reach (a bucket that is down) is
//! swept later, what a crash left at the next start.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::keep::{FileJob, Kept, Round, Target};
use super::store::{Label, Part, StoreError, UploadId};
use super::sweep::LeftUpload;
use super::{Archive, CopyError, neither};
use crate::key::ObjectKey;
use crate::receipt::{Comparison, Receipt, Verified};
use crate::transfer::{Arrival, Intake, Portion};

/// Parts of one file that are sent at once: enough to hide the bucket's latency behind the source.
const PARTS_AT_ONCE: usize = 4;
/// Tries to begin an upload; the store's client makes one attempt each.
const CREATIONS: u32 = 2;
/// How long an abort may hold up a stop.
const ABORT_PATIENCE: Duration = Duration::from_secs(5);

/// An upload that was created and not yet completed or aborted.
struct Open<'a> {
    key: &'a ObjectKey,
    upload: UploadId,
    ledger_id: i64,
}

/// An object that stands whole under the key.
struct Completed {
    verified: Verified,
    /// Its completion was not answered with success: perhaps it is not this upload's.
    adopted: bool,
}

impl Archive {
    /// Sends the file under `key`, where nothing stands yet.
    pub(super) async fn upload(
        &self,
        job: &FileJob<'_>,
        intake: Intake,
        first: Portion,
        target: Target,
        key: &ObjectKey,
    ) -> Result<Round, CopyError> {
        let label = job.label(intake.content_type_so_far(), None);
        let _turn = self.unless_stopped::<_, CopyError>(async { Ok(self.leftovers.take(key).await) }).await?;
        self.sweep_key(key).await;
        let open = self.create(key, &label).await?;
        let outcome = self.send(job, intake, first, target, &open).await;
        match &outcome {
            Ok(Round::Kept(kept)) if !kept.adopted => self.ledger.ended(open.ledger_id),
            // Where the object is there by another hand, the upload of this one may still stand open.
            Ok(Round::Kept(_) | Round::Again(_)) | Err(_) => self.abort(open).await,
        }
        outcome
    }

    /// Begins an upload. A creation whose answer was lost may exist under a name that nobody learned: what stands open
    /// on this key, of which we have the turn, is cleared before the next try.
    async fn create<'a>(&self, key: &'a ObjectKey, label: &Label) -> Result<Open<'a>, CopyError> {
        let id = self.ledger.intend(key).await.ok_or(CopyError::Stopped)?;
        let mut failed = None;
        for _ in 0..CREATIONS {
            match self.to_its_end(self.store.create_upload(key, label)).await {
                Ok(upload) => {
                    self.ledger.created(id, &upload);
                    return Ok(Open { key, upload, ledger_id: id });
                }
                Err(CopyError::Store(lost @ StoreError::Unavailable(_))) => {
                    if let Err(error) = self.unless_stopped(self.clear(key)).await {
                        tracing::warn!(%key, %error, "whether an upload was begun is not known; looking again later");
                        self.leftovers.add(LeftUpload { id, key: key.clone(), upload: None });
                        return Err(lost.into());
                    }
                    failed = Some(lost);
                }
                Err(error) => {
                    if !matches!(error, CopyError::Stopped) {
                        self.ledger.ended(id);
                    }
                    return Err(error);
                }
            }
        }
        self.ledger.ended(id);
        Err(failed.expect("only such failures come round here").into())
    }

    async fn send(
        &self,
        job: &FileJob<'_>,
        mut intake: Intake,
        first: Portion,
        target: Target,
        open: &Open<'_>,
    ) -> Result<Round, CopyError> {
        let parts = self.unless_stopped(self.send_parts(&mut intake, first, open)).await?;
        let arrival = intake.finish();
        let right = job.target(&arrival, target.beside)?;
        let Arrival { receipt, inspection, .. } = arrival;
        if right.suspect != target.suspect {
            return Ok(Round::Again(right));
        }
        if target.beside.is_some_and(|sha256| sha256 != receipt.sha256) {
            return Ok(Round::Again(Target { beside: None, ..target }));
        }
        let Some(completed) = self.complete(open, &parts, &receipt).await? else { return Ok(Round::Again(target)) };
        let Completed { verified, adopted } = completed;
        let kept = Kept { key: open.key.clone(), verified, inspection, adopted, beside: target.beside.is_some() };
        Ok(Round::Kept(Box::new(kept)))
    }

    /// Reads and sends until the body ends; the parts come back in order.
    async fn send_parts(&self, intake: &mut Intake, first: Portion, open: &Open<'_>) -> Result<Vec<Part>, CopyError> {
        let mut under_way = FuturesUnordered::new();
        let mut parts = Vec::new();
        let mut number = 1;
        let mut is_last = first.is_last;
        under_way.push(self.send_part(open, number, first));
        while !is_last {
            if under_way.len() >= PARTS_AT_ONCE {
                parts.extend(under_way.next().await.transpose()?);
            }
            let portion = {
                let reading = intake.portion();
                tokio::pin!(reading);
                loop {
                    // A part that is done gives its room back, which the reading may be waiting for.
                    // In a fixed order, so that a simulated run can be replayed.
                    tokio::select! {
                        biased;
                        portion = &mut reading => break portion?,
                        Some(part) = under_way.next(), if !under_way.is_empty() => parts.push(part?),
                    }
                }
            };
            is_last = portion.is_last;
            number += 1;
            under_way.push(self.send_part(open, number, portion));
        }
        while let Some(part) = under_way.next().await {
            parts.push(part?);
        }
        parts.sort_unstable_by_key(|part| part.number);
        Ok(parts)
    }

    async fn send_part(&self, open: &Open<'_>, number: u32, portion: Portion) -> Result<Part, CopyError> {
        let sent = self.store.put_part(open.key, &open.upload, number, portion.segments.clone(), &portion.checksums);
        Ok(sent.await?)
    }

    /// Makes the object visible, and proves it. `None` if something else stands there meanwhile.
    async fn complete(&self, open: &Open<'_>, parts: &[Part], whole: &Receipt) -> Result<Option<Completed>, CopyError> {
        let key = open.key;
        let adopted = |verified| Some(Completed { verified, adopted: true });
        match self.to_its_end(self.store.complete(key, &open.upload, parts, whole)).await {
            Ok(_) => self.verify(key, whole).await.map(|verified| Some(Completed { verified, adopted: false })),
            // Perhaps it is ours: applied, the answer lost, and refused when it was sent again.
            Err(CopyError::Store(lost @ StoreError::UploadLost(_))) => {
                self.still_there(key, whole).await?.map(adopted).ok_or_else(|| lost.into())
            }
            Err(CopyError::Store(StoreError::Exists(_))) => {
                let head = self.unless_stopped(self.store.head(key)).await?.ok_or_else(|| neither(key))?;
                match self.compare(key, whole, &head).await? {
                    Comparison::Same(verified) => Ok(adopted(verified)),
                    Comparison::Different(_) | Comparison::Unknown => Ok(None),
                }
            }
            Err(CopyError::Store(lost @ StoreError::Unavailable(_))) => self.found(key, whole, lost).await.map(adopted),
            Err(error) => Err(error),
        }
    }

    /// Ends an upload that leads nowhere. One that cannot be ended now is left for the sweep.
    async fn abort(&self, open: Open<'_>) {
        let why = match self.within(ABORT_PATIENCE, self.store.abort(open.key, &open.upload)).await {
            Some(Ok(())) => return self.ledger.ended(open.ledger_id),
            Some(Err(error)) => error.to_string(),
            None => "it took too long".to_owned(),
        };
        tracing::warn!(key = %open.key, why, "an upload could not be aborted; trying again later");
        self.leftovers.add(LeftUpload { id: open.ledger_id, key: open.key.clone(), upload: Some(open.upload) });
    }
}
