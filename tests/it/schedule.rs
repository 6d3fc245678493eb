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
use trace::{Delays, Enqueued, Trace};

/// Bounds of polls a session, and of lag at the median and at the 95th percentile: a twentieth above what was seen. A price
/// of a poll that is a quarter off breaks one of them, and so does a plan that does not mind what is late.
fn guard(trace: &Trace, polls: f64, p50: f64, p95: f64) {
    let figures = play(trace, Policy::Adaptive).figures(|_| true);
    println!("{trace:?}: {figures:?}");
    assert!(figures.polls < polls && figures.p50 < p50 && figures.p95 < p95, "{trace:?}: {figures:?}");
}

#[test]
fn few_polls_and_little_lag_at_600_calls_an_hour() {
    let hour = Trace { hours: 1.0, ..Trace::default() };
    guard(&hour, 2.67, 139.0, 257.0);
    guard(&Trace { enqueued: Enqueued::AtEndWithHint, ..hour }, 2.16, 69.0, 272.0);
}

#[test]
fn other_calls_and_another_kore_are_learned_as_well() {
    let hour = Trace { hours: 1.0, lengths: (420.0, 0.6), delays: Delays::Usual(360.0, 90.0), ..Trace::default() };
    guard(&hour, 3.08, 156.0, 453.0);
    guard(&Trace { enqueued: Enqueued::AtEndWithHint, ..hour }, 2.44, 130.0, 300.0);
}

#[test]
fn plain_backoff_asks_three_times_as_often() {
    let half_an_hour = Trace { hours: 0.5, ..Trace::default() };
    let [adaptive, plain] =
        [Policy::Adaptive, Policy::Exponential].map(|policy| play(&half_an_hour, policy).figures(|_| true));
    assert!(adaptive.polls * 3.0 < plain.polls, "{adaptive:?} against {plain:?}");
}

#[test]
fn every_session_is_found_whatever_the_policy() {
    let trace = Trace { hours: 0.2, backlog: 100, outage: 600.0, ..Trace::default() };
    for policy in Policy::ALL {
        let outcome = play(&trace, policy);
        assert!(outcome.sessions.iter().all(|session| session.lag < 86_400.0), "{policy:?}");
    }
}
