//! Other programs and people at the queue's file: one that holds the write lock, one that puts another file in its
//! place (FAULTS Q7, Q9).

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::Connection as _;

use super::plan::{Outcome, Plan, Watch, nap, within};
use super::scene::{Kind, Scene};
use crate::support::scene::key;

/// Longer than SQLite waits for a lock, and than a large file waits for its note in the ledger.
const HELD: Duration = Duration::from_secs(9);
const PATIENCE: Duration = Duration::from_mins(1);
const LOCKED: &str = "kore_archiver_paused{what=\"queue\",reason=\"locked\"}";

/// Another program holds the write lock: asking and copying go on, and results are written when they can be.
pub async fn lock(plan: Plan) -> Outcome {
    for _ in 0..plan.trials {
        let mut scene = Scene::with_page().await;
        let daemon = scene.world.daemon().await;
        let ids = scene.insert_due_in(&[Kind::Small, Kind::Small, Kind::Large], Duration::from_millis(500)).await;
        let mut other = scene.world.sql().await;
        sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.expect("the lock is free");
        let watch = Watch::start();
        let is_there = |id: &String| scene.world.s3.body(&key(id, "call.wav")).is_some();
        // The second waits for Kore, and to be asked about again its first answer must be written.
        let copied = within(HELD, async || (is_there(&ids[0]) && is_there(&ids[2])).then_some(())).await;
        assert!(copied.is_some(), "copying did not go on\n{}", scene.log_end());
        assert!(!scene.world.kore.polls_of(&ids[1]).is_empty(), "asking did not go on");
        nap(HELD.saturating_sub(watch.elapsed())).await;
        assert_eq!(scene.left().await, ids.len(), "something was written under another program's lock");
        assert_eq!(daemon.metric(LOCKED).await, Some(1.0), "{}", scene.log_end());
        sqlx::raw_sql("COMMIT").execute(&mut other).await.expect("the lock is held");
        other.close().await.expect("it can be closed");
        scene.until_done(PATIENCE).await;
        scene.prove().await;
        assert_eq!(daemon.stop().await, 0);
    }
    Outcome::Held(format!(
        "{} trials: the write lock held for {} s each, files copied meanwhile, results written afterwards",
        plan.trials,
        HELD.as_secs()
    ))
}

/// What befalls the file.
type Change = fn(&Path) -> std::io::Result<()>;

const CHANGES: [(&str, Change); 6] = [
    ("moved away", |queue| fs::rename(queue, queue.with_extension("moved"))),
    ("deleted", |queue| fs::remove_file(queue)),
    ("replaced by a copy", |queue| {
        let copy = queue.with_extension("copy");
        fs::copy(queue, &copy)?;
        fs::rename(&copy, queue)
    }),
    ("replaced by an empty file", |queue| {
        let empty = queue.with_extension("empty");
        fs::File::create(&empty)?;
        fs::rename(&empty, queue)
    }),
    ("robbed of its log", |queue| {
        fs::remove_file(beside(queue, "-wal"))?;
        fs::remove_file(beside(queue, "-shm"))
    }),
    ("restored in its place", |queue| {
        let backup = fs::read(queue)?;
        fs::remove_file(beside(queue, "-wal"))?;
        fs::remove_file(beside(queue, "-shm"))?;
        fs::write(queue, backup)
    }),
];

fn beside(queue: &Path, suffix: &str) -> PathBuf {
    let mut name = queue.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Another file, or none, in its place: the daemon stops with 74 and says so, and writes nothing there.
pub async fn replaced(plan: Plan) -> Outcome {
    for trial in 0..plan.trials {
        let (what, change) = CHANGES[trial as usize % CHANGES.len()];
        let mut scene = Scene::new().await;
        let mut daemon = scene.start_ready().await;
        scene.insert_due_in(&[Kind::Small], Duration::from_secs(1)).await;
        let queue = scene.world.queue_path();
        change(&queue).expect("the folder is ours");
        let there = fs::read(&queue).ok();
        let ended = daemon.ended(Duration::from_secs(20)).await;
        let code = ended.unwrap_or_else(|| panic!("{what}: goes on\n{}", scene.log_end())).code();
        assert_eq!(code, Some(74), "{what}: {}", scene.log_end());
        let names_it = scene.log_end().contains(&format!("the queue {}", queue.display()));
        assert!(names_it, "{what}: {}", scene.log_end());
        assert!(fs::read(&queue).ok() == there, "{what}: something was written to the file that took its place");
    }
    Outcome::Held(format!(
        "{} trials: moved, deleted, replaced, restored: each ended with 74, naming the file",
        plan.trials
    ))
}
