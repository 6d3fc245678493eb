//! One heap for all threads.
//!
//! glibc gives each thread a heap of its own, and what one thread took and another gives back leaves holes in all of
//! them: 30 to 40 MB at the peak of a daemon with default settings. It listens to its environment alone, and reads that
//! before `main`; so the daemon starts itself once more in its own place, as the process that it is, unless whoever
//! started it has chosen (as the unit does).

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use crate::config::Environment;

/// The number of heaps.
const HEAPS: &str = "MALLOC_ARENA_MAX";

/// Returns where the heap is as it was chosen, or cannot be: that costs memory, and nothing else.
pub(super) fn share_one(environment: &Environment) {
    if environment.get(HEAPS).is_some() {
        return;
    }
    let mut words = std::env::args_os();
    let name = words.next().unwrap_or_else(|| env!("CARGO_PKG_NAME").into());
    // By its own name, which `ps` and the kernel's log show.
    let program = std::env::current_exe().unwrap_or_else(|_| "/proc/self/exe".into());
    let _ = Command::new(program).arg0(name).args(words).env(HEAPS, "1").exec();
}
