//! The wall clock jumps by hours and years under the running daemon, and back (FAULTS P3).
//!
//! libfaketime stands between the daemon and the wall clock; the monotonic clock is left alone, as the kernel leaves
//! it. In half of the trials Kore's clock and ours jump alike (or its gateway does not look), so that polls are answered
//! while the clock is wrong: the harder case, because every age is then wrong too. One row waits all along and must not
//! be ended by it; one is inserted while the clock is wrong.

use std::path::PathBuf;
use std::time::Duration;

use super::plan::{Outcome, Plan, nap, within};
use super::process::Process;
use super::scene::{Kind, Scene};
use crate::support::kore::Timeline;

const PATIENCE: Duration = Duration::from_mins(2);
const HOUR: i64 = 3600;
const YEAR: i64 = 365 * 24 * HOUR;
/// Within the tolerance of nobody: what NTP would step, a wrong zone, a dead battery, a wrong century.
const JUMPS: [i64; 6] = [3 * YEAR, -3 * YEAR, 5 * HOUR, -5 * HOUR, 200 * HOUR, -20 * YEAR];

pub async fn run(plan: Plan) -> Outcome {
    let Some(library) = library() else { return Outcome::Skipped("libfaketime is not installed".into()) };
    for trial in 0..plan.trials as usize {
        one(&library, JUMPS[trial % JUMPS.len()], (trial / JUMPS.len() + trial).is_multiple_of(2)).await;
    }
    Outcome::Held(format!(
        "{} trials: jumps of 5 hours to 20 years, forward and backward, and back; no row lost or ended by it",
        plan.trials
    ))
}

/// Where Debian and others put it.
fn library() -> Option<PathBuf> {
    let folders = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"];
    let at = |folder: &&str| PathBuf::from(folder).join("faketime/libfaketimeMT.so.1");
    folders.iter().map(at).find(|path| path.exists())
}

async fn one(library: &std::path::Path, jump: i64, kore_jumps_along: bool) {
    let mut scene = Scene::new().await;
    let offset = scene.world.path("offset");
    std::fs::write(&offset, "+0").expect("the folder is ours");
    let mut command = scene.world.command(&["run"]);
    command
        .env("LD_PRELOAD", library)
        .env("FAKETIME_TIMESTAMP_FILE", &offset)
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .env("DONT_FAKE_MONOTONIC", "1");
    let waiting = scene.insert(&[Kind::Small]).await.remove(0);
    scene.world.kore.session(&waiting, Timeline::new().finally("media_in_progress"));
    let polls = async |at_least: usize| {
        within(PATIENCE, async || (scene.world.kore.polls_of(&waiting).len() >= at_least).then_some(())).await
    };
    let daemon = Process::start(&mut command, &scene.world.path("log"));
    polls(2).await.unwrap_or_else(|| panic!("not asked\n{}", scene.log_end()));

    std::fs::write(&offset, format!("{jump:+}")).expect("the folder is ours");
    if kore_jumps_along {
        scene.world.kore.set_clock_offset(jump);
        let seen = scene.world.kore.polls_of(&waiting).len();
        polls(seen + 3).await.unwrap_or_else(|| panic!("{jump}: not asked any more\n{}", scene.log_end()));
    }
    scene.insert(&[Kind::Small]).await;
    nap(Duration::from_secs(1)).await;
    let states =
        scene.world.rows("SELECT session_id, state, reason FROM sessions WHERE state NOT IN ('pending', 'done')");
    assert_eq!(states.await, [], "ended by a jump of {jump} s");

    std::fs::write(&offset, "+0").expect("the folder is ours");
    scene.world.kore.set_clock_offset(0);
    scene.script_ready(&waiting);
    scene.until_done(PATIENCE).await;
    assert_eq!(daemon.stop(PATIENCE).await, 0);
    scene.prove().await;
}
