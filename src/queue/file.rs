//! The file: how a queue comes into being, how it is opened, and how a bad one is told.
//!
//! A new queue is built under another name beside its place and linked into it when it is complete, so that a crash
//! in between leaves no half-made queue, and nothing is ever created over a file that is there. It is 0660 in a folder
//! of 2770, made before SQLite opens it, because SQLite gives its `-wal` and `-shm` the modes of the file.
//!
//! Inside this process the file is touched through SQLite alone: opening and closing it otherwise would drop SQLite's
//! own locks (POSIX). `stat` is harmless.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqliteConnection};

use super::QueueError;
use crate::clock::Timestamp;

static MIGRATIONS: Migrator = sqlx::migrate!();

/// "KORE": tells a queue from any other SQLite database, as `file(1)` and SQLite's `application_id` do.
const APPLICATION_ID: i32 = 0x4b4f_5245;
/// Kibibytes of pages that a connection keeps, as SQLite wants it said: the inner pages of ten million rows' indexes. Fewer
/// rows need less.
const CACHE: &str = "-16384";
/// What is kept of a write-ahead log that grew, once SQLite starts it afresh; without it the file stays as long as it
/// ever was, and looks as if somebody still kept a transaction open.
const WAL_KEPT: &str = "67108864";
/// How long SQLite itself waits for another program's lock before it says busy.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// The first SQLite without the WAL-reset bug, by which several writers could lose commits.
const OLDEST_SQLITE: (u32, u32, u32) = (3, 51, 3);

/// Which file was opened, and beside it which log and which index of that: they stay as long as any connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    queue: Inode,
    log: Option<Inode>,
    index: Option<Inode>,
}

/// Device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Inode(u64, u64);

impl Inode {
    fn of(meta: &fs::Metadata) -> Self {
        Self(meta.dev(), meta.ino())
    }

    fn at(path: &Path) -> Option<Self> {
        fs::metadata(path).ok().as_ref().map(Self::of)
    }
}

impl Identity {
    /// # Errors
    /// [`QueueError::NotUsable`] if there is no such file, or it is no file, or it is empty.
    pub(super) fn of(path: &Path) -> Result<Self, QueueError> {
        let meta = fs::metadata(path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => QueueError::not_usable(
                path,
                "there is no such file; `kore-archiver run` or `kore-archiver enqueue` creates it",
            ),
            _ => QueueError::not_usable(path, format!("it cannot be looked at: {error}")),
        })?;
        if !meta.is_file() {
            return Err(QueueError::not_usable(path, "it is a folder or something else that is no file"));
        }
        if meta.len() == 0 {
            return Err(QueueError::not_usable(
                path,
                "it is empty; if it may go, delete it, and `kore-archiver run` makes a new one",
            ));
        }
        let (log, index) = (Inode::at(&log_path(path)), Inode::at(&beside(path, "-shm")));
        Ok(Self { queue: Inode::of(&meta), log, index })
    }

    /// Whether this is another file; its log does not count.
    pub(super) fn is_of_another(&self, other: &Self) -> bool {
        self.queue != other.queue
    }
}

/// The write-ahead log that belongs to a queue.
pub(super) fn log_path(path: &Path) -> PathBuf {
    beside(path, "-wal")
}

pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// The length by which SQLite makes the index of a log longer.
const INDEX_STEP: u64 = 32 * 1024;

/// Whether the disk has room to make that longer, as far as one can see.
pub(super) fn has_room_for_index(path: &Path) -> bool {
    rustix::fs::statvfs(folder_of(path))
        .map_or(true, |facts| facts.f_bavail.saturating_mul(facts.f_frsize) >= INDEX_STEP)
}

/// When that was last written to.
pub(super) fn log_written(path: &Path) -> Option<Timestamp> {
    let meta = fs::metadata(log_path(path)).ok()?;
    Some(Timestamp::from_millis(meta.mtime().checked_mul(1000)?.checked_add(meta.mtime_nsec() / 1_000_000)?))
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes the queue's folder, if it is missing, so that its group may work in it.
pub(super) fn create_folder(path: &Path) -> Result<(), QueueError> {
    let folder = folder_of(path);
    if folder.is_dir() {
        return Ok(());
    }
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o770)
        .create(folder)
        .and_then(|()| fs::set_permissions(folder, fs::Permissions::from_mode(0o2770)))
        .map_err(|error| QueueError::not_usable(path, format!("its folder cannot be created: {error}")))
}

/// Makes a new queue, unless something stands in its place.
pub(super) async fn create_if_missing(path: &Path) -> Result<(), QueueError> {
    if fs::symlink_metadata(path).is_ok() {
        return Ok(());
    }
    let draft = Draft::new(path)?;
    let mut connection = options(&draft.0).connect().await.map_err(|error| QueueError::from_sqlx(path, &error))?;
    let built = build(&mut connection).await.map_err(|error| migration_failed(path, &error));
    let closed = connection.close().await.map_err(|error| QueueError::from_sqlx(path, &error));
    built.and(closed)?;
    match fs::hard_link(&draft.0, path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(cannot_be_created(path, &error)),
        // Somebody else was faster: theirs counts.
        _ => sync_folder(path),
    }
}

async fn build(connection: &mut SqliteConnection) -> Result<(), MigrateError> {
    make_durable(connection).await?;
    let mark = format!("PRAGMA application_id = {APPLICATION_ID}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(mark)).execute(&mut *connection).await?;
    MIGRATIONS.run(connection).await
}

fn cannot_be_created(path: &Path, error: &std::io::Error) -> QueueError {
    match error.kind() {
        ErrorKind::StorageFull => QueueError::Full(format!("{error}, {}", path.display())),
        _ => QueueError::not_usable(path, format!("it cannot be created: {error}")),
    }
}

/// A new name in a folder is durable once the folder is.
fn sync_folder(path: &Path) -> Result<(), QueueError> {
    fs::File::open(folder_of(path))
        .and_then(|folder| folder.sync_all())
        .map_err(|error| QueueError::not_usable(path, format!("its folder cannot be synced: {error}")))
}

/// A queue in the making; whatever becomes of it, its name is gone afterwards.
struct Draft(PathBuf);

impl Draft {
    fn new(path: &Path) -> Result<Self, QueueError> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".new-{}", std::process::id()));
        let draft = Self(path.with_file_name(name));
        draft.remove();
        fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o660)
            .open(&draft.0)
            .and_then(|file| file.set_permissions(fs::Permissions::from_mode(0o660)))
            .map_err(|error| cannot_be_created(path, &error))?;
        Ok(draft)
    }

    fn remove(&self) {
        for suffix in ["", "-wal", "-shm"] {
            let _ = fs::remove_file(beside(&self.0, suffix));
        }
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Brings an existing queue up to this version, and checks that it is whole. For the daemon alone, under its lock.
pub(super) async fn migrate(path: &Path) -> Result<(), QueueError> {
    let mut connection = connect(path).await?;
    MIGRATIONS.run(&mut connection).await.map_err(|error| migration_failed(path, &error))?;
    // A row that went around the CHECKs is refused when its turn comes; it is no damage.
    sqlx::query("PRAGMA ignore_check_constraints = ON")
        .execute(&mut connection)
        .await
        .map_err(|error| QueueError::from_sqlx(path, &error))?;
    let verdict: String = sqlx::query_scalar("PRAGMA quick_check(1)")
        .fetch_one(&mut connection)
        .await
        .map_err(|error| QueueError::from_sqlx(path, &error))?;
    if verdict != "ok" {
        return Err(QueueError::not_usable(path, format!("it is damaged ({verdict}); restore it from a backup")));
    }
    connection.close().await.map_err(|error| QueueError::from_sqlx(path, &error))
}

fn migration_failed(path: &Path, error: &MigrateError) -> QueueError {
    match error {
        MigrateError::VersionMissing(version) | MigrateError::VersionTooNew(version, _) => {
            QueueError::not_usable(path, newer_than_this(*version))
        }
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => QueueError::from_sqlx(path, error),
        other => QueueError::not_usable(path, format!("its schema is not what this version expects: {other}")),
    }
}

fn newer_than_this(schema: i64) -> String {
    format!("a newer kore-archiver has changed it (schema {schema}); start that version, or a newer one")
}

/// The schema of a queue that this version does not know: whoever does must work with it.
async fn newer_schema(connection: &mut SqliteConnection) -> Result<Option<i64>, sqlx::Error> {
    let newest = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or_default();
    let applied: Option<i64> =
        sqlx::query_scalar("SELECT MAX(version) FROM _sqlx_migrations").fetch_one(connection).await?;
    Ok(applied.filter(|applied| *applied > newest))
}

/// Opens an existing queue, and reads back what its durability rests on.
pub(super) async fn connect(path: &Path) -> Result<SqliteConnection, QueueError> {
    open(path, QueueError::from_sqlx).await
}

/// Opens anew what this process has had open before.
pub(super) async fn connect_again(path: &Path) -> Result<SqliteConnection, QueueError> {
    open(path, QueueError::while_running).await
}

async fn open(path: &Path, sort: fn(&Path, &sqlx::Error) -> QueueError) -> Result<SqliteConnection, QueueError> {
    Identity::of(path)?;
    let failed = |error: sqlx::Error| sort(path, &error);
    let mut connection = options(path).connect().await.map_err(failed)?;
    let refuse = |cause: String| Err(QueueError::not_usable(path, cause));
    // Before anything that would change the file: it may be somebody else's.
    if application_id(&mut connection).await.map_err(failed)? != APPLICATION_ID {
        return refuse(
            "it is a database of some other program; move it away or name another file in queue.path".into(),
        );
    }
    match newer_schema(&mut connection).await.map_err(failed) {
        Ok(None) => {}
        Ok(Some(newer)) => return refuse(newer_than_this(newer)),
        Err(QueueError::Refused(why)) => {
            return refuse(format!("it has not the schema of a queue ({why}); restore it from a backup"));
        }
        Err(error) => return Err(error),
    }
    let (journal, synchronous, version) = make_durable(&mut connection).await.map_err(failed)?;
    if journal != "wal" || synchronous != 2 {
        return refuse(format!(
            "journal_mode is {journal} and synchronous {synchronous} where wal and 2 (FULL) were set"
        ));
    }
    if !is_recent(&version) {
        let oldest = OLDEST_SQLITE;
        return refuse(format!(
            "SQLite {version} is linked; before {}.{}.{} commits could be lost",
            oldest.0, oldest.1, oldest.2
        ));
    }
    Ok(connection)
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_TIMEOUT)
        .pragma("cache_size", CACHE)
        .pragma("journal_size_limit", WAL_KEPT)
        .disable_statement_logging()
}

async fn application_id(connection: &mut SqliteConnection) -> Result<i32, sqlx::Error> {
    sqlx::query_scalar("PRAGMA application_id").fetch_one(connection).await
}

/// Sets WAL (a restored copy may have lost it) and says what is in force: journal mode, synchronous, SQLite's version.
async fn make_durable(connection: &mut SqliteConnection) -> Result<(String, i32, String), sqlx::Error> {
    Ok((
        sqlx::query_scalar("PRAGMA journal_mode = WAL").fetch_one(&mut *connection).await?,
        sqlx::query_scalar("PRAGMA synchronous").fetch_one(&mut *connection).await?,
        sqlx::query_scalar("SELECT sqlite_version()").fetch_one(&mut *connection).await?,
    ))
}

fn is_recent(version: &str) -> bool {
    let mut numbers = version.split('.').map(|number| number.parse().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    (next(), next(), next()) >= OLDEST_SQLITE
}

#[cfg(test)]
mod tests;
