//! When to ask next: the polls that cost least.
//!
//! Over a grid of moments, from the last backwards, the cost of not being ready at one is the least, over the moment
//! of the next poll, of that poll's price, of the lateness of what becomes ready in between, and of not being ready
//! then either. Only the first poll of the plan is ever made: its answer changes the chances, and the plan with them.
//!
//! Lateness counts for less the longer Kore itself took, so that one that takes a day is asked about sparsely.

use super::Known;
use super::model::{End, Model, weight_of};

/// Moments of the grid are this share of the time since the call's end apart while that is short, and later that; and
/// never less than so many seconds.
const SHARE: f64 = 0.016;
const SHARE_LATER: f64 = 0.05;
const LATER: f64 = 5400.0;
const LEAST: f64 = 10.0;
/// The plan looks so far beyond the call's end: past Kore's second fetch at 24 hours.
const HORIZON: f64 = 30.0 * 3600.0;
/// More moments are never needed; a bound for hostile numbers.
const MOST_MOMENTS: usize = 1000;
/// Lateness counts in full when media took so many seconds, half when it took twice that.
const PATIENCE: f64 = 3000.0;
/// Less than that is not possible at all.
const IMPOSSIBLE: f64 = 1e-9;

/// What a plan is made of, in seconds from the session's start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) now: f64,
    /// How many seconds of lateness a poll is worth.
    pub(super) price: f64,
    /// The longest wait until `old_from`, and from then on.
    pub(super) most: f64,
    pub(super) most_old: f64,
    pub(super) old_from: f64,
}

impl Terms {
    fn most_at(&self, at: f64) -> f64 {
        if at < self.old_from { self.most } else { self.most_old }
    }
}

/// How many seconds from now the next poll should be; nothing if what is known fits nothing that was ever seen.
pub(super) fn next_poll(model: &Model, known: &Known, terms: &Terms) -> Option<f64> {
    let ends = model.ends(known, None);
    let all = weight_of(&ends);
    if all < IMPOSSIBLE {
        return None;
    }
    let middle = ends.iter().map(|(end, weight)| end * weight).sum::<f64>() / all;
    let moments = moments(terms, middle);
    let ready = chances(model, known, &ends, &moments);
    let plan = Plan { terms, sums: Sums::new(&moments, &ready, middle), moments, ready };
    let next = plan.next(known.not_ready.is_none());
    Some(plan.moments[next] - terms.now)
}

fn moments(terms: &Terms, end: f64) -> Vec<f64> {
    let last = (end + HORIZON).max(terms.now + terms.most_at(terms.now));
    let mut moments = vec![terms.now];
    let mut at = terms.now;
    while at < last && moments.len() < MOST_MOMENTS {
        let age = at - end;
        let share = if age < LATER { SHARE } else { SHARE_LATER };
        at += (share * age).min(terms.most_at(at)).max(LEAST);
        moments.push(at);
    }
    moments
}

/// The chance that the media is ready, at each moment.
fn chances(model: &Model, known: &Known, ends: &[End], moments: &[f64]) -> Vec<f64> {
    let all = weight_of(ends);
    let scale = |(end, weight): &End| {
        let was = known.not_ready.map_or(1.0, |last| model.media_takes_longer(last - end));
        (*end, if was > 0.0 { weight / all / was } else { 0.0 })
    };
    let scaled: Vec<End> = ends.iter().map(scale).collect();
    let still = |at: f64| scaled.iter().map(|(end, w)| w * model.media_takes_longer(at - end)).sum::<f64>();
    moments.iter().map(|at| (1.0 - still(*at)).clamp(0.0, 1.0)).collect()
}

struct Plan<'a> {
    terms: &'a Terms,
    moments: Vec<f64>,
    ready: Vec<f64>,
    sums: Sums,
}

impl Plan<'_> {
    /// The moment of the next poll. Only a session that was never asked about may be asked about at once.
    fn next(&self, is_first: bool) -> usize {
        let last = self.moments.len() - 1;
        let mut cost = vec![0.0; last + 1];
        let mut next = last;
        cost[last] = self.price(last);
        for from in (0..last).rev() {
            let (then, cheapest) = self.cheapest(from, &cost);
            cost[from] = cheapest + self.price(from);
            next = then;
        }
        if is_first { self.first(&cost) } else { next }
    }

    /// Asked by those that are not ready at `from`.
    fn price(&self, from: usize) -> f64 {
        self.terms.price * (1.0 - self.ready[from])
    }

    /// The poll that should follow one at `from`, and what comes after the price of it.
    fn cheapest(&self, from: usize, cost: &[f64]) -> (usize, f64) {
        let within = self.reach(from).max(from + 1);
        let late = |to: usize| self.sums.lateness(from, to, self.ready[from]) + cost[to];
        let candidates = (from + 1..=within).map(|to| (to, late(to)));
        candidates.min_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((from, 0.0))
    }

    /// What is ready already is late as well.
    fn first(&self, cost: &[f64]) -> usize {
        let late = |to: usize| self.sums.lateness(0, to, 0.0) + cost[to];
        (0..=self.reach(0)).min_by(|a, b| late(*a).total_cmp(&late(*b))).unwrap_or(0)
    }

    /// The last moment that the longest wait allows.
    fn reach(&self, from: usize) -> usize {
        let until = self.moments[from] + self.terms.most_at(self.moments[from]);
        self.moments.partition_point(|at| *at <= until) - 1
    }
}

/// Integrals from the first moment on, by which the lateness between any two moments costs no loop.
struct Sums {
    /// Of the weight of a second's lateness, alone and times the chance of being ready.
    upto: Vec<[f64; 2]>,
}

impl Sums {
    fn new(moments: &[f64], ready: &[f64], end: f64) -> Self {
        let mut upto = vec![[0.0; 2]];
        for at in 1..moments.len() {
            let width = moments[at] - moments[at - 1];
            let chance = ready[at - 1].midpoint(ready[at]);
            let age = moments[at - 1].midpoint(moments[at]) - end;
            let weight = width * PATIENCE / age.max(PATIENCE);
            let [alone, with_chance] = upto[at - 1];
            upto.push([alone + weight, with_chance + weight * chance]);
        }
        Self { upto }
    }

    /// The lateness at `to` of what was not ready at `from`, where the chance of being ready was `ready`.
    fn lateness(&self, from: usize, to: usize, ready: f64) -> f64 {
        let ([alone, with_chance], [before, with_chance_before]) = (self.upto[to], self.upto[from]);
        (with_chance - with_chance_before) - ready * (alone - before)
    }
}
