//! What people read of it.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use kore_archiver::clock::{Clock as _, SystemClock};

use crate::fault::Fault;
use crate::plan::{Plan, Size};
use crate::run::Outcome;

/// After so many failing seeds the rest would say nothing new.
const ENOUGH: u64 = 5;
/// Of a trace, the end says most.
const LAST_LINES: usize = 400;

#[derive(Debug)]
pub(crate) struct Report {
    clock: SystemClock,
    seeds: u64,
    brief: u64,
    failed: u64,
    steps: u64,
    puts: u64,
    flows: u64,
    replayed: u64,
    /// Something in these runs is not drawn from the seed.
    differed: u64,
    strikes: Vec<u64>,
    /// How often each operation was performed.
    ops: BTreeMap<&'static str, u64>,
}

impl Default for Report {
    fn default() -> Self {
        let (seeds, brief, failed, steps, puts, flows, replayed, differed) = (0, 0, 0, 0, 0, 0, 0, 0);
        Self {
            clock: SystemClock::new(),
            seeds,
            brief,
            failed,
            steps,
            puts,
            flows,
            replayed,
            differed,
            strikes: vec![0; Fault::ALL.len()],
            ops: BTreeMap::new(),
        }
    }
}

impl Report {
    /// Says how many there are with this one.
    pub(crate) fn add(&mut self, plan: &Plan, outcome: &Outcome) -> u64 {
        plan.ops.iter().for_each(|op| *self.ops.entry(op.name()).or_default() += 1);
        self.seeds += 1;
        self.brief += u64::from(plan.is_brief);
        self.failed += u64::from(!outcome.violations.is_empty());
        self.steps += outcome.steps;
        self.puts += outcome.puts;
        self.flows += outcome.flows;
        self.strikes.iter_mut().zip(&outcome.strikes).for_each(|(all, one)| *all += one);
        self.seeds
    }

    pub(crate) fn compare(&mut self, seed: u64, one: &Outcome, other: &Outcome) {
        self.replayed += 1;
        if one.fingerprint != other.fingerprint {
            self.differed += 1;
            println!("seed {seed}: played twice, it went two ways; what it shows may not show again");
            let ways = one.trace.iter().zip(&other.trace).enumerate().find(|(_, (one, other))| one != other);
            if let Some((line, (one, other))) = ways {
                println!("  line {line}: {one}\n  or: {other}");
            }
        }
    }

    pub(crate) fn is_enough(&self) -> bool {
        self.failed >= ENOUGH
    }

    pub(crate) fn tell(&self) -> ExitCode {
        let took = self.clock.elapsed().max(Duration::from_millis(1)).as_secs_f64();
        let strikes: u64 = self.strikes.iter().sum();
        println!(
            "simulation: {} trials in {took:.1} s ({:.0} a second), {} of them brief: {} calls, {} objects, {} parts sent while they came, \
             {strikes} faults, {} replays compared ({} differed): {} violations",
            self.seeds,
            precise(self.seeds) / took,
            self.brief,
            self.steps,
            self.puts,
            self.flows,
            self.replayed,
            self.differed,
            self.failed,
        );
        let each = Fault::ALL.iter().zip(&self.strikes).map(|(fault, count)| format!("{fault:?} {count}"));
        println!("faults: {}", each.collect::<Vec<_>>().join(", "));
        let each = self.ops.iter().map(|(op, count)| format!("{op} {count}"));
        println!("operations: {}", each.collect::<Vec<_>>().join(", "));
        if self.failed + self.differed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// Counts here are far below 2^32.
fn precise(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

pub(crate) fn tell_failure(plan: &Plan, outcome: &Outcome) {
    let whole = if plan.size == Size::Whole { " --whole" } else { "" };
    println!("seed {0} fails (`cargo test --test sim -- --seed {0}{whole}` plays all of it):", plan.seed);
    outcome.violations.iter().take(3).for_each(|violation| println!("  {violation}"));
    println!("  made smaller: faults {:?}", plan.mix.on().collect::<Vec<_>>());
    println!("  operations {:?}", plan.ops);
    let skipped = outcome.trace.len().saturating_sub(LAST_LINES);
    outcome.trace.iter().skip(skipped).for_each(|line| println!("    {line}"));
}

pub(crate) fn tell_trace(plan: &Plan, outcome: &Outcome) -> ExitCode {
    println!("{plan:#?}");
    outcome.trace.iter().for_each(|line| println!("{line}"));
    println!("fingerprint {:016x}", outcome.fingerprint);
    outcome.violations.iter().for_each(|violation| println!("VIOLATION {violation}"));
    if outcome.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
