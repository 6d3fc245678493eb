//! `kill -9` at random moments (FAULTS Q1, Q11, S14).
//!
//! The daemon is started on a queue that always has work, killed after a delay, and started again. The delay is drawn
//! over a run's length, which is measured first: half of the kills fall into the first quarter (start, takeover,
//! recovery of the write-ahead log, sweep, first copies), half anywhere. In most rounds nobody else has the queue
//! open, so that the next start is the one that recovers the log. Every 200 kills the scene is settled and proven, and
//! a new one begins.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::plan::{Outcome, Plan, Watch, nap};
use super::scene::{Kind, Scene};

/// Kills in one scene: what its bucket holds stays in memory.
const KILLS_A_SCENE: u32 = 200;
/// How often work is added, and the queue looked at.
const LOOK_EVERY: u32 = 8;
/// Enough that a run is not out of work before it is killed.
const ENOUGH: usize = 12;
const MIX: [Kind; 6] = [Kind::Small, Kind::Small, Kind::Slow, Kind::Small, Kind::Resumed, Kind::Small];

#[derive(Default)]
struct Tally {
    kills: u32,
    with_uploads: u32,
    unfinished: u32,
    sessions: usize,
}

pub async fn run(plan: Plan) -> Outcome {
    let mut draw = StdRng::seed_from_u64(plan.seed);
    let mut tally = Tally::default();
    let watch = Watch::start();
    while tally.kills < plan.trials {
        let kills = KILLS_A_SCENE.min(plan.trials - tally.kills);
        scene(&mut draw, kills, &mut tally).await;
        if tally.kills < plan.trials {
            println!("kill: {} of {} so far, {}", tally.kills, plan.trials, watch.read());
        }
    }
    let Tally { kills, with_uploads, unfinished, sessions } = tally;
    Outcome::Held(format!(
        "{kills} trials: {sessions} sessions, {unfinished} kills with rows unfinished, {with_uploads} with a multipart \
         upload open; 0 rows lost, 0 falsely done, 0 objects changed, 0 written twice, 0 uploads left; {:.1} kills/s",
        f64::from(kills) / watch.elapsed().as_secs_f64()
    ))
}

async fn scene(draw: &mut StdRng, kills: u32, tally: &mut Tally) {
    let mut scene = Scene::new().await;
    scene.insert(&MIX).await;
    let length = run_length(&mut scene).await;
    for round in 0..kills {
        if round % LOOK_EVERY == 0 {
            scene.look().await;
            let left = scene.left().await;
            tally.unfinished += if left > 0 || round == 0 { LOOK_EVERY.min(kills - round) } else { 0 };
            if left < ENOUGH {
                scene.insert(&MIX).await;
            }
        }
        let most = if draw.random_bool(0.5) { length / 4 } else { length };
        let daemon = scene.start();
        nap(most.mul_f64(draw.random_range(0.0..1.0))).await;
        tally.with_uploads += u32::from(!scene.world.s3.open_uploads().is_empty());
        daemon.kill();
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
