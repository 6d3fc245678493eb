//! When to ask next: the polls that cost least.
//!
//! Over a grid of moments, from the last backwards, the cost of not being ready at one is the least, over the moment
//! of the next poll, of that poll's price, of the lateness of what becomes ready in between, and of not being ready
//! then either. Only the first poll of the plan is ever made: its answer changes the chances, and the plan with them.
//!
//! What a second of lateness costs is not the same for each: it counts in full while a recording is prompt, for a
//! quarter beyond, and whatever is late costs once more. A sum of seconds alone would buy the best mean; people ask
//! how soon most recordings come, and how many come late. Both count for less the longer Kore itself took, so that one
//! that takes a day is asked about sparsely.
//!
//! How it fails: a plan knows that a poll will answer, not what. That a call still goes on, or that it is over, moves
//! the next plan, and is not foreseen by this one.

use super::model::{End, Model, weight_of};
use super::{FEW, Known};

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
/// What a poll and what lateness cost.
#[derive(Clone, Copy, Debug)]
struct Wishes {
    /// A poll costs so many times [`Terms::price`].
    poll: f64,
    /// So many seconds of lateness count in full. By the benchmark: the first look comes soon after the usual time where
    /// that is known well, and costs few more polls where it is not.
    prompt: f64,
    /// A recording is late after so many seconds, which costs as much as so many more: 19 of 20 should be there by then.
    late: f64,
    late_costs: f64,
}
const WISHES: Wishes = Wishes { poll: 1.0, prompt: 90.0, late: 250.0, late_costs: 400.0 };
/// Where it is known when the call ended, and of some calls how long media takes: polls hit better there, so that more
/// may be wished. By the benchmark over three seeds at 600 calls an hour: 7 to 9 % more polls bring 19 of 20 sooner by 23 to
/// 61 s with `call_ended_at`; from the call's start on as many would bring 20 s.
const WISHES_IF_AIMED: Wishes = Wishes { poll: 0.85, prompt: 66.0, late: 235.0, late_costs: 500.0 };
/// What a second beyond prompt counts.
const BEYOND: f64 = 0.25;
/// The call's end is known if one moment has this share of the weight.
const KNOWN: f64 = 0.9;
/// Lateness counts as it is when media took so many seconds, for a third when it took twice that, and for a 150th when it
/// took a day: a poll costs as much as being hours late then.
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
    let is_aimed = model.sessions() >= FEW && ends.iter().any(|(_, weight)| *weight > KNOWN * all);
    let wishes = if is_aimed { WISHES_IF_AIMED } else { WISHES };
    let sums = Sums::new(&moments, &ready, middle, wishes);
    let plan = Plan { terms, wishes, moments, ready, sums };
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
    wishes: Wishes,
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
        self.wishes.poll * self.terms.price * (1.0 - self.ready[from])
    }

    /// The poll that should follow one at `from`, and what comes after the price of it.
    fn cheapest(&self, from: usize, cost: &[f64]) -> (usize, f64) {
        let since = Since { sums: self.sums.upto[from], ready: self.ready[from] };
        self.least(from + 1, self.reach(from).max(from + 1), since, cost)
    }

    /// What is ready already is late as well.
    fn first(&self, cost: &[f64]) -> usize {
        self.least(0, self.reach(0), Since::default(), cost).0
    }

    /// Lateness only grows, so that the search ends where it alone costs more than the best.
    fn least(&self, soonest: usize, latest: usize, since: Since, cost: &[f64]) -> (usize, f64) {
        let mut best = (soonest, f64::INFINITY);
        for (to, then) in cost.iter().enumerate().take(latest + 1).skip(soonest) {
            let lateness = self.sums.lateness(since, to);
            if lateness > best.1 {
                break;
            }
            if lateness + then < best.1 {
                best = (to, lateness + then);
            }
        }
        best
    }

    /// The last moment that the longest wait allows.
    fn reach(&self, from: usize) -> usize {
        let until = self.moments[from] + self.terms.most_at(self.moments[from]);
        self.moments.partition_point(|at| *at <= until) - 1
    }
}

/// Integrals from the first moment on, by which the lateness between any two moments costs no loop.
#[derive(Clone, Copy, Debug, Default)]
struct Upto {
    /// Of the weight of a second's lateness,
    alone: f64,
    /// of that times the chance of being ready,
    with_chance: f64,
    /// and of the chance of becoming ready, weighted alike.
    came: f64,
}

impl Upto {
    fn between(self, other: Self, share: f64) -> Self {
        let mix = |a: f64, b: f64| a + share * (b - a);
        Self {
            alone: mix(self.alone, other.alone),
            with_chance: mix(self.with_chance, other.with_chance),
            came: mix(self.came, other.came),
        }
    }
}

/// From when lateness counts, and the chance of being ready then.
#[derive(Clone, Copy, Debug, Default)]
struct Since {
    sums: Upto,
    ready: f64,
}

/// The integrals up to each moment, and up to so long before it that what came then is no longer prompt, or late.
struct Sums {
    wishes: Wishes,
    upto: Vec<Upto>,
    prompt: Vec<Upto>,
    late: Vec<Upto>,
}

impl Sums {
    fn new(moments: &[f64], ready: &[f64], end: f64, wishes: Wishes) -> Self {
        let weight = |at: f64| (PATIENCE / (at - end).max(PATIENCE)).powf(1.5);
        let mut sum = Upto { came: ready[0] * weight(moments[0]), ..Upto::default() };
        let mut upto = vec![sum];
        for at in 1..moments.len() {
            let weight = weight(moments[at - 1].midpoint(moments[at]));
            let width = (moments[at] - moments[at - 1]) * weight;
            sum.alone += width;
            sum.with_chance += width * ready[at - 1].midpoint(ready[at]);
            sum.came += (ready[at] - ready[at - 1]) * weight;
            upto.push(sum);
        }
        let earlier = |seconds| earlier(moments, &upto, seconds);
        Self { wishes, prompt: earlier(wishes.prompt), late: earlier(wishes.late), upto }
    }

    /// What it costs that what became ready since then is seen at `to`.
    fn lateness(&self, since: Since, to: usize) -> f64 {
        let seconds = |from: Upto| {
            let upto = self.upto[to];
            (upto.with_chance - from.with_chance) - since.ready * (upto.alone - from.alone)
        };
        let prompt = if self.prompt[to].alone > since.sums.alone { self.prompt[to] } else { since.sums };
        let late = (self.late[to].came - since.sums.came).max(0.0);
        BEYOND * seconds(since.sums) + (1.0 - BEYOND) * seconds(prompt) + self.wishes.late_costs * late
    }
}

/// The integrals as they were so many seconds before each moment: nothing, before the first.
fn earlier(moments: &[f64], upto: &[Upto], seconds: f64) -> Vec<Upto> {
    let mut next = 1;
    let at = |moment: &f64| {
        let then = moment - seconds;
        if then < moments[0] {
            return Upto::default();
        }
        while moments[next] < then {
            next += 1;
        }
        let share = (then - moments[next - 1]) / (moments[next] - moments[next - 1]);
        upto[next - 1].between(upto[next], share)
    };
    moments.iter().map(at).collect()
}
