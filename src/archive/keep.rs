//! One file, from its URL to the proof that it is in the bucket.
//!
//! The order: what is known to be there is looked at and left; else the body is read. One that fits a single part is
//! held, its key settled by what it turned out to be, and put. A larger one goes up in parts while it comes down; if
//! it turns out at its end that another key is right (suspect after all, or the name taken by other bytes), that
//! upload is aborted and the file is fetched again for the right key. So is one of which a part was lost that was sent
//! while it came: then all parts are held. An object that is already there with the same bytes is adopted, which for a
//! large one means reading the source without sending anything.

use super::store::{Label, ObjectHead, StoreError};
use super::{Archive, CopyError, neither};
use crate::key::ObjectKey;
use crate::media::{Doubt, Ending, Inspection};
use crate::receipt::{Receipt, Sha256, Verified};
use crate::source::{FileHost, SignedUrl};
use crate::transfer::{Arrival, Coming, Intake, Portion};

/// A file to keep.
#[derive(Clone, Debug)]
pub struct FileJob<'a> {
    /// Where it comes from.
    pub files: &'a dyn FileHost,
    /// Under which URL.
    pub url: &'a SignedUrl,
    /// Where a sound one goes.
    pub key: &'a ObjectKey,
    /// `session-id` of its metadata.
    pub session_id: &'a str,
    /// `bot` of its metadata.
    pub bot: &'a str,
    /// Whether text, nothing, or what may be cut is archived, as suspect, because it came often enough.
    pub accepts_odd: bool,
}

/// A file that is kept.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Where.
    pub key: ObjectKey,
    /// The proof.
    pub verified: Verified,
    /// What it is.
    pub inspection: Inspection,
    /// Whether it was there already.
    pub adopted: bool,
    /// Whether something else stands under the name that it should have.
    pub beside: bool,
}

/// Which of a file's possible keys is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) suspect: bool,
    /// Its name is taken: it goes beside, under a name with these digits.
    pub(super) beside: Option<Sha256>,
}

/// What an attempt at a large file came to.
pub(super) enum Round {
    Kept(Box<Kept>),
    /// Another key is right.
    Again(Target),
    /// A part that was not held did not arrive.
    Spilt(StoreError),
}

/// How often a large file is fetched before its changing is an error.
const MOST_ROUNDS: u32 = 5;

impl Archive {
    /// Looks whether a file that the queue knows of is still whole in the bucket, without its source.
    ///
    /// # Errors
    /// [`CopyError`] of the bucket.
    pub async fn still_there(&self, key: &ObjectKey, receipt: &Receipt) -> Result<Option<Verified>, CopyError> {
        Ok(self.look(key, receipt).await?.and_then(Result::ok))
    }

    /// Brings a file into the bucket, and proves it.
    ///
    /// # Errors
    /// [`CopyError`]; nothing is left behind then but what was proven.
    pub async fn keep(&self, job: &FileJob<'_>) -> Result<Kept, CopyError> {
        let mut target = Target { suspect: false, beside: None };
        let mut lost = None;
        let mut may_flow = true;
        for _ in 0..MOST_ROUNDS {
            let download = self.unless_stopped(job.files.open(job.url)).await?;
            let (memory, pairing) = (self.memory.clone(), self.pairing.clone());
            let flows = may_flow && self.store.takes_flows();
            let mut intake = Intake::new(download, memory, pairing, self.transfer.part_size, flows);
            let round = match self.unless_stopped(intake.next_part()).await? {
                Coming::Held(body) if body.is_last => {
                    Ok(Round::Kept(Box::new(self.keep_small(job, intake, body).await?)))
                }
                first => {
                    target.suspect |= intake.is_suspect_so_far();
                    self.keep_large(job, intake, first, target).await
                }
            };
            match round {
                Ok(Round::Kept(kept)) => return Ok(*kept),
                Ok(Round::Again(next)) => target = next,
                Ok(Round::Spilt(error)) => {
                    tracing::debug!(key = %job.key, %error, "a part that was sent while it came was lost; fetching the file again");
                    (may_flow, lost) = (false, Some(error));
                }
                // Somebody has ended it: a rule of the bucket, a person. A new one may do.
                Err(CopyError::Store(gone @ StoreError::UploadLost(_))) => lost = Some(gone),
                Err(error) => return Err(error),
            }
        }
        // A bucket that loses uploads is no fault of the file's.
        let changes = || {
            CopyError::Unsettled(format!("{}: the file was another one at each of {MOST_ROUNDS} downloads", job.key))
        };
        Err(lost.map_or_else(changes, CopyError::Store))
    }

    /// All of it is in hand.
    async fn keep_small(&self, job: &FileJob<'_>, intake: Intake, body: Portion) -> Result<Kept, CopyError> {
        let arrival = intake.finish();
        let mut target = job.target(&arrival, None)?;
        let Arrival { receipt, inspection, .. } = arrival;
        let label = job.label(inspection.content_type, Some(&receipt));
        let mut refused = None;
        // The key itself, and the one beside it; each once more, for somebody who was faster.
        for _ in 0..4 {
            let key = self.key(job, target)?;
            let kept = |verified, adopted| {
                let (key, inspection) = (key.clone(), inspection.clone());
                Kept { key, verified, inspection, adopted, beside: target.beside.is_some() }
            };
            match self.unless_stopped(self.store.head(&key)).await? {
                None if refused.as_ref() == Some(&key) => return Err(neither(&key)),
                None => match self.put(&key, &label, body.segments.clone(), &receipt).await? {
                    Some(verified) => return Ok(kept(verified, false)),
                    None => refused = Some(key),
                },
                Some(head) => match self.compare(&key, &receipt, &head).await? {
                    Ok(verified) => return Ok(kept(verified, true)),
                    Err(difference) => {
                        self.is_really_other(&key, &receipt, difference).await?;
                        target.beside = Some(receipt.sha256);
                    }
                },
            }
        }
        Err(CopyError::Taken(job.key.clone()))
    }

    /// Not all of it is in hand: up while it comes down, or compared with what is there already.
    async fn keep_large(
        &self,
        job: &FileJob<'_>,
        intake: Intake,
        first: Coming,
        target: Target,
    ) -> Result<Round, CopyError> {
        let key = self.key(job, target)?;
        match self.unless_stopped(self.store.head(&key)).await? {
            Some(head) => {
                drop(first);
                self.adopt_large(job, intake, target, &key, &head).await
            }
            None => self.upload(job, intake, first, target, &key).await,
        }
    }

    /// Something is there: the source is read to its end and compared, and nothing is sent.
    async fn adopt_large(
        &self,
        job: &FileJob<'_>,
        mut intake: Intake,
        target: Target,
        key: &ObjectKey,
        head: &ObjectHead,
    ) -> Result<Round, CopyError> {
        self.unless_stopped(intake.drain()).await?;
        let arrival = intake.finish();
        let right = job.target(&arrival, target.beside)?;
        let Arrival { receipt, inspection, .. } = arrival;
        if right.suspect != target.suspect {
            return Ok(Round::Again(right));
        }
        match self.compare(key, &receipt, head).await? {
            Ok(verified) => Ok(Round::Kept(Box::new(Kept {
                key: key.clone(),
                verified,
                inspection,
                adopted: true,
                beside: target.beside.is_some(),
            }))),
            Err(difference) => {
                self.is_really_other(key, &receipt, difference).await?;
                if target.beside == Some(receipt.sha256) {
                    return Err(CopyError::Taken(job.key.clone()));
                }
                Ok(Round::Again(Target { beside: Some(receipt.sha256), ..target }))
            }
        }
    }

    /// The key that a target means.
    fn key(&self, job: &FileJob<'_>, target: Target) -> Result<ObjectKey, CopyError> {
        let key = if target.suspect { job.key.under(&self.suspect_prefix)? } else { job.key.clone() };
        Ok(match target.beside {
            Some(sha256) => key.conflict(&sha256)?,
            None => key,
        })
    }
}

impl FileJob<'_> {
    /// Where a file with these bytes belongs.
    ///
    /// # Errors
    /// [`CopyError::Odd`] if it is to be asked for again instead.
    pub(super) fn target(&self, arrival: &Arrival, beside: Option<Sha256>) -> Result<Target, CopyError> {
        let doubt = arrival.inspection.doubt.as_ref();
        // Where the connection's end was the file's, a doubt speaks of a cut, which the next attempt may not meet.
        let may_pass =
            |doubt: &Doubt| matches!(doubt, Doubt::Text | Doubt::Empty) || arrival.ending == Ending::Unmarked;
        match doubt.filter(|doubt| may_pass(doubt) && !self.accepts_odd) {
            Some(doubt) => Err(CopyError::Odd(doubt.clone())),
            None => Ok(Target { suspect: doubt.is_some(), beside }),
        }
    }

    /// What its object is created with.
    pub(super) fn label(&self, content_type: &str, whole: Option<&Receipt>) -> Label {
        Label::new(self.session_id, self.bot, content_type, whole)
    }
}
