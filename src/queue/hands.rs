//! What is in hand: rows that are being worked on or whose result waits for the writer, and rows that are left alone.
//!
//! A row is known by its place in the table and by its session: whoever replaces a row, or deletes and inserts it
//! again, makes another row of the same session, which waits until the hands are off the first. So a session is never
//! copied by two tasks at once.
//!
//! What is kept of a row is the right to write its result and nothing else of it: a result may wait long for the writer,
//! thousands of them, and what a caller wrote into a row may be large.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::rows::{Claimed, Lease};
use crate::backoff::Backoff;

/// How long a row is left alone whose result was not taken.
fn shunned() -> Backoff {
    Backoff::new(Duration::from_secs(2), 2.0, Duration::from_mins(15)).expect("the constants make sense")
}

/// How long it is remembered of a row that was tried again, or is there no more.
const REMEMBERED: Duration = Duration::from_hours(1);

/// Rows that are not to be claimed.
#[derive(Debug, Default)]
pub struct Hands {
    rows: HashMap<i64, Lease>,
    sessions: HashSet<String>,
    /// Until when, on the monotonic clock.
    shunned: HashMap<i64, Duration>,
    /// Whose result was not taken: the token, how often in a row, and until when it is left alone.
    lost: HashMap<i64, (String, u32, Duration)>,
}

impl Hands {
    /// Takes a row.
    pub fn take(&mut self, lease: Lease) {
        self.sessions.insert(lease.label.clone());
        self.rows.insert(lease.rowid, lease);
    }

    /// Takes the hands off a row.
    pub fn release(&mut self, row: i64) -> Option<Lease> {
        let lease = self.rows.remove(&row)?;
        self.sessions.remove(&lease.label);
        Some(lease)
    }

    /// Leaves a row alone until then.
    pub fn shun(&mut self, row: i64, until: Duration) {
        self.shunned.insert(row, until);
    }

    /// Leaves a row alone whose result was not taken, longer each time that it is the same row: nobody may make the daemon
    /// poll in circles.
    pub fn lose(&mut self, lease: &Lease, now: Duration) {
        let before = self.lost.get(&lease.rowid).filter(|(token, ..)| *token == lease.token);
        let step = before.map_or(0, |(_, step, _)| step + 1);
        let until = now + shunned().wait(step);
        self.lost.insert(lease.rowid, (lease.token.clone(), step, until));
        self.shun(lease.rowid, until);
    }

    /// The result of the row was taken.
    pub fn win(&mut self, row: i64) {
        self.lost.remove(&row);
    }

    /// Forgets whom to leave alone once the time has come.
    pub fn forgive(&mut self, now: Duration) {
        self.shunned.retain(|_, until| *until > now);
        self.lost.retain(|_, (_, _, until)| *until + REMEMBERED > now);
    }

    /// Until the first row that is left alone may be taken again.
    #[must_use]
    pub fn forgives_in(&self, now: Duration) -> Option<Duration> {
        self.shunned.values().min().map(|until| until.saturating_sub(now))
    }

    /// Rows in hand.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Nothing is in hand.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Whether nobody works on the row or its session, and it is not left alone.
    #[must_use]
    pub fn are_off(&self, claimed: &Claimed) -> bool {
        !self.keep_off(claimed.lease().row()) && !self.work_on(claimed)
    }

    pub(super) fn keep_off(&self, row: i64) -> bool {
        self.rows.contains_key(&row) || self.shunned.contains_key(&row)
    }

    pub(super) fn work_on(&self, claimed: &Claimed) -> bool {
        self.sessions.contains(claimed.lease().label())
    }

    /// How many rows a claim may meet in vain.
    pub(super) fn full(&self) -> usize {
        self.rows.len() + self.shunned.len()
    }
}
