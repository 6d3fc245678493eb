//! What a host does to a process: no file descriptors, nobody who reads its log, a stop of some seconds (FAULTS P2, P4,
//! P5).

use std::process::{Command, Stdio};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::plan::{Outcome, Plan, nap};
use super::process::{Process, has, under};
use super::scene::{Kind, Scene};

const PATIENCE: Duration = Duration::from_mins(2);
const MIX: [Kind; 4] = [Kind::Small, Kind::Resumed, Kind::Small, Kind::Slow];

/// No descriptor is left for a connection; later there is.
pub async fn emfile(plan: Plan) -> Outcome {
    if !has("prlimit") {
        return Outcome::Skipped("prlimit is not installed".into());
    }
    for trial in 0..plan.trials {
        let mut scene = Scene::new().await;
        let mut daemon = scene.start_ready().await;
        scene.insert_due_in(&MIX, Duration::from_millis(700)).await;
        // 0, 1, 2 … more than it has open: the shortage comes at another moment.
        let spare = trial as usize % 6;
        let open = std::fs::read_dir(format!("/proc/{}/fd", daemon.id())).expect("it runs").count();
        limit(&daemon, open + spare);
        nap(Duration::from_secs(3)).await;
        assert_eq!(daemon.has_ended(), None, "{}", scene.log_end());
        limit(&daemon, 1024);
        scene.until_done(PATIENCE).await;
        assert_eq!(daemon.stop(PATIENCE).await, 0);
        scene.settle().await;
        scene.prove().await;
    }
    Outcome::Held(format!(
        "{} trials: 0 to 5 descriptors to spare for 3 s; nothing charged, all done after",
        plan.trials
    ))
}

fn limit(daemon: &Process, descriptors: usize) {
    let mut prlimit = Command::new("prlimit");
    prlimit.args(["--pid", &daemon.id().to_string(), &format!("--nofile={descriptors}:")]);
    assert!(prlimit.status().expect("prlimit is installed").success());
}

/// stdout and stderr are closed, or their reader is gone.
pub async fn stdout(plan: Plan) -> Outcome {
    for trial in 0..plan.trials {
        let mut scene = Scene::new().await;
        scene.insert(&MIX).await;
        let daemon = if trial % 2 == 0 { closed(&scene) } else { unread(&scene) };
        scene.until_done(PATIENCE).await;
        assert_eq!(daemon.stop(PATIENCE).await, 0);
        scene.prove().await;
    }
    Outcome::Held(format!("{} trials: stdout and stderr closed, or their reader gone; all done", plan.trials))
}

fn closed(scene: &Scene) -> Process {
    let shell = ["sh", "-c", "exec \"$@\" >&- 2>&-", "sh"];
    Process::start(&mut under(&shell, &scene.world.command(&["run"])), &scene.world.path("log"))
}

fn unread(scene: &Scene) -> Process {
    let mut command = scene.world.command(&["run"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    drop((child.stdout.take(), child.stderr.take()));
    Process::of(child)
}

/// Stopped for longer than a download may stall, and let go on.
pub async fn suspend(plan: Plan) -> Outcome {
    let mut draw = StdRng::seed_from_u64(plan.seed);
    for _ in 0..plan.trials {
        let mut scene = Scene::new().await;
        scene.insert(&MIX).await;
        let daemon = scene.start_ready().await;
        nap(Duration::from_millis(draw.random_range(0..500))).await;
        daemon.signal("STOP");
        nap(Duration::from_millis(draw.random_range(500..4000))).await;
        daemon.signal("CONT");
        scene.until_done(PATIENCE).await;
        assert_eq!(daemon.stop(PATIENCE).await, 0);
        scene.prove().await;
    }
    Outcome::Held(format!("{} trials: stopped for 0.5 to 4 s at a random moment; all done after", plan.trials))
}
