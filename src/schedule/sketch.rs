//! A belief about a length of time: a histogram over bins that are each 3 % longer than the one before.
//!
//! It starts as a prior, and moves to what was seen as observations come. An observation is seldom a number: polls say
//! "after `low`, and not after `high`", so that its weight of one is spread over the bins between, as the belief itself
//! would have it (the E-step of an EM for interval-censored data, B. W. Turnbull 1976). Two things keep that from
//! talking itself into certainty: the bins are smoothed with their neighbours, and a share of the prior stays for good.
//! Old observations fade as new ones come, so that a change is noticed.

use std::sync::{Arc, LazyLock};

/// Seconds; everything shorter is one bin.
const SHORTEST: f64 = 4.0;
/// Each bin's width in the logarithm of time: 3 %, 18 s at 10 minutes.
const STEP: f64 = 0.03;
/// The last bin ends at 4.6 days: beyond the longest `give_up_after` that makes sense of such a guess.
pub(super) const BINS: usize = 385;
/// How many observations the prior is worth, and which share of the belief it keeps.
const PRIOR_WORTH: f64 = 6.0;
const PRIOR_SHARE: f64 = 0.02;
/// Up to two hours, the belief is read off a table of so many steps of so many seconds: no logarithm.
const STEPS: usize = 900;
const SECONDS: f64 = 8.0;
/// A bin lends its neighbours so much of its weight.
const KERNEL: [f64; 5] = [0.03, 0.17, 0.6, 0.17, 0.03];

/// The histogram.
#[derive(Clone, Debug)]
pub(super) struct Sketch {
    prior: Arc<[f64]>,
    seen: Vec<f64>,
    /// `below[i]`: the belief that it is shorter than the bin `i` begins.
    below: Vec<f64>,
    /// The belief that it is longer than so many steps.
    longer: Vec<f64>,
}

/// Where a length lies: 2.5 is the middle of the third bin.
fn place(seconds: f64) -> f64 {
    let place = if seconds <= SHORTEST { seconds / SHORTEST } else { 1.0 + (seconds / SHORTEST).ln() / STEP };
    place.clamp(0.0, to_f64(BINS))
}

/// The length at which a bin begins.
pub(super) fn length(bin: usize) -> f64 {
    length_at(to_f64(bin))
}

fn length_at(place: f64) -> f64 {
    if place <= 1.0 { place * SHORTEST } else { SHORTEST * ((place - 1.0) * STEP).exp() }
}

fn to_f64(count: usize) -> f64 {
    f64::from(u32::try_from(count).expect("counts of bins are small"))
}

/// The bin of a place, and how far into it.
fn bin(place: f64) -> (usize, f64) {
    part(place, BINS)
}

/// Which of so many parts, and how far into it.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "neither below zero nor beyond the parts")]
fn part(place: f64, parts: usize) -> (usize, f64) {
    let part = (place as usize).min(parts - 1);
    (part, place - to_f64(part))
}

/// Where the steps of the table lie.
static PLACES: LazyLock<Vec<f64>> = LazyLock::new(|| (0..=STEPS).map(|step| place(to_f64(step) * SECONDS)).collect());

impl Sketch {
    /// A belief that rests on `prior` alone: a density over the logarithm of time, of any scale.
    pub(super) fn new(prior: impl Fn(f64) -> f64) -> Self {
        let raw: Vec<f64> = (0..BINS).map(|bin| prior(length_at(to_f64(bin) + 0.5))).collect();
        let total: f64 = raw.iter().sum();
        let prior = raw.iter().map(|weight| weight / total).collect();
        let mut sketch = Self { prior, seen: vec![0.0; BINS], below: vec![0.0; BINS + 1], longer: Vec::new() };
        sketch.refresh();
        sketch
    }

    /// The belief that it is at most so long.
    pub(super) fn at_most(&self, seconds: f64) -> f64 {
        self.before(place(seconds))
    }

    fn before(&self, place: f64) -> f64 {
        let (bin, into) = bin(place);
        self.below[bin] + into * (self.below[bin + 1] - self.below[bin])
    }

    /// The belief that it is longer.
    pub(super) fn longer_than(&self, seconds: f64) -> f64 {
        let step = seconds.max(0.0) / SECONDS;
        if step >= to_f64(STEPS) {
            return (1.0 - self.at_most(seconds)).max(0.0);
        }
        let (step, into) = part(step, STEPS);
        self.longer[step] + into * (self.longer[step + 1] - self.longer[step])
    }

    /// Notes what must be added to the bins if it is in `low..=high`, with that weight in all. Nothing is noted where
    /// the belief has nothing.
    pub(super) fn spread(&self, low: f64, high: f64, weight: f64, into: &mut [f64]) {
        let total = self.at_most(high) - self.at_most(low);
        if total <= 0.0 || high < low {
            return;
        }
        let (low, high) = (place(low), place(high));
        let scale = weight / total;
        let (first, last) = (bin(low).0, bin(high).0);
        for (at, into) in into.iter_mut().enumerate().take(last + 1).skip(first) {
            let overlap = (to_f64(at + 1).min(high) - to_f64(at).max(low)).max(0.0);
            *into += scale * overlap * (self.below[at + 1] - self.below[at]);
        }
    }

    /// Adds `change` (which may take away) after everything seen has faded to `keep` of its weight.
    pub(super) fn learn(&mut self, change: &[f64], keep: f64) {
        for (seen, change) in self.seen.iter_mut().zip(change) {
            *seen = (*seen * keep + change).max(0.0);
        }
        self.refresh();
    }

    /// What was seen, for keeping.
    pub(super) fn seen(&self) -> &[f64] {
        &self.seen
    }

    /// Takes back what was kept; `false` if it is none of ours.
    pub(super) fn recall(&mut self, seen: &[f64]) -> bool {
        let sound = seen.len() == BINS && seen.iter().all(|weight| (0.0..=MOST).contains(weight));
        if sound {
            self.seen.copy_from_slice(seen);
            self.refresh();
        }
        sound
    }

    fn refresh(&mut self) {
        let total: f64 = self.seen.iter().sum();
        let prior = PRIOR_WORTH.max(total * PRIOR_SHARE);
        let all = total + prior;
        for bin in 0..BINS {
            let smooth: f64 = (0..KERNEL.len()).map(|tap| KERNEL[tap] * self.neighbour(bin, tap)).sum();
            self.below[bin + 1] = self.below[bin] + (smooth + prior * self.prior[bin]) / all;
        }
        self.longer = PLACES.iter().map(|place| (1.0 - self.before(*place)).max(0.0)).collect();
    }

    /// At the ends, a bin is its own neighbour.
    fn neighbour(&self, bin: usize, tap: usize) -> f64 {
        self.seen[(bin + tap).saturating_sub(KERNEL.len() / 2).min(BINS - 1)]
    }
}

/// No bin comes to more than this: observations weigh one, and fade.
const MOST: f64 = 1e6;
