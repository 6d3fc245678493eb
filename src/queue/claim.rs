//! What is due: read by a connection of its own, so that no writer stops it.
//!
//! A claim is flat in the number of rows: the partial index `sessions_due` is walked bot by bot and, inside one, from
//! the highest priority down, each level a range of what is due. Rows in hand are skipped by the caller, who therefore
//! asks for that many more.
//!
//! Left alone: a row that is claimed here may be changed by somebody before its result is written. Its lease then no
//! longer fits, the result changes nothing, and the row is due again by itself.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};

use super::file::{Identity, connect};
use super::rows::{COLUMNS, Claimed, claimed};
use super::{QueueError, check_identity};
use crate::clock::Timestamp;

/// Reads what is due.
#[derive(Debug)]
pub struct Claims {
    path: PathBuf,
    identity: Identity,
    connection: SqliteConnection,
    seen_version: Option<i64>,
}

/// The bots that have pending rows, and when the next of each is due.
pub type Due = Vec<(String, Timestamp)>;

impl Claims {
    pub(super) async fn connect(path: &Path, identity: Identity) -> Result<Self, QueueError> {
        let connection = connect(path).await?;
        Ok(Self { path: path.to_owned(), identity, connection, seen_version: None })
    }

    /// Whether anybody has committed since the last call. Costs next to nothing.
    ///
    /// # Errors
    /// [`QueueError`], also if another file stands in the queue's place.
    pub async fn has_changed(&mut self) -> Result<bool, QueueError> {
        check_identity(&self.path, self.identity)?;
        let version: Result<i64, _> = sqlx::query_scalar("PRAGMA data_version").fetch_one(&mut self.connection).await;
        let version = self.usable(version).await?;
        Ok(self.seen_version.replace(version) != Some(version))
    }

    /// The bots with pending rows, each with the earliest moment that one of them is due.
    ///
    /// # Errors
    /// [`QueueError`] if the queue cannot be read.
    pub async fn next_due(&mut self, now: Timestamp) -> Result<Due, QueueError> {
        let due = next_due(&mut self.connection, now).await;
        self.usable(due).await
    }

    /// Up to `limit` rows of this bot that are due, by priority, then by age, without the `hands_full` rows that
    /// `in_hand` knows.
    ///
    /// # Errors
    /// [`QueueError`] if the queue cannot be read.
    pub async fn claim(
        &mut self,
        bot: &str,
        limit: usize,
        now: Timestamp,
        in_hand: impl Fn(i64) -> bool,
        hands_full: usize,
    ) -> Result<Vec<Claimed>, QueueError> {
        let basket = Basket::new(limit, now, in_hand, hands_full);
        let rows = due_rows(&mut self.connection, bot, basket).await;
        self.usable(rows).await
    }

    /// Up to `limit` rows whose bot is not even text.
    ///
    /// # Errors
    /// [`QueueError`] if the queue cannot be read.
    pub async fn claim_nobodys(
        &mut self,
        limit: usize,
        now: Timestamp,
        in_hand: impl Fn(i64) -> bool,
        hands_full: usize,
    ) -> Result<Vec<Claimed>, QueueError> {
        let basket = Basket::new(limit, now, in_hand, hands_full);
        let rows = nobodys_rows(&mut self.connection, basket).await;
        self.usable(rows).await
    }

    /// A connection that failed is not trusted again.
    async fn usable<T>(&mut self, result: Result<T, sqlx::Error>) -> Result<T, QueueError> {
        match result {
            Ok(value) => Ok(value),
            Err(error) => {
                let error = QueueError::from_sqlx(&self.path, &error);
                if let Ok(fresh) = connect(&self.path).await {
                    self.connection = fresh;
                    self.seen_version = None;
                }
                Err(error)
            }
        }
    }
}

/// Rows due later than that were never told so by the daemon: absurd, or of a clock that was wrong. They are due now.
const FARTHEST: Duration = Duration::from_hours(30 * 24);
/// Beyond the schema's clamp stands only what went around it: text, a BLOB, an endless number.
const HIGHEST_PRIORITY: f64 = 1000.0;

async fn next_due(connection: &mut SqliteConnection, now: Timestamp) -> Result<Due, sqlx::Error> {
    let mut due = Due::new();
    let mut last = String::new();
    while let Some(bot) = next_bot(connection, &last).await? {
        let earliest = earliest(connection, &bot, now).await?;
        due.push((bot.clone(), earliest));
        last = bot;
    }
    Ok(due)
}

/// BLOBs sort after every text: bots that are none end the walk.
async fn next_bot(connection: &mut SqliteConnection, after: &str) -> Result<Option<String>, sqlx::Error> {
    let bot: Option<Vec<u8>> = sqlx::query_scalar(
        "SELECT CAST(bot AS BLOB) FROM sessions WHERE state = 'pending' AND bot > ?1 AND bot < X'' ORDER BY bot LIMIT 1",
    )
    .bind(after)
    .fetch_optional(connection)
    .await?;
    // Text that is no UTF-8 would not be found again by its own name; nothing sorts after the last character.
    Ok(bot.map(|bytes| String::from_utf8(bytes).unwrap_or_else(|_| char::MAX.to_string())))
}

async fn earliest(connection: &mut SqliteConnection, bot: &str, now: Timestamp) -> Result<Timestamp, sqlx::Error> {
    let mut earliest = now.after(FARTHEST);
    for priority in levels(connection, bot).await? {
        let ends: (Option<Vec<u8>>, Option<Vec<u8>>) = sqlx::query_as(
            "SELECT (SELECT CAST(MIN(next_poll_at) AS BLOB) FROM sessions \
                      WHERE state = 'pending' AND bot = ?1 AND priority = ?2), \
                    (SELECT CAST(MAX(next_poll_at) AS BLOB) FROM sessions \
                      WHERE state = 'pending' AND bot = ?1 AND priority = ?2)",
        )
        .bind(bot)
        .bind(priority)
        .fetch_one(&mut *connection)
        .await?;
        let first = ends.0.as_deref().and_then(moment);
        let absurd = ends.1.as_deref().is_some_and(|last| moment(last).is_none_or(|last| last > now.after(FARTHEST)));
        earliest = earliest.min(if absurd { now } else { first.unwrap_or(now) });
    }
    Ok(earliest)
}

fn moment(text: &[u8]) -> Option<Timestamp> {
    std::str::from_utf8(text).ok().and_then(|text| Timestamp::parse(text).ok())
}

/// The priorities of a bot's pending rows, highest first: at most 2,001 whole ones, because the schema clamps them.
async fn levels(connection: &mut SqliteConnection, bot: &str) -> Result<Vec<f64>, sqlx::Error> {
    let mut levels = Vec::new();
    let mut next = highest(connection, bot, f64::MAX).await?;
    while let Some(priority) = next {
        levels.push(priority);
        next = highest(connection, bot, priority).await?;
    }
    Ok(levels)
}

async fn highest(connection: &mut SqliteConnection, bot: &str, below: f64) -> Result<Option<f64>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT CAST(MAX(priority) AS REAL) FROM sessions \
          WHERE state = 'pending' AND bot = ?1 AND priority < ?2 AND priority <= ?3",
    )
    .bind(bot)
    .bind(below)
    .bind(HIGHEST_PRIORITY)
    .fetch_one(connection)
    .await
}

/// How many rows are due, counted up to `most`, in ranges of the index.
pub(super) async fn count_due(
    connection: &mut SqliteConnection,
    now: Timestamp,
    most: i64,
) -> Result<i64, sqlx::Error> {
    let mut count = 0;
    let mut last = String::new();
    while let Some(bot) = next_bot(connection, &last).await? {
        for priority in levels(connection, &bot).await? {
            let due: i64 = sqlx::query_scalar(
                "SELECT COUNT(*) FROM (SELECT 1 FROM sessions WHERE state = 'pending' AND bot = ?1 AND priority = ?2 \
                 AND next_poll_at <= ?3 LIMIT ?4)",
            )
            .bind(&bot)
            .bind(priority)
            .bind(now.to_string())
            .bind(most - count)
            .fetch_one(&mut *connection)
            .await?;
            count += due;
        }
        last = bot;
    }
    Ok(count)
}

/// What a claim collects.
struct Basket<F> {
    rows: Vec<Claimed>,
    limit: usize,
    now: Timestamp,
    in_hand: F,
    /// Rows to look at: as many as are wanted, and as many as may be in hand already.
    window: i64,
}

impl<F: Fn(i64) -> bool> Basket<F> {
    fn new(limit: usize, now: Timestamp, in_hand: F, hands_full: usize) -> Self {
        let window = i64::try_from(limit + hands_full).unwrap_or(i64::MAX);
        Self { rows: Vec::new(), limit, now, in_hand, window }
    }

    fn is_full(&self) -> bool {
        self.rows.len() >= self.limit
    }

    fn fill(&mut self, rows: &[SqliteRow]) -> Result<(), sqlx::Error> {
        for row in rows {
            if !self.is_full() && !(self.in_hand)(row.try_get("rowid")?) {
                self.rows.push(claimed(row, self.now)?);
            }
        }
        Ok(())
    }
}

async fn due_rows<F: Fn(i64) -> bool>(
    connection: &mut SqliteConnection,
    bot: &str,
    mut basket: Basket<F>,
) -> Result<Vec<Claimed>, sqlx::Error> {
    let now = basket.now.to_string();
    let far = basket.now.after(FARTHEST).to_string();
    let bent = "bot = ?1 AND priority > ?2 AND ?3 <> ''";
    basket.fill(&select(connection, bent, bot, HIGHEST_PRIORITY, &now, basket.window).await?)?;
    for priority in levels(connection, bot).await? {
        for (which, bound) in [("next_poll_at <= ?3", &now), ("next_poll_at > ?3", &far)] {
            if !basket.is_full() {
                let which = format!("bot = ?1 AND priority = ?2 AND {which}");
                basket.fill(&select(connection, &which, bot, priority, bound, basket.window).await?)?;
            }
        }
    }
    Ok(basket.rows)
}

async fn select(
    connection: &mut SqliteConnection,
    which: &str,
    bot: &str,
    priority: f64,
    bound: &str,
    limit: i64,
) -> Result<Vec<SqliteRow>, sqlx::Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM sessions WHERE state = 'pending' AND {which} ORDER BY bot, priority, next_poll_at LIMIT ?4"
    );
    sqlx::query(sqlx::AssertSqlSafe(sql)).bind(bot).bind(priority).bind(bound).bind(limit).fetch_all(connection).await
}

/// Rows whose bot is not even text: nobody's, so that they are looked for apart.
async fn nobodys_rows<F: Fn(i64) -> bool>(
    connection: &mut SqliteConnection,
    mut basket: Basket<F>,
) -> Result<Vec<Claimed>, sqlx::Error> {
    let sql = format!("SELECT {COLUMNS} FROM sessions WHERE state = 'pending' AND bot >= X'' ORDER BY bot LIMIT ?1");
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(basket.window).fetch_all(connection).await?;
    basket.fill(&rows)?;
    Ok(basket.rows)
}
