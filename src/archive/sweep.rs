//! What a dead run or a failed abort left: multipart uploads that are in the ledger, and nobody else's.
//!
//! A run that died may have created an upload whose name it never learned. The ledger has the key, so that the bucket
//! is asked for the uploads on exactly that key. Uploads on keys that are not in the ledger are never touched.
//!
//! An upload whose completion was never answered is not aborted at once. The store may be at it for as long as it takes,
//! and one that is both completed and aborted may leave an object whose bytes are gone: Ceph 16 did, hours later, when
//! its collector came round. Such an upload is held until a later write has come through: on its own key, which the
//! completion was ahead of, for a moment more; anywhere in the bucket, for as long as a creation may be late. The ledger
//! knows it, so that the next run holds it too, for a day at most; of a run that died before it came to doubt it does not.
//!
//! The race with a creation that outlives its run, or its request: sent, not yet applied, and so in no list. The note of
//! it stays for as long as it may come, in which that key is looked at again.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Archive;
use super::store::{StoreError, UploadId};
use crate::clock::Timestamp;
use crate::key::ObjectKey;

/// How long after it was noted a creation or completion of a run that ended may still arrive. S3 takes no signature that is older than
/// a quarter of an hour; a machine that was suspended may be later.
pub(crate) const LATEST: Duration = Duration::from_hours(24);
/// And how long one that this run sent, and that was not answered.
pub(super) const LATE: Duration = Duration::from_mins(20);
/// What a completion still needs when a write behind it on the same key is through already.
const TAIL: Duration = Duration::from_secs(30);

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
    /// Before when it must not be aborted, if its completion may be under way.
    pub hold: Option<Hold>,
}

/// How long an upload is left alone, by the monotonic clock.
#[derive(Clone, Copy, Debug)]
pub enum Hold {
    /// For as long as no write that was begun after this moment has come through.
    Since(Duration),
    /// To this moment.
    Until(Duration),
}

impl LeftUpload {
    pub(super) fn is_held(&self, now: Duration) -> bool {
        match self.hold {
            None => false,
            Some(Hold::Since(_)) => true,
            Some(Hold::Until(end)) => now < end,
        }
    }

    /// Hears of a write that was begun at `began` and has come through; whether that says how long to wait.
    pub(super) fn hear(&mut self, key: &ObjectKey, began: Duration, now: Duration) -> bool {
        let end = now + if self.key == *key { TAIL } else { LATE };
        let is_news = match self.hold {
            None => false,
            Some(Hold::Since(since)) => since <= began,
            Some(Hold::Until(known)) => end < known,
        };
        if is_news {
            self.hold = Some(Hold::Until(end));
        }
        is_news
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
        let (due, mut count) = self.leftovers.take_due(self.clock.elapsed());
        for left in due {
            // A key that is in use: who has the turn on it has seen to this already, or is why it exists.
            let turn = self.leftovers.try_take(&left.key);
            let gone = (left.upload.is_some() || turn.is_some()) && self.sweep_one(&left, &mut cleared).await;
            if !gone {
                self.leftovers.put_back(left);
                count += 1;
            }
        }
        count
    }

    /// Aborts what is left on a key, before an upload of ours begins there. Only for who has the turn on it.
    pub(super) async fn sweep_key(&self, key: &ObjectKey) {
        let mut cleared = Cleared::default();
        for left in self.leftovers.take_of(key, self.clock.elapsed()) {
            if !self.sweep_one(&left, &mut cleared).await {
                // The sweep may have come by meanwhile, and found nothing.
                self.leftovers.add(left);
            }
        }
    }

    /// Whether it is gone now, and for good.
    async fn sweep_one(&self, left: &LeftUpload, cleared: &mut Cleared) -> bool {
        let swept = match &left.upload {
            Some(upload) => self.store.abort(&left.key, upload).await,
            None if cleared.contains(&left.key) => Ok(()),
            None => self.clear(&left.key).await,
        };
        if swept.is_ok() && left.upload.is_none() {
            cleared.insert(left.key.clone());
        }
        match &swept {
            Ok(()) if left.until.is_some_and(|until| self.clock.now() < until) => return false,
            Ok(()) => {
                tracing::info!(key = %left.key, "aborted an upload that led nowhere");
                self.ledger.ended(left.id);
            }
            Err(error) => {
                tracing::warn!(key = %left.key, %error, "an upload that leads nowhere cannot be aborted; trying again later");
            }
        }
        swept.is_ok()
    }

    /// Aborts every upload on this key but those that are held. Only for who has the turn on it.
    pub(super) async fn clear(&self, key: &ObjectKey) -> Result<(), StoreError> {
        for open in self.store.uploads(key).await? {
            if !self.leftovers.is_held(key, &open, self.clock.elapsed()) {
                self.store.abort(key, &open).await?;
            }
        }
        Ok(())
    }

    /// A write on this key that was begun at `began` (by [`Clock::elapsed`](crate::clock::Clock::elapsed)) came through.
    pub(super) fn wrote(&self, key: &ObjectKey, began: Duration) {
        self.leftovers.hear(key, began, self.clock.elapsed());
    }
}
