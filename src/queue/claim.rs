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

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::SqliteConnection;

use super::file::{Identity, connect};
use super::hands::Hands;
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
    /// Whose turn it is when more is due than is taken.
    turn: End,
}

/// An end of the line of what is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Longest,
    Latest,
}

/// What waits to be looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// The known bots that have pending rows, and when the next of each is due.
    pub bots: Vec<(String, Timestamp)>,
    /// Whether there are pending rows of bots that nobody knows.
    pub strangers: bool,
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
    pub(super) async fn connect(path: &Path, identity: Identity) -> Result<Self, QueueError> {
        let connection = connect(path).await?;
        Ok(Self { path: path.to_owned(), identity, connection, seen_version: None, turn: End::Latest })
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

    /// Which of these bots have pending rows and when the next is due, and whether any other bot has some. The names
    /// must be sorted.
    ///
    /// # Errors
    /// [`QueueError`] if the queue cannot be read.
    pub async fn next_due(&mut self, bots: &[&str], now: Timestamp) -> Result<Due, QueueError> {
        let due = next_due(&mut self.connection, bots, now).await;
        self.usable(due).await
    }

    /// Up to `limit` rows of this bot that are due and not in hand, by priority, then by age. Where more of one priority
    /// is due than is taken, what became due last has every second turn: a backlog does not hold up fresh sessions,
    /// whose media is as likely to be ready.
    ///
    /// # Errors
    /// [`QueueError`] if the queue cannot be read.
    pub async fn claim(
        &mut self,
        bot: &str,
        limit: usize,
        now: Timestamp,
        hands: &Hands,
    ) -> Result<Vec<Claimed>, QueueError> {
        let basket = Basket { rows: Vec::new(), limit, now, hands };
        self.turn = if self.turn == End::Longest { End::Latest } else { End::Longest };
        let rows = due_rows(&mut self.connection, bot, basket, self.turn).await;
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

/// Rows due later than that were never told so by the daemon ([`crate::decide`] waits less): absurd, or of a clock
/// that was wrong. They are due now.
const FARTHEST: Duration = Duration::from_hours(30 * 24);
/// Beyond the schema's clamp stands only what went around it: text, a BLOB, an endless number.
const HIGHEST_PRIORITY: f64 = 1000.0;

async fn next_due(connection: &mut SqliteConnection, bots: &[&str], now: Timestamp) -> Result<Due, sqlx::Error> {
    let mut due = Due::default();
    for bot in bots {
        if let Some(at) = earliest(connection, bot, now).await? {
            due.bots.push(((*bot).to_owned(), at));
        }
    }
    for gap in gaps(bots) {
        due.strangers = due.strangers || !gap.places(connection, 1).await?.is_empty();
    }
    Ok(due)
}

/// What lies between two known bots in the index.
struct Gap<'a> {
    above: Option<&'a str>,
    below: Option<&'a str>,
}

fn gaps<'a>(bots: &'a [&'a str]) -> impl Iterator<Item = Gap<'a>> {
    let above = std::iter::once(None).chain(bots.iter().map(|bot| Some(*bot)));
    let below = bots.iter().map(|bot| Some(*bot)).chain(std::iter::once(None));
    above.zip(below).map(|(above, below)| Gap { above, below })
}

impl Gap<'_> {
    async fn places(&self, connection: &mut SqliteConnection, limit: i64) -> Result<Vec<i64>, sqlx::Error> {
        let which = match (self.above, self.below) {
            (None, None) => "1",
            (Some(_), None) => "bot > ?1",
            (None, Some(_)) => "bot < ?2",
            (Some(_), Some(_)) => "bot > ?1 AND bot < ?2",
        };
        let sql = format!("SELECT rowid FROM sessions WHERE state = 'pending' AND {which} ORDER BY bot LIMIT ?3");
        let query = sqlx::query_scalar(sqlx::AssertSqlSafe(sql));
        query.bind(self.above).bind(self.below).bind(limit).fetch_all(connection).await
    }
}

async fn earliest(
    connection: &mut SqliteConnection,
    bot: &str,
    now: Timestamp,
) -> Result<Option<Timestamp>, sqlx::Error> {
    let mut earliest: Option<Timestamp> = None;
    if !places(connection, BENT, bot, HIGHEST_PRIORITY, "", 1).await?.is_empty() {
        earliest = Some(now);
    }
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
        let first = ends.0.as_deref().and_then(moment).unwrap_or(now);
        let absurd = ends.1.as_deref().is_some_and(|last| moment(last).is_none_or(|last| last > now.after(FARTHEST)));
        let at = if absurd { now } else { first };
        earliest = Some(earliest.map_or(at, |earliest| earliest.min(at)));
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
    let mut last = None;
    while let Some(bot) = next_bot(connection, last.as_deref()).await? {
        count += count_due_of(connection, &bot, now, most - count).await?;
        last = Some(bot);
    }
    Ok(count)
}

/// The same of one bot.
pub(super) async fn count_due_of(
    connection: &mut SqliteConnection,
    bot: &str,
    now: Timestamp,
    most: i64,
) -> Result<i64, sqlx::Error> {
    let mut count = 0;
    for priority in levels(connection, bot).await? {
        let due: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM (SELECT 1 FROM sessions WHERE state = 'pending' AND bot = ?1 AND priority = ?2 \
             AND next_poll_at <= ?3 LIMIT ?4)",
        )
        .bind(bot)
        .bind(priority)
        .bind(now.to_string())
        .bind(most - count)
        .fetch_one(&mut *connection)
        .await?;
        count += due;
    }
    Ok(count)
}

/// Text that is no UTF-8 cannot be found again by its own name; it is nobody's, and ends the walk.
async fn next_bot(connection: &mut SqliteConnection, after: Option<&str>) -> Result<Option<String>, sqlx::Error> {
    let bot: Option<Vec<u8>> = sqlx::query_scalar(
        "SELECT CAST(bot AS BLOB) FROM sessions WHERE state = 'pending' AND bot >= ?1 AND bot IS NOT ?2 AND bot < X'' \
         ORDER BY bot LIMIT 1",
    )
    .bind(after.unwrap_or(""))
    .bind(after)
    .fetch_optional(connection)
    .await?;
    Ok(bot.and_then(|bytes| String::from_utf8(bytes).ok()))
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

    async fn fill(&mut self, connection: &mut SqliteConnection, places: Vec<i64>) -> Result<(), sqlx::Error> {
        let sql = format!("SELECT {COLUMNS} FROM sessions WHERE rowid = ?1 AND state = 'pending'");
        for place in places {
            if self.is_full() {
                break;
            }
            if self.hands.keep_off(place) {
                continue;
            }
            let query = sqlx::query(sqlx::AssertSqlSafe(sql.clone()));
            // It may be gone since the walk.
            if let Some(row) = query.bind(place).fetch_optional(&mut *connection).await? {
                let claimed = claimed(&row, self.now)?;
                if !self.hands.work_on(&claimed) {
                    self.rows.push(claimed);
                }
            }
        }
        Ok(())
    }
}

/// Rows whose priority went around the schema.
const BENT: &str = "bot = ?1 AND priority > ?2 AND ?3 IS NOT NULL";

async fn due_rows(
    connection: &mut SqliteConnection,
    bot: &str,
    mut basket: Basket<'_>,
    turn: End,
) -> Result<Vec<Claimed>, sqlx::Error> {
    let now = basket.now.to_string();
    let far = basket.now.after(FARTHEST).to_string();
    let bent = places(connection, BENT, bot, HIGHEST_PRIORITY, &now, basket.window()).await?;
    basket.fill(connection, bent).await?;
    for priority in levels(connection, bot).await? {
        if !basket.is_full() {
            let due = due_places(connection, bot, priority, &now, basket.window(), turn).await?;
            basket.fill(connection, due).await?;
        }
        if !basket.is_full() {
            let absurd = places(connection, &level("next_poll_at > ?3"), bot, priority, &far, basket.window()).await?;
            basket.fill(connection, absurd).await?;
        }
    }
    Ok(basket.rows)
}

/// Where rows of one priority are.
fn level(which: &str) -> String {
    format!("bot = ?1 AND priority = ?2 AND {which}")
}

/// So many due rows of one priority are a backlog: minutes of an account's budget.
const BACKLOG: i64 = 500;

/// What is due of one priority: by age; or, in a backlog, from both ends by turns, so that a fresh session whose media
/// is likely to be there does not wait behind thousands of others.
async fn due_places(
    connection: &mut SqliteConnection,
    bot: &str,
    priority: f64,
    now: &str,
    limit: i64,
    turn: End,
) -> Result<Vec<i64>, sqlx::Error> {
    let which = level("next_poll_at <= ?3");
    let longest = places(connection, &which, bot, priority, now, limit).await?;
    let found = i64::try_from(longest.len()).unwrap_or(i64::MAX);
    if found < limit || !is_backlog(connection, bot, priority, now).await? {
        return Ok(longest);
    }
    let latest = latest_places(connection, &which, bot, priority, now, limit).await?;
    let (first, second) = if turn == End::Longest { (longest, latest) } else { (latest, longest) };
    let mut seen = HashSet::new();
    let by_turns = first.into_iter().zip(second).flat_map(|(first, second)| [first, second]);
    Ok(by_turns.filter(|place| seen.insert(*place)).collect())
}

async fn is_backlog(
    connection: &mut SqliteConnection,
    bot: &str,
    priority: f64,
    now: &str,
) -> Result<bool, sqlx::Error> {
    let beyond: Option<i64> = sqlx::query_scalar(
        "SELECT 1 FROM sessions WHERE state = 'pending' AND bot = ?1 AND priority = ?2 AND next_poll_at <= ?3 \
         ORDER BY next_poll_at LIMIT 1 OFFSET ?4",
    )
    .bind(bot)
    .bind(priority)
    .bind(now)
    .bind(BACKLOG)
    .fetch_optional(connection)
    .await?;
    Ok(beyond.is_some())
}

/// Where rows are that are pending and like this, by priority and age; by the index alone.
async fn places(
    connection: &mut SqliteConnection,
    which: &str,
    bot: &str,
    priority: f64,
    bound: &str,
    limit: i64,
) -> Result<Vec<i64>, sqlx::Error> {
    let sql = format!(
        "SELECT rowid FROM sessions WHERE state = 'pending' AND {which} ORDER BY bot, priority, next_poll_at LIMIT ?4"
    );
    let query = sqlx::query_scalar(sqlx::AssertSqlSafe(sql));
    query.bind(bot).bind(priority).bind(bound).bind(limit).fetch_all(connection).await
}

/// The same from the other end.
async fn latest_places(
    connection: &mut SqliteConnection,
    which: &str,
    bot: &str,
    priority: f64,
    bound: &str,
    limit: i64,
) -> Result<Vec<i64>, sqlx::Error> {
    let sql = format!(
        "SELECT rowid FROM sessions WHERE state = 'pending' AND {which} \
         ORDER BY bot DESC, priority DESC, next_poll_at DESC LIMIT ?4"
    );
    let query = sqlx::query_scalar(sqlx::AssertSqlSafe(sql));
    query.bind(bot).bind(priority).bind(bound).bind(limit).fetch_all(connection).await
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
