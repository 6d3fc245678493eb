//! A large file: up in parts while it comes down.
//!
//! A few parts are under way at once, and the next one is read meanwhile. Each part stays in hand until the bucket has
//! it, so that it can be sent again without a new download. The upload is in the ledger before it exists, and every
//! path out of here ends in its completion or its abortion; what an abort could not reach (a crash, a bucket that is
//! down) is swept at the next start.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::keep::{FileJob, Kept, Round, Target};
use super::store::{Label, Part, StoreError, UploadId};
use super::{Archive, CopyError};
use crate::key::ObjectKey;
use crate::receipt::{Receipt, Verified};
use crate::transfer::{Intake, Portion};

/// Parts of one file that are sent at once: enough to hide the bucket's latency behind the source.
const PARTS_AT_ONCE: usize = 4;
/// How long an abort may hold up a stop.
const ABORT_PATIENCE: Duration = Duration::from_secs(5);

/// An upload that was created and not yet completed or aborted.
struct Open<'a> {
    key: &'a ObjectKey,
    upload: UploadId,
    ledger_id: i64,
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
        let open = self.create(key, &label).await?;
        let outcome = self.send(job, intake, first, target, &open).await;
        match &outcome {
            Ok(Round::Kept(_)) => self.ledger.ended(open.ledger_id),
            Ok(Round::Again(_)) | Err(_) => self.abort(&open).await,
        }
        outcome
    }

    async fn create<'a>(&self, key: &'a ObjectKey, label: &Label) -> Result<Open<'a>, CopyError> {
        let ledger_id = self.ledger.intend(key).await;
        // Not under `unless_stopped`: a create that is dropped half way may have been applied.
        match self.store.create_upload(key, label).await {
            Ok(upload) => {
                self.ledger.created(ledger_id, &upload);
                Ok(Open { key, upload, ledger_id })
            }
            // Whether it exists is not known; the ledger keeps it for the sweep.
            Err(error) => Err(error.into()),
        }
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
        let (receipt, inspection) = intake.finish();
        let right = job.target(&inspection, target.beside)?;
        if right.suspect != target.suspect {
            return Ok(Round::Again(right));
        }
        if target.beside.is_some_and(|sha256| sha256 != receipt.sha256) {
            return Ok(Round::Again(Target { beside: None, ..target }));
        }
        let Some(verified) = self.complete(open, &parts, &receipt).await? else { return Ok(Round::Again(target)) };
        let kept =
            Kept { key: open.key.clone(), verified, inspection, adopted: false, beside: target.beside.is_some() };
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
                    tokio::select! {
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

    /// Makes the object visible, and proves it. `None` if something stands there meanwhile, or the upload is lost.
    async fn complete(&self, open: &Open<'_>, parts: &[Part], whole: &Receipt) -> Result<Option<Verified>, CopyError> {
        match self.store.complete(open.key, &open.upload, parts, whole).await {
            Ok(_) => self.verify(open.key, whole).await.map(Some),
            // Perhaps it is ours: applied, the answer lost, and refused when it was sent again.
            Err(StoreError::Exists(_) | StoreError::UploadLost(_)) => self.still_there(open.key, whole).await,
            Err(lost @ StoreError::Unavailable(_)) => self.found(open.key, whole, lost).await.map(Some),
            Err(error) => Err(error.into()),
        }
    }

    /// Ends an upload that leads nowhere. One that cannot be ended now stays in the ledger for the sweep.
    async fn abort(&self, open: &Open<'_>) {
        let patience = tokio::time::timeout(ABORT_PATIENCE, self.store.abort(open.key, &open.upload));
        match patience.await {
            Ok(Ok(())) => self.ledger.ended(open.ledger_id),
            Ok(Err(error)) => {
                tracing::warn!(key = %open.key, %error, "an upload could not be aborted; the next start tries again");
            }
            Err(_) => tracing::warn!(key = %open.key, "aborting an upload took too long; the next start tries again"),
        }
    }
}
