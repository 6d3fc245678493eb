//! A large file: up in parts while it comes down.
//!
//! A few parts are under way at once, and the next one is read meanwhile. A part that is held stays in hand until the
//! bucket has it, so that it can be sent again without a new download; one that flows, because room is short, cannot,
//! and the loss of one ends the upload. It is in the ledger before it exists, and every path out of here ends in its
//! completion or its abortion; what an abort could not reach (a bucket that is down), or must not reach yet (a completion
//! that was not answered), is swept later, what a crash left at the next start.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;

use super::keep::{FileJob, Kept, Round, Target};
use super::store::{Label, Part, StoreError, UploadId};
use super::sweep::{Hold, LATE, LeftUpload, TAIL};
use super::{AGAIN, Archive, CopyError, neither};
use crate::key::ObjectKey;
use crate::receipt::{Checksums, Receipt, Verified};
use crate::source::FetchError;
use crate::transfer::{Arrival, Coming, Flow, Intake, Portion, flow};

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
    /// It was told to complete, and the store failed: that may have been done, or be done yet.
    may_be_made: AtomicBool,
    /// It was told to complete, and there was no answer, or it was not waited for.
    is_unanswered: AtomicBool,
}

/// Why parts are sent no further.
enum Stuck {
    /// The source, or the bucket after all attempts at a part that was held.
    Broken(CopyError),
    /// A part that was not held did not arrive.
    Spilt(StoreError),
}

impl From<FetchError> for Stuck {
    fn from(error: FetchError) -> Self {
        Self::Broken(error.into())
    }
}

/// What stands under the key of an upload that was told to complete.
#[derive(Clone, Copy, PartialEq, Eq)]
enum There {
    /// Nothing, as far as is known.
    Nothing,
    /// The bytes that were sent; perhaps its own object.
    Same,
    /// Other bytes.
    Other,
}

impl There {
    fn after(outcome: &Result<Round, CopyError>) -> Self {
        match outcome {
            Ok(Round::Kept(_)) => Self::Same,
            Ok(Round::Again(_)) => Self::Other,
            Ok(Round::Spilt(_)) | Err(_) => Self::Nothing,
        }
    }
}

type Etag = String;

/// Parts on their way.
#[derive(Default)]
struct UnderWay<'a> {
    sending: FuturesUnordered<BoxFuture<'a, Result<(u32, Etag), Stuck>>>,
    arrived: Vec<(u32, Etag)>,
}

impl UnderWay<'_> {
    /// Does something beside them. A part that is done gives its room back, which the work may be waiting for.
    async fn beside<T>(&mut self, work: impl Future<Output = Result<T, FetchError>>) -> Result<T, Stuck> {
        tokio::pin!(work);
        loop {
            // In a fixed order, so that a simulated run can be replayed.
            tokio::select! {
                biased;
                done = &mut work => return Ok(done?),
                Some(part) = self.sending.next(), if !self.sending.is_empty() => self.arrived.push(part?),
            }
        }
    }

    /// Waits until at most so many are left.
    async fn shrink_to(&mut self, most: usize) -> Result<(), Stuck> {
        while self.sending.len() > most {
            self.arrived.extend(self.sending.next().await.transpose()?);
        }
        Ok(())
    }
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
        first: Coming,
        target: Target,
        key: &ObjectKey,
    ) -> Result<Round, CopyError> {
        let label = job.label(intake.content_type_so_far(), None);
        let _turn = self.unless_stopped::<_, CopyError>(async { Ok(self.leftovers.take(key).await) }).await?;
        self.sweep_key(key).await;
        let open = self.create(key, &label).await?;
        let outcome = self.send(job, intake, first, target, &open).await;
        match &outcome {
            Ok(Round::Kept(kept)) if !kept.adopted => {
                self.ledger.ended(open.ledger_id);
                // What was held for nothing but this.
                self.sweep_key(key).await;
            }
            _ if open.is_unanswered.load(Relaxed) => self.leave_in_doubt(open, There::after(&outcome), TAIL).await,
            _ if open.may_be_made.load(Relaxed) => {
                self.leave_in_doubt(open, There::after(&outcome), Duration::ZERO).await;
            }
            // Where the object is there by another hand, the upload of this one may still stand open.
            _ => self.abort(open).await,
        }
        outcome
    }

    /// Begins an upload. A creation whose answer was lost may exist under a name that nobody learned: what stands open
    /// on this key, of which we have the turn, is cleared before the next try, and looked for again afterwards.
    async fn create<'a>(&self, key: &'a ObjectKey, label: &Label) -> Result<Open<'a>, CopyError> {
        let mut failed = None;
        for _ in 0..CREATIONS {
            let id = self.ledger.intend(key).await.ok_or(CopyError::Stopped)?;
            match self.to_its_end(self.store.create_upload(key, label)).await {
                Ok(upload) => {
                    self.ledger.created(id, &upload);
                    let (may_be_made, is_unanswered) = (AtomicBool::new(false), AtomicBool::new(false));
                    return Ok(Open { key, upload, ledger_id: id, may_be_made, is_unanswered });
                }
                Err(CopyError::Store(lost @ StoreError::Unavailable(_))) => {
                    let cleared = self.unless_stopped(self.clear(key)).await;
                    // It may also still be on its way, and come when this upload is long complete.
                    let until = Some(self.clock.now().after(LATE));
                    self.leftovers.add(LeftUpload { id, key: key.clone(), upload: None, until, hold: None });
                    if let Err(error) = cleared {
                        tracing::warn!(%key, %error, "whether an upload was begun is not known; looking again later");
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
        Err(failed.expect("only such failures come round here").into())
    }

    async fn send(
        &self,
        job: &FileJob<'_>,
        mut intake: Intake,
        first: Coming,
        target: Target,
        open: &Open<'_>,
    ) -> Result<Round, CopyError> {
        let sending = async { Ok::<_, CopyError>(self.send_parts(&mut intake, first, open).await) };
        let parts = match self.unless_stopped(sending).await? {
            Ok(parts) => parts,
            Err(Stuck::Spilt(error)) => return Ok(Round::Spilt(error)),
            Err(Stuck::Broken(error)) => return Err(error),
        };
        let has_flowed = intake.has_flowed();
        let arrival = intake.finish();
        let right = job.target(&arrival, target.beside)?;
        let Arrival { receipt, inspection, .. } = arrival;
        if right.suspect != target.suspect {
            return Ok(Round::Again(right));
        }
        if target.beside.is_some_and(|sha256| sha256 != receipt.sha256) {
            return Ok(Round::Again(Target { beside: None, ..target }));
        }
        let completed = self.complete(open, &parts, &receipt).await;
        if has_flowed
            && let Err(error @ (CopyError::Mismatch { .. } | CopyError::Store(StoreError::Corrupted(_)))) = &completed
        {
            self.store.distrust_flows(&error.to_string());
        }
        let Some(completed) = completed? else { return Ok(Round::Again(target)) };
        let Completed { verified, adopted } = completed;
        let kept = Kept { key: open.key.clone(), verified, inspection, adopted, beside: target.beside.is_some() };
        Ok(Round::Kept(Box::new(kept)))
    }

    /// Reads and sends until the body ends; the parts come back in order.
    async fn send_parts(&self, intake: &mut Intake, first: Coming, open: &Open<'_>) -> Result<Vec<Part>, Stuck> {
        let mut under_way = UnderWay::default();
        let mut sums: Vec<Checksums> = Vec::new();
        let mut coming = first;
        for number in 1.. {
            let is_last = match coming {
                Coming::Held(portion) => {
                    let is_last = portion.is_last;
                    sums.push(portion.checksums);
                    under_way.sending.push(Box::pin(self.send_part(open, number, portion)));
                    is_last
                }
                Coming::Flows(bytes) => {
                    let (sink, body) = flow(bytes);
                    under_way.sending.push(Box::pin(self.flow_part(open, number, body)));
                    let poured = under_way.beside(intake.pour(sink)).await?;
                    sums.push(poured.checksums);
                    poured.is_last
                }
            };
            if is_last {
                break;
            }
            under_way.shrink_to(PARTS_AT_ONCE - 1).await?;
            coming = under_way.beside(intake.next_part()).await?;
        }
        under_way.shrink_to(0).await?;
        under_way.arrived.sort_unstable_by_key(|(number, _)| *number);
        let part = |((number, etag), checksums)| Part { number, etag, checksums };
        Ok(under_way.arrived.into_iter().zip(sums).map(part).collect())
    }

    async fn send_part(&self, open: &Open<'_>, number: u32, portion: Portion) -> Result<(u32, Etag), Stuck> {
        let sent = self.store.put_part(open.key, &open.upload, number, portion.segments.clone(), &portion.checksums);
        sent.await.map(|etag| (number, etag)).map_err(|error| Stuck::Broken(error.into()))
    }

    async fn flow_part(&self, open: &Open<'_>, number: u32, body: Flow) -> Result<(u32, Etag), Stuck> {
        let sent = self.store.flow_part(open.key, &open.upload, number, body);
        sent.await.map(|etag| (number, etag)).map_err(Stuck::Spilt)
    }

    /// The same as [`Archive::try_to_complete`], through a store's bad moments.
    async fn complete(&self, open: &Open<'_>, parts: &[Part], whole: &Receipt) -> Result<Option<Completed>, CopyError> {
        for wait in AGAIN {
            match self.try_to_complete(open, parts, whole).await {
                Err(CopyError::Store(StoreError::Unavailable(_) | StoreError::Unanswered(_))) => {
                    self.wait(wait).await?;
                }
                done => return done,
            }
        }
        self.try_to_complete(open, parts, whole).await
    }

    /// Makes the object visible, and proves it. `None` if something else stands there meanwhile: a look comes right before
    /// it, because a store that ignores the condition would overwrite what was put there while the parts went up.
    async fn try_to_complete(
        &self,
        open: &Open<'_>,
        parts: &[Part],
        whole: &Receipt,
    ) -> Result<Option<Completed>, CopyError> {
        let key = open.key;
        let adopted = |verified| Some(Completed { verified, adopted: true });
        if let Some(there) = self.look(key, whole).await? {
            return Ok(there.ok().and_then(adopted));
        }
        let began = self.clock.elapsed();
        if !self.ledger.told(open.ledger_id).await {
            return Err(CopyError::Stopped);
        }
        let told = self.to_its_end(self.store.complete(key, &open.upload, parts, whole)).await;
        match &told {
            Err(CopyError::Stopped | CopyError::Store(StoreError::Unanswered(_))) => {
                open.is_unanswered.store(true, Relaxed);
            }
            // A store may have made it, and failed at what it does behind.
            Ok(()) | Err(CopyError::Store(StoreError::Unavailable(_))) => open.may_be_made.store(true, Relaxed),
            Err(_) => {}
        }
        match told {
            Ok(()) => {
                self.wrote(key, began);
                self.verify(key, whole).await.map(|verified| Some(Completed { verified, adopted: false }))
            }
            // Perhaps it is ours: applied, and the answer lost; or refused when it was sent again.
            Err(CopyError::Store(
                lost @ (StoreError::UploadLost(_) | StoreError::Unavailable(_) | StoreError::Unanswered(_)),
            )) => self.found(key, whole, lost).await.map(adopted),
            Err(CopyError::Store(StoreError::Exists(_))) => {
                let there = self.look(key, whole).await?.ok_or_else(|| neither(key))?;
                Ok(there.ok().and_then(adopted))
            }
            Err(error) => Err(error),
        }
    }

    /// Leaves an upload that may be completed, or may yet be, to the sweep, which knows when it is safe to abort, unless it is
    /// known to be gone. `tail`: how long it may still come when a later write on its key is through.
    async fn leave_in_doubt(&self, open: Open<'_>, there: There, tail: Duration) {
        if there != There::Nothing
            && let Some(Ok(listed)) = self.within(ABORT_PATIENCE, self.store.uploads(open.key)).await
            && !listed.contains(&open.upload)
        {
            self.leftovers.spare(open.upload);
            return self.ledger.ended(open.ledger_id);
        }
        tracing::warn!(key = %open.key, "what came of a completion is not known; its upload is left alone until it cannot come any more");
        let now = self.clock.elapsed();
        let hold = match there {
            There::Nothing => Hold::Since { moment: now, tail },
            There::Same => Hold::to(now + tail),
            There::Other => Hold::Until { end: now + tail, is_others: true },
        };
        self.leave_open(open, Some(hold));
    }

    /// Ends an upload that leads nowhere. One that cannot be ended now is left for the sweep.
    async fn abort(&self, open: Open<'_>) {
        match self.within(ABORT_PATIENCE, self.store.abort(open.key, &open.upload)).await {
            Some(Ok(())) => self.ledger.ended(open.ledger_id),
            failed => {
                tell_unaborted(open.key, failed.and_then(Result::err));
                self.leave_open(open, None);
            }
        }
    }

    fn leave_open(&self, open: Open<'_>, hold: Option<Hold>) {
        let (id, key, upload) = (open.ledger_id, open.key.clone(), Some(open.upload));
        self.leftovers.add(LeftUpload { id, key, upload, until: None, hold });
    }
}

/// `None`: it took too long.
fn tell_unaborted(key: &ObjectKey, error: Option<StoreError>) {
    let why = error.map_or_else(|| "it took too long".to_owned(), |error| error.to_string());
    tracing::warn!(%key, why, "an upload could not be aborted; trying again later");
}
