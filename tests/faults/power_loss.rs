//! Power loss: the file system is shut down without a flush while rows are being finished (FAULTS Q2).
//!
//! The queue lies on an image file, mounted through a loop device. A reader of the queue, another connection, notes
//! which rows it has seen done; what anybody has seen is acknowledged. Within 10 ms after the Nth of them, N being
//! random, the file system is cut off: what is not on the disk by then never gets there. The daemon is killed, the image is mounted again (the journal is
//! replayed, as after a real cut), and every acknowledged row must still be done and its object whole. Rows that were
//! lost with the cut (inserted and never synced) are inserted again, and everything has to come out done.
//!
//! What it does not show: a disk that acknowledges a flush and drops it, and sectors that are torn within themselves.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use sqlx::Connection as _;

use super::mount::{Mount, make_image};
use super::plan::{Outcome, Plan, Watch, nap, side_by_side};
use super::process::has;
use super::scene::{Kind, Scene};

/// Trials in one scene: what its bucket holds stays in memory.
const TRIALS_A_SCENE: u32 = 50;
const ROWS_A_TRIAL: [Kind; 6] = [Kind::Small; 6];
const IMAGE_MIB: u64 = 64;
/// How long a cut waits for its rows at most.
const PATIENCE: Duration = Duration::from_secs(5);
/// The smallest that xfs takes.
const XFS_IMAGE_MIB: u64 = 320;

#[derive(Default)]
struct Tally {
    cuts: u32,
    acknowledged: usize,
    unfinished: usize,
}

/// What a disk is formatted with, and how large it is.
#[derive(Clone, Copy)]
struct Disk {
    mkfs: &'static [&'static str],
    mib: u64,
}

pub async fn ext4(plan: Plan) -> Outcome {
    run(plan, Disk { mkfs: &["mkfs.ext4", "-q", "-F"], mib: IMAGE_MIB }).await
}

pub async fn xfs(plan: Plan) -> Outcome {
    run(plan, Disk { mkfs: &["mkfs.xfs", "-q", "-f"], mib: XFS_IMAGE_MIB }).await
}

async fn run(plan: Plan, disk: Disk) -> Outcome {
    for program in [disk.mkfs[0], "xfs_io"] {
        if !has(program) {
            return Outcome::Skipped(format!("{program} is not installed"));
        }
    }
    let watch = Watch::start();
    let mut all = Tally::default();
    for lane in side_by_side(plan.shares().map(|share| async move || lane(share, disk).await)).await {
        let lane = match lane {
            Ok(lane) => lane,
            Err(why) => return Outcome::Skipped(why),
        };
        all.cuts += lane.cuts;
        all.acknowledged += lane.acknowledged;
        all.unfinished += lane.unfinished;
    }
    let Tally { cuts, acknowledged, unfinished } = all;
    plan.assert_seen("a row that was acknowledged before a cut", acknowledged as u64, 8);
    plan.assert_seen("a row that a cut left in work", unfinished as u64, 8);
    Outcome::Held(format!(
        "{cuts} trials: {acknowledged} rows acknowledged as done before a cut, {unfinished} still in work; 0 acknowledged \
         rows lost, 0 falsely done, 0 written twice; {:.2} s a trial",
        watch.elapsed().as_secs_f64() / f64::from(cuts)
    ))
}

/// `Err`: why it cannot be tried here.
async fn lane(plan: Plan, disk: Disk) -> Result<Tally, String> {
    let mut draw = StdRng::seed_from_u64(plan.seed);
    let mut tally = Tally::default();
    let watch = Watch::start();
    while tally.cuts < plan.trials {
        let cuts = TRIALS_A_SCENE.min(plan.trials - tally.cuts);
        scene(&mut draw, cuts, disk, &mut tally).await?;
        if tally.cuts < plan.trials {
            let (done, all) = (tally.cuts, plan.trials);
            println!("power loss, {}, seed {}: {done} of {all} so far, {}", disk.mkfs[0], plan.seed, watch.read());
        }
    }
    Ok(tally)
}

/// `Err`: why it cannot be tried here.
async fn scene(draw: &mut StdRng, cuts: u32, disk: Disk, tally: &mut Tally) -> Result<(), String> {
    let images = tempfile::tempdir().map_err(|error| error.to_string())?;
    let image = images.path().join("disk");
    make_image(&image, disk.mkfs, disk.mib)?;
    let (mut scene, mut mount) = Scene::on(|at| Mount::image(at, &image)).await?;
    for _ in 0..cuts {
        scene.insert(&ROWS_A_TRIAL).await;
        let daemon = scene.start_ready().await;
        let before = scene.acknowledged();
        // The reader keeps the queue open: looking does not checkpoint.
        let mut reader = scene.world.sql().await;
        // The cut follows an acknowledgement closely: that is when a commit may not be on the disk yet.
        let (enough, patience) = (before + draw.random_range(0..=ROWS_A_TRIAL.len()), Watch::start());
        while scene.acknowledged() < enough && patience.elapsed() < PATIENCE {
            scene.look_through(&mut reader).await;
        }
        nap(Duration::from_micros(draw.random_range(0..10_000))).await;
        mount.cut()?;
        tally.cuts += 1;
        daemon.kill();
        // On a file system that is gone; whether that works is of no interest.
        let _ = reader.close().await;
        tally.acknowledged += scene.acknowledged() - before;
        let at = scene.disk();
        drop(mount);
        mount = Mount::image(&at, &image)?;
        scene.look().await;
        tally.unfinished += scene.insert_again().await;
    }
    scene.settle().await;
    scene.prove().await;
    drop(mount);
    Ok(())
}
