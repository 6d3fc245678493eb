//! The walk over `sessions_due`: bot by bot and, inside one, from the highest priority down, each level a range of what
//! is due. It gives moments and places in the table, and reads no row.
//!
//! `LIMIT ?1 + 0`, because SQLite plans by what is bound to a bare parameter there, and so prepares the statement again
//! whenever it is bound: more work than the walk itself.

use std::collections::HashSet;
use std::time::Duration;

use sqlx::{FromRow, SqliteConnection};

use super::claim::Due;
use crate::clock::Timestamp;

/// Whose turn it is when more is due than is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Turn {
    /// What has been due for the longest time.
    #[default]
    Longest,
    /// What became due last, and every bot alike.
    Latest,
}

impl Turn {
    /// Drawn by lot, from a number of 0 up to 1: whatever takes its turns in step with others, as two accounts of one pace
    /// do, meets both.
    #[must_use]
    pub fn drawn(draw: f64) -> Self {
        if draw < 0.5 { Self::Longest } else { Self::Latest }
    }
}

/// Rows due later than that were never told so by the daemon ([`crate::decide`] waits less): absurd, or of a clock
/// that was wrong. They are due now.
pub(super) const FARTHEST: Duration = Duration::from_hours(30 * 24);
/// A time that went around the schema is due when its text is. Until then the row may hide others: so often one looks.
const UNREADABLE: Duration = Duration::from_mins(1);
/// Beyond the schema's clamp stands only what went around it: text, a BLOB, an endless number.
pub(super) const HIGHEST_PRIORITY: f64 = 1000.0;

pub(super) async fn next_due(
    connection: &mut SqliteConnection,
    bots: &[&str],
    now: Timestamp,
    turn: Turn,
) -> Result<Due, sqlx::Error> {
    let mut due = Due { turn, ..Due::default() };
    for Ends { bot, priority, is_due, is_absurd, first } in ends(connection, bots, now).await? {
        let Some(bot) = bot else {
            due.strangers = true;
            continue;
        };
        let level = Level { priority, is_due, is_absurd };
        let next = first.as_deref().and_then(moment).filter(|at| *at > now).unwrap_or(now.after(UNREADABLE));
        let at = if is_due || is_absurd { now } else { next };
        match due.bots.iter_mut().find(|(known, _)| *known == bot) {
            Some((_, earliest)) => *earliest = at.min(*earliest),
            None => due.bots.push((bot.clone(), at)),
        }
        due.levels.push((bot, level));
    }
    due.bots.sort();
    due.levels.sort_by(|(_, one), (_, other)| other.rank().total_cmp(&one.rank()));
    Ok(due)
}

/// The pending rows of a bot that share a priority.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Level {
    /// `None`: one that went around the schema.
    pub(super) priority: Option<f64>,
    /// Some are due.
    pub(super) is_due: bool,
    /// Some are due later than any row can be.
    pub(super) is_absurd: bool,
}

impl Level {
    fn rank(self) -> f64 {
        self.priority.unwrap_or(f64::INFINITY)
    }
}

/// One priority of a bot, and when its first row is due, as that stands there; without the time, rows whose priority
/// went around the schema; without a bot, rows between the bots.
#[derive(FromRow)]
struct Ends {
    bot: Option<String>,
    priority: Option<f64>,
    is_due: bool,
    is_absurd: bool,
    first: Option<Vec<u8>>,
}

/// All of them in one statement: each by itself costs a turn of SQLite's thread, at every look.
async fn ends(connection: &mut SqliteConnection, bots: &[&str], now: Timestamp) -> Result<Vec<Ends>, sqlx::Error> {
    let query = sqlx::query_as(sqlx::AssertSqlSafe(ends_sql())).bind(names(bots)).bind(HIGHEST_PRIORITY);
    query.bind(now.to_string()).bind(now.after(FARTHEST).to_string()).fetch_all(connection).await
}

/// The index is named where SQLite would rather walk all that is pending.
fn ends_sql() -> String {
    format!(
        "{LEVELS}, span AS MATERIALIZED ( \
         SELECT bot, priority, \
                (SELECT MIN(next_poll_at) FROM sessions \
                  WHERE state = 'pending' AND bot = level.bot AND priority = level.priority) AS first, \
                (SELECT MAX(next_poll_at) FROM sessions \
                  WHERE state = 'pending' AND bot = level.bot AND priority = level.priority) AS last \
           FROM level WHERE priority IS NOT NULL) \
         SELECT bot, priority, first <= ?3 AS is_due, last > ?4 AS is_absurd, \
                CAST(first AS BLOB) AS first FROM span \
         UNION ALL \
         SELECT value, NULL, TRUE, FALSE, NULL FROM json_each(?1) WHERE EXISTS \
           (SELECT 1 FROM sessions INDEXED BY sessions_due WHERE state = 'pending' AND bot = value AND priority > ?2) \
         UNION ALL \
         SELECT NULL, NULL, FALSE, FALSE, NULL \
          WHERE EXISTS (SELECT 1 FROM sessions INDEXED BY sessions_due \
                         WHERE state = 'pending' AND bot < json_extract(?1, '$[0]')) \
             OR EXISTS (SELECT 1 FROM sessions INDEXED BY sessions_due \
                         WHERE state = 'pending' AND bot > json_extract(?1, '$[#-1]')) \
             OR EXISTS (SELECT 1 FROM (SELECT value AS above, LEAD(value) OVER (ORDER BY key) AS below FROM json_each(?1)) \
                         WHERE EXISTS (SELECT 1 FROM sessions INDEXED BY sessions_due \
                                        WHERE state = 'pending' AND bot > above AND bot < below))"
    )
}

fn names(bots: &[&str]) -> String {
    serde_json::to_string(bots).expect("names are text")
}

/// What lies between two known bots in the index.
pub(super) struct Gap<'a> {
    above: Option<&'a str>,
    below: Option<&'a str>,
}

pub(super) fn gaps<'a>(bots: &'a [&'a str]) -> impl Iterator<Item = Gap<'a>> {
    let above = std::iter::once(None).chain(bots.iter().map(|bot| Some(*bot)));
    let below = bots.iter().map(|bot| Some(*bot)).chain(std::iter::once(None));
    above.zip(below).map(|(above, below)| Gap { above, below })
}

impl Gap<'_> {
    pub(super) async fn places(&self, connection: &mut SqliteConnection, limit: i64) -> Result<Vec<i64>, sqlx::Error> {
        let which = match (self.above, self.below) {
            (None, None) => "1",
            (Some(_), None) => "bot > ?1",
            (None, Some(_)) => "bot < ?2",
            (Some(_), Some(_)) => "bot > ?1 AND bot < ?2",
        };
        let query = sqlx::query_scalar(sqlx::AssertSqlSafe(strangers_sql(which)));
        query.bind(self.above).bind(self.below).bind(limit).fetch_all(connection).await
    }
}

fn strangers_sql(which: &str) -> String {
    format!(
        "SELECT rowid FROM sessions INDEXED BY sessions_due WHERE state = 'pending' AND {which} ORDER BY bot LIMIT ?3 + 0"
    )
}

fn moment(text: &[u8]) -> Option<Timestamp> {
    std::str::from_utf8(text).ok().and_then(|text| Timestamp::parse(text).ok())
}

/// From the highest priority of each of these bots (1) down, each found from the one above it; the last is NULL. What
/// is above the highest there is (2) has gone around the schema.
const LEVELS: &str = "WITH RECURSIVE level (bot, priority) AS ( \
        SELECT value, (SELECT CAST(MAX(priority) AS REAL) FROM sessions \
                        WHERE state = 'pending' AND bot = value AND priority <= ?2) \
          FROM json_each(?1) \
        UNION ALL \
        SELECT bot, (SELECT CAST(MAX(sessions.priority) AS REAL) FROM sessions \
                      WHERE state = 'pending' AND sessions.bot = level.bot AND sessions.priority < level.priority) \
          FROM level WHERE priority IS NOT NULL)";

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
    for priority in ends(connection, &[bot], now).await?.iter().filter_map(|level| level.priority) {
        let due: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM (SELECT 1 FROM sessions WHERE state = 'pending' AND bot = ?1 AND priority = ?2 \
             AND next_poll_at <= ?3 LIMIT ?4 + 0)",
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

/// Rows whose priority went around the schema.
pub(super) const BENT: &str = "bot = ?1 AND priority > ?2 AND ?3 IS NOT NULL";

/// Where rows of one priority are.
pub(super) fn of_level(which: &str) -> String {
    format!("bot = ?1 AND priority = ?2 AND {which}")
}

/// So many due rows of one priority are a backlog: minutes of an account's budget.
const BACKLOG: i64 = 500;

/// What is due of one priority: by age; or, in a backlog, from both ends, begun at the one whose turn it is, so that a
/// fresh session whose media is likely to be there does not wait behind thousands of others. Where the one end has too
/// few, the other fills up.
pub(super) async fn due_places(
    connection: &mut SqliteConnection,
    bot: &str,
    priority: f64,
    now: &str,
    limit: i64,
    turn: Turn,
) -> Result<Vec<i64>, sqlx::Error> {
    let which = of_level("next_poll_at <= ?3");
    let longest = places(connection, &which, bot, priority, now, limit).await?;
    let found = i64::try_from(longest.len()).unwrap_or(i64::MAX);
    if found < limit || !is_backlog(connection, bot, priority, now).await? {
        return Ok(longest);
    }
    let latest = latest_places(connection, &which, bot, priority, now, limit).await?;
    let (first, second) = if turn == Turn::Longest { (longest, latest) } else { (latest, longest) };
    let mut seen = HashSet::new();
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let turns = std::iter::from_fn(|| {
        let turn = [first.next(), second.next()];
        turn.iter().any(Option::is_some).then_some(turn)
    });
    Ok(turns.flatten().flatten().filter(|place| seen.insert(*place)).collect())
}

async fn is_backlog(
    connection: &mut SqliteConnection,
    bot: &str,
    priority: f64,
    now: &str,
) -> Result<bool, sqlx::Error> {
    let beyond: Option<i64> = sqlx::query_scalar(
        "SELECT 1 FROM sessions WHERE state = 'pending' AND bot = ?1 AND priority = ?2 AND next_poll_at <= ?3 \
         ORDER BY next_poll_at LIMIT 1 OFFSET ?4 + 0",
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
pub(super) async fn places(
    connection: &mut SqliteConnection,
    which: &str,
    bot: &str,
    priority: f64,
    bound: &str,
    limit: i64,
) -> Result<Vec<i64>, sqlx::Error> {
    let query = sqlx::query_scalar(sqlx::AssertSqlSafe(places_sql(which)));
    query.bind(bot).bind(priority).bind(bound).bind(limit).fetch_all(connection).await
}

fn places_sql(which: &str) -> String {
    format!(
        "SELECT rowid FROM sessions WHERE state = 'pending' AND {which} ORDER BY bot, priority, next_poll_at LIMIT ?4 + 0"
    )
}

/// How far from the other end fresh rows are looked for: bounds what a look costs.
const FARTHEST_BACK: i64 = 64;

/// The same from the other end, but only rows whose last attempt did not fail: in an outage those that come round again
/// would take the turns of rows that were not asked about at all.
async fn latest_places(
    connection: &mut SqliteConnection,
    which: &str,
    bot: &str,
    priority: f64,
    bound: &str,
    limit: i64,
) -> Result<Vec<i64>, sqlx::Error> {
    let sql = format!(
        "SELECT rowid FROM (SELECT rowid, error_step FROM sessions WHERE state = 'pending' AND {which} \
         ORDER BY bot DESC, priority DESC, next_poll_at DESC LIMIT ?5 + 0) WHERE error_step = 0 LIMIT ?4 + 0"
    );
    let query = sqlx::query_scalar(sqlx::AssertSqlSafe(sql));
    query.bind(bot).bind(priority).bind(bound).bind(limit).bind(FARTHEST_BACK.max(limit)).fetch_all(connection).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::file::{connect, create_if_missing};

    /// However many rows wait: what a look costs must not grow with them.
    #[tokio::test]
    async fn a_look_searches_ranges_of_the_index_of_what_is_due_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("queue.db");
        create_if_missing(&path).await.unwrap();
        let mut queue = connect(&path).await.unwrap();
        let gaps = ["bot < ?2", "bot > ?1 AND bot < ?2", "bot > ?1"].map(strangers_sql);
        let places = [BENT.to_owned(), of_level("next_poll_at <= ?3")].map(|which| places_sql(&which));
        for sql in std::iter::once(ends_sql()).chain(gaps).chain(places) {
            let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
            let steps: Vec<(i64, i64, i64, String)> = sqlx::query_as(explain)
                .bind("[\"default\",\"sales\"]")
                .bind("sales")
                .bind(1)
                .bind(1)
                .fetch_all(&mut queue)
                .await
                .unwrap();
            let of_sessions = steps.iter().map(|step| &step.3).filter(|step| step.contains("sessions"));
            let (by_index, otherwise): (Vec<_>, Vec<_>) =
                of_sessions.partition(|step| step.starts_with("SEARCH") && step.contains("sessions_due (bot"));
            assert!(!by_index.is_empty() && otherwise.is_empty(), "{otherwise:#?} in {sql}");
        }
    }
}
