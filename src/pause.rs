//! Pauses: what waits for somebody else, for how long, and who may try first.
//!
//! A rate limit stops every poll of its account, a wrong set-up those of its bot, a bucket that refuses stops uploads.
//! A pause has an end; at its end one attempt (the probe) goes first. If that works the pause is over, if not it grows
//! by `poll.error`. Several attempts that were under way when it began count once. No row is ever charged for one.
//!
//! A pause is measured on the monotonic clock, so that a jump of the wall clock neither ends nor stretches it; the
//! times shown to people are wall time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::backoff::Backoff;
use crate::clock::{Clock, Timestamp};

/// What can be paused.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum What {
    /// The polls of one bot.
    Bot(String),
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
            Self::Bot(name) => format!("bot:{name}"),
            Self::Bucket => "bucket".into(),
            Self::Queue => "queue".into(),
        }
    }
}

/// A pause as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    /// [`What::label`]
    pub what: String,
    /// One word, from a fixed set.
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

/// What changed, for the log, the table and the metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A pause began or grew.
    Paused(Pause),
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
    paused: Mutex<BTreeMap<What, Paused>>,
}

#[derive(Debug)]
struct Paused {
    pause: Pause,
    /// On the monotonic clock.
    until: Duration,
    step: u32,
    probing: bool,
}

impl Pauses {
    /// None yet; those without an end of their own grow by `backoff`.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, backoff: Backoff) -> Self {
        Self { inner: Arc::new(Inner { clock, backoff, paused: Mutex::default() }) }
    }

    /// Whether an attempt at `what` may go on now. Looks only.
    #[must_use]
    pub fn gate(&self, what: &What) -> Gate {
        let now = self.inner.clock.elapsed();
        match self.lock().get(what) {
            None => Gate::Open,
            Some(paused) if paused.until > now => Gate::Closed(paused.until.saturating_sub(now)),
            // Somebody tries already; what comes of it is known soon.
            Some(paused) if paused.probing => Gate::Closed(PROBE_PATIENCE),
            Some(_) => Gate::Probe,
        }
    }

    /// Like [`Pauses::gate`], and takes the probe's place if that is what is left. Who got [`Gate::Probe`] must call
    /// [`Pauses::pause`], [`Pauses::resume`] or [`Pauses::give_up_probe`] afterwards.
    #[must_use]
    pub fn enter(&self, what: &What) -> Gate {
        let gate = self.gate(what);
        if gate == Gate::Probe
            && let Some(paused) = self.lock().get_mut(what)
        {
            paused.probing = true;
        }
        gate
    }

    /// The probe found out nothing; another may try.
    pub fn give_up_probe(&self, what: &What) {
        if let Some(paused) = self.lock().get_mut(what) {
            paused.probing = false;
        }
    }

    /// Pauses `what` for `wait`, or for the next step of the backoff. While it is paused already, and nobody probes,
    /// this is an attempt from before: it changes nothing.
    #[must_use]
    pub fn pause(&self, what: &What, reason: &'static str, message: &str, wait: Option<Duration>) -> Option<Change> {
        let (clock, backoff) = (&self.inner.clock, &self.inner.backoff);
        let (now, wall) = (clock.elapsed(), clock.now());
        let mut paused = self.lock();
        let before = paused.get(what);
        if before.is_some_and(|paused| !paused.probing && paused.until > now) {
            return None;
        }
        let step = before.map_or(0, |paused| paused.step.saturating_add(1));
        let since = before.map_or(wall, |paused| paused.pause.since);
        let wait = wait.unwrap_or_else(|| backoff.wait(step));
        let pause = Pause { what: what.label(), reason, message: message.to_owned(), since, until: wall.after(wait) };
        paused.insert(what.clone(), Paused { pause: pause.clone(), until: now + wait, step, probing: false });
        Some(Change::Paused(pause))
    }

    /// `what` works again.
    #[must_use]
    pub fn resume(&self, what: &What) -> Option<Change> {
        self.lock().remove(what).map(|paused| Change::Resumed(paused.pause.what, paused.pause.reason))
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
