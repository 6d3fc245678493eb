//! The loop: free room, claim, start journeys, sleep or wake.
//!
//! A row is in hand from its claim until its result is committed, and is not claimed again meanwhile. Only rows that
//! are being worked on take room; results that wait for the writer do not, so that another program that holds the
//! queue's write lock stops no polling (up to `MOST_UNWRITTEN` results). The row itself, with whatever its caller wrote
//! into it, is let go of as soon as the work on it has ended. Room is kept for each bot that has no row at work, so that
//! one whose files come slowly cannot take all of it.
//!
//! A daemon with nothing to do wakes once a second to see whether anybody has committed, which costs next to nothing, and
//! every other second where nobody has for a while; it looks into the table only then, or when something is due.

mod drain;
mod vitals;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::Notify;
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::backoff::jittered;
use crate::clock::Timestamp;
use crate::journey::Journeys;
use crate::pause::{Gate, What};
use crate::queue::{Applied, Claimed, Claims, Due, Hands, QueueError, Turn, Write};
use crate::session::Reason;
pub use vitals::Vitals;

/// How often the daemon looks whether somebody inserted a row,
const LOOK: Duration = Duration::from_secs(1);
/// and how often while nobody has written anything for a while.
const QUIET_LOOK: Duration = Duration::from_secs(2);
const QUIET: Duration = Duration::from_secs(5);
/// Files on a refused host are shown as long as their rows come by; a row that is due may wait for its turn.
const HOST_REFUSED_GRACE: Duration = Duration::from_mins(1);
/// A busy loop comes round no more often: one look serves for all that happened meanwhile.
const ROUND: Duration = Duration::from_millis(2);
/// Timers are no finer; what is due by then is due in one look.
const SHORTEST_NAP: Duration = Duration::from_millis(1);
/// Results that may wait for the writer before claiming stops: what a blocked writer may cost in memory, some kilobytes each.
const MOST_UNWRITTEN: usize = 10_000;

/// The loop's state.
#[derive(Debug)]
pub struct Worker {
    claims: Claims,
    journeys: Journeys,
    vitals: Vitals,
    /// Rows worked on at once.
    most_active: usize,
    /// Told when somebody leaves an account's line.
    moved: Arc<Notify>,
    due: Due,
    hands: Hands,
    tasks: JoinSet<Option<Write>>,
    at_work: HashMap<Id, Arc<Claimed>>,
    unwritten: FuturesUnordered<BoxFuture<'static, Written>>,
    until_empty: bool,
    /// When the loop last looked, in terms of [`Clock::elapsed`].
    looked_at: Duration,
    /// By how much the clock was set back in all, as far as it was heeded.
    set_back: Duration,
}

/// A result that was handed to the writer.
#[derive(Debug)]
struct Written {
    row: i64,
    /// Which bot the row says.
    bot: String,
    /// Why the row is no longer pending, if it is not.
    reason: Option<Reason>,
    /// Nothing if the writer has ended.
    applied: Option<Applied>,
}

/// Why the loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was told to.
    Stopped,
    /// Nothing was pending any more.
    Empty,
}

impl Worker {
    /// A worker on these claims. It works on at most `most_active` rows at once, and ends by itself when nothing is
    /// pending if `until_empty`.
    #[must_use]
    pub fn new(
        claims: Claims,
        journeys: Journeys,
        vitals: Vitals,
        most_active: usize,
        moved: Arc<Notify>,
        until_empty: bool,
    ) -> Self {
        Self {
            claims,
            journeys,
            vitals,
            most_active,
            moved,
            due: Due::default(),
            hands: Hands::default(),
            tasks: JoinSet::new(),
            at_work: HashMap::new(),
            unwritten: FuturesUnordered::new(),
            until_empty,
            looked_at: Duration::ZERO,
            set_back: Duration::ZERO,
        }
    }

    /// Works until it is told to stop, or nothing is pending.
    ///
    /// # Errors
    /// [`QueueError::NotUsable`]: the queue is gone or damaged, and so the daemon must end.
    pub async fn run(&mut self, stop: &CancellationToken) -> Result<Ended, QueueError> {
        let mut is_new = true;
        while !stop.is_cancelled() {
            self.vitals.beat(self.hands.len());
            match self.look(is_new).await {
                Ok(true) if self.until_empty => return Ok(Ended::Empty),
                Ok(_) => {}
                Err(error @ QueueError::NotUsable { .. }) => return Err(error),
                // Reading waits for what will pass, as writing does; the writer says so in its health.
                Err(error) => {
                    tracing::warn!(%error, "the queue cannot be read; looking again");
                    self.journeys.clock.sleep(LOOK).await;
                }
            }
            is_new = self.wait(stop).await;
        }
        Ok(Ended::Stopped)
    }

    /// Claims what is due and starts it. Says whether nothing at all is left.
    async fn look(&mut self, is_new: bool) -> Result<bool, QueueError> {
        let now = self.journeys.clock.now();
        self.looked_at = self.journeys.clock.elapsed();
        let has_changed = self.claims.has_changed(now).await?;
        self.vitals.count(has_changed);
        self.heed_clock();
        self.hands.forgive(self.looked_at);
        if is_new || has_changed || self.due.is_now(now) {
            self.claim(now).await?;
        }
        self.end_idle_pauses(now);
        Ok(self.due.is_empty() && self.hands.is_empty())
    }

    /// Pauses that no attempt will end: nobody's row comes by that needs what is paused, or none for long.
    fn end_idle_pauses(&self, now: Timestamp) {
        let Journeys { pauses, policy, .. } = &self.journeys;
        // After an attempt that failed; rows that are due or in hand need it now.
        let longest_wait = jittered(policy.error.max(), policy.jitter, 1.0);
        let next = |is_of: &dyn Fn(&str) -> bool| {
            let due = self.due.bots.iter().filter(|(bot, _)| is_of(bot));
            due.map(|(_, at)| at.since(now)).min().unwrap_or(Duration::MAX)
        };
        for name in self.journeys.bots.keys() {
            pauses.rest(&What::Bot(name.clone()), next(&|bot| bot == name), longest_wait);
            pauses.lapse(&What::Files(name.clone()), HOST_REFUSED_GRACE);
        }
        pauses.rest(&What::Bucket, next(&|_| true), longest_wait);
    }

    async fn claim(&mut self, now: Timestamp) -> Result<(), QueueError> {
        let all = Arc::clone(&self.journeys.bots);
        let bots: Vec<&str> = all.keys().map(String::as_str).collect();
        let turn = Turn::drawn((self.journeys.draw)());
        self.due = self.claims.next_due(&bots, now, turn).await?;
        let mut found = Vec::new();
        for bot in self.bots_due(now) {
            let room = self.room_of(&bot);
            if room > 0 {
                let rows = self.claims.claim(&self.due, &bot, room, now, &self.hands).await?;
                found.extend(rows.into_iter().map(|claimed| (claimed, bot.clone())));
            }
        }
        // Among all bots: those of one account share its line, and all of them the room.
        found.sort_by_key(|(claimed, _)| claimed.rank(turn));
        for (claimed, bot) in found {
            if self.room_of(&bot) > 0 {
                self.start(claimed);
            }
        }
        if self.due.strangers && self.room() > 0 {
            let rows = self.claims.claim_strangers(&bots, self.room(), now, &self.hands).await?;
            for claimed in rows {
                self.start(claimed);
            }
        }
        Ok(())
    }

    /// In any order: no bot's name goes before another's.
    fn bots_due(&self, now: Timestamp) -> Vec<String> {
        let due = self.due.bots.iter().filter(|(_, at)| *at <= now);
        let mut bots: Vec<_> = due.map(|(bot, _)| ((self.journeys.draw)(), bot.clone())).collect();
        bots.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        bots.into_iter().map(|(_, bot)| bot).collect()
    }

    /// How many more rows may be worked on.
    fn room(&self) -> usize {
        let blocked = self.unwritten.len() >= MOST_UNWRITTEN;
        if blocked { 0 } else { self.most_active.saturating_sub(self.tasks.len()) }
    }

    /// How many more of the bot: what is not kept for others, its account can take, and its pauses allow.
    fn room_of(&self, bot: &str) -> usize {
        let line = self.journeys.bots.get(bot).map_or(usize::MAX, |bot| bot.line.room());
        let room = self.room().saturating_sub(self.kept_for_others(bot)).min(line);
        match self.journeys.pauses.gate(&What::Bot(bot.to_owned())) {
            Gate::Open => room,
            Gate::Probe => room.min(1),
            Gate::Closed(_) => 0,
        }
    }

    /// Room for one row of each other bot that has none at work; half of all at most.
    fn kept_for_others(&self, bot: &str) -> usize {
        let is_idle = |other: &&String| *other != bot && self.at_work.values().all(|claimed| claimed.bot() != *other);
        self.journeys.bots.keys().filter(is_idle).count().min(self.most_active / 2)
    }

    fn start(&mut self, claimed: Claimed) {
        // Bots and priorities are read one after the other: a row that is moved meanwhile is found twice.
        if !self.hands.are_off(&claimed) {
            return;
        }
        let claimed = Arc::new(claimed);
        self.hands.take(claimed.lease().clone());
        let place = self.journeys.join_line(&claimed);
        let (journeys, row) = (self.journeys.clone(), Arc::clone(&claimed));
        let task = self.tasks.spawn(async move { journeys.travel(&row, place).await });
        self.at_work.insert(task.id(), claimed);
    }

    /// A clock that was set back leaves rows waiting for times that are far off now: they are brought back with it.
    fn heed_clock(&mut self) {
        let clock = &self.journeys.clock;
        let (set_back, now) = (clock.set_back(), clock.now());
        let by = set_back.saturating_sub(std::mem::replace(&mut self.set_back, set_back));
        if !by.is_zero() {
            tracing::warn!(seconds = by.as_secs(), "the wall clock was set back; what waits is brought back with it");
            drop(self.journeys.writer.submit(Write::ClockSetBack { by, now }));
        }
    }

    /// Sleeps until there may be something to do. Says whether room or rows came free.
    async fn wait(&mut self, stop: &CancellationToken) -> bool {
        let clock = Arc::clone(&self.journeys.clock);
        let nap = self.nap(clock.now());
        let is_woken = tokio::select! {
            biased;
            () = stop.cancelled() => return false,
            Some(done) = self.tasks.join_next_with_id() => { self.finished(done); true }
            Some(written) = self.unwritten.next() => { self.committed(&written); true }
            () = self.moved.notified() => true,
            () = clock.sleep(nap) => false,
        };
        if is_woken {
            clock.sleep(ROUND.saturating_sub(clock.elapsed().saturating_sub(self.looked_at))).await;
            self.reap();
        }
        is_woken
    }

    /// Whatever else is ready comes along, so that one look serves for all of it.
    fn reap(&mut self) {
        while let Some(done) = self.tasks.try_join_next_with_id() {
            self.finished(done);
        }
        while let Some(Some(written)) = self.unwritten.next().now_or_never() {
            self.committed(&written);
        }
    }

    /// Until the next row is due, or what keeps one that is due is over, but at most until the next look. What keeps the
    /// others (no room, rows in hand) ends with a wake-up.
    fn nap(&self, now: Timestamp) -> Duration {
        let wait = |(bot, at): &(String, Timestamp)| match at.since(now) {
            Duration::ZERO => self.paused_for(bot),
            wait => Some(wait),
        };
        let forgives = self.hands.forgives_in(self.journeys.clock.elapsed());
        let look = if self.hands.is_empty() && self.claims.is_still(now, QUIET) { QUIET_LOOK } else { LOOK };
        self.due.bots.iter().filter_map(wait).chain(forgives).min().unwrap_or(look).clamp(SHORTEST_NAP, look)
    }

    fn paused_for(&self, bot: &str) -> Option<Duration> {
        match self.journeys.pauses.gate(&What::Bot(bot.to_owned())) {
            Gate::Closed(wait) => Some(wait),
            Gate::Open | Gate::Probe => None,
        }
    }

    fn finished(&mut self, done: Result<(Id, Option<Write>), JoinError>) {
        let id = done.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let Some(claimed) = self.at_work.remove(&id) else { return };
        let row = claimed.lease().row();
        match done.map_or_else(|error| self.after_panic(&claimed, &error), |(_, write)| write) {
            Some(write) => {
                let (bot, reason) = (claimed.bot().to_owned(), write.reason());
                let committed = self.journeys.writer.submit(write);
                self.unwritten
                    .push(committed.map(move |applied| Written { row, bot, reason, applied: applied.ok() }).boxed());
            }
            None => drop(self.hands.release(row)),
        }
    }

    fn after_panic(&self, claimed: &Claimed, error: &JoinError) -> Option<Write> {
        tracing::error!(session.id = claimed.lease().label(), %error, "a panic while working on this row; it is charged a failure and tried again");
        self.journeys.after_panic(claimed)
    }

    fn committed(&mut self, written: &Written) {
        let Written { row, ref bot, reason, applied } = *written;
        let Some(lease) = self.hands.release(row) else { return };
        let now = self.journeys.clock.elapsed();
        if let Some(Applied::LeaseLost | Applied::Refused) = applied {
            if applied == Some(Applied::LeaseLost) {
                let label = lease.label();
                tracing::info!(session.id = label, "the row was changed meanwhile; this result is dropped");
            }
            self.hands.lose(&lease, now);
            return;
        }
        self.hands.win(row);
        if let Some(reason) = reason.filter(|_| applied == Some(Applied::Yes)) {
            self.journeys.metrics.finished(bot, reason);
        }
        if let Some(pause) = self.paused_for(bot) {
            self.hands.shun(row, now + behind_its_siblings(pause));
        }
    }

    /// Lets go of the queue; what is still unwritten is looked at again after the next start.
    pub async fn close(self) {
        self.claims.close().await;
    }
}

/// A row that brought a pause about waits longer than its bot, beyond any jitter of the pause's end: should the answer have
/// been that row's alone, the next attempt must be another's, or one row would stop them all. Not in the table, for after
/// a restart every row goes on at once.
fn behind_its_siblings(pause: Duration) -> Duration {
    pause + (pause / 4).min(Duration::from_secs(30))
}
