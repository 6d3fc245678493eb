//! What a bot has taught: how long its calls are, how long its media takes, and whether rows come as calls end.
//!
//! Times are seconds from the session's start. Nobody tells when a call ended or when its media became ready; polls
//! bracket both. [`Model::ends`] lists the moments when the call may have ended with the weight of each, given all that
//! is known; everything else is a sum over that list.

use serde::{Deserialize, Serialize};

use super::Known;
use super::sketch::{BINS, Sketch, length};

/// The layout of [`Kept`].
const VERSION: u32 = 1;

/// Observations fade so that this many count: an hour's at 500 calls an hour.
const MEMORY: f64 = 500.0;
/// Bins of call length taken together when a sum runs over ends: 9 % each.
const GROUP: usize = 3;
/// No call is longer: ends beyond are not thought about.
const LONGEST_CALL: f64 = 12.0 * 3600.0;
/// Ends that weigh less than that share are left out.
const NEGLIGIBLE: f64 = 3e-4;
/// A row that comes sooner after the start says nothing about the end.
const SOONEST_END: f64 = 20.0;
/// How probable any one bin is for a row that does not come at its call's end: as good as any other between 20 s and 3 h.
const ANY_GAP: f64 = 1.0 / 210.0;
/// How fast trust in "rows come as calls end" follows what is seen.
const TRUST_RATE: f64 = 1.0 / 30.0;
/// A not-ready answer that comes so long after the last one takes half of what that one had taught back.
const MOVE_HALF: f64 = 1800.0;
/// What such a straggler teaches when its media is there: where the tail lies. How heavy the tail is, its first answers
/// said; were it a whole session again, a night in which nobody calls would leave nothing but stragglers in the belief.
const STRAGGLER: f64 = 0.25;
/// What was certain teaches nothing.
const CERTAIN: f64 = 0.995;
/// A call's length is known to within 5 %, at best.
const CALL_BLUR: f64 = 1.05;
/// How fast old surprises are forgotten, and how many standard deviations are a change of Kore's ways.
const SURPRISE_FADES: f64 = 0.04;
const SURPRISED: f64 = 3.0;
/// A belief is never as certain as it looks.
const LEAST_VARIANCE: f64 = 0.02;
/// What is kept of everything seen when Kore has changed.
const AFTER_CHANGE: f64 = 0.2;

/// A moment at which the call may have ended, and the weight of that.
pub(super) type End = (f64, f64);

/// One bot's model.
#[derive(Clone, Debug)]
pub struct Model {
    delay: Sketch,
    call: Sketch,
    /// The belief that rows are inserted as their calls end.
    trust: f64,
    /// Sessions that taught something.
    sessions: f64,
    /// Sums over recent answers: seen less expected, and the variance of that.
    surprise: (f64, f64),
}

/// What an answer adds to the bins.
struct Lesson {
    delay: Vec<f64>,
    call: Vec<f64>,
}

impl Default for Lesson {
    fn default() -> Self {
        Self { delay: vec![0.0; BINS], call: vec![0.0; BINS] }
    }
}

/// How a [`Model`] is kept.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    version: u32,
    delay: Vec<f64>,
    call: Vec<f64>,
    trust: f64,
    sessions: f64,
    surprise: (f64, f64),
}

/// KORE.md: usually within 10 minutes of the call's end, fetched at 10 minutes, again after 24 hours.
fn usual_delay(seconds: f64) -> f64 {
    let log_uniform = |share: f64, low: f64, high: f64| {
        if (low..high).contains(&seconds) { share / (high / low).ln() } else { 0.0 }
    };
    log_uniform(0.03, 2.0, 60.0)
        + log_uniform(0.25, 60.0, 540.0)
        + log_uniform(0.50, 540.0, 720.0)
        + log_uniform(0.16, 720.0, 3600.0)
        + log_uniform(0.03, 3600.0, 82_800.0)
        + log_uniform(0.03, 82_800.0, 93_600.0)
}

/// A few minutes; most calls of most contact centres.
fn usual_call(seconds: f64) -> f64 {
    let z = (seconds / 240.0).ln() / 1.1;
    (-z * z / 2.0).exp()
}

impl Default for Model {
    fn default() -> Self {
        Self {
            delay: Sketch::new(usual_delay),
            call: Sketch::new(usual_call),
            trust: 0.3,
            sessions: 0.0,
            surprise: (0.0, 0.0),
        }
    }
}

impl Model {
    /// How many sessions have taught it something.
    #[must_use]
    pub fn sessions(&self) -> f64 {
        self.sessions
    }

    /// How far recent answers were from what was expected, in standard deviations; above zero: media is ready sooner.
    pub(super) fn surprise(&self) -> f64 {
        self.surprise.0 / self.surprise.1.max(1.0).sqrt()
    }

    /// The belief that the media takes longer than that after the call's end.
    pub(super) fn media_takes_longer(&self, seconds: f64) -> f64 {
        if seconds <= 0.0 { 1.0 } else { self.delay.longer_than(seconds) }
    }

    /// When the call may have ended; weights include the chance of what was seen (and of `ready`, if media was seen).
    pub(super) fn ends(&self, known: &Known, ready: Option<f64>) -> Vec<End> {
        let mut ends = self.possible_ends(known);
        for (end, weight) in &mut ends {
            let not_ready = known.not_ready.map_or(0.0, |at| at - *end);
            let chance =
                self.media_takes_longer(not_ready) - ready.map_or(0.0, |at| self.media_takes_longer(at - *end));
            *weight *= chance.max(0.0);
        }
        ends
    }

    /// The same by call lengths and hints alone.
    fn possible_ends(&self, known: &Known) -> Vec<End> {
        let after = known.in_call.unwrap_or(f64::NEG_INFINITY);
        let before = known.over.unwrap_or(f64::INFINITY).max(after);
        let fits = |end: f64| end > after && end <= before;
        if let Some(hint) = known.ended.filter(|at| *at > after) {
            return vec![(hint, 1.0)];
        }
        let mut ends = Vec::with_capacity(BINS / GROUP + 1);
        let at_enqueued = self.trust_in(known);
        if at_enqueued > 0.0 && fits(known.enqueued) {
            ends.push((known.enqueued, at_enqueued));
        }
        let first = after.max(0.0);
        for group in (0..BINS).step_by(GROUP) {
            let (low, high) = (length(group), length(group + GROUP));
            if high <= first || low >= before.min(LONGEST_CALL) {
                continue;
            }
            let (low, high) = (low.max(first), high.min(before));
            let weight = (self.call.at_most(high) - self.call.at_most(low)) * (1.0 - at_enqueued);
            if weight > NEGLIGIBLE * self.call.longer_than(first) {
                ends.push((low.midpoint(high), weight));
            }
        }
        ends
    }

    /// The belief that this row came as its call ended.
    fn trust_in(&self, known: &Known) -> f64 {
        let gap = known.enqueued;
        if !(SOONEST_END..LONGEST_CALL).contains(&gap) {
            return 0.0;
        }
        let bin = self.call.at_most(gap * 1.015) - self.call.at_most(gap / 1.015);
        let (yes, no) = (self.trust * bin, (1.0 - self.trust) * ANY_GAP);
        yes / (yes + no)
    }

    /// Learns from an answer that came `at`: `before` is what was known, `after` what is known now.
    ///
    /// A session counts as one from its first answer on. Each later answer takes back what the one before had taught,
    /// as far as that has not faded, and puts what is known now in its place.
    pub fn learn(&mut self, before: &Known, after: &Known, is_ready: bool, at: f64) {
        let ready = is_ready.then_some(at);
        let chance = self.chance_ready(before, at);
        let gap = before.not_ready.map(|last| (at - last).max(0.0));
        let is_straggler = gap.is_some_and(|gap| gap >= MOVE_HALF);
        if let Some(chance) = chance.filter(|_| !is_straggler) {
            self.be_surprised(is_ready, chance);
        }
        if before.not_ready.is_none() && chance.is_none_or(|chance| chance > CERTAIN) {
            return;
        }
        let mut lesson = Lesson::default();
        if let Some(gap) = gap {
            let moved = (-gap / MOVE_HALF).exp2();
            let told = match (is_ready, is_straggler) {
                (false, _) => moved,
                (true, true) => STRAGGLER,
                (true, false) => 1.0,
            };
            self.attribute(before, None, -moved, &mut lesson);
            self.attribute(after, ready, told, &mut lesson);
        } else {
            self.attribute(after, ready, 1.0, &mut lesson);
            self.sessions += 1.0;
        }
        if is_ready {
            self.follow_trust(after, at);
        }
        let keep = if gap.is_none() { 1.0 - 1.0 / MEMORY } else { 1.0 };
        self.delay.learn(&lesson.delay, keep);
        self.call.learn(&lesson.call, keep);
    }

    /// The chance that the media is ready then; nothing if what is known fits nothing that was ever seen.
    pub(super) fn chance_ready(&self, known: &Known, at: f64) -> Option<f64> {
        let ends = self.ends(known, None);
        let all = weight_of(&ends);
        let still = ends.iter().map(|(end, weight)| {
            let was = known.not_ready.map_or(1.0, |last| self.media_takes_longer(last - end));
            if was > 0.0 { weight * self.media_takes_longer(at - end) / was } else { 0.0 }
        });
        let still: f64 = still.sum();
        (all > 1e-9).then(|| (1.0 - still / all).clamp(0.0, 1.0))
    }

    fn be_surprised(&mut self, is_ready: bool, chance: f64) {
        let (sum, variance) = self.surprise;
        let miss = f64::from(u8::from(is_ready)) - chance;
        let spread = chance * (1.0 - chance);
        // An answer that everybody knew beforehand neither surprises nor makes a surprise forgotten.
        let tells = (4.0 * spread).max(miss * miss);
        let keep = 1.0 - SURPRISE_FADES * tells;
        self.surprise = (sum * keep + miss, variance * keep * keep + spread.max(LEAST_VARIANCE * tells));
        if self.surprise().abs() > SURPRISED {
            self.surprise = (0.0, 0.0);
            self.delay.learn(&Lesson::default().delay, AFTER_CHANGE);
        }
    }

    /// Spreads a session's weight over the lengths that what is known of it allows.
    fn attribute(&self, known: &Known, ready: Option<f64>, weight: f64, lesson: &mut Lesson) {
        let ends = self.ends(known, ready);
        let all = weight_of(&ends);
        if all <= 0.0 {
            return;
        }
        for (end, share) in ends {
            let share = weight * share / all;
            let low = known.not_ready.map_or(0.0, |at| (at - end).max(0.0));
            self.delay.spread(low, ready.map_or(f64::INFINITY, |at| at - end), share, &mut lesson.delay);
            self.call.spread(end / CALL_BLUR, end * CALL_BLUR, share, &mut lesson.call);
        }
    }

    fn follow_trust(&mut self, known: &Known, ready: f64) {
        if known.ended.is_some() || self.trust_in(known) == 0.0 {
            return;
        }
        let ends = self.ends(known, Some(ready));
        let all = weight_of(&ends);
        let there = ends.iter().filter(|(end, _)| (end - known.enqueued).abs() < 1e-6);
        let there: f64 = there.map(|(_, weight)| weight).sum();
        if all > 0.0 {
            self.trust = (self.trust + TRUST_RATE * (there / all - self.trust)).clamp(0.01, 0.99);
        }
    }

    /// As text, for keeping.
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "numbers and lists of them serialise")]
    pub fn to_text(&self) -> String {
        let kept = Kept {
            version: VERSION,
            delay: rounded(self.delay.seen()),
            call: rounded(self.call.seen()),
            trust: self.trust,
            sessions: self.sessions,
            surprise: self.surprise,
        };
        serde_json::to_string(&kept).expect("numbers and lists of them")
    }

    /// From what was kept; `None` if that is not of this version's making, or makes no sense.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let kept: Kept = serde_json::from_str(text).ok()?;
        let mut model = Self::default();
        let sound = kept.version == VERSION
            && model.delay.recall(&kept.delay)
            && model.call.recall(&kept.call)
            && (0.0..=1.0).contains(&kept.trust)
            && (0.0..1e15).contains(&kept.sessions)
            && kept.surprise.0.abs() < 1e6
            && (0.0..1e6).contains(&kept.surprise.1);
        sound.then_some(Self { trust: kept.trust, sessions: kept.sessions, surprise: kept.surprise, ..model })
    }
}

/// Less than a millionth of a session is nothing.
fn rounded(weights: &[f64]) -> Vec<f64> {
    weights.iter().map(|weight| (weight * 1e6).round() / 1e6).collect()
}

/// Of all of them.
pub(super) fn weight_of(ends: &[End]) -> f64 {
    ends.iter().map(|(_, weight)| weight).sum()
}
