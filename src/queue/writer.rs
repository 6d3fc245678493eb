//! The one writer: every result of the daemon goes through here, in order, many in one transaction.
//!
//! Whatever is waiting when the writer is free becomes one batch: `BEGIN IMMEDIATE`, the fence, the writes, `COMMIT`
//! with `synchronous=FULL`. Nothing is acknowledged before that. A caller that stops waiting stops nothing: its write
//! is the writer's already (a cancelled write may have committed, so no write is ever cancelled).
//!
//! Faults. Another program's lock, a full disk or an I/O error keeps the batch, closes the connection (one whose COMMIT
//! or ROLLBACK failed is never trusted again), says so in [`Health`], and tries again for as long as it takes; only
//! I/O errors without end, a damaged file, or another file in its place end the daemon. Whether a batch whose COMMIT
//! failed took place after all is read from the batch number of the `daemon` row.

use std::collections::{HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::{Connection, SqliteConnection};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::file::{Identity, connect, connect_again};
use super::{Applied, DISK_FULL, Lease, QueueError, Write, check_identity, is_refusal, sql};
use crate::backoff::Backoff;
use crate::clock::{Clock, Timestamp};

/// How writing goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// As it should.
    Fine,
    /// It waits; why, in a word and in a sentence, and for how long until it tries again.
    Waits(&'static str, String, Duration),
    /// It has ended, and so must the daemon: which file, and why.
    Ended(PathBuf, String),
}

/// The door to the one writer. Clones share it.
#[derive(Clone, Debug)]
pub struct Writer {
    jobs: mpsc::UnboundedSender<Job>,
    health: watch::Receiver<Health>,
    unwritten: watch::Sender<usize>,
    closing: CancellationToken,
    run: String,
}

struct Job {
    write: Write,
    done: oneshot::Sender<Applied>,
}

impl Writer {
    /// Takes over the queue from earlier runs, and starts writing to what was opened and to nothing else.
    pub(super) async fn start(path: &Path, identity: Identity, clock: Arc<dyn Clock>) -> Result<Self, QueueError> {
        let mut connection = connect(path).await?;
        let run = format!("{:032x}", rand::random::<u128>());
        let taken = take_over(&mut connection, &run, clock.now()).await;
        let (has_taken_over, connection) = match taken.map_err(|error| QueueError::from_sqlx(path, &error)) {
            Ok(()) => (true, Some(connection)),
            // Polling need not wait for a program that holds the lock, nor for room on the disk; the first batch will.
            // A refused BEGIN spoils no connection.
            Err(QueueError::Busy(_)) => (false, Some(connection)),
            Err(QueueError::Full(_)) => (false, None),
            Err(error) => return Err(error),
        };
        let (jobs, inbox) = mpsc::unbounded_channel();
        let (health, observed) = watch::channel(Health::Fine);
        let scribe = Scribe {
            path: path.to_owned(),
            identity,
            connection,
            has_taken_over,
            run: run.clone(),
            batch: 0,
            unlisted: HashSet::new(),
            clock,
            health,
        };
        let (unwritten, closing) = (watch::Sender::new(0), CancellationToken::new());
        tokio::spawn(scribe.work(inbox, unwritten.clone(), closing.clone()));
        Ok(Self { jobs, health: observed, unwritten, closing, run })
    }

    /// Hands a write over. It is written in the order of these calls; the receiver hears when it is committed, and
    /// nothing if the writer has ended. Dropping the receiver does not take the write back.
    #[must_use = "drop it if nobody waits for the commit"]
    pub fn submit(&self, write: Write) -> oneshot::Receiver<Applied> {
        let (done, applied) = oneshot::channel();
        // If the writer has ended, `done` is dropped with the job, and the receiver hears that.
        self.unwritten.send_modify(|jobs| *jobs += 1);
        let _ = self.jobs.send(Job { write, done });
        applied
    }

    /// Returns once everything that was handed over is written, or the writer has ended: then with `false`.
    pub async fn settled(&self) -> bool {
        // It fails only when every sender is gone, and `self` is one.
        let _ = self.unwritten.subscribe().wait_for(|jobs| self.jobs.is_closed() || *jobs == 0).await;
        !self.jobs.is_closed()
    }

    /// Ends writing once the batch under way is committed, and returns when the connection is closed. What is handed
    /// over from then on is not written.
    pub async fn close(&self) {
        self.closing.cancel();
        self.jobs.closed().await;
    }

    /// How writing goes.
    #[must_use]
    pub fn health(&self) -> watch::Receiver<Health> {
        self.health.clone()
    }

    /// This daemon's token: new at every start.
    #[must_use]
    pub fn run(&self) -> &str {
        &self.run
    }
}

/// The claims of earlier runs are void from here on: their token no longer fits.
async fn take_over(connection: &mut SqliteConnection, run: &str, now: Timestamp) -> Result<(), sqlx::Error> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::query("UPDATE daemon SET run = ?1, batch = 0, version = ?2, started_at = ?3")
        .bind(run)
        .bind(env!("CARGO_PKG_VERSION"))
        .bind(now.to_string())
        .execute(&mut *transaction)
        .await?;
    sqlx::query("DELETE FROM pauses").execute(&mut *transaction).await?;
    // No row comes in the future: the clock was ahead then, and is not this run's to see. Only the wait is mended; should
    // the clock be behind now, the row keeps its age. By the index alone, or a start would read all that is pending.
    sqlx::query(
        "UPDATE sessions INDEXED BY sessions_by_state SET next_poll_at = ?1 \
         WHERE state = 'pending' AND enqueued_at > ?1 AND pending_since > ?1 AND next_poll_at > ?1",
    )
    .bind(now.to_string())
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await
}

/// Writes in one transaction, at most: bounds the time that other programs wait.
const LARGEST_BATCH: usize = 512;
/// I/O errors in a row that end the daemon; with [`retry`] between them that is about two minutes.
const MOST_IO_ERRORS: u32 = 12;

/// How long to wait before a batch is tried again.
pub(super) fn retry() -> Backoff {
    Backoff::new(Duration::from_millis(250), 2.0, Duration::from_secs(15)).expect("the constants make sense")
}

/// Waits for the next batch; `false` at the end. No write is ever waited for beside something else: it would be cancelled.
async fn next_jobs(inbox: &mut mpsc::UnboundedReceiver<Job>, jobs: &mut Vec<Job>, closing: &CancellationToken) -> bool {
    tokio::select! {
        biased;
        () = closing.cancelled() => false,
        received = inbox.recv_many(jobs, LARGEST_BATCH) => received > 0,
    }
}

struct Scribe {
    path: PathBuf,
    identity: Identity,
    connection: Option<SqliteConnection>,
    run: String,
    has_taken_over: bool,
    batch: i64,
    /// Of attempts whose recordings are not all in the table, because it refused one: they end no row.
    unlisted: HashSet<Lease>,
    clock: Arc<dyn Clock>,
    health: watch::Sender<Health>,
}

impl Scribe {
    async fn work(
        mut self,
        mut inbox: mpsc::UnboundedReceiver<Job>,
        unwritten: watch::Sender<usize>,
        closing: CancellationToken,
    ) {
        let mut jobs = Vec::with_capacity(LARGEST_BATCH);
        while next_jobs(&mut inbox, &mut jobs, &closing).await {
            self.batch += 1;
            match self.write(&jobs).await {
                Ok(applied) => {
                    let written = applied.len();
                    for (job, applied) in jobs.drain(..).zip(applied) {
                        if let Some(lease) = job.write.ends_attempt() {
                            self.unlisted.remove(lease);
                        }
                        let _ = job.done.send(applied);
                    }
                    unwritten.send_modify(|jobs| *jobs -= written);
                }
                Err(error) => {
                    let cause = match error {
                        QueueError::NotUsable { cause, .. } => cause,
                        other => other.to_string(),
                    };
                    self.health.send_replace(Health::Ended(self.path.clone(), cause));
                    drop(inbox);
                    unwritten.send_replace(0);
                    return;
                }
            }
        }
        if let Some(connection) = self.connection {
            let _ = connection.close().await;
        }
        // Only now does `Writer::close` return.
        drop(inbox);
        unwritten.send_replace(0);
    }

    /// Writes a batch, however long that takes.
    async fn write(&mut self, jobs: &[Job]) -> Result<VecDeque<Applied>, QueueError> {
        let (mut step, mut io_errors) = (0, 0);
        loop {
            match self.try_write(jobs).await {
                Ok(applied) => {
                    self.health.send_if_modified(|health| std::mem::replace(health, Health::Fine) != Health::Fine);
                    return Ok(applied);
                }
                Err(error) => {
                    // In a row: minutes of a full disk or of a lock are no evidence against the storage.
                    io_errors = if matches!(error, QueueError::Io(_)) { io_errors + 1 } else { 0 };
                    self.wait_out(error, step, io_errors).await?;
                }
            }
            step += 1;
        }
    }

    async fn try_write(&mut self, jobs: &[Job]) -> Result<VecDeque<Applied>, QueueError> {
        check_identity(&self.path, self.identity)?;
        let path = self.path.clone();
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => connect_again(&self.path).await?,
        };
        if !self.has_taken_over {
            let taken = take_over(&mut connection, &self.run, self.clock.now()).await;
            taken.map_err(|error| QueueError::while_running(&path, &error))?;
            self.has_taken_over = true;
        }
        // The connection is put back only when everything went well.
        match self.transact(&mut connection, jobs).await.map_err(|error| QueueError::while_running(&path, &error))? {
            Some(applied) => {
                self.connection = Some(connection);
                Ok(applied)
            }
            None => Err(QueueError::not_usable(
                &path,
                "a newer daemon has taken it over, or an older state of it was restored while this one was running; \
                 start the daemon again to go on with what is there",
            )),
        }
    }

    /// `None`: another run has the queue.
    async fn transact(
        &mut self,
        connection: &mut SqliteConnection,
        jobs: &[Job],
    ) -> Result<Option<VecDeque<Applied>>, sqlx::Error> {
        // In one go, for each statement by itself costs a turn of SQLite's thread. What fails from here on until the
        // COMMIT is rolled back with the connection, which is not used again.
        // Asked by `changes()`: RETURNING would have SQLite make a table for its answer.
        let begin = "BEGIN IMMEDIATE; UPDATE daemon SET batch = ?1 WHERE run = ?2 AND batch <> ?1; SELECT changes()";
        let passed: i64 =
            sqlx::query_scalar(begin).bind(self.batch).bind(&self.run).fetch_one(&mut *connection).await?;
        let is_repeat = passed == 0;
        if is_repeat {
            let run: String = sqlx::query_scalar("SELECT run FROM daemon").fetch_one(&mut *connection).await?;
            if run != self.run {
                return Ok(None);
            }
        }
        let mut applied = VecDeque::with_capacity(jobs.len());
        for job in jobs {
            // A batch whose COMMIT was answered with an error, and which is there all the same.
            applied.push_back(if is_repeat { Applied::Yes } else { self.apply(&mut *connection, &job.write).await? });
        }
        sqlx::query("COMMIT").execute(connection).await?;
        Ok(Some(applied))
    }

    /// One write that SQLite refuses (a row that somebody bent) must not take its batch with it: it is one statement,
    /// which is all or nothing by itself, and what follows it is worth less (see [`sql::apply`]).
    async fn apply(&mut self, connection: &mut SqliteConnection, write: &Write) -> Result<Applied, sqlx::Error> {
        if let Write::Finishes { outcome, .. } = write
            && self.unlisted.contains(&outcome.lease)
        {
            return Ok(Applied::Refused);
        }
        match sql::apply(connection, write).await {
            Err(error) if is_refusal(&error) => {
                if let Write::Archived(recording) = write {
                    self.unlisted.insert(recording.lease.clone());
                }
                tracing::error!(error = %error, write = ?write, "the queue refused a result; the row stays as it is");
                Ok(Applied::Refused)
            }
            other => other,
        }
    }

    /// Waits for what will pass; gives back what will not.
    async fn wait_out(&mut self, error: QueueError, step: u32, io_errors: u32) -> Result<(), QueueError> {
        let reason = match &error {
            QueueError::Busy(_) => "locked",
            QueueError::Full(_) => DISK_FULL,
            QueueError::Io(_) if io_errors <= MOST_IO_ERRORS => "io_error",
            QueueError::Io(cause) => {
                let cause = format!("{cause}; again and again: look after the disk, or restore it from a backup");
                return Err(QueueError::not_usable(&self.path, cause));
            }
            QueueError::NotUsable { .. } | QueueError::Held { .. } | QueueError::Refused(_) => return Err(error),
        };
        let wait = retry().wait(step);
        self.health.send_replace(Health::Waits(reason, error.to_string(), wait));
        self.clock.sleep(wait).await;
        Ok(())
    }
}
