//! The queue: a SQLite file that anyone may insert into, and the only place where SQL is spoken.
//!
//! What it protects: a row that was inserted never vanishes, a result is written by the one daemon that may, and what
//! was acknowledged survives a power loss (WAL with `synchronous=FULL`, read back on every connection).
//!
//! How rights work. One process at a time holds the queue's lock file ([`lock`]); at start it writes a fresh run token
//! into the `daemon` row, and every later write transaction names it, so that a straggler of an older run changes
//! nothing. A claim is a [`Lease`]: the row as it was read, with the row's own token. Whoever re-queues or replaces a
//! row changes that token, so that a late result changes no row. Claims are not written down: the claims of a process
//! that died are void the moment the next one starts, and another program that holds SQLite's write lock for minutes
//! stops no polling.
//!
//! All writes of the daemon go through one [`writer`], which commits what is waiting in one transaction, in order.
//! `write` is the results, `sql` their statements. The worker claims by `claim`, which walks the `index`, checks `rows` as
//! they are read, and leaves alone what is in `hands`. `desk` is what people's commands need, with `inspect` for `check`
//! and `reconcile`, and `lookup` for the daemon itself. `file` makes, opens and judges the file.

pub mod claim;
pub mod desk;
pub mod file;
pub mod hands;
mod index;
mod inspect;
pub mod lock;
mod lookup;
pub mod rows;
mod sql;
pub mod write;
pub mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use claim::{Claims, Due};
pub use desk::Desk;
pub use hands::Hands;
pub use index::Turn;
pub use inspect::STATELESS;
pub use lock::RunLock;
pub use lookup::{Count, Counts, Known, proven};
pub use rows::{Claimed, Lease, Row, metadata};
pub use write::{Applied, Write};
pub use writer::Writer;

use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Timestamp};
use crate::pause::{Pause, What};
use file::Identity;

/// The reason of a pause of the queue whose disk is full.
const DISK_FULL: &str = "disk_full";

/// What went wrong with the queue, by what the caller does next.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// The storage is damaged or not usable (exit 74): nothing was changed.
    #[error("the queue {} is not usable: {cause}", path.display())]
    NotUsable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        cause: String,
    },
    /// Another daemon holds this queue (exit 75).
    #[error("the queue {} is held by another daemon ({holder}); stop that one first", path.display())]
    Held {
        /// The file.
        path: PathBuf,
        /// What the lock file says of it.
        holder: String,
    },
    /// Another program holds SQLite's write lock.
    #[error("another program has been writing to the queue for too long: {0}")]
    Busy(String),
    /// The disk is full.
    #[error("the disk of the queue is full: {0}")]
    Full(String),
    /// Reading or writing failed in the operating system.
    #[error("reading or writing the queue failed: {0}")]
    Io(String),
    /// A statement was refused: a defect, or a row that somebody bent.
    #[error("the queue refused a statement: {0}")]
    Refused(String),
}

impl QueueError {
    fn not_usable(path: &Path, cause: impl Into<String>) -> Self {
        Self::NotUsable { path: path.to_owned(), cause: cause.into() }
    }

    /// The same in a daemon that has seen the file whole: SQLite also calls it damaged when the disk fails to give one
    /// page, once, and says that it cannot be opened when the process has no file left to open.
    fn while_running(path: &Path, error: &sqlx::Error) -> Self {
        let sqlx::Error::Database(database) = error else { return Self::from_sqlx(path, error) };
        let (path_shown, message) = (path.display(), database.message());
        match primary_code(&**database) {
            Some(CORRUPT) => Self::Io(format!("{path_shown} is damaged, or the disk does not give it ({message})")),
            Some(CANNOT_OPEN) => Self::Io(format!("{path_shown} cannot be opened just now ({message})")),
            _ => Self::from_sqlx(path, error),
        }
    }

    /// Sorts what sqlx reports by SQLite's primary result code.
    fn from_sqlx(path: &Path, error: &sqlx::Error) -> Self {
        let sqlx::Error::Database(database) = error else {
            return match error {
                sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed => Self::Io(error.to_string()),
                _ => Self::Refused(error.to_string()),
            };
        };
        let message = database.message().to_owned();
        if full_code(&**database) == Some(INDEX_TOO_SHORT) && !file::has_room_for_index(path) {
            return Self::Full(format!("there is no room for its -shm, {}", path.display()));
        }
        match primary_code(&**database) {
            Some(5 | 6) => Self::Busy(message),
            Some(13) => Self::Full(format!("{message}, {}", path.display())),
            // Memory that ran short, and a log that others kept changing, pass like trouble of the disk.
            Some(7 | 10 | 15) => Self::Io(format!("{message}, {}", path.display())),
            Some(3 | 23) => Self::not_usable(path, format!("access is denied ({message})")),
            Some(8) => Self::not_usable(path, format!("it is read-only ({message})")),
            Some(CORRUPT) => Self::not_usable(
                path,
                format!(
                    "it is damaged, or the disk does not give it ({message}); if that stays, restore it from a backup"
                ),
            ),
            Some(CANNOT_OPEN) => Self::not_usable(
                path,
                format!("it cannot be opened ({message}); check that the file and its folder can be read and written"),
            ),
            Some(26) => {
                Self::not_usable(path, "it is not a SQLite database; move it away or name another file in queue.path")
            }
            _ => Self::Refused(message),
        }
    }
}

/// SQLite's `SQLITE_CORRUPT`.
const CORRUPT: i32 = 11;
/// `SQLITE_CANTOPEN`.
const CANNOT_OPEN: i32 = 14;

/// `SQLITE_IOERR_SHMSIZE`: the log's index could not be made as long as it must be. SQLite does not say why: on a disk that
/// is full or on one that fails.
const INDEX_TOO_SHORT: i32 = 4874;

fn full_code(error: &dyn sqlx::error::DatabaseError) -> Option<i32> {
    error.code().and_then(|code| code.parse().ok())
}

fn primary_code(error: &dyn sqlx::error::DatabaseError) -> Option<i32> {
    full_code(error).map(|code| code & 0xff)
}

/// The queue of the daemon that holds it.
#[derive(Debug)]
pub struct Queue {
    /// Everything that is due.
    pub claims: Claims,
    /// Every result.
    pub writer: Writer,
    /// What the daemon itself looks up.
    pub desk: Arc<Desk>,
    /// Counts and lists for people, on another connection: counting millions of rows takes seconds.
    pub pages: Arc<Desk>,
    /// To be kept for as long as the queue is worked on.
    pub lock: RunLock,
}

impl Queue {
    /// Takes the queue for a daemon: locks it, creates or migrates it, checks it, and voids the claims of earlier runs.
    /// Where the disk has no room for that, it says so and waits for some; `None` if it is told to stop before.
    ///
    /// # Errors
    /// [`QueueError::Held`] and [`QueueError::NotUsable`], with what to do.
    pub async fn open(
        path: &Path,
        clock: Arc<dyn Clock>,
        stop: &CancellationToken,
    ) -> Result<Option<Self>, QueueError> {
        file::create_folder(path)?;
        let mut lock = RunLock::take(path, &*clock).await?;
        let since = clock.now();
        let mut tries = 0;
        let (claims, writer, [desk, pages]) = loop {
            match open_locked(path, &clock, &mut lock).await {
                Ok(opened) => break opened,
                // Nothing of that was written: whatever could be is there at the next try.
                Err(error @ QueueError::Full(_)) => {
                    let wait = writer::retry().wait(tries);
                    say_full(&lock, &error, since, clock.now().after(wait), tries);
                    tokio::select! {
                        () = stop.cancelled() => return Ok(None),
                        () = clock.sleep(wait) => tries += 1,
                    }
                }
                Err(error) => return Err(error),
            }
        };
        Ok(Some(Self { claims, writer, desk, pages, lock }))
    }
}

/// What is opened under the lock; the claims first, because by their connection the log and its index stay the same ones
/// whatever becomes of the writer's.
async fn open_locked(
    path: &Path,
    clock: &Arc<dyn Clock>,
    lock: &mut RunLock,
) -> Result<(Claims, Writer, [Arc<Desk>; 2]), QueueError> {
    file::create_if_missing(path).await?;
    file::migrate(path).await?;
    lock.extend(path)?;
    let claims = Claims::connect(path).await?;
    let writer = Writer::start(path, claims.identity(), Arc::clone(clock)).await?;
    let desks = [Arc::new(Desk::open(path).await?), Arc::new(Desk::open(path).await?)];
    Ok((claims, writer, desks))
}

/// In the log once, and beside the queue, where there is room for it.
fn say_full(lock: &RunLock, error: &QueueError, since: Timestamp, until: Timestamp, tries: u32) {
    if tries == 0 {
        tracing::warn!(%error, "the queue cannot be opened yet; it is tried again until there is room");
    }
    let (what, message) = (What::Queue.label(), error.to_string());
    lock.note(Some(&Pause { what, reason: DISK_FULL, message, since, until }));
}

/// Whether SQLite refused the one statement, with nothing wrong about the queue as a whole: an error in it (such as a
/// trigger's), too long a text, a constraint, a type.
fn is_refusal(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(primary_code);
    matches!(code, Some(1 | 18 | 19 | 20))
}

/// Fails if another file stands where the queue was opened, or another log or none beside it: a writer would go on writing
/// to the old one.
fn check_identity(path: &Path, identity: Identity) -> Result<(), QueueError> {
    // Whatever stands there, or nothing: it is not what this daemon opened.
    let cause = match Identity::of(path) {
        Ok(found) if found == identity => return Ok(()),
        Ok(found) if !found.is_of_another(&identity) => {
            "its -wal or -shm was removed or replaced while the daemon was running, as when a backup is put in its place; \
             what other programs inserted since then may not be seen; start the daemon again to go on with what is there"
        }
        _ => {
            "it was moved, deleted, replaced or restored while the daemon was running; put it back if that was a mistake, \
             and start the daemon again to go on with what is there then"
        }
    };
    Err(QueueError::not_usable(path, cause))
}

#[cfg(test)]
mod tests;
