//! What a dead run or a failed abort left: multipart uploads that are in the ledger, and nobody else's.
//!
//! A run that died may have created an upload whose name it never learned. The ledger has the key, so that the bucket
//! is asked for the uploads on exactly that key. Uploads on keys that are not in the ledger are never touched.
//!
//! An upload that was told to complete, and of which it is not known whether it did, is another matter: an abort may take
//! the bytes of an object. The store may be at it for as long as it takes, and one that is both completed and aborted may
//! leave an object whose bytes are gone, at once or, in Ceph 16, when its collector comes round hours later. So it is held
//! until a later write has come through: on its own key, which the completion was ahead of, for a moment more; anywhere in
//! the bucket, for as long as a creation may be late. And then it is left alone if an object stands there that may be made
//! of its parts: Swift lists an upload still if the last step of its completion fails, and deletes the parts of what is
//! aborted. The ledger knows it, so that all this holds in the next run too, where nothing is waited for after a day.
//!
//! The race with a creation that outlives its run, or its request: sent, not yet applied, and so in no list. The note of
//! it stays for as long as it may come, in which that key is looked at again.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Archive;
use super::store::{StoreError, UploadId};
use crate::clock::Timestamp;
use crate::key::ObjectKey;

/// How long after it was noted a creation or a completion of a run that ended may still arrive. S3 takes no signature that
/// is older than a quarter of an hour; a machine that was suspended may be later.
pub(crate) const LATEST: Duration = Duration::from_hours(24);
/// And how long one that this run sent, and that was not answered.
pub(super) const LATE: Duration = Duration::from_mins(20);
/// What a completion still needs when a write behind it on the same key is through already.
pub(crate) const TAIL: Duration = Duration::from_secs(10);

/// An upload of the ledger that leads nowhere.
#[derive(Clone, Debug)]
pub struct LeftUpload {
    /// The ledger's number.
    pub id: i64,
    /// On which key.
    pub key: ObjectKey,
    /// Under which name, if it was learned.
    pub upload: Option<UploadId>,
    /// Until when it may yet be created, if that is not known to have happened.
    pub until: Option<Timestamp>,
    /// If it was told to complete, and may have.
    pub hold: Option<Hold>,
}

/// How long an upload that was told to complete is left alone, by the monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// For as long as no write that was begun after a moment has come through.
    Since {
        /// Which.
        moment: Duration,
        /// And for so long after one on its key.
        tail: Duration,
    },
    /// To a moment.
    Until {
        /// Which.
        end: Duration,
        /// The object under its key is known to be made of other parts.
        is_others: bool,
    },
    /// For good: an object stands under its key that may be made of its parts.
    Made,
}

impl Hold {
    /// To this moment.
    #[must_use]
    pub fn to(end: Duration) -> Self {
        Self::Until { end, is_others: false }
    }
}

impl LeftUpload {
    pub(super) fn is_held(&self, now: Duration) -> bool {
        match self.hold {
            None => false,
            Some(Hold::Since { moment, .. }) => now < moment + LATEST,
            Some(Hold::Until { end, .. }) => now < end,
            Some(Hold::Made) => true,
        }
    }

    /// How long it is held still, if to a moment.
    pub(super) fn released_in(&self, now: Duration) -> Option<Duration> {
        match self.hold {
            Some(Hold::Until { end, .. }) => end.checked_sub(now).filter(|left| !left.is_zero()),
            Some(Hold::Since { .. } | Hold::Made) | None => None,
        }
    }

    /// Hears of a write that was begun at `began` and has come through; whether that says how long to wait.
    pub(super) fn hear(&mut self, key: &ObjectKey, began: Duration, now: Duration) -> bool {
        let is_here = self.key == *key;
        let to = |tail, is_others| Hold::Until { end: now + if is_here { tail } else { LATE }, is_others };
        let next = match self.hold {
            Some(Hold::Since { moment, tail }) if moment <= began => to(tail, is_here),
            Some(Hold::Until { end, .. }) if is_here => Hold::Until { end: end.min(now + TAIL), is_others: true },
            Some(Hold::Until { end, is_others }) => Hold::Until { end: end.min(now + LATE), is_others },
            Some(Hold::Made) if is_here => to(TAIL, true),
            Some(Hold::Since { .. } | Hold::Made) | None => return false,
        };
        self.hold.replace(next) != Some(next)
    }

    /// Whether the object under its key is known to be made of other parts.
    pub(super) fn is_others(&self) -> bool {
        matches!(self.hold, Some(Hold::Until { is_others: true, .. }))
    }
}

/// Keys that were cleared in one pass: several creations on one may have gone unanswered.
type Cleared = BTreeSet<ObjectKey>;

impl Archive {
    /// Remembers an upload of an earlier run for the sweep.
    pub fn leave(&self, upload: LeftUpload) {
        self.leftovers.add(upload);
    }

    /// Until there is something to sweep that was not there before.
    pub async fn until_left(&self) {
        self.leftovers.added().await;
    }

    /// Aborts what is left; says how much is left still: not to be reached, or perhaps to come.
    pub async fn sweep(&self) -> usize {
        let mut cleared = Cleared::default();
        let mut count = self.release().await;
        let mut due = self.leftovers.take_due(self.clock.elapsed());
        // What is cleared by its key alone comes last: what must stay is known by then.
        due.sort_by_key(|left| left.upload.is_none());
        for mut left in due {
            // A key that is in use: who has the turn on it has seen to this already, or is why it exists.
            let turn = self.leftovers.try_take(&left.key);
            let gone = (left.upload.is_some() || turn.is_some()) && self.sweep_one(&mut left, &mut cleared).await;
            if !gone {
                count += usize::from(left.hold != Some(Hold::Made));
                self.leftovers.put_back(left);
            }
        }
        count
    }

    /// Forgets those that are held and that the store lists no more: they have come to their end. Says how many are left.
    async fn release(&self) -> usize {
        let mut count = 0;
        for (id, key, upload) in self.leftovers.held(self.clock.elapsed()) {
            match self.store.uploads(&key).await {
                Ok(listed) if !listed.contains(&upload) => {
                    self.leftovers.spare(upload);
                    self.leftovers.forget(id);
                    self.ledger.ended(id);
                }
                _ => count += 1,
            }
        }
        count
    }

    /// How long until something that is held for a while can be aborted, if that is known.
    #[must_use]
    pub fn released_in(&self) -> Option<Duration> {
        self.leftovers.next_release(self.clock.elapsed())
    }

    /// Sweeps what is held for a moment only; what has to be waited for longer stays.
    pub async fn sweep_soon(&self) {
        while let Some(wait) = self.released_in().filter(|wait| *wait <= TAIL) {
            self.clock.sleep(wait).await;
            self.sweep().await;
        }
    }

    /// Aborts what is left on a key, before an upload of ours begins there. Only for who has the turn on it.
    pub(super) async fn sweep_key(&self, key: &ObjectKey) {
        let mut cleared = Cleared::default();
        let mut due = self.leftovers.take_of(key, self.clock.elapsed());
        due.sort_by_key(|left| left.upload.is_none());
        for mut left in due {
            if !self.sweep_one(&mut left, &mut cleared).await {
                // The sweep may have come by meanwhile, and found nothing.
                self.leftovers.add(left);
            }
        }
    }

    /// Whether it is gone now, and for good.
    async fn sweep_one(&self, left: &mut LeftUpload, cleared: &mut Cleared) -> bool {
        let swept = match &left.upload {
            Some(upload) if left.hold.is_some() && !left.is_others() => self.abort_unless_made(&left.key, upload).await,
            Some(upload) => self.store.abort(&left.key, upload).await.map(|()| true),
            None if cleared.contains(&left.key) => Ok(true),
            None => self.clear(&left.key).await.map(|()| true),
        };
        if swept.is_ok() && left.upload.is_none() {
            cleared.insert(left.key.clone());
        }
        match &swept {
            Ok(true) if left.until.is_some_and(|until| self.clock.now() < until) => return false,
            Ok(true) => {
                tracing::info!(key = %left.key, "aborted an upload that led nowhere");
                self.ledger.ended(left.id);
            }
            Ok(false) => {
                tell_made(&left.key);
                left.hold = Some(Hold::Made);
            }
            Err(error) => {
                tracing::warn!(key = %left.key, %error, "an upload that leads nowhere cannot be aborted; trying again later");
            }
        }
        matches!(swept, Ok(true))
    }

    /// Aborts an upload that was told to complete, unless an object stands under its key: that may be made of its parts.
    /// Whether the upload is gone.
    async fn abort_unless_made(&self, key: &ObjectKey, upload: &UploadId) -> Result<bool, StoreError> {
        if self.store.head(key).await?.is_none() {
            return self.store.abort(key, upload).await.map(|()| true);
        }
        match self.store.uploads(key).await {
            Ok(listed) if listed.contains(upload) => Ok(false),
            Ok(_) => {
                self.leftovers.spare(upload.clone());
                Ok(true)
            }
            // Who may not list, or a store that cannot, will not learn more by asking again.
            Err(StoreError::Setup { reason: "access_denied" | "invalid", .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Aborts every upload on this key but those that may have been completed. Only for who has the turn on it.
    pub(super) async fn clear(&self, key: &ObjectKey) -> Result<(), StoreError> {
        for open in self.store.uploads(key).await? {
            if !self.leftovers.is_told(key, &open) {
                self.store.abort(key, &open).await?;
            }
        }
        Ok(())
    }

    /// A write on this key that was begun at `began` (by [`Clock::elapsed`](crate::clock::Clock::elapsed)) came through.
    pub(super) fn wrote(&self, key: &ObjectKey, began: Duration) {
        for id in self.leftovers.hear(key, began, self.clock.elapsed()) {
            self.ledger.is_others(id);
        }
    }
}

fn tell_made(key: &ObjectKey) {
    tracing::warn!(
        %key,
        "the store lists an upload, or does not say, that was told to complete, beside the object under its key, which may be \
         made of its parts: it is left alone"
    );
}
