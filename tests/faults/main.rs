//! The real binary under real faults: killed, starved, cut off from its disk, its clock, its log and its vendor.
//!
//! ```text
//! cargo test --test faults                                  the short form of everything, about two minutes
//! cargo test --release --test faults -- kill --trials 10000 --lanes 6     the long form of one, six worlds at once
//! cargo test --test faults -- --list                        what there is
//! ```
//!
//! Every scenario prints its figures as `N trials: …`. What the machine does not allow (no root, no strace) is printed
//! as SKIPPED with the reason, and with `--must-run` it fails. A failure keeps the folder with queue and log, and names
//! the seed: `--seed` repeats the same draws, though not the same scheduling.
//!
//! What holds after every trial is [`scene::Scene::prove`]: every row is there and done, nothing was charged, each
//! object equals its source, nothing was written twice, overwritten or deleted, no upload is left.
//!
//! N trials without a failure bound the rate of failures by 3/N, with 95 % confidence, for this mix of faults and
//! nothing else.

#![allow(unreachable_pub, reason = "`pub` marks what other rooms use; a test program exports nothing")]

#[path = "../support/mod.rs"]
mod support;

mod clock_jumps;
mod disk_full;
mod for_ever;
mod host;
mod kill;
mod mount;
mod outage;
mod plan;
mod positions;
mod power_loss;
mod process;
mod queue_file;
mod scene;

use std::process::ExitCode;

use plan::{Choice, End, Running, Scenario};

/// In the order in which they run.
const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "kill",
        about: "kill -9 at random moments, small and multipart copies in flight",
        short: 24,
        is_patient: false,
        run: |plan| Box::pin(kill::run(plan)),
    },
    Scenario {
        name: "crash-points",
        about: "killed at the Nth write, flush, send, connect of a copy",
        short: 16,
        is_patient: false,
        run: |plan| Box::pin(positions::crash_points(plan)),
    },
    Scenario {
        name: "io-errors",
        about: "the Nth write, flush, send, connect of a copy fails",
        short: 12,
        is_patient: false,
        run: |plan| Box::pin(positions::io_errors(plan)),
    },
    Scenario {
        name: "io-errors-for-ever",
        about: "from some moment on every write or flush of the queue fails",
        short: 1,
        is_patient: true,
        run: |plan| Box::pin(for_ever::run(plan)),
    },
    Scenario {
        name: "io-errors-from-on",
        about: "the Nth write, flush, send, connect of a copy fails, and every later one",
        short: 1,
        is_patient: true,
        run: |plan| Box::pin(positions::io_errors_from_on(plan)),
    },
    Scenario {
        name: "disk-full",
        about: "the queue's disk fills up at any write, and has room again later",
        short: 6,
        is_patient: false,
        run: |plan| Box::pin(disk_full::run(plan)),
    },
    Scenario {
        name: "disk-full-at-start",
        about: "the queue's disk is full before the daemon starts, and has room later",
        short: 8,
        is_patient: false,
        run: |plan| Box::pin(disk_full::at_start(plan)),
    },
    Scenario {
        name: "power-loss-ext4",
        about: "the queue's ext4 is shut down without a flush while rows are being finished",
        short: 8,
        is_patient: false,
        run: |plan| Box::pin(power_loss::ext4(plan)),
    },
    Scenario {
        name: "power-loss-xfs",
        about: "the queue's xfs is shut down without a flush while rows are being finished",
        short: 8,
        is_patient: false,
        run: |plan| Box::pin(power_loss::xfs(plan)),
    },
    Scenario {
        name: "lock",
        about: "another program holds the queue's write lock",
        short: 1,
        is_patient: true,
        run: |plan| Box::pin(queue_file::lock(plan)),
    },
    Scenario {
        name: "replaced",
        about: "the queue is moved, deleted, replaced or restored under the running daemon",
        short: 6,
        is_patient: false,
        run: |plan| Box::pin(queue_file::replaced(plan)),
    },
    Scenario {
        name: "emfile",
        about: "no file descriptor is left for a connection",
        short: 2,
        is_patient: true,
        run: |plan| Box::pin(host::emfile(plan)),
    },
    Scenario {
        name: "stdout",
        about: "stdout and stderr are closed, or nobody reads them any more",
        short: 2,
        is_patient: false,
        run: |plan| Box::pin(host::stdout(plan)),
    },
    Scenario {
        name: "suspend",
        about: "the process is stopped for seconds, and goes on",
        short: 2,
        is_patient: true,
        run: |plan| Box::pin(host::suspend(plan)),
    },
    Scenario {
        name: "clock",
        about: "the wall clock jumps by hours and years, and back",
        short: 4,
        is_patient: false,
        run: |plan| Box::pin(clock_jumps::run(plan)),
    },
    Scenario {
        name: "outage",
        about: "Kore is out for two hours, in accelerated form; trials are rows",
        short: 1000,
        is_patient: true,
        run: |plan| Box::pin(outage::run(plan)),
    },
];

fn main() -> ExitCode {
    let choice = match Choice::of(std::env::args().skip(1)) {
        Ok(choice) => choice,
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::from(2);
        }
    };
    let (patient, brisk): (Vec<_>, Vec<_>) =
        SCENARIOS.iter().filter(|scenario| choice.wants(scenario.name)).partition(|scenario| scenario.is_patient);
    if choice.list {
        patient.iter().chain(&brisk).for_each(|scenario| println!("{}: test", scenario.name));
        return ExitCode::SUCCESS;
    }
    // Those that mostly wait do so while the others work.
    let waiting: Vec<_> = patient.into_iter().map(|scenario| Running::start(scenario, &choice)).collect();
    let worked = brisk.into_iter().map(|scenario| Running::start(scenario, &choice).end());
    let ends: Vec<End> = worked.collect::<Vec<_>>().into_iter().chain(waiting.into_iter().map(Running::end)).collect();
    let count = |wanted: End| ends.iter().filter(|end| **end == wanted).count();
    let (held, skipped, failed) = (count(End::Held), count(End::Skipped), count(End::Failed));
    println!("faults: {held} held, {skipped} skipped, {failed} failed");
    if failed > 0 || (choice.must_run && skipped > 0) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
