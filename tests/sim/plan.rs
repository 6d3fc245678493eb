//! What a seed means: sessions, faults, and a list of operations, all made before the run begins.
//!
//! A run draws its chances from the seed as it goes, so a shorter list of the same seed is another run, but as
//! replayable as the first: that is how a failing one is made smaller.

use crate::fault::Mix;
use crate::rng::Rng;
use crate::script::Script;

/// One thing that happens, beside what the daemon does by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// A session is inserted, or inserted again.
    Insert(usize),
    /// `INSERT OR REPLACE`
    Replace(usize),
    /// `UPDATE sessions SET state = 'pending'`
    Requeue(usize),
    Delete(usize),
    /// A row that goes around the CHECKs, or of a bot that nobody knows.
    Weird(u8),
    /// The daemon claims what is due.
    Look,
    /// That many calls are let through.
    Steps(u8),
    /// Seconds pass.
    Advance(u32),
    /// The wall clock is set, by so many seconds.
    Jump(i32),
    /// The process ends; everything that it handed over is written.
    Die,
    /// The process ends after one more step, and what that step handed over is lost.
    DieMidWrite,
    /// Another process takes the queue over while this one goes on, without knowing.
    TakeOver,
    /// Somebody else's object stands under the key of a session's first file.
    ForeignObject(usize),
    /// Somebody else's upload, elsewhere.
    ForeignUpload,
}

impl Op {
    /// Whose it is.
    fn session(self) -> Option<usize> {
        match self {
            Self::Insert(one)
            | Self::Replace(one)
            | Self::Requeue(one)
            | Self::Delete(one)
            | Self::ForeignObject(one) => Some(one),
            Self::Weird(_)
            | Self::Look
            | Self::Steps(_)
            | Self::Advance(_)
            | Self::Jump(_)
            | Self::Die
            | Self::DieMidWrite
            | Self::TakeOver
            | Self::ForeignUpload => None,
        }
    }

    /// For the report.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Insert(_) => "inserts",
            Self::Replace(_) => "replacements",
            Self::Requeue(_) => "re-queuings",
            Self::Delete(_) => "deletions",
            Self::Weird(_) => "bent rows",
            Self::Look => "looks",
            Self::Steps(_) => "steps",
            Self::Advance(_) => "waits",
            Self::Jump(_) => "clock jumps",
            Self::Die => "deaths",
            Self::DieMidWrite => "deaths with results unwritten",
            Self::TakeOver => "take-overs",
            Self::ForeignObject(_) => "foreign objects",
            Self::ForeignUpload => "foreign uploads",
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) size: Size,
    pub(crate) is_brief: bool,
    pub(crate) scripts: Vec<Script>,
    pub(crate) mix: Mix,
    pub(crate) ops: Vec<Op>,
    /// Bytes of a part: small, so that small files have several.
    pub(crate) part_size: u64,
    /// What all transfers together may hold.
    pub(crate) memory: u64,
}

/// Nobody waits for room.
const AMPLE: u64 = 1 << 30;
/// Of a thousand seeds, how many mean a brief run: two of them take what a whole one does. Some bugs show in few rows and
/// operations as soon, others need many at once.
const BRIEF: u32 = 750;

/// How much of a seed's plan is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    /// All of it.
    Whole,
    /// As the seed says: of most the beginning alone.
    Drawn,
}

impl Plan {
    pub(crate) fn of(seed: u64, size: Size) -> Self {
        let mut rng = Rng::new(seed);
        let sessions = 1 + rng.index(4);
        let scripts: Vec<Script> = (0..sessions).map(|number| Script::random(&mut rng, number)).collect();
        let mix = Mix::random(&mut rng);
        let part_size = *rng.pick(&[128, 200, 512, 4096]);
        let mut ops: Vec<Op> = (0..sessions).map(Op::Insert).collect();
        let reopens = rng.chance(80);
        for _ in 0..4 + rng.index(24) {
            ops.push(random(&mut rng, sessions, reopens));
        }
        // Most rows come first; some while others are being worked on.
        for _ in 0..sessions / 2 {
            let (one, other) = (rng.index(ops.len()), rng.index(ops.len()));
            ops.swap(one, other);
        }
        // Drawn after all that seeds meant before, as is what follows, so that they mean it still.
        let memory = if rng.chance(300) { *rng.pick(&[1024, 2048, 4096]) } else { AMPLE };
        let is_brief = rng.chance(BRIEF) && size == Size::Drawn;
        let mut plan = Self { seed, size, is_brief, scripts, mix, ops, part_size, memory };
        if is_brief {
            plan.shorten(&mut rng);
        }
        plan.mix.draw_on(&mut rng);
        plan
    }

    /// One or two sessions, and 4 to 15 operations beside those that bring them.
    fn shorten(&mut self, rng: &mut Rng) {
        self.scripts.truncate(1 + rng.index(2));
        let sessions = self.scripts.len();
        self.ops.retain(|op| op.session().is_none_or(|one| one < sessions));
        self.ops.truncate(sessions + 4 + rng.index(12));
    }

    /// Whether room is so short that parts are sent while they come.
    pub(crate) fn is_tight(&self) -> bool {
        self.memory < AMPLE
    }

    /// Where the run's own chances begin.
    pub(crate) fn run_seed(&self) -> u64 {
        self.seed ^ 0x5851_f42d_4c95_7f2d
    }

    pub(crate) fn without_op(&self, at: usize) -> Self {
        let mut less = self.clone();
        less.ops.remove(at);
        less
    }
}

fn random(rng: &mut Rng, sessions: usize, reopens: bool) -> Op {
    let one = rng.index(sessions);
    match rng.below(100) {
        30..66 => Op::Steps(1 + u8::try_from(rng.below(12)).expect("it is small")),
        66..80 => Op::Advance(seconds(rng)),
        80..84 => Op::Requeue(one),
        84..86 => Op::Replace(one),
        86..88 => Op::Delete(one),
        88..90 => Op::Insert(one),
        90 => Op::Weird(u8::try_from(rng.below(5)).expect("it is small")),
        91 => Op::Jump([-7200, -60, 60, 3600][rng.index(4)]),
        92..95 => Op::Die,
        95 => Op::ForeignObject(one),
        96 => Op::ForeignUpload,
        97 | 98 if reopens => Op::DieMidWrite,
        99 if reopens => Op::TakeOver,
        // The first thirty, and the last where nothing is reopened.
        _ => Op::Look,
    }
}

fn seconds(rng: &mut Rng) -> u32 {
    let most = *rng.pick(&[5, 60, 900, 7200]);
    1 + u32::try_from(rng.below(most)).expect("it is small")
}
