//! What is due: read by a connection of its own, so that no writer stops it.
//!
//! A claim is flat in the number of rows: the partial index `sessions_due` is walked bot by bot and, inside one, from
//! the highest priority down, each level a range of what is due. The walk gives places in the table alone; a row is
//! read only when it is taken, so that rows in hand cost nothing but a look.
//!
//! The bots are those of the settings. Rows of any other bot lie between those in the index, whatever stands there: a
//! name that nobody knows, a BLOB, text that is no UTF-8. They are strangers, and are taken as they come.
//!
//! Left alone: a row that is claimed here may be changed by somebody before its result is written. Its lease then no
//! longer fits, the result changes nothing, and the row is due again by itself.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::{Connection as _, SqliteConnection};

use super::file::{Identity, connect, connect_again, log_written};
use super::hands::Hands;
use super::index::{BENT, FARTHEST, HIGHEST_PRIORITY, Level, Turn, due_places, gaps, next_due, of_level, places};
use super::rows::{COLUMNS, Claimed, claimed};
use super::{QueueError, check_identity};
use crate::clock::Timestamp;

/// A commit is written to the log, flushed, and only then seen by others: a disk may take long over that.
const SETTLED: Duration = Duration::from_secs(20);
/// How many looks may go by the log's time alone: should a disk take longer, that much later is a row noticed.
const MOST_SKIPPED: u32 = 5;
/// Looks in a row that the disk fails: about a minute of them.
const MOST_FAILED: u32 = 60;

/// Reads what is due.
#[derive(Debug)]
pub struct Claims {
    path: PathBuf,
    identity: Identity,
    connection: SqliteConnection,
    seen_version: Option<i64>,
    /// When the log was last written to, as of the last time that SQLite was asked, and how often it was not since.
    pub(super) log_written: Option<Timestamp>,
    skipped: u32,
    /// Looks that the disk failed, in a row.
    failed: u32,
}

/// What waits to be looked at.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Due {
    /// The known bots that have pending rows, and when the next of each is due.
    pub bots: Vec<(String, Timestamp)>,
    /// Whether there are pending rows of bots that nobody knows.
    pub strangers: bool,
    /// Each bot's priorities, highest first: at most 2,001 whole ones, because the schema clamps them.
    pub(super) levels: Vec<(String, Level)>,
    /// One turn for all bots of a look: their rows are ranked against each other.
    pub(super) turn: Turn,
}

impl Due {
    /// Nothing is pending.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bots.is_empty() && !self.strangers
    }

    /// Whether something may be taken now.
    #[must_use]
    pub fn is_now(&self, now: Timestamp) -> bool {
        self.strangers || self.bots.iter().any(|(_, at)| *at <= now)
    }
}

impl Claims {
    pub(super) async fn connect(path: &Path) -> Result<Self, QueueError> {
        let connection = connect(path).await?;
        Ok(Self {
            path: path.to_owned(),
            identity: Identity::of(path)?,
            connection,
            seen_version: None,
            log_written: None,
            skipped: 0,
            failed: 0,
        })
    }

    /// Which file was opened, with its log and the index of that, which are there as long as this is.
    pub(super) fn identity(&self) -> Identity {
        self.identity
    }

    /// Whether anybody has committed since the last call. Costs next to nothing, and less while nobody does.
    ///
    /// # Errors
    /// [`QueueError`], also if another file stands in the queue's place.
    pub async fn has_changed(&mut self, now: Timestamp) -> Result<bool, QueueError> {
        check_identity(&self.path, self.identity)?;
        let written = log_written(&self.path);
        if self.is_quiet(written, now) {
            self.skipped += 1;
            return Ok(false);
        }
        (self.log_written, self.skipped) = (written, 0);
        let version: Result<i64, _> = sqlx::query_scalar("PRAGMA data_version").fetch_one(&mut self.connection).await;
        let version = self.usable(version).await?;
        Ok(self.seen_version.replace(version) != Some(version))
    }

    /// Nobody had written for so long when the log was last looked at.
    pub(crate) fn is_still(&self, now: Timestamp, length: Duration) -> bool {
        self.log_written.is_some_and(|at| now.since(at) > length)
    }

    /// Nobody has written for long: SQLite, a turn of whose thread wakes the processor twice more, need not be asked.
    fn is_quiet(&self, written: Option<Timestamp>, now: Timestamp) -> bool {
        written == self.log_written && self.is_still(now, SETTLED) && self.skipped < MOST_SKIPPED
    }

    /// Which of these bots have pending rows and when the next is due, and whether any other bot has some. The names
    /// must be sorted.
    ///
    /// # Errors
    /// [`QueueError`] if the queue cannot be read.
    pub async fn next_due(&mut self, bots: &[&str], now: Timestamp, turn: Turn) -> Result<Due, QueueError> {
        let due = next_due(&mut self.connection, bots, now, turn).await;
        self.usable(due).await
    }

    /// Up to `limit` rows of this bot that were due at this look and are not in hand, by priority, then by age. Where more
    /// of one priority is due than is taken, what became due last has half of the turns: a backlog does not hold up fresh
    /// sessions, whose media is as likely to be ready.
    ///
    /// # Errors
    /// [`QueueError`] if the queue cannot be read.
    pub async fn claim(
        &mut self,
        due: &Due,
        bot: &str,
        limit: usize,
        now: Timestamp,
        hands: &Hands,
    ) -> Result<Vec<Claimed>, QueueError> {
        let basket = Basket { rows: Vec::new(), limit, now, hands };
        let rows = due_rows(&mut self.connection, due, bot, basket).await;
        self.usable(rows).await
    }

    /// Up to `limit` rows of none of these bots, whose names must be sorted.
    ///
    /// # Errors
    /// [`QueueError`] if the queue cannot be read.
    pub async fn claim_strangers(
        &mut self,
        bots: &[&str],
        limit: usize,
        now: Timestamp,
        hands: &Hands,
    ) -> Result<Vec<Claimed>, QueueError> {
        let basket = Basket { rows: Vec::new(), limit, now, hands };
        let rows = strangers_rows(&mut self.connection, bots, basket).await;
        self.usable(rows).await
    }

    /// Closes the connection, and returns when that is done.
    pub async fn close(self) {
        // What reads only has nothing to lose.
        let _ = self.connection.close().await;
    }

    /// A connection that failed is replaced, as soon as another can be opened: it only reads.
    async fn usable<T>(&mut self, result: Result<T, sqlx::Error>) -> Result<T, QueueError> {
        let error = match result {
            Ok(value) => {
                self.failed = 0;
                return Ok(value);
            }
            Err(error) => QueueError::while_running(&self.path, &error),
        };
        self.seen_version = None;
        if let Ok(fresh) = connect_again(&self.path).await {
            self.connection = fresh;
        }
        self.failed = if matches!(error, QueueError::Io(_)) { self.failed + 1 } else { 0 };
        match error {
            QueueError::Io(cause) if self.failed > MOST_FAILED => {
                let cause = format!("{cause}; again and again: look after the disk, or restore it from a backup");
                Err(QueueError::not_usable(&self.path, cause))
            }
            error => Err(error),
        }
    }
}

/// What a claim collects.
struct Basket<'a> {
    rows: Vec<Claimed>,
    limit: usize,
    now: Timestamp,
    hands: &'a Hands,
}

impl Basket<'_> {
    /// Rows to look at: as many as are wanted, and as many as may be in hand already.
    fn window(&self) -> i64 {
        i64::try_from(self.limit + self.hands.full()).unwrap_or(i64::MAX)
    }

    fn is_full(&self) -> bool {
        self.rows.len() >= self.limit
    }

    /// Takes the rows at these places, as far as they are free and there is room. One may be gone since the walk, or be
    /// of a session that is in hand: then the next ones are read.
    async fn fill(&mut self, connection: &mut SqliteConnection, places: Vec<i64>) -> Result<(), sqlx::Error> {
        let mut free: VecDeque<i64> = places.into_iter().filter(|place| !self.hands.keep_off(*place)).collect();
        while !self.is_full() && !free.is_empty() {
            let room = free.len().min(self.limit - self.rows.len());
            let rows = rows_at(connection, free.drain(..room).collect(), self.now).await?;
            self.rows.extend(rows.into_iter().filter(|row| !self.hands.work_on(row)));
        }
        Ok(())
    }
}

/// The rows at a list of places. By them and no index, where SQLite would rather walk all that is pending.
fn rows_sql() -> String {
    format!(
        "SELECT {COLUMNS} FROM sessions NOT INDEXED \
         WHERE rowid IN (SELECT value FROM json_each(?1)) AND state = 'pending'"
    )
}

/// The pending rows at these places, in that order; in one statement, for each costs a turn of SQLite's thread.
async fn rows_at(
    connection: &mut SqliteConnection,
    places: Vec<i64>,
    now: Timestamp,
) -> Result<Vec<Claimed>, sqlx::Error> {
    let list = serde_json::to_string(&places).expect("numbers are JSON");
    let rows = sqlx::query(sqlx::AssertSqlSafe(rows_sql())).bind(list).fetch_all(connection).await?;
    let mut rows = rows.iter().map(|row| claimed(row, now)).collect::<Result<Vec<_>, _>>()?;
    rows.sort_by_key(|row| places.iter().position(|place| *place == row.lease().row()));
    Ok(rows)
}

async fn due_rows(
    connection: &mut SqliteConnection,
    due: &Due,
    bot: &str,
    mut basket: Basket<'_>,
) -> Result<Vec<Claimed>, sqlx::Error> {
    let now = basket.now.to_string();
    let far = basket.now.after(FARTHEST).to_string();
    let whose = due.turn;
    for (_, level) in due.levels.iter().filter(|(of, _)| of == bot) {
        let Some(priority) = level.priority else {
            let bent = places(connection, BENT, bot, HIGHEST_PRIORITY, &now, basket.window()).await?;
            basket.fill(connection, bent).await?;
            continue;
        };
        if level.is_due && !basket.is_full() {
            let due = due_places(connection, bot, priority, &now, basket.window(), whose).await?;
            basket.fill(connection, due).await?;
        }
        if level.is_absurd && !basket.is_full() {
            let absurd =
                places(connection, &of_level("next_poll_at > ?3"), bot, priority, &far, basket.window()).await?;
            basket.fill(connection, absurd).await?;
        }
    }
    Ok(basket.rows)
}

async fn strangers_rows(
    connection: &mut SqliteConnection,
    bots: &[&str],
    mut basket: Basket<'_>,
) -> Result<Vec<Claimed>, sqlx::Error> {
    for gap in gaps(bots) {
        if !basket.is_full() {
            let places = gap.places(connection, basket.window()).await?;
            basket.fill(connection, places).await?;
        }
    }
    Ok(basket.rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::file::create_if_missing;

    /// However many rows are pending: those of a claim are found one by one.
    #[tokio::test]
    async fn the_rows_of_a_claim_are_read_by_their_places() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("queue.db");
        create_if_missing(&path).await.unwrap();
        let mut queue = connect(&path).await.unwrap();
        let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {}", rows_sql()));
        let steps: Vec<(i64, i64, i64, String)> =
            sqlx::query_as(explain).bind("[1]").fetch_all(&mut queue).await.unwrap();
        let of_sessions: Vec<&str> =
            steps.iter().map(|step| step.3.as_str()).filter(|step| step.contains("sessions")).collect();
        assert_eq!(of_sessions, ["SEARCH sessions USING INTEGER PRIMARY KEY (rowid=?)"]);
    }
}
