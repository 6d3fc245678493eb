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

use std::collections::BTreeMap;
use std::process::ExitStatus;
use std::time::Duration;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;

use super::plan::{Outcome, Plan, within};
use super::process::{Process, has, under};
use super::scene::{Kind, Scene};

/// What is injected: the call, and the errors that it may give.
const CALLS: [(&str, &[&str]); 11] = [
    ("pwrite64", &["EIO", "ENOSPC"]),
    ("fsync", &["EIO", "ENOSPC"]),
    ("fdatasync", &["EIO", "ENOSPC"]),
    ("ftruncate", &["EIO", "ENOSPC"]),
    ("unlink", &["EIO"]),
    ("rename", &["EIO", "ENOSPC"]),
    ("linkat", &["EIO", "ENOSPC"]),
    ("sendto", &["ECONNRESET", "EPIPE"]),
    ("sendmsg", &["ECONNRESET", "EPIPE"]),
    ("writev", &["ECONNRESET", "EPIPE"]),
    ("connect", &["ECONNREFUSED", "ENETUNREACH"]),
];
/// One PUT, an upload in parts, and one whose download is resumed.
const KINDS: [Kind; 3] = [Kind::Small, Kind::Large, Kind::Resumed];
/// Trials in one scene: what its bucket holds stays in memory.
const TRIALS_A_SCENE: usize = 12;
/// How long a run may take under strace.
const PATIENCE: Duration = Duration::from_mins(2);

/// A fault at a position of a copy.
#[derive(Clone, Copy, Debug)]
struct Fault {
    kind: Kind,
    call: &'static str,
    nth: u32,
    /// `signal=KILL` or `error=EIO`.
    what: &'static str,
}

#[derive(Default)]
struct Tally {
    struck: u32,
    beyond: u32,
    refused_to_start: u32,
}

/// Kills at every position.
pub async fn crash_points(plan: Plan) -> Outcome {
    run(plan, |_| vec!["signal=KILL"]).await
}

/// Failing calls at every position, once.
pub async fn io_errors(plan: Plan) -> Outcome {
    run(plan, |errors| errors.iter().map(|error| error_clause(error)).collect()).await
}

fn error_clause(error: &str) -> &'static str {
    match error {
        "EIO" => "error=EIO",
        "ENOSPC" => "error=ENOSPC",
        "ECONNRESET" => "error=ECONNRESET",
        "EPIPE" => "error=EPIPE",
        "ECONNREFUSED" => "error=ECONNREFUSED",
        "ENETUNREACH" => "error=ENETUNREACH",
        other => unreachable!("{other} is not in the table"),
    }
}

async fn run(plan: Plan, clauses: fn(&[&str]) -> Vec<&'static str>) -> Outcome {
    if !has("strace") {
        return Outcome::Skipped("strace is not installed".into());
    }
    let mut faults = Vec::new();
    for kind in KINDS {
        let counts = count(kind).await;
        println!("  {kind:?}: {counts:?}");
        for (call, errors) in CALLS {
            let most = counts.get(call).copied().unwrap_or(0);
            for what in clauses(errors) {
                faults.extend((1..=most).map(|nth| Fault { kind, call, nth, what }));
            }
        }
    }
    if faults.is_empty() {
        return Outcome::Skipped("strace may not trace here".into());
    }
    let all = faults.len();
    faults.shuffle(&mut StdRng::seed_from_u64(plan.seed));
    faults.truncate(usize::try_from(plan.trials).expect("32 bits fit"));
    let mut tally = Tally::default();
    for some in faults.chunks(TRIALS_A_SCENE) {
        scene(some, &mut tally).await;
    }
    let Tally { struck, beyond, refused_to_start } = tally;
    Outcome::Held(format!(
        "{} trials: of {all} positions, {struck} struck ({refused_to_start} before the daemon was ready, which said so and \
         ended with 74), {beyond} not reached again; all done after, nothing twice, nothing left",
        faults.len()
    ))
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

/// Its end; strace is sent away after the first fault that it injected.
async fn ended(scene: &Scene, run: &mut Process) -> Option<ExitStatus> {
    let trace = scene.world.path("trace");
    let mut is_alone = false;
    within(PATIENCE, async || {
        if !is_alone && std::fs::read_to_string(&trace).is_ok_and(|text| text.contains("(INJECTED)")) {
            is_alone = run.send_tracer_away();
        }
        run.has_ended()
    })
    .await
}

async fn scene(faults: &[Fault], tally: &mut Tally) {
    let mut scene = Scene::new().await;
    for fault in faults {
        trial(&mut scene, *fault, tally).await;
    }
    scene.prove().await;
}

async fn trial(scene: &mut Scene, fault: Fault, tally: &mut Tally) {
    let Fault { kind, call, nth, what } = fault;
    scene.insert(&[kind]).await;
    let said_before = scene.world.log().len();
    let (trace, inject) = (format!("trace={call}"), format!("inject={call}:{what}:when={nth}"));
    let mut run = strace(scene, &["-e", &trace, "-e", &inject]);
    let Some(ended) = ended(scene, &mut run).await else { panic!("{fault:?}: it does not end\n{}", scene.log_end()) };
    let said = scene.world.log()[said_before..].to_owned();
    scene.look().await;
    let injected = std::fs::read_to_string(scene.world.path("trace")).is_ok_and(|text| text.contains("(INJECTED)"));
    match ended.code() {
        Some(0) if !injected => tally.beyond += 1,
        Some(0) | None => tally.struck += 1,
        Some(code) => {
            assert!(code == 74 && !said.contains("\"ready\""), "{fault:?}: ended with {code}\n{said}");
            assert!(said.contains("the queue"), "{fault:?}: it does not say why\n{said}");
            tally.struck += 1;
            tally.refused_to_start += 1;
        }
    }
    scene.settle().await;
}
