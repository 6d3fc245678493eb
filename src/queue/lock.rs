//! One daemon a queue: an advisory lock on a file of its own beside the queue.
//!
//! The kernel drops it when the process ends, however it ends. It is not on the queue itself, because closing that
//! file outside SQLite would drop SQLite's locks. The file stays; what it says is for people and for `status`.

use std::fs::{self, File, TryLockError};
use std::io::{Read, Write as _};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::QueueError;
use crate::clock::Clock;

/// The right to be this queue's daemon, for as long as it lives.
#[derive(Debug)]
pub struct RunLock {
    file: File,
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
            .open(lock_path(path))
            .map_err(cannot)?;
        let mut tries = 0;
        while let Err(error) = file.try_lock() {
            match error {
                TryLockError::WouldBlock if tries < TRIES => clock.sleep(BETWEEN_TRIES).await,
                TryLockError::WouldBlock => {
                    let holder = holder_in(&mut file).unwrap_or_else(|| "it has not written its name yet".into());
                    return Err(QueueError::Held { path: path.to_owned(), holder });
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
        let text = format!("pid {} since {now}, version {}\n", std::process::id(), env!("CARGO_PKG_VERSION"));
        file.write_all(text.as_bytes()).map_err(cannot)?;
        Ok(Self { file })
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
    let mut file = File::open(lock_path(path)).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => holder_in(&mut file),
        Ok(()) | Err(TryLockError::Error(_)) => None,
    }
}

fn holder_in(file: &mut File) -> Option<String> {
    let mut text = String::new();
    file.take(200).read_to_string(&mut text).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

fn lock_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}
