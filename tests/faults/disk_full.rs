//! A disk that fills up at any write, the commit that marks done included, and has room again later (FAULTS Q3, Q4).
//!
//! The queue lies on a small tmpfs. Rows are inserted that fall due a moment later; meanwhile the disk is filled up to
//! the Kth free page, K going through every page that the work would need. The daemon has to say that it is paused,
//! and to go on without a restart once the file system has been made larger, sending nothing twice.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use super::mount::Mount;
use super::plan::{Outcome, Plan, nap, within};
use super::scene::{Kind, Scene};
use crate::support::scene::key;

/// Small, and large enough for a new queue.
const SMALL: &str = "1536k";
const LARGE: &str = "16m";
const PAGE: u64 = 4096;
/// Pages that one session's results need at most; beyond these nothing fails.
const PAGES: u64 = 40;
/// How long the fill may take before the rows are due.
const HEAD_START: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_mins(1);
const PAUSED: &str = "kore_archiver_paused{what=\"queue\",reason=\"disk_full\"}";

#[derive(Default)]
struct Tally {
    paused: u32,
    after_upload: u32,
    had_room: u32,
}

pub async fn run(plan: Plan) -> Outcome {
    let mut tally = Tally::default();
    for trial in 0..plan.trials {
        // Spread over all pages whatever the number of trials.
        let free = u64::from(trial) * PAGES / u64::from(plan.trials);
        let kind = if trial % 2 == 0 { Kind::Small } else { Kind::Large };
        if let Err(why) = one(free, kind, &mut tally).await {
            return Outcome::Skipped(why);
        }
    }
    let Tally { paused, after_upload, had_room } = tally;
    // The first trial has no free page at all.
    plan.assert_seen("a pause", paused, 1);
    plan.assert_seen("a disk that was full after the upload", after_upload, 6);
    Outcome::Held(format!(
        "{} trials: paused {paused} times ({after_upload} of them with the object in the bucket already), {had_room} had \
         room enough; all went on without a restart, nothing uploaded twice",
        plan.trials
    ))
}

/// `Err`: why it cannot be tried here.
async fn one(free_pages: u64, kind: Kind, tally: &mut Tally) -> Result<(), String> {
    let (mut scene, disk) = Scene::on(|at| Mount::tmpfs(at, SMALL)).await?;
    let daemon = scene.world.daemon().await;
    let ids = scene.insert_due_in(&[kind], HEAD_START).await;
    fill(&scene.disk().join("filler"), disk.free().saturating_sub(free_pages * PAGE));
    let ended = within(PATIENCE, async || {
        let paused = daemon.metric(PAUSED).await == Some(1.0);
        if paused { Some(true) } else { (scene.left().await == 0).then_some(false) }
    });
    let paused = ended.await.unwrap_or_else(|| panic!("{free_pages} pages: no pause, no end\n{}", scene.log_end()));
    if paused {
        // Let it try a few times more.
        nap(Duration::from_millis(400)).await;
        let is_there = scene.world.s3.body(&key(&ids[0], "session.json")).is_some();
        tally.paused += 1;
        tally.after_upload += u32::from(is_there);
    } else {
        tally.had_room += 1;
    }
    disk.resize(LARGE);
    scene.until_done(PATIENCE).await;
    scene.prove().await;
    let resumed = within(PATIENCE, async || (daemon.metric(PAUSED).await != Some(1.0)).then_some(())).await;
    assert!(resumed.is_some(), "it still says that it is paused");
    assert_eq!(daemon.stop().await, 0, "{}", scene.log_end());
    Ok(())
}

/// Writes so many bytes, or fewer if there is no room.
fn fill(path: &Path, bytes: u64) {
    let mut file = File::create(path).expect("a name costs nothing");
    let block = [0; 4096];
    for _ in 0..bytes / PAGE {
        if file.write_all(&block).is_err() {
            return;
        }
    }
}
