//! Chance, replayable: SplitMix64 (Steele, Lea and Flood 2014), so that a seed means the same run on every machine and
//! with every version of every crate.

use std::cell::Cell;

/// A stream of numbers that a seed determines.
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 up to, and without, `n`.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }

    /// An index of something that has `n` of them.
    pub(crate) fn index(&mut self, n: usize) -> usize {
        usize::try_from(self.below(n as u64)).expect("it is less than a usize")
    }

    /// True `permille` times of a thousand.
    pub(crate) fn chance(&mut self, permille: u32) -> bool {
        self.below(1000) < u64::from(permille)
    }

    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.index(of.len())]
    }
}

thread_local! {
    /// `Journeys::draw` is a plain function: its stream belongs to the thread, and each run starts it afresh.
    static DRAWS: Cell<u64> = const { Cell::new(0) };
}

/// Starts the jitter's stream.
pub(crate) fn seed_draws(seed: u64) {
    DRAWS.set(seed);
}

/// The jitter's next number in 0..1.
pub(crate) fn draw() -> f64 {
    let mut rng = Rng::new(DRAWS.get());
    let drawn = u32::try_from(rng.next() >> 32).expect("32 bits are left");
    DRAWS.set(rng.0);
    f64::from(drawn) / (f64::from(u32::MAX) + 1.0)
}
