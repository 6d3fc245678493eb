//! What can go wrong, by FAULTS.md, and how often it does in one run.

use crate::rng::Rng;

macro_rules! faults {
    ($($name:ident),* $(,)?) => {
        /// One kind of trouble that a fake can make.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Fault { $($name),* }

        impl Fault {
            pub(crate) const ALL: &[Self] = &[$(Self::$name),*];
        }
    };
}

faults! {
    // Kore's API (V)
    ServerError, RateLimit, Unauthorized, NotFound, Garbage, EmptyList, Regress, UnknownStatus, Denied, KoreRetrying,
    ShortList,
    // The download (D)
    Expired, HostRefused, HostDown, Cut, UnmarkedEnd, UnmarkedCut, WrongLength, OddPage, EmptyBody,
    // S3 (S)
    StoreDown, AnswerLost, AccessDenied, BitFlip, SpuriousExists, UploadLost, HeadLies, ReadCut, ShortObject,
    NoChecksums, CannotAbort,
    // Drawn apart.
    Hangs, HalfDone,
}

/// How often each fault strikes, in thousandths of its chances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mix(Vec<u32>);

/// Those of which a random few are drawn together: seeds meant something before there were others.
const TOGETHER: usize = Fault::Hangs as usize;
/// Of a thousand seeds, in how many completions hang, and in how many the last step of some fails.
const HANGING: u32 = 500;
const HALF_DONE: u32 = 300;

/// From now and then to always: what never ends by itself is how an outage looks.
const RATES: [u32; 6] = [30, 100, 100, 300, 600, 1000];

impl Mix {
    /// A random few of all faults; one run in twelve has none.
    pub(crate) fn random(rng: &mut Rng) -> Self {
        let mut rates = vec![0; Fault::ALL.len()];
        let kinds = if rng.chance(80) { 0 } else { 1 + rng.index(7) };
        for _ in 0..kinds {
            let at = rng.index(TOGETHER);
            rates[at] = *rng.pick(&RATES);
        }
        Self(rates)
    }

    /// What is drawn when all else of the plan is.
    pub(crate) fn draw_on(&mut self, rng: &mut Rng) {
        if rng.chance(HANGING) {
            // Few runs come as far as a completion.
            self.0[Fault::Hangs as usize] = *rng.pick(&[600, 1000]);
        }
        if rng.chance(HALF_DONE) {
            self.0[Fault::HalfDone as usize] = *rng.pick(&[300, 1000]);
        }
    }

    pub(crate) fn rate(&self, fault: Fault) -> u32 {
        self.0[fault as usize]
    }

    pub(crate) fn on(&self) -> impl Iterator<Item = (Fault, u32)> + '_ {
        Fault::ALL.iter().map(|fault| (*fault, self.rate(*fault))).filter(|(_, rate)| *rate > 0)
    }

    pub(crate) fn without(&self, fault: Fault) -> Self {
        let mut less = self.clone();
        less.0[fault as usize] = 0;
        less
    }
}
