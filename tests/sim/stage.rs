//! Where every wait of a run stands: calls that are under way, and sleeps; and both clocks.
//!
//! Whatever the code under test waits for outside itself is a [`Pause`] here, and goes on only when the run says so:
//! one call at a time, or all sleeps whose time has come. That makes a run replayable: nothing happens by itself. The
//! wall clock is the monotonic one plus an offset, which a fault may change.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use kore_archiver::clock::{Clock, Timestamp};

/// 2026-11-23T08:00:00Z: when every run begins.
pub(crate) const START: i64 = 1_795_420_800_000;

#[derive(Clone, Debug, Default)]
pub(crate) struct Stage(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    waits: BTreeMap<u64, Wait>,
    next: u64,
    actor: u64,
    elapsed: Duration,
    offset: i64,
    fingerprint: u64,
    steps: u64,
    trace: Option<Vec<String>>,
}

#[derive(Debug)]
struct Wait {
    actor: u64,
    name: &'static str,
    /// `None`: a call; it goes on when it is chosen.
    until: Option<Duration>,
    ready: bool,
    waker: Waker,
}

impl Stage {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Forgets the run before.
    pub(crate) fn reset(&self, traced: bool) {
        *self.lock() = Inner { offset: START, trace: traced.then(Vec::new), ..Inner::default() };
    }

    /// A call that has to be let through.
    pub(crate) fn call(&self, name: &'static str) -> Pause {
        Pause { stage: self.clone(), name, until: None, id: None }
    }

    /// Who is being polled: calls and what they say belong to it.
    pub(crate) fn set_actor(&self, actor: u64) {
        self.lock().actor = actor;
    }

    pub(crate) fn actor(&self) -> u64 {
        self.lock().actor
    }

    /// The calls under way, oldest first.
    pub(crate) fn calls(&self) -> Vec<u64> {
        let inner = self.lock();
        inner.waits.iter().filter(|(_, wait)| wait.until.is_none() && !wait.ready).map(|(id, _)| *id).collect()
    }

    /// Lets one call through.
    pub(crate) fn release(&self, id: u64) {
        let mut inner = self.lock();
        let Some(wait) = inner.waits.get_mut(&id) else { return };
        wait.ready = true;
        let (name, actor, waker) = (wait.name, wait.actor, wait.waker.clone());
        inner.steps += 1;
        inner.note(&format!("{actor} {name}"));
        drop(inner);
        waker.wake();
    }

    /// Lets time pass; sleeps that end by then end.
    pub(crate) fn advance(&self, by: Duration) {
        let mut inner = self.lock();
        inner.elapsed += by;
        let now = inner.elapsed;
        let over = inner.waits.values_mut().filter(|wait| wait.until.is_some_and(|until| until <= now));
        let wakers: Vec<Waker> = over
            .map(|wait| {
                wait.ready = true;
                wait.waker.clone()
            })
            .collect();
        inner.note(&format!("advance {by:?}"));
        drop(inner);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// How long until the first sleep ends.
    pub(crate) fn next_sleep(&self) -> Option<Duration> {
        let inner = self.lock();
        let ends = inner.waits.values().filter(|wait| !wait.ready).filter_map(|wait| wait.until).min()?;
        Some(ends.saturating_sub(inner.elapsed))
    }

    /// The wall clock is set.
    pub(crate) fn jump(&self, millis: i64) {
        self.lock().offset += millis;
    }

    /// Adds to what tells one run from another.
    pub(crate) fn note(&self, text: &str) {
        self.lock().note(text);
    }

    pub(crate) fn fingerprint(&self) -> u64 {
        self.lock().fingerprint
    }

    pub(crate) fn steps(&self) -> u64 {
        self.lock().steps
    }

    pub(crate) fn trace(&self) -> Vec<String> {
        self.lock().trace.clone().unwrap_or_default()
    }
}

impl Inner {
    /// FNV-1a.
    fn note(&mut self, text: &str) {
        let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        self.fingerprint = text.bytes().fold(self.fingerprint ^ 0xcbf2_9ce4_8422_2325, mix);
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>9.3} s  {text}", self.elapsed.as_secs_f64()));
        }
    }
}

#[async_trait]
impl Clock for Stage {
    fn now(&self) -> Timestamp {
        let inner = self.lock();
        Timestamp::from_millis(inner.offset).after(inner.elapsed)
    }

    fn elapsed(&self) -> Duration {
        self.lock().elapsed
    }

    async fn sleep(&self, wait: Duration) {
        let until = Some(self.elapsed() + wait);
        Pause { stage: self.clone(), name: "sleep", until, id: None }.await;
    }
}

/// A wait that the run ends.
#[derive(Debug)]
pub(crate) struct Pause {
    stage: Stage,
    name: &'static str,
    until: Option<Duration>,
    id: Option<u64>,
}

impl Future for Pause {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let stage = self.stage.clone();
        let mut inner = stage.lock();
        let Some(id) = self.id else {
            let id = inner.next;
            inner.next += 1;
            let ready = self.until.is_some_and(|until| until <= inner.elapsed);
            let (actor, waker) = (inner.actor, context.waker().clone());
            inner.waits.insert(id, Wait { actor, name: self.name, until: self.until, ready, waker });
            self.id = Some(id);
            return if ready { Poll::Ready(()) } else { Poll::Pending };
        };
        let Some(wait) = inner.waits.get_mut(&id) else { return Poll::Ready(()) };
        if wait.ready {
            inner.waits.remove(&id);
            return Poll::Ready(());
        }
        wait.waker.clone_from(context.waker());
        Poll::Pending
    }
}

impl Drop for Pause {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.stage.lock().waits.remove(&id);
        }
    }
}
