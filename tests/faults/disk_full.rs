//! A disk that fills up at any write, the commit that marks done included, and has room again later (FAULTS Q3, Q4).
//!
//! The queue lies on a small tmpfs. Rows are inserted that fall due a moment later; meanwhile the disk is filled up to
//! the Kth free page, K going through every page that the work would need. The daemon has to say that it is paused,
//! and to go on without a restart once the file system has been made larger, sending nothing twice.
//!
//! The same of a disk that is full before the daemon starts: whether there is too little room to open the queue at all,
//! or to take it over, the daemon says that it waits, and goes on by itself.

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
/// Pages that a start needs at most, for the index of its log and for its first commit.
const PAGES_OF_A_START: u64 = 16;
/// What the log says of it, before the queue is open and afterwards.
const FULL: &str = "the disk of the queue is full";

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

/// The disk is full before the daemon starts.
pub async fn at_start(plan: Plan) -> Outcome {
    let (mut before_ready, mut after) = (0_u32, 0_u32);
    for trial in 0..plan.trials {
        let free = u64::from(trial) * PAGES_OF_A_START / u64::from(plan.trials);
        match one_start(free).await {
            Ok(Some(is_ready)) => *(if is_ready { &mut after } else { &mut before_ready }) += 1,
            Ok(None) => {}
            Err(why) => return Outcome::Skipped(why),
        }
    }
    if let Err(why) = first_start().await {
        return Outcome::Skipped(why);
    }
    plan.assert_seen("a queue that cannot be opened", before_ready, 1);
    plan.assert_seen("a queue that is opened and cannot be taken over", after, 8);
    Outcome::Held(format!(
        "{} trials: the queue could not be opened {before_ready} times, nor written {after} times; all went on without \
         a restart; one that did not exist was made once there was room",
        plan.trials
    ))
}

/// There is no queue yet, and no room for one. Who has enough of waiting may stop it.
async fn first_start() -> Result<(), String> {
    let (scene, disk) = Scene::on(|at| Mount::tmpfs(at, SMALL)).await?;
    std::fs::remove_file(scene.disk().join("queue.db")).expect("it was made with the scene");
    fill(&scene.disk().join("filler"), disk.free());
    for has_room in [false, true] {
        let said = scene.world.log().len();
        let mut daemon = scene.start();
        let told = within(PATIENCE, async || scene.world.log()[said..].contains(FULL).then_some(())).await;
        assert!(told.is_some() && daemon.has_ended().is_none(), "{}", scene.log_end());
        if has_room {
            disk.resize(LARGE);
            let is_ready = within(PATIENCE, async || scene.says_ready(said).then_some(())).await;
            assert!(is_ready.is_some(), "{}", scene.log_end());
        }
        assert_eq!(daemon.stop(PATIENCE).await, 0, "{}", scene.log_end());
    }
    Ok(())
}

/// Whether the daemon was ready when it said that the disk is full, if it did. `Err`: why it cannot be tried here.
async fn one_start(free_pages: u64) -> Result<Option<bool>, String> {
    let (mut scene, disk) = Scene::on(|at| Mount::tmpfs(at, SMALL)).await?;
    scene.insert(&[Kind::Small, Kind::Large]).await;
    fill(&scene.disk().join("filler"), disk.free().saturating_sub(free_pages * PAGE));
    let mut daemon = scene.start();
    let told = within(PATIENCE, async || {
        assert_eq!(daemon.has_ended(), None, "{free_pages} pages\n{}", scene.log_end());
        let is_ready = scene.says_ready(0);
        if scene.world.log().contains(FULL) {
            return Some(Some(is_ready));
        }
        // While nobody has it open, there may be no room to look into it either.
        (is_ready && scene.left().await == 0).then_some(None)
    });
    let told = told.await.unwrap_or_else(|| panic!("{free_pages} pages: no word, no end\n{}", scene.log_end()));
    // Let it try a few times more.
    nap(Duration::from_millis(400)).await;
    assert_eq!(daemon.has_ended(), None, "{free_pages} pages\n{}", scene.log_end());
    disk.resize(LARGE);
    scene.until_done(PATIENCE).await;
    scene.prove().await;
    assert_eq!(daemon.stop(PATIENCE).await, 0, "{}", scene.log_end());
    Ok(told)
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
