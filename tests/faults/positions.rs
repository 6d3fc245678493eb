//! Every position of one copy: the daemon is killed at its Nth call of a kind, or that call fails (FAULTS Q1, Q3, Q5, S2).
//!
//! `strace` injects the fault. A copy is first run untouched and its calls are counted; each (call, N) is a position.
//! Counting is by thread, as strace does it: a position is the moment when the first thread reaches its Nth call. The
//! daemon runs with one worker thread, so that the order of its network calls is always the same. What is killed dies
//! before the call takes place, which is after all that went before it. A call that failed fails once: strace is sent
//! away then, because a connection that is opened anew has a thread, and so a count, of its own.
//!
//! Calls on files fail with EIO and ENOSPC, those on sockets as a network fails. A daemon that has not said `ready`
//! may end with 74 and a message; from then on it has to go on by itself.
//!
//! For ever means: each thread's Nth call and every later one. A disk that fails so must be ridden out (a connection
//! that is opened anew has a few good calls again) or end the daemon with 74 and a message, after about two minutes. A
//! network that fails so ends nothing and is charged to nobody; it is mended after some seconds, and the same process
//! has to finish its work.

use std::collections::BTreeMap;
use std::process::ExitStatus;
use std::time::Duration;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;

use super::plan::{Outcome, Plan, nap, side_by_side, within};
use super::process::{Process, has, under};
use super::scene::{Kind, Scene};

/// What is injected: the call, and the errors that it may give, as strace writes them.
const CALLS: [(&str, &[&str]); 11] = [
    ("pwrite64", ON_FILES),
    ("fsync", ON_FILES),
    ("fdatasync", ON_FILES),
    ("ftruncate", ON_FILES),
    ("unlink", &["error=EIO"]),
    ("rename", ON_FILES),
    ("linkat", ON_FILES),
    ("sendto", ON_SOCKETS),
    ("sendmsg", ON_SOCKETS),
    ("writev", ON_SOCKETS),
    ("connect", &["error=ECONNREFUSED", "error=ENETUNREACH"]),
];
const ON_FILES: &[&str] = &["error=EIO", "error=ENOSPC"];
const ON_SOCKETS: &[&str] = &["error=ECONNRESET", "error=EPIPE"];
const KILL: &str = "signal=KILL";
/// One PUT, an upload in parts, and one whose download is resumed.
const KINDS: [Kind; 3] = [Kind::Small, Kind::Large, Kind::Resumed];
/// Trials in one scene: what its bucket holds stays in memory.
const TRIALS_A_SCENE: usize = 12;
/// How long a run may take under strace.
const PATIENCE: Duration = Duration::from_mins(2);
/// How long it may take when every call on the disk fails: the daemon itself takes two minutes of it.
const LONG_PATIENCE: Duration = Duration::from_mins(6);
/// How long a network is away "for ever": several steps of `poll.error`.
const AWAY: Duration = Duration::from_secs(4);

/// A fault at a position of a copy.
#[derive(Clone, Copy, Debug)]
struct Fault {
    kind: Kind,
    call: &'static str,
    nth: u32,
    what: &'static str,
    for_ever: bool,
}

impl Fault {
    /// What strace is told.
    fn options(self) -> [String; 2] {
        let Self { call, nth, what, .. } = self;
        let and_later = if self.for_ever { "+" } else { "" };
        [format!("trace={call}"), format!("inject={call}:{what}:when={nth}{and_later}")]
    }

    fn is_of_the_network(self) -> bool {
        matches!(self.call, "sendto" | "sendmsg" | "writev" | "connect")
    }
}

/// What is done at every position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Kill,
    FailOnce,
    FailForEver,
}

impl Way {
    /// The faults for a call that may give these errors. For ever, the first of them stands for all.
    fn clauses(self, errors: &'static [&'static str]) -> &'static [&'static str] {
        match self {
            Self::Kill => &[KILL],
            Self::FailOnce => errors,
            Self::FailForEver => &errors[..1],
        }
    }
}

#[derive(Default)]
struct Tally {
    struck: u32,
    beyond: u32,
    /// Ended with 74 before the daemon was ready.
    refused_to_start: u32,
    /// Ended with 74 later, the disk having failed for minutes.
    ended: u32,
}

/// Kills at every position.
pub async fn crash_points(plan: Plan) -> Outcome {
    run(plan, Way::Kill).await
}

/// Failing calls at every position, once.
pub async fn io_errors(plan: Plan) -> Outcome {
    run(plan, Way::FailOnce).await
}

/// Failing calls from every position on.
pub async fn io_errors_from_on(plan: Plan) -> Outcome {
    run(plan, Way::FailForEver).await
}

async fn run(plan: Plan, way: Way) -> Outcome {
    if !has("strace") {
        return Outcome::Skipped("strace is not installed".into());
    }
    let mut faults = positions(way).await;
    if faults.is_empty() {
        return Outcome::Skipped("strace may not trace here".into());
    }
    let all = faults.len();
    faults.shuffle(&mut StdRng::seed_from_u64(plan.seed));
    faults.truncate(usize::try_from(plan.trials).expect("32 bits fit"));
    let a_lane = faults.len().div_ceil(usize::try_from(plan.lanes.max(1)).expect("32 bits fit"));
    let lanes = faults.chunks(a_lane).map(<[Fault]>::to_vec);
    let mut tally = Tally::default();
    for lane in side_by_side(lanes.map(|faults| async move || lane(&faults).await)).await {
        tally.struck += lane.struck;
        tally.beyond += lane.beyond;
        tally.refused_to_start += lane.refused_to_start;
        tally.ended += lane.ended;
    }
    let Tally { struck, beyond, refused_to_start, ended } = tally;
    plan.assert_seen("a fault that struck", struck, 6);
    Outcome::Held(format!(
        "{} trials: of {all} positions, {struck} struck ({refused_to_start} before the daemon was ready and {ended} for \
         minutes, which said so and ended with 74), {beyond} not reached again; all done after, nothing twice, nothing left",
        faults.len()
    ))
}

/// Every call of every kind of copy, with what may befall it.
async fn positions(way: Way) -> Vec<Fault> {
    let mut faults = Vec::new();
    for kind in KINDS {
        let counts = count(kind).await;
        println!("  {kind:?}: {counts:?}");
        for (call, errors) in CALLS {
            let most = counts.get(call).copied().unwrap_or(0);
            for what in way.clauses(errors) {
                let for_ever = way == Way::FailForEver;
                faults.extend((1..=most).map(|nth| Fault { kind, call, nth, what, for_ever }));
            }
        }
    }
    faults
}

/// How often each call is made by the thread that makes it most.
async fn count(kind: Kind) -> BTreeMap<String, u32> {
    let mut scene = Scene::new().await;
    scene.insert(&[kind]).await;
    let trace = scene.world.path("trace");
    let calls = CALLS.map(|(call, _)| call).join(",");
    let trace_calls = format!("trace={calls}");
    let mut traced = strace(&scene, &["-e", &trace_calls]);
    traced.ended(PATIENCE).await.expect("a run ends");
    let text = std::fs::read_to_string(&trace).unwrap_or_default();
    let mut by_thread: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    for line in text.lines() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        if let Some((call, _)) = rest.trim_start().split_once('(') {
            *by_thread.entry((thread, call)).or_default() += 1;
        }
    }
    let mut most = BTreeMap::new();
    for ((_, call), count) in by_thread {
        let known = most.entry(call.to_owned()).or_insert(0);
        *known = count.max(*known);
    }
    most
}

/// Works until nothing is pending, under strace, which is no parent of it.
fn strace(scene: &Scene, options: &[&str]) -> Process {
    let trace = scene.world.path("trace");
    // What an earlier trial has left would be taken for this one's.
    let _ = std::fs::remove_file(&trace);
    let trace = trace.display().to_string();
    let mut wrapper = vec!["strace", "-D", "-f", "-qq", "-o", &trace];
    wrapper.extend(options);
    let mut command = under(&wrapper, &scene.world.command(&["run", "--until-empty"]));
    Process::start(command.env("TOKIO_WORKER_THREADS", "1"), &scene.world.path("log"))
}

/// Its end; strace is sent away after the first fault that it injected, or when a network has failed for long enough.
async fn ended(scene: &Scene, fault: Fault, run: &mut Process) -> Option<ExitStatus> {
    let mut is_alone = false;
    let patience = if fault.for_ever { LONG_PATIENCE } else { PATIENCE };
    within(patience, async || {
        if !is_alone && (!fault.for_ever || fault.is_of_the_network()) && has_struck(scene) {
            if fault.for_ever {
                nap(AWAY).await;
            }
            is_alone = run.send_tracer_away();
        }
        run.has_ended()
    })
    .await
}

fn has_struck(scene: &Scene) -> bool {
    std::fs::read_to_string(scene.world.path("trace")).is_ok_and(|text| text.contains("(INJECTED)"))
}

async fn lane(faults: &[Fault]) -> Tally {
    let mut tally = Tally::default();
    for some in faults.chunks(TRIALS_A_SCENE) {
        let mut scene = Scene::new().await;
        for fault in some {
            trial(&mut scene, *fault, &mut tally).await;
        }
        scene.prove().await;
    }
    tally
}

async fn trial(scene: &mut Scene, fault: Fault, tally: &mut Tally) {
    scene.insert(&[fault.kind]).await;
    let said_before = scene.world.log().len();
    let [trace, inject] = fault.options();
    let mut run = strace(scene, &["-e", &trace, "-e", &inject]);
    let Some(ended) = ended(scene, fault, &mut run).await else {
        panic!("{fault:?}: it does not end\n{}", scene.log_end())
    };
    let said = scene.world.log()[said_before..].to_owned();
    scene.look().await;
    match ended.code() {
        Some(0) if !has_struck(scene) => tally.beyond += 1,
        Some(0) | None => tally.struck += 1,
        Some(code) => {
            let was_ready = scene.says_ready(said_before);
            let may_end = !was_ready || (fault.for_ever && !fault.is_of_the_network());
            assert!(code == 74 && may_end, "{fault:?}: ended with {code}\n{said}");
            assert!(said.contains("the queue"), "{fault:?}: it does not say why\n{said}");
            tally.struck += 1;
            *(if was_ready { &mut tally.ended } else { &mut tally.refused_to_start }) += 1;
        }
    }
    scene.settle().await;
}
