//! What the fakes share: the run's chance, its faults, Kore's sessions, the bucket, and what was seen to be wrong.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kore_archiver::clock::Clock;

use crate::bucket::Bucket;
use crate::fault::{Fault, Mix};
use crate::rng::Rng;
use crate::script::Script;
use crate::stage::Stage;

#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) stage: Stage,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) rng: Rng,
    pub(crate) mix: Mix,
    /// Faults are over.
    pub(crate) healed: bool,
    pub(crate) strikes: Vec<u64>,
    pub(crate) violations: Vec<String>,
    pub(crate) kore: BTreeMap<String, Told>,
    pub(crate) bucket: Bucket,
    /// Parts that came while they were sent.
    pub(crate) flows: u64,
    /// The files of the last list that each actor was given, by their place in the script.
    pub(crate) lists: BTreeMap<u64, Vec<usize>>,
}

/// A session at Kore, and what the daemon has been told of it since its row became pending.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) script: Script,
    /// How much of `script.before` has been said.
    pub(crate) said: usize,
    /// Errors that are the row's own.
    pub(crate) own: u32,
    pub(crate) denials: u32,
    pub(crate) odd: u32,
    pub(crate) unmarked_cuts: u32,
    pub(crate) hosts_refused: u32,
    pub(crate) successes: u32,
    pub(crate) urls: u64,
}

impl Told {
    fn new(script: Script) -> Self {
        let (said, own, denials, odd, unmarked_cuts, hosts_refused, successes, urls) = (0, 0, 0, 0, 0, 0, 0, 0);
        Self { script, said, own, denials, odd, unmarked_cuts, hosts_refused, successes, urls }
    }

    /// The row starts afresh: what was told before excuses nothing any more.
    pub(crate) fn forget(&mut self) {
        *self = Self { said: self.said, urls: self.urls, ..Self::new(self.script.clone()) };
    }

    /// Whether anything but an outage was met, which may end a row.
    pub(crate) fn is_excused(&self) -> bool {
        self.own + self.denials + self.odd + self.unmarked_cuts + self.hosts_refused > 0
    }
}

impl World {
    pub(crate) fn new(stage: Stage, seed: u64, mix: Mix, scripts: &[Script]) -> Self {
        let kore = scripts.iter().map(|script| (script.id.clone(), Told::new(script.clone()))).collect();
        let has_checksums = mix.rate(Fault::NoChecksums) == 0;
        let inside = State {
            rng: Rng::new(seed),
            mix,
            healed: false,
            strikes: vec![0; Fault::ALL.len()],
            violations: Vec::new(),
            kore,
            bucket: Bucket::new(has_checksums),
            flows: 0,
            lists: BTreeMap::new(),
        };
        Self { stage, state: Arc::new(Mutex::new(inside)) }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn violation(&self, what: String) {
        self.stage.note(&format!("VIOLATION {what}"));
        self.lock().violations.push(what);
    }

    /// The answer of some calls takes a while, in which others go on, or everything ends.
    pub(crate) async fn answer(&self, name: &'static str) {
        let slow = self.lock().rng.chance(250);
        if slow {
            self.stage.call(name).await;
        }
    }

    /// Time has passed at the bucket.
    pub(crate) fn pass(&self) {
        self.lock().bucket.arrive();
        self.go_on(100);
    }

    /// Completions that hang come to their end, of a thousand so many before they must.
    pub(crate) fn go_on(&self, permille: u32) {
        let lost = {
            let State { bucket, rng, .. } = &mut *self.lock();
            bucket.go_on(self.stage.elapsed(), |_| rng.chance(permille))
        };
        self.tell_lost(lost);
    }

    /// A new run aborts what the last one left, but for what the ledger says was told to complete. What the store is at for
    /// longer than a start takes is left alone otherwise.
    pub(crate) fn outlive(&self, told: &[String]) {
        let lost = self.lock().bucket.go_on(self.stage.elapsed(), |upload| !told.iter().any(|known| known == upload));
        self.tell_lost(lost);
    }

    fn tell_lost(&self, lost: Vec<String>) {
        for key in lost {
            self.violation(format!("{key}: its upload was aborted while its completion was under way"));
        }
    }

    /// Whether this fault strikes now.
    pub(crate) fn strikes(&self, fault: Fault) -> bool {
        let struck = self.lock().strikes(fault);
        if struck {
            self.stage.note(&format!("{fault:?}"));
        }
        struck
    }
}

impl State {
    fn strikes(&mut self, fault: Fault) -> bool {
        let rate = self.mix.rate(fault);
        let strikes = rate > 0 && !self.healed && self.rng.chance(rate);
        self.strikes[fault as usize] += u64::from(strikes);
        strikes
    }
}
