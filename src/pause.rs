//! Pauses: what waits for somebody else, for how long, and who may try first.
//!
//! A rate limit stops every poll of its account, a wrong set-up those of its bot, a bucket that refuses stops uploads.
//! A pause has an end; at its end one attempt (the probe) goes first. If that works the pause is over, if not it grows
//! by `poll.error`. Several attempts that were under way when it began count once, however late they fail. No row is ever
//! charged for one. Where no row comes by that could try, a pause is over when it has run out.
//!
//! Files on a host that the settings do not name stop nothing: other files of that bot may be elsewhere. They are shown as a
//! pause, because only a person can help, for as long as rows come by that wait for it.
//!
//! Each change is told while the pauses are held, so that log, metric and table hear of changes in the order in which they
//! were made: the end of a pause that is told before its beginning would leave it shown for good.
//!
//! A pause is measured on the monotonic clock, so that a jump of the wall clock neither ends nor stretches it; the
//! times shown to people are wall time.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::backoff::Backoff;
use crate::clock::{Clock, Timestamp};

/// What can be paused.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum What {
    /// The polls of one bot.
    Bot(String),
    /// Some files of one bot; stops nobody.
    Files(String),
    /// All uploads.
    Bucket,
    /// All writes of results.
    Queue,
}

impl What {
    /// The label in metrics and tables: `bot:NAME`, `bucket` or `queue`.
    #[must_use]
    pub fn label(&self) -> String {
        match self {
            Self::Bot(name) | Self::Files(name) => format!("bot:{name}"),
            Self::Bucket => "bucket".into(),
            Self::Queue => "queue".into(),
        }
    }
}

/// The reason of a bucket that gives no answer, or none that says anything.
pub const UNAVAILABLE: &str = "unavailable";

/// Every word that a pause is given as its reason: a label of the metrics, and a line of the runbook each.
pub const REASONS: [&str; 18] = [
    // Of a bot.
    "rate_limited",
    "unauthorized",
    // Of its files.
    "host_refused",
    // Of the bucket: its set-up,
    "access_denied",
    "credentials",
    "kms",
    "no_such_bucket",
    "wrong_region",
    "clock",
    "quota",
    "invalid",
    // its bad days,
    UNAVAILABLE,
    "corrupted",
    "conflict",
    "mismatch",
    // Of the queue.
    "locked",
    "disk_full",
    "io_error",
];

/// A pause as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    /// [`What::label`]
    pub what: String,
    /// One word of [`REASONS`].
    pub reason: &'static str,
    /// What happened and what to do.
    pub message: String,
    /// Since when.
    pub since: Timestamp,
    /// When it is tried again.
    pub until: Timestamp,
}

/// Whether an attempt may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Go on.
    Open,
    /// The pause has run out; one may try.
    Probe,
    /// Not before that much time.
    Closed(Duration),
}

/// The right to one attempt. Dropping it gives the probe's place back, if this had it, so that an attempt that is
/// called off or panics blocks nobody.
#[derive(Debug)]
#[must_use = "dropping it ends the attempt"]
pub struct Pass {
    pauses: Pauses,
    what: What,
    /// Of the probe, if this is one.
    ticket: Option<u64>,
}

impl Pass {
    /// The attempt worked: if it was the probe, the pause is over. One from before a pause proves nothing about it.
    pub fn succeeded(&self) {
        let is_probe = |paused: &Paused| paused.is_probed_by(self.ticket);
        self.pauses.remove_if(&self.what, is_probe);
    }

    /// The attempt had nothing left to do, and saw as much: what it was made at answers, and that is all that this proves.
    pub fn was_answered(&self) {
        let is_over = |paused: &Paused| paused.is_probed_by(self.ticket) && paused.pause.reason == UNAVAILABLE;
        self.pauses.remove_if(&self.what, is_over);
    }

    /// The attempt failed, and what it was made at is paused, for `wait` or for the next step of the backoff. Where there is
    /// a pause, it grows by its probe alone; any other attempt is from before it, and can make it longer by naming a later
    /// end, and no more.
    pub fn failed(&self, reason: &'static str, message: &str, wait: Option<Duration>) {
        self.pauses.pause_by(self.ticket, true, &self.what, reason, message, wait);
    }

    /// At what it is.
    #[must_use]
    pub fn what(&self) -> &What {
        &self.what
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if let Some(paused) = self.pauses.lock().get_mut(&self.what)
            && paused.is_probed_by(self.ticket)
        {
            paused.probe = None;
        }
    }
}

/// Hears of every change: the log, the metric, the table. It must not come back to the pauses.
pub trait Listener: fmt::Debug + Send + Sync {
    /// Something changed.
    fn tell(&self, change: Change);
}

/// What changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A pause began or grew.
    Paused {
        /// As it is now.
        pause: Pause,
        /// What it was for until now, if that is something else.
        was_for: Option<&'static str>,
        /// People were told: it stops nobody, and each row that waits for it says so again.
        again: bool,
    },
    /// A pause is over; its [`What::label`] and reason.
    Resumed(String, &'static str),
}

/// All pauses of the daemon. Clones share them.
#[derive(Clone, Debug)]
pub struct Pauses {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    clock: Arc<dyn Clock>,
    backoff: Backoff,
    listener: Box<dyn Listener>,
    paused: Mutex<BTreeMap<What, Paused>>,
    tickets: AtomicU64,
}

#[derive(Debug)]
struct Paused {
    pause: Pause,
    /// On the monotonic clock.
    until: Duration,
    step: u32,
    /// An attempt failed, and who made it comes by again; else it is somebody else's word alone.
    is_met: bool,
    /// The ticket of who tries already, and since when.
    probe: Option<(u64, Duration)>,
}

impl Paused {
    fn is_probed_by(&self, ticket: Option<u64>) -> bool {
        ticket.is_some() && self.probe.map(|(ticket, _)| ticket) == ticket
    }

    fn gate(&self, now: Duration) -> Gate {
        match (self.until.checked_sub(now), self.probe) {
            (Some(left), _) if !left.is_zero() => Gate::Closed(left),
            // What comes of it is mostly known soon.
            (_, Some((_, since))) if now.saturating_sub(since) < LONGEST_PROBE => Gate::Closed(PROBE_PATIENCE),
            (_, _) => Gate::Probe,
        }
    }
}

impl Pauses {
    /// None yet; those without an end of their own grow by `backoff`.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, backoff: Backoff, listener: Box<dyn Listener>) -> Self {
        let (paused, tickets) = (Mutex::default(), AtomicU64::default());
        Self { inner: Arc::new(Inner { clock, backoff, listener, paused, tickets }) }
    }

    /// Whether an attempt at `what` may go on now. Looks only.
    #[must_use]
    pub fn gate(&self, what: &What) -> Gate {
        let now = self.inner.clock.elapsed();
        self.lock().get(what).map_or(Gate::Open, |paused| paused.gate(now))
    }

    /// The right to an attempt at `what`; it is the probe if a pause has run out.
    ///
    /// # Errors
    /// How long to wait instead.
    pub fn enter(&self, what: &What) -> Result<Pass, Duration> {
        let now = self.inner.clock.elapsed();
        let mut all = self.lock();
        let paused = all.get_mut(what);
        let ticket = match paused.as_ref().map_or(Gate::Open, |paused| paused.gate(now)) {
            Gate::Closed(wait) => return Err(wait),
            Gate::Open => None,
            Gate::Probe => Some(self.inner.tickets.fetch_add(1, Ordering::Relaxed)),
        };
        if let Some(paused) = paused {
            paused.probe = ticket.map(|ticket| (ticket, now));
        }
        Ok(Pass { pauses: self.clone(), what: what.clone(), ticket })
    }

    /// Pauses `what` for `wait` at the word of somebody who made no attempt at it; what is paused already stays so for as
    /// long at least.
    pub fn pause(&self, what: &What, reason: &'static str, message: &str, wait: Duration) {
        self.pause_by(None, false, what, reason, message, Some(wait));
    }

    fn pause_by(
        &self,
        ticket: Option<u64>,
        is_met: bool,
        what: &What,
        reason: &'static str,
        message: &str,
        wait: Option<Duration>,
    ) {
        debug_assert!(REASONS.contains(&reason), "{reason} is a word that the runbook does not know");
        let (clock, backoff) = (&self.inner.clock, &self.inner.backoff);
        let (now, wall) = (clock.elapsed(), clock.now());
        let mut all = self.lock();
        let before = all.get(what);
        let late = before.filter(|paused| !paused.is_probed_by(ticket));
        if late.is_some_and(|paused| wait.is_none_or(|wait| now + wait <= paused.until)) {
            return;
        }
        let again = before.is_some() && matches!(what, What::Files(_));
        let grown = u32::from(late.is_none());
        let step = before.map_or(0, |paused| paused.step.saturating_add(grown));
        let is_met = is_met || before.is_some_and(|paused| paused.is_met);
        let since = before.map_or(wall, |paused| paused.pause.since);
        let was_for = before.map(|paused| paused.pause.reason).filter(|before| *before != reason);
        let wait = wait.unwrap_or_else(|| backoff.wait(step));
        let pause = Pause { what: what.label(), reason, message: message.to_owned(), since, until: wall.after(wait) };
        let probe = late.and_then(|paused| paused.probe);
        all.insert(what.clone(), Paused { pause: pause.clone(), until: now + wait, step, is_met, probe });
        self.inner.listener.tell(Change::Paused { pause, was_for, again });
    }

    /// `what` works again, whoever says so.
    pub fn resume(&self, what: &What) {
        self.remove_if(what, |_| true);
    }

    /// No attempt will tell of `what`: a pause that has run out, `grace` ago, is over.
    pub fn lapse(&self, what: &What, grace: Duration) {
        if let Some(before) = self.inner.clock.elapsed().checked_sub(grace) {
            self.remove_if(what, |paused| paused.gate(before) == Gate::Probe);
        }
    }

    /// Nobody needs `what` before `next` from now (never: [`Duration::MAX`]): a pause that has run out is over, and who comes
    /// then begins with the first step of the backoff. One that an attempt met stays while somebody comes by within
    /// `patience`, as long as who met it may wait: it would end before each of their attempts, begin anew with it, and
    /// seem never to last.
    pub fn rest(&self, what: &What, next: Duration, patience: Duration) {
        let now = self.inner.clock.elapsed();
        let is_awaited = |met: bool| next <= if met { patience } else { Duration::ZERO };
        self.remove_if(what, |paused| paused.gate(now) == Gate::Probe && !is_awaited(paused.is_met));
    }

    fn remove_if(&self, what: &What, fits: impl Fn(&Paused) -> bool) {
        let mut all = self.lock();
        if all.get(what).is_some_and(fits)
            && let Some(Paused { pause, .. }) = all.remove(what)
        {
            self.inner.listener.tell(Change::Resumed(pause.what, pause.reason));
        }
    }

    /// The pause of `what`, if there is one.
    #[must_use]
    pub fn of(&self, what: &What) -> Option<Pause> {
        self.lock().get(what).map(|paused| paused.pause.clone())
    }

    /// All pauses in force.
    #[must_use]
    pub fn all(&self) -> Vec<Pause> {
        self.lock().values().map(|paused| paused.pause.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<What, Paused>> {
        // Nothing that holds it can panic half way through a change.
        self.inner.paused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long others wait while one probes.
const PROBE_PATIENCE: Duration = Duration::from_millis(500);
/// A probe that takes longer, a large file from a slow host, is no answer: another may try beside it.
const LONGEST_PROBE: Duration = Duration::from_mins(1);

#[cfg(test)]
mod tests;
