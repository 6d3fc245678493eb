//! The disk fails for ever: every write or flush gives EIO from some moment on (FAULTS Q5).
//!
//! The daemon tries again for about two minutes, says that it is paused, and then ends with 74 and a message. Without
//! the fault the next start goes on as if nothing had been.

use std::time::Duration;

use super::plan::{Outcome, Plan, within};
use super::process::{Process, has};
use super::scene::{Kind, Scene};

const CALLS: [&str; 2] = ["fsync,fdatasync", "pwrite64"];
/// About twice as long as it takes.
const PATIENCE: Duration = Duration::from_mins(4);
const PAUSED: &str = "kore_archiver_paused{what=\"queue\",reason=\"io_error\"}";

pub async fn run(plan: Plan) -> Outcome {
    if !has("strace") {
        return Outcome::Skipped("strace is not installed".into());
    }
    // Each takes minutes, and the second of its kind shows no more than the first.
    let calls = &CALLS[..CALLS.len().min(plan.trials as usize)];
    futures_util::future::join_all(calls.iter().map(|calls| one(calls))).await;
    Outcome::Held(format!("{} trials: ended with 74 and a message; all done after the next start", calls.len()))
}

async fn one(calls: &str) {
    let mut scene = Scene::with_page().await;
    let mut daemon = scene.world.daemon().await;
    let strace = attach(&scene, daemon.id(), calls).await;
    scene.insert(&[Kind::Small, Kind::Large]).await;
    let paused = within(PATIENCE, async || (daemon.metric(PAUSED).await == Some(1.0)).then_some(())).await;
    assert!(paused.is_some(), "{calls}: not paused\n{}", scene.log_end());
    let ended = within(PATIENCE, async || daemon.has_ended()).await;
    let code = ended.unwrap_or_else(|| panic!("{calls}: goes on\n{}", scene.log_end())).code();
    assert_eq!(code, Some(74), "{calls}: {}", scene.log_end());
    assert!(scene.log_end().contains("is not usable: disk I/O error"), "{calls}: {}", scene.log_end());
    strace.kill();
    scene.settle().await;
    scene.prove().await;
}

/// Makes these calls fail in every thread of the process, and in those that are still to come.
async fn attach(scene: &Scene, id: u32, calls: &str) -> Process {
    let mut command = std::process::Command::new("strace");
    let trace = scene.world.path("trace");
    command.args(["-f", "-qq", "-p", &id.to_string(), "-o"]).arg(&trace);
    command.args(["-e", &format!("trace={calls}"), "-e", &format!("inject={calls}:error=EIO")]);
    let strace = Process::start(&mut command, &scene.world.path("strace-log"));
    let attached = within(Duration::from_secs(20), async || {
        let tasks = std::fs::read_dir(format!("/proc/{id}/task")).ok()?;
        let traced = |task: std::fs::DirEntry| {
            let status = std::fs::read_to_string(task.path().join("status")).unwrap_or_default();
            status.lines().any(|line| line.starts_with("TracerPid:") && !line.ends_with("\t0"))
        };
        tasks.flatten().all(traced).then_some(())
    });
    assert!(attached.await.is_some(), "strace does not attach");
    strace
}
