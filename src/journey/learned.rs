//! What the daemon has learned of each bot, shared by all journeys: models, and the pressure on each account's budget.
//!
//! Models live in memory and are written down by the queue's writer now and then and at the end; what a crash loses is
//! at most the last minute's lessons. Nothing here waits: the lock is held for one decision at a time.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::config::{PollSettings, Schedule};
use crate::decide::{History, Outlook, Seen, Step, decide, known};
use crate::queue::{Row, Write};
use crate::schedule::{Model, Pressure};
use crate::session::{Status, StatusKind};

/// The shared memory.
#[derive(Debug, Default)]
pub struct Learned {
    bots: Mutex<BTreeMap<String, Lessons>>,
}

#[derive(Debug, Default)]
struct Lessons {
    model: Model,
    pressure: Pressure,
    is_unwritten: bool,
}

impl Lessons {
    fn outlook(&self, row: &Row) -> Outlook<'_> {
        Outlook {
            model: &self.model,
            enqueued_at: row.enqueued_at,
            call_ended_at: row.call_ended_at,
            pressure: self.pressure.level(),
        }
    }
}

impl Learned {
    fn bots(&self) -> MutexGuard<'_, BTreeMap<String, Lessons>> {
        self.bots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes back what was written down of a bot; `false` if it cannot be read, and the bot starts afresh.
    pub fn recall(&self, bot: &str, state: &str) -> bool {
        let model = Model::from_text(state);
        let is_read = model.is_some();
        self.bots().insert(bot.to_owned(), Lessons { model: model.unwrap_or_default(), ..Lessons::default() });
        is_read
    }

    /// What is to be written down since the last call.
    pub fn unwritten(&self, now: Timestamp) -> Vec<Write> {
        let mut writes = Vec::new();
        for (bot, lessons) in self.bots().iter_mut() {
            if std::mem::take(&mut lessons.is_unwritten) {
                writes.push(Write::Learned { bot: bot.clone(), state: lessons.model.to_text(), at: now });
            }
        }
        writes
    }

    /// Notes how an account's budget stands, for one of its bots ([`Pressure::note`]).
    pub fn note_pressure(&self, bot: &str, at: Duration, used: f64, backlog: f64) {
        self.bots().entry(bot.to_owned()).or_default().pressure.note(at, used, backlog);
    }

    /// When to look at this row first, if it is new and not to be asked about at once.
    pub fn first_look(&self, policy: &PollSettings, row: &Row, now: Timestamp, draw: f64) -> Option<Timestamp> {
        let mut bots = self.bots();
        let lessons = bots.entry(row.bot.clone()).or_default();
        lessons.outlook(row).first_look(policy, &row.history, row.due_at, now, draw)
    }

    /// Decides what a status leads to, and learns from it.
    pub fn decide(&self, policy: &PollSettings, row: &Row, seen: Seen, now: Timestamp, draw: f64) -> Step {
        let mut bots = self.bots();
        let lessons = bots.entry(row.bot.clone()).or_default();
        let step = decide(policy, &row.history, seen, now, draw, &lessons.outlook(row));
        if policy.schedule == Schedule::Adaptive {
            lessons.learn(row, &step.history, seen, now);
        }
        step
    }
}

impl Lessons {
    /// A success that was seen before and could not be archived teaches nothing new; nor does what ends a row.
    fn learn(&mut self, row: &Row, after: &History, seen: Seen, now: Timestamp) {
        let was_ready = row.kore_status.as_deref().is_some_and(|said| Status::new(said).kind() == StatusKind::Success);
        let is_ready = match seen {
            Seen::Status(StatusKind::Success, recordings) => recordings > 0,
            Seen::Status(StatusKind::CallInProgress | StatusKind::MediaInProgress, _) => false,
            Seen::Status(
                StatusKind::Unavailable
                | StatusKind::Failed
                | StatusKind::KoreRetrying
                | StatusKind::TooShort
                | StatusKind::RecordingDisabled
                | StatusKind::Other,
                _,
            )
            | Seen::Archived { .. }
            | Seen::Failure { .. }
            | Seen::OddBody
            | Seen::Trouble { .. }
            | Seen::Held(_)
            | Seen::HostRefused
            | Seen::TooLarge => return,
        };
        if is_ready && was_ready {
            return;
        }
        let before = known(&row.history, row.enqueued_at, row.call_ended_at);
        let after = known(after, row.enqueued_at, row.call_ended_at);
        self.model.learn(&before, if is_ready { &before } else { &after }, is_ready, before.seconds(now));
        self.is_unwritten = true;
    }
}
