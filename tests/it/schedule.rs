//! A guard: how often the adaptive schedule asks, and how late it is, on small fixed traces. Counts, never seconds of
//! this machine. `cargo bench --bench schedule` has the large ones.

#![allow(dead_code, reason = "the benchmark, whose modules these are, uses more of them")]
#![allow(unreachable_pub, reason = "`pub` marks what the benchmark may use; a test exports nothing")]

#[path = "../bench/schedule/policy.rs"]
mod policy;
#[path = "../bench/schedule/sim.rs"]
mod sim;
#[path = "../bench/schedule/trace.rs"]
mod trace;

use policy::Policy;
use sim::play;
use trace::{Enqueued, Trace};

#[test]
fn few_polls_and_little_lag_at_600_calls_an_hour() {
    for (enqueued, polls, p50, p95) in
        [(Enqueued::AtStart, 3.0, 150.0, 480.0), (Enqueued::AtEndWithHint, 2.2, 90.0, 480.0)]
    {
        let trace = Trace { enqueued, hours: 1.0, ..Trace::default() };
        let figures = play(&trace, Policy::Adaptive).figures(|_| true);
        assert!(figures.polls < polls && figures.p50 < p50 && figures.p95 < p95, "{enqueued:?}: {figures:?}");
        println!("{enqueued:?}: {figures:?}");
        let plain = play(&trace, Policy::Exponential).figures(|_| true);
        assert!(figures.polls * 3.0 < plain.polls, "{enqueued:?}: {figures:?} against {plain:?}");
    }
}

#[test]
fn every_session_is_found_whatever_the_policy() {
    let trace = Trace { hours: 0.2, backlog: 100, outage: 600.0, ..Trace::default() };
    for policy in Policy::ALL {
        let outcome = play(&trace, policy);
        assert!(outcome.sessions.iter().all(|session| session.lag < 86_400.0), "{policy:?}");
    }
}
