//! One daemon a queue: an advisory lock on a file of its own beside the queue.
//!
//! The kernel drops it when the process ends, however it ends. It is not on the queue itself alone, because whoever looks
//! who holds it would close that file outside SQLite, which drops SQLite's locks. The file stays; what it says is for
//! people and for `status`: who holds the queue, and in a second line why it cannot be written to, which the queue itself
//! cannot say.

use std::fs::{self, File, TryLockError};
use std::io::Read as _;
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::QueueError;
use super::desk::Record;
use super::file::beside;
use crate::clock::Clock;
use crate::pause::Pause;

/// The right to be this queue's daemon, for as long as it lives.
#[derive(Debug)]
pub struct RunLock {
    file: File,
    /// The line that names the holder.
    name: String,
    /// The queue itself, once it is locked as well.
    of_queue: Option<File>,
}

impl RunLock {
    /// Takes the lock of the queue at `path`.
    ///
    /// # Errors
    /// [`QueueError::Held`] naming the holder; [`QueueError::NotUsable`] if the lock file cannot be had.
    pub async fn take(path: &Path, clock: &dyn Clock) -> Result<Self, QueueError> {
        let cannot =
            |error: std::io::Error| QueueError::not_usable(path, format!("its lock file cannot be used: {error}"));
        let mut file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o660)
            .open(beside(path, ".lock"))
            .map_err(cannot)?;
        let mut tries = 0;
        while let Err(error) = file.try_lock() {
            match error {
                TryLockError::WouldBlock if tries < TRIES => clock.sleep(BETWEEN_TRIES).await,
                TryLockError::WouldBlock => {
                    return Err(QueueError::Held { path: path.to_owned(), holder: holder_in(&mut file) });
                }
                TryLockError::Error(error) => return Err(cannot(error)),
            }
            tries += 1;
        }
        // For the group whatever the umask: a daemon that root tried by hand must not lock the service out. Where the
        // file is somebody else's, its modes are theirs as well.
        let _ = file.set_permissions(fs::Permissions::from_mode(0o660));
        file.set_len(0).map_err(cannot)?;
        let now = clock.now();
        let name = format!("pid {} since {now}, version {}\n", std::process::id(), env!("CARGO_PKG_VERSION"));
        let lock = Self { file, name, of_queue: None };
        lock.note(None);
        Ok(lock)
    }

    /// Locks the queue's file itself, too: by a link to it, another daemon finds another lock file. It is not closed before
    /// all of SQLite's connections are, because closing it drops SQLite's own locks.
    pub(super) fn extend(&mut self, path: &Path) -> Result<(), QueueError> {
        // At an earlier try, after which opening the queue failed.
        if self.of_queue.is_some() {
            return Ok(());
        }
        let cannot = |error: std::io::Error| QueueError::not_usable(path, format!("it cannot be locked: {error}"));
        let queue = File::open(path).map_err(cannot)?;
        match queue.try_lock() {
            Ok(()) => self.of_queue = Some(queue),
            Err(TryLockError::WouldBlock) => {
                let holder = "it has the same file open by another name".to_owned();
                return Err(QueueError::Held { path: path.to_owned(), holder });
            }
            Err(TryLockError::Error(error)) => return Err(cannot(error)),
        }
        Ok(())
    }

    /// Says that the queue waits, or no longer does, below the holder's name. A disk that became full meanwhile still has
    /// room for a line in this file; one that was full before has none for the name either, which the next note brings.
    pub fn note(&self, pause: Option<&Pause>) {
        let note = pause.map(|Pause { what, reason, message, since, until }| {
            let (since, until) = (since.to_string(), until.to_string());
            json!({ "what": what, "reason": reason, "since": since, "until": until, "message": message }).to_string()
        });
        let text = format!("{}{}", self.name, note.unwrap_or_default());
        if self.file.write_all_at(text.as_bytes(), 0).is_ok() {
            let _ = self.file.set_len(text.len() as u64);
        }
    }
}

impl Drop for RunLock {
    /// An empty lock file says that the last daemon ended in order.
    fn drop(&mut self) {
        let _ = self.file.set_len(0);
    }
}

/// Whoever looks who holds the queue has the lock for a moment: a daemon that starts just then tries again.
const TRIES: u32 = 10;
const BETWEEN_TRIES: Duration = Duration::from_millis(20);

/// Who holds the queue, if a daemon does. The lock tells, not what the file says: that may be left from a daemon that
/// was killed, and its process id may be another process's by now.
#[must_use]
pub fn holder(path: &Path) -> Option<String> {
    held(path).map(|mut file| holder_in(&mut file))
}

/// The pause of the queue that its daemon notes, with the columns of `pauses`.
pub(super) fn noted(path: &Path) -> Option<Record> {
    serde_json::from_str(text(&mut held(path)?)?.lines().nth(1)?).ok()
}

/// The lock file, if a daemon holds it.
fn held(path: &Path) -> Option<File> {
    let file = File::open(beside(path, ".lock")).ok()?;
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)).then_some(file)
}

/// A daemon that could not write its name holds the queue all the same.
fn holder_in(file: &mut File) -> String {
    let name = text(file).and_then(|text| text.lines().next().map(|line| line.trim().to_owned()));
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| "it has not written its name yet".to_owned())
}

fn text(file: &mut File) -> Option<String> {
    let mut text = String::new();
    file.take(LONGEST).read_to_string(&mut text).ok()?;
    Some(text)
}

/// More than both lines ever have.
const LONGEST: u64 = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{SystemClock, Timestamp};

    #[tokio::test]
    async fn a_daemon_whose_name_found_no_room_holds_the_queue_and_brings_it_later() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("queue.db");
        let lock = RunLock::take(&path, &SystemClock::new()).await.unwrap();
        let named = holder(&path).unwrap();
        assert!(named.starts_with(&format!("pid {} since ", std::process::id())), "{named}");
        // As a full disk leaves it.
        lock.file.set_len(0).unwrap();
        assert_eq!(holder(&path).as_deref(), Some("it has not written its name yet"));
        let at = Timestamp::from_seconds(0);
        let [long, short] = ["a long message", "short"].map(ToOwned::to_owned).map(|message| {
            let (what, reason) = ("queue".to_owned(), "disk_full");
            Pause { what, reason, message, since: at, until: at }
        });
        for pause in [long, short] {
            lock.note(Some(&pause));
            assert_eq!(holder(&path).as_ref(), Some(&named));
            assert_eq!(noted(&path).unwrap()["message"], *pause.message);
        }
        lock.note(None);
        assert_eq!((holder(&path), noted(&path)), (Some(named), None));
        drop(lock);
        assert_eq!(holder(&path), None);
    }
}
