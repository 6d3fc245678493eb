//! The simulation: the real queue, decisions, journeys and archive under generated operations, faults and crashes.
//!
//! A seed is one run: a few sessions, a random few of all faults, a list of operations by other people and by fate;
//! then the faults end, everything comes to rest, and the invariants of the last section of FAULTS.md are asked for
//! (many are watched at every step). A seed always means the same run, so a failing one replays exactly.
//!
//! ```text
//! cargo test --test sim                                       the short form, and all regressions
//! cargo test --release --test sim -- --seeds 1000000          the long form
//! cargo test --test sim -- --seed 4711                        one seed, with its trace
//! cargo test --test sim -- --whole ...                        no brief runs: seeds as they were before there were any
//! ```

mod actor;
mod bench;
mod bucket;
mod daemon;
mod evidence;
mod fault;
mod hand;
mod model;
mod plan;
mod report;
mod rng;
mod run;
mod script;
mod shrink;
mod stage;
mod store;
mod vendor;
mod world;

use std::process::ExitCode;

use plan::{Plan, Size};
use report::{Report, tell_failure, tell_trace};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Enough to meet every fault many times, in a minute of a debug build.
const SHORT: u64 = 3000;
/// One seed in so many is played twice, and must go the same way.
const REPLAYED: u64 = 32;
/// After so many seeds a long run says how far it is.
const TOLD: u64 = 50_000;
/// Seeds that failed once: each stays.
const REGRESSIONS: &str = include_str!("regressions.txt");

struct Orders {
    seeds: u64,
    from: u64,
    one: Option<u64>,
    size: Size,
    list: bool,
}

impl Orders {
    fn read(mut words: impl Iterator<Item = String>) -> Self {
        let mut orders = Self { seeds: SHORT, from: 0, one: None, size: Size::Drawn, list: false };
        while let Some(word) = words.next() {
            let mut number = || words.next().and_then(|text| text.parse().ok()).expect("a number follows");
            match word.as_str() {
                "--seeds" => orders.seeds = number(),
                "--from" => orders.from = number(),
                "--seed" => orders.one = Some(number()),
                "--whole" => orders.size = Size::Whole,
                "--list" => orders.list = true,
                // Filters and flags of the usual test harness.
                _ => {}
            }
        }
        orders
    }
}

fn main() -> ExitCode {
    let orders = Orders::read(std::env::args().skip(1));
    if orders.list {
        println!("sim: test");
        return ExitCode::SUCCESS;
    }
    let mut bench = bench::Bench::new();
    if let Some(seed) = orders.one {
        let plan = Plan::of(seed, orders.size);
        let outcome = run::play(&mut bench, &plan, true);
        return tell_trace(&plan, &outcome);
    }
    let mut report = Report::default();
    let drawn = (orders.from..orders.from + orders.seeds).map(|seed| (seed, orders.size));
    for (seed, size) in regressions().chain(drawn) {
        let plan = Plan::of(seed, size);
        // Some are played twice: a simulation that cannot be replayed proves little.
        let is_replayed = seed % REPLAYED == 0;
        let outcome = run::play(&mut bench, &plan, is_replayed);
        if report.add(&plan, &outcome) % TOLD == 0 {
            report.tell();
        }
        if is_replayed {
            let again = run::play(&mut bench, &plan, true);
            report.compare(seed, &outcome, &again);
        }
        if !outcome.violations.is_empty() {
            let (small, outcome) = shrink::shrink(&mut bench, plan, outcome);
            tell_failure(&small, &outcome);
            if report.is_enough() {
                break;
            }
        }
    }
    report.tell()
}

fn regressions() -> impl Iterator<Item = (u64, Size)> {
    REGRESSIONS.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let seed = words.next()?.parse().ok()?;
        Some((seed, if words.next() == Some("whole:") { Size::Whole } else { Size::Drawn }))
    })
}
