//! `kill -9` at random moments (FAULTS Q1, Q11, S14).
//!
//! The daemon is started on a queue that always has work, killed after a delay, and started again. The delay is drawn
//! over a run's length, which is measured first: half of the kills fall into the first quarter (start, takeover,
//! recovery of the write-ahead log, sweep, first copies), half anywhere. In most rounds nobody else has the queue
//! open, so that the next start is the one that recovers the log. Every 100 kills the scene is settled and proven, and
//! a new one begins. With `--lanes 6` six scenes go on at once, each with a queue and a bucket of its own.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::plan::{Outcome, Plan, Watch, nap, side_by_side};
use super::scene::{Kind, Scene};
use crate::support::s3::OpenUpload;

/// Kills in one scene: what its bucket holds stays in memory.
const KILLS_A_SCENE: u32 = 100;
/// How often work is added, and the queue looked at.
const LOOK_EVERY: u32 = 8;
/// Enough that a run is not out of work before it is killed.
const ENOUGH: usize = 12;
const MIX: [Kind; 6] = [Kind::Small, Kind::Small, Kind::Slow, Kind::Small, Kind::Resumed, Kind::Small];

/// Where the kills fell, as far as can be told from outside.
#[derive(Default)]
struct Tally {
    kills: u32,
    /// Before the daemon said that it is ready.
    starting: u32,
    /// With an upload open that this very run had created.
    with_uploads: u32,
    sessions: usize,
}

pub async fn run(plan: Plan) -> Outcome {
    let watch = Watch::start();
    let mut all = Tally::default();
    for lane in side_by_side(plan.shares().map(|share| async move || lane(share).await)).await {
        all.kills += lane.kills;
        all.starting += lane.starting;
        all.with_uploads += lane.with_uploads;
        all.sessions += lane.sessions;
    }
    let Tally { kills, starting, with_uploads, sessions } = all;
    plan.assert_seen("a kill before the daemon was ready", starting, 24);
    // One in six or so.
    plan.assert_seen("a kill with an upload open", with_uploads, 100);
    Outcome::Held(format!(
        "{kills} trials: {sessions} sessions; {starting} kills before the daemon was ready, {with_uploads} with a multipart \
         upload of that run open; 0 rows lost, 0 falsely done, 0 objects changed, 0 written twice, 0 uploads left; {:.1} \
         kills/s",
        f64::from(kills) / watch.elapsed().as_secs_f64()
    ))
}

async fn lane(plan: Plan) -> Tally {
    let mut draw = StdRng::seed_from_u64(plan.seed);
    let mut tally = Tally::default();
    let watch = Watch::start();
    while tally.kills < plan.trials {
        let kills = KILLS_A_SCENE.min(plan.trials - tally.kills);
        scene(&mut draw, kills, &mut tally).await;
        if tally.kills < plan.trials {
            println!("kill, seed {}: {} of {} so far, {}", plan.seed, tally.kills, plan.trials, watch.read());
        }
    }
    tally
}

async fn scene(draw: &mut StdRng, kills: u32, tally: &mut Tally) {
    let mut scene = Scene::new().await;
    scene.insert(&MIX).await;
    let length = run_length(&mut scene).await;
    for round in 0..kills {
        if round % LOOK_EVERY == 0 {
            scene.look().await;
            if scene.left().await < ENOUGH {
                scene.insert(&MIX).await;
            }
        }
        let most = if draw.random_bool(0.5) { length / 4 } else { length };
        let (said, open) = (scene.world.log().len(), scene.world.s3.open_uploads());
        let daemon = scene.start();
        nap(most.mul_f64(draw.random_range(0.0..1.0))).await;
        let is_new = |upload: &OpenUpload| open.iter().all(|old| old.id != upload.id);
        tally.with_uploads += u32::from(scene.world.s3.open_uploads().iter().any(is_new));
        daemon.kill();
        tally.starting += u32::from(!scene.says_ready(said));
        tally.kills += 1;
    }
    scene.settle().await;
    scene.prove().await;
    tally.sessions += scene.len();
}

/// From the start to the last row's end, without a kill.
async fn run_length(scene: &mut Scene) -> Duration {
    let watch = Watch::start();
    let daemon = scene.start();
    scene.until_done(Duration::from_mins(1)).await;
    let length = watch.elapsed();
    daemon.kill();
    length
}
