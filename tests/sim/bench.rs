//! What many runs share, because making it takes longer than a run: a queue on a memory disk, open, and a runtime.

use std::path::{Path, PathBuf};

use kore_archiver::metrics::Metrics;
use rustix::thread::{CpuSet, sched_getcpu, sched_setaffinity};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use crate::daemon::{BOTS, Opened};
use crate::hand::Hand;
use crate::stage::Stage;

pub(crate) struct Bench {
    pub(crate) runtime: Option<Runtime>,
    pub(crate) file: PathBuf,
    pub(crate) stage: Stage,
    pub(crate) hand: Hand,
    pub(crate) opened: Option<Opened>,
    pub(crate) metrics: Metrics,
    _folder: TempDir,
}

impl Bench {
    pub(crate) fn new() -> Self {
        stay_here();
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let folder = folder.expect("a folder can be made");
        let file = folder.path().join("queue.db");
        let stage = Stage::default();
        stage.reset(false);
        let runtime = runtime();
        let (opened, hand) = runtime.block_on(async {
            let opened = Opened::open(&file, &stage).await;
            (opened, Hand::open(&file).await)
        });
        let metrics = Metrics::new(BOTS.map(str::to_owned).iter()).expect("the constants make sense");
        Self { runtime: Some(runtime), file, stage, hand, opened: Some(opened), metrics, _folder: folder }
    }

    /// The process ends between two instructions: whatever was handed to its writer and not yet taken up is gone.
    pub(crate) fn kill(&mut self) {
        drop(self.runtime.take());
        drop(self.opened.take());
        self.runtime = Some(runtime());
    }
}

/// It never sleeps: SQLite's threads share its processor, and get it sooner by a turn than by putting this one to sleep,
/// which they would have to wake again for every statement.
pub(crate) fn runtime() -> Runtime {
    let runtime = Builder::new_current_thread().enable_time().build().expect("the operating system has room for it");
    runtime.spawn(async {
        loop {
            std::thread::yield_now();
            tokio::task::yield_now().await;
        }
    });
    runtime
}

/// Keeps this thread, and those that it starts, on one processor: they only ever wait for each other, and a turn on the
/// same one is had sooner than another one is woken.
fn stay_here() {
    let mut here = CpuSet::new();
    here.set(sched_getcpu());
    // Where that is forbidden it is merely slower.
    let _ = sched_setaffinity(None, &here);
}
