//! Made-up days of a contact centre: when calls begin and end, when their media becomes ready, when rows come.
//!
//! Everything is drawn from a seed, so that each policy meets the same calls, and each run the same day.

/// A generator of random numbers that is the same everywhere (splitmix64).
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// In 0..1.
    pub fn draw(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let bits = u32::try_from((z ^ (z >> 31)) >> 32).expect("32 bits are left");
        f64::from(bits) / (f64::from(u32::MAX) + 1.0)
    }

    /// Normal, of mean 0 and deviation 1 (Box and Muller).
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.draw()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.draw()).cos()
    }
}

/// Seconds from the trace's beginning.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    pub start: f64,
    pub end: f64,
    pub ready: f64,
    pub enqueued: f64,
    /// The row says when the call ended.
    pub hint: bool,
    /// Kore itself took long.
    pub slow: bool,
    /// From before the trace: not counted with the live ones.
    pub old: bool,
}

/// When rows are inserted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enqueued {
    AtStart,
    AtEnd,
    AtEndWithHint,
    /// At any time within ten minutes of the end.
    AfterEnd,
}

/// How long Kore takes with the media.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Delays {
    /// Most normal, [`Trace::slow`] 15 to 60 minutes or a day: mean and deviation of the usual ones, in seconds.
    Usual(f64, f64),
    /// The same, whose mean changes from 10 minutes to this at half-time.
    Changing(f64),
    /// Two usual delays: 3 and 14 minutes.
    TwoWays,
    /// Log-normal about 5 minutes, with a long tail and no mode.
    Heavy,
}

/// A day.
#[derive(Clone, Copy, Debug)]
pub struct Trace {
    pub calls_an_hour: f64,
    pub hours: f64,
    pub enqueued: Enqueued,
    pub delays: Delays,
    /// Shares of those that Kore delays by less than an hour, and by a day.
    pub slow: (f64, f64),
    /// Median in seconds, and deviation of the logarithm.
    pub lengths: (f64, f64),
    /// Sessions of last week that come all at once, an hour after the beginning.
    pub backlog: usize,
    /// Kore answers nothing from the second hour on, for so many seconds.
    pub outage: f64,
    pub seed: u64,
}

impl Default for Trace {
    fn default() -> Self {
        Self {
            calls_an_hour: 600.0,
            hours: 6.0,
            enqueued: Enqueued::AtStart,
            delays: Delays::Usual(600.0, 45.0),
            slow: (0.08, 0.02),
            lengths: (240.0, 0.9),
            backlog: 0,
            outage: 0.0,
            seed: 1,
        }
    }
}

const HOUR: f64 = 3600.0;
const DAY: f64 = 24.0 * HOUR;

impl Trace {
    /// Its calls.
    pub fn calls(&self) -> Vec<Call> {
        let mut dice = Dice::new(self.seed);
        let mut calls = Vec::new();
        let mut start = 0.0;
        loop {
            start -= (1.0 - dice.draw()).ln() * HOUR / self.calls_an_hour;
            if start > self.hours * HOUR {
                break;
            }
            let end = start + (self.lengths.0 * (self.lengths.1 * dice.normal()).exp()).min(HOUR);
            let (delay, slow) = self.delay(end, &mut dice);
            let enqueued = match self.enqueued {
                Enqueued::AtStart => start,
                Enqueued::AtEnd | Enqueued::AtEndWithHint => end,
                Enqueued::AfterEnd => end + 600.0 * dice.draw(),
            };
            let hint = self.enqueued == Enqueued::AtEndWithHint;
            calls.push(Call { start, end, ready: end + delay, enqueued, hint, slow, old: false });
        }
        let old = |_| {
            let start = -DAY * (1.0 + 6.0 * dice.draw());
            let (end, ready) = (start + 300.0, start + 900.0);
            Call { start, end, ready, enqueued: HOUR, hint: false, slow: false, old: true }
        };
        calls.extend((0..self.backlog).map(old));
        calls
    }

    fn delay(&self, end: f64, dice: &mut Dice) -> (f64, bool) {
        let usual = |mean: f64, deviation: f64, dice: &mut Dice| {
            let (hour, day) = self.slow;
            let which = dice.draw();
            if which < 1.0 - hour - day {
                ((mean + deviation * dice.normal()).max(1.0), false)
            } else if which < 1.0 - day {
                (900.0 + 2700.0 * dice.draw(), true)
            } else {
                (DAY + 600.0 * dice.normal(), true)
            }
        };
        match self.delays {
            Delays::Usual(mean, deviation) => usual(mean, deviation, dice),
            Delays::Changing(to) => {
                let mean = if end < self.hours * HOUR / 2.0 { 600.0 } else { to };
                usual(mean, 45.0, dice)
            }
            Delays::TwoWays => {
                let (mean, deviation) = if dice.draw() < 0.55 { (180.0, 20.0) } else { (840.0, 60.0) };
                usual(mean, deviation, dice)
            }
            Delays::Heavy => ((300.0 * dice.normal().exp()).min(DAY), false),
        }
    }
}
