//! What no schedule can beat: the fewest polls for which half and 19 of 20 recordings are seen in given times.
//!
//! The best policy is found backwards in time, over all that a schedule can know (up to when people were known to talk,
//! since when they no longer did, and when there last was no media), knowing exactly what the default trace is made of:
//! nobody has that knowledge, so that what the daemon needs beyond it is the price of learning, and of settings. The
//! two shares are bought with a price each for being late, and the bound is what the best prices give (Lagrange's dual):
//! any prices give a bound, so that a search that misses the best can only be kind to the goal.
//!
//! Polls are made on a grid; a budget that is short, and probing for what changed, cost more and are left out.

use super::trace::{Enqueued, Trace};

const LONGEST_CALL: f64 = 3600.0;
/// By then, all is there that does not take a day.
const SLOWEST: f64 = 3900.0;
/// The longest wait of a row's first two hours.
const MOST: f64 = 1800.0;
/// What takes a day is asked about twice more in its first two hours, and once on the way, because of the longest waits.
const FORCED: f64 = 3.0;
const DAY: f64 = 86_400.0;
const DAY_SPREAD: f64 = 600.0;
const DAY_STEP: f64 = 60.0;
const DAY_AROUND: f64 = 2700.0;

/// What being later than so many seconds costs, in polls.
type Fines = [(f64, f64); 2];

/// The fewest polls a session for which half of the recordings are seen within `p50` seconds, and 19 of 20 within `p95`.
pub fn fewest_polls(enqueued: Enqueued, p50: f64, p95: f64) -> f64 {
    let trace = Trace::default();
    let cost = |(half, most): (f64, f64)| {
        let fines = [(p50, half), (p95, most)];
        let cost = match enqueued {
            Enqueued::AtStart => at_start(&trace, fines),
            Enqueued::AtEnd | Enqueued::AtEndWithHint | Enqueued::AfterEnd => with_end(&trace, fines),
        };
        cost - 0.5 * half - 0.05 * most
    };
    climb(cost, (2.0, 8.0))
}

/// The top of a hill, nearly.
fn climb(height: impl Fn((f64, f64)) -> f64, from: (f64, f64)) -> f64 {
    let (mut at, mut best, mut step) = (from, height(from), 2.0);
    while step > 0.1 {
        let around = [(step, 0.0), (-step, 0.0), (0.0, 2.0 * step), (0.0, -2.0 * step)];
        let places = around.map(|(x, y)| ((at.0 + x).max(0.0), (at.1 + y).max(0.0)));
        let higher = places.into_iter().map(|place| (place, height(place))).max_by(|a, b| a.1.total_cmp(&b.1));
        match higher.filter(|(_, height)| *height > best) {
            Some((place, height)) => (at, best) = (place, height),
            None => step /= 2.0,
        }
    }
    best
}

/// A row that says when its call ended.
fn with_end(trace: &Trace, fines: Fines) -> f64 {
    let step = 5.0;
    let ready: Vec<f64> = (0..=steps(SLOWEST, step)).map(|at| ready_within(trace, seconds(at, step))).collect();
    follow(&Ahead { ready: &ready, all: 1.0, most: steps(MOST, step), step, fines, rest: a_day(fines) })[0]
}

/// A row that came with its call's start: the outer loop is over the last moment at which people still talked, the inner
/// one over the next poll, after which either they still do, or the end is known to lie between the two.
fn at_start(trace: &Trace, fines: Fines) -> f64 {
    let step = 15.0;
    let (calls, all) = (steps(LONGEST_CALL, step), steps(LONGEST_CALL + SLOWEST, step));
    let longer: Vec<f64> = (0..=calls).map(|at| call_longer_than(trace, seconds(at, step))).collect();
    let within: Vec<f64> = (0..=all).map(|at| ready_within(trace, seconds(at, step))).collect();
    let rest = a_day(fines);
    let mut talking = vec![0.0; calls + 1];
    for from in (0..calls).rev() {
        let mut ready = vec![0.0; all + 1];
        let mut best = f64::INFINITY;
        for to in from + 1..=calls.min(from + steps(MOST, step)) {
            let ended = longer[to - 1] - longer[to];
            for at in to..=all {
                ready[at] += ended * f64::midpoint(within[at - to + 1], within[at - to]);
            }
            let ahead = Ahead {
                ready: &ready[to..=(to + steps(SLOWEST, step)).min(all)],
                all: longer[from] - longer[to],
                most: steps(MOST, step),
                step,
                fines,
                rest,
            };
            let late = fines.map(|(after, fine)| fine * ready[to.saturating_sub(steps(after, step))]);
            best = best.min(longer[from] + late.iter().sum::<f64>() + follow(&ahead)[0] + talking[to]);
        }
        talking[from] = best;
    }
    talking[0]
}

/// Where it is known that people talk no longer.
struct Ahead<'a> {
    /// The share of all sessions that is ready, by steps from a poll that showed how far they are.
    ready: &'a [f64],
    /// The share that this is about.
    all: f64,
    most: usize,
    step: f64,
    fines: Fines,
    /// The cost of each that is not ready at the end.
    rest: f64,
}

/// The least that follows a poll at each step, for those that are not ready then.
fn follow(ahead: &Ahead<'_>) -> Vec<f64> {
    let Ahead { ready, all, most, step, fines, rest } = ahead;
    let last = ready.len() - 1;
    let fines = fines.map(|(after, fine)| (steps(after, *step), fine));
    let mut cost = vec![0.0; last + 1];
    cost[last] = (all - ready[last]) * rest;
    for from in (0..last).rev() {
        let mut best = f64::INFINITY;
        for to in from + 1..=last.min(from + most) {
            let late: f64 = fines
                .iter()
                .map(|(after, fine)| fine * (ready[to.saturating_sub(*after).max(from)] - ready[from]))
                .sum();
            if late >= best {
                break;
            }
            best = best.min(late + cost[to]);
        }
        cost[from] = best + all - ready[from];
    }
    cost
}

/// The least for one that takes a day, after its first hour.
fn a_day(fines: Fines) -> f64 {
    let around = |at: usize| normal((seconds(at, DAY_STEP) - DAY_AROUND) / DAY_SPREAD);
    let ready: Vec<f64> = (0..=steps(2.0 * DAY_AROUND, DAY_STEP)).map(around).collect();
    let most = steps(DAY / 2.0, DAY_STEP);
    FORCED + follow(&Ahead { ready: &ready, all: 1.0, most, step: DAY_STEP, fines, rest: 1.0 })[0]
}

fn call_longer_than(trace: &Trace, seconds: f64) -> f64 {
    if seconds >= LONGEST_CALL { 0.0 } else { 1.0 - normal((seconds / trace.lengths.0).ln() / trace.lengths.1) }
}

/// Without those that take a day.
fn ready_within(trace: &Trace, seconds: f64) -> f64 {
    let super::trace::Delays::Usual(mean, deviation) = trace.delays else { panic!("the default trace is usual") };
    let (hour, day) = trace.slow;
    (1.0 - hour - day) * normal((seconds - mean) / deviation) + hour * ((seconds - 900.0) / 2700.0).clamp(0.0, 1.0)
}

/// The normal distribution, to seven digits (Abramowitz and Stegun 26.2.17).
fn normal(z: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * z.abs());
    let powers = [0.319_381_53, -0.356_563_782, 1.781_477_937, -1.821_255_978, 1.330_274_429];
    let sum = powers.iter().rev().fold(0.0, |sum, power| (sum + power) * t);
    let upper = (-z * z / 2.0).exp() / std::f64::consts::TAU.sqrt() * sum;
    if z < 0.0 { upper } else { 1.0 - upper }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "hours, in seconds")]
fn steps(seconds: f64, step: f64) -> usize {
    (seconds / step).ceil() as usize
}

#[expect(clippy::cast_precision_loss, reason = "some thousands")]
fn seconds(steps: usize, step: f64) -> f64 {
    steps as f64 * step
}
