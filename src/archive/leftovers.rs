//! Uploads that lead nowhere and are still open, and whose turn it is on a key.
//!
//! An upload whose name was never learned (the answer to its creation was lost, or the run died) can only be found by
//! its key, and a list of the uploads on a key shows those that are under way as well. So a key has one user at a
//! time: an upload holds its turn from before it is created until it is completed or aborted, and the sweep takes a
//! turn before it clears a key. What it then finds is dead, but for what is held.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::store::UploadId;
use super::sweep::{Hold, LeftUpload};
use crate::key::ObjectKey;

/// What is left to be swept. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Leftovers(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    uploads: Mutex<Vec<LeftUpload>>,
    added: Notify,
    /// Uploads that were told to complete, and that the store has ceased to list: what a list forgets may come back in another.
    spared: Mutex<HashSet<UploadId>>,
    keys: Mutex<BTreeSet<ObjectKey>>,
    freed: Notify,
}

impl Leftovers {
    pub(super) fn add(&self, upload: LeftUpload) {
        lock(&self.0.uploads).push(upload);
        self.0.added.notify_one();
    }

    /// What could not be swept: there, but nothing new.
    pub(super) fn put_back(&self, upload: LeftUpload) {
        lock(&self.0.uploads).push(upload);
    }

    /// All that is left now and not held.
    pub(super) fn take_due(&self, now: Duration) -> Vec<LeftUpload> {
        lock(&self.0.uploads).extract_if(.., |left| !left.is_held(now)).collect()
    }

    /// What is left on this key and not held.
    pub(super) fn take_of(&self, key: &ObjectKey, now: Duration) -> Vec<LeftUpload> {
        lock(&self.0.uploads).extract_if(.., |left| left.key == *key && !left.is_held(now)).collect()
    }

    /// Those that are held for a while, by their numbers.
    pub(super) fn held(&self, now: Duration) -> Vec<(i64, ObjectKey, UploadId)> {
        let uploads = lock(&self.0.uploads);
        let held = uploads.iter().filter(|left| left.is_held(now) && left.hold != Some(Hold::Made));
        held.filter_map(|left| Some((left.id, left.key.clone(), left.upload.clone()?))).collect()
    }

    /// Of one that is listed no more.
    pub(super) fn forget(&self, id: i64) {
        lock(&self.0.uploads).retain(|left| left.id != id);
    }

    /// Keeps it from being cleared by its key alone.
    pub(super) fn spare(&self, upload: UploadId) {
        lock(&self.0.spared).insert(upload);
    }

    /// How long the first is held that is held to a moment.
    pub(super) fn next_release(&self, now: Duration) -> Option<Duration> {
        lock(&self.0.uploads).iter().filter_map(|left| left.released_in(now)).min()
    }

    /// Whether this upload is left, and may have been completed.
    pub(super) fn is_told(&self, key: &ObjectKey, upload: &UploadId) -> bool {
        let is_it = |left: &LeftUpload| left.key == *key && left.upload.as_ref() == Some(upload);
        lock(&self.0.spared).contains(upload)
            || lock(&self.0.uploads).iter().any(|left| is_it(left) && left.hold.is_some())
    }

    /// Tells those that are held of a write that came through. Gives those whose key holds an object of other parts since.
    pub(super) fn hear(&self, key: &ObjectKey, began: Duration, now: Duration) -> Vec<i64> {
        let mut uploads = lock(&self.0.uploads);
        let (mut is_news, mut others) = (false, Vec::new());
        for left in uploads.iter_mut() {
            let was_others = left.is_others();
            is_news |= left.hear(key, began, now);
            if left.is_others() && !was_others {
                others.push(left.id);
            }
        }
        if is_news {
            self.0.added.notify_one();
        }
        others
    }

    /// Until something is added.
    pub(super) async fn added(&self) {
        self.0.added.notified().await;
    }

    /// Waits for the turn on this key.
    pub(super) async fn take(&self, key: &ObjectKey) -> KeyTurn {
        loop {
            let freed = self.0.freed.notified();
            tokio::pin!(freed);
            // Before the look, so that no wake-up falls between the two.
            freed.as_mut().enable();
            if let Some(turn) = self.try_take(key) {
                return turn;
            }
            freed.await;
        }
    }

    /// The turn on this key, if nobody has it.
    pub(super) fn try_take(&self, key: &ObjectKey) -> Option<KeyTurn> {
        lock(&self.0.keys).insert(key.clone()).then(|| KeyTurn { of: Arc::clone(&self.0), key: key.clone() })
    }
}

/// The right to create or clear uploads on one key.
#[derive(Debug)]
pub(super) struct KeyTurn {
    of: Arc<Inner>,
    key: ObjectKey,
}

impl Drop for KeyTurn {
    fn drop(&mut self) {
        lock(&self.of.keys).remove(&self.key);
        self.of.freed.notify_waiters();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that holds one can panic half way through a change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_key_has_one_user_at_a_time() {
        let leftovers = Leftovers::default();
        let (one, other) = (ObjectKey::parse("one").unwrap(), ObjectKey::parse("other").unwrap());
        let turn = leftovers.take(&one).await;
        assert!(leftovers.try_take(&one).is_none());
        assert!(leftovers.try_take(&other).is_some());
        let waiting = tokio::spawn({
            let leftovers = leftovers.clone();
            async move { leftovers.take(&one).await }
        });
        tokio::task::yield_now().await;
        drop(turn);
        assert!(tokio::time::timeout(Duration::from_secs(5), waiting).await.is_ok());
    }
}
