//! One heap for all threads, that keeps what it has.
//!
//! glibc gives each thread a heap of its own, and what one thread took and another gives back leaves holes in all of
//! them: 30 to 40 MB at the peak of a daemon with default settings. And it hands memory back to the system as soon as
//! there is some, only to ask for it again, page by page, with the next part: 6 % of the CPU of moving large files.
//!
//! It listens to its environment alone, and reads that before `main`; so the daemon starts itself once more in its own
//! place, as the process that it is, unless whoever started it has chosen.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use crate::config::Environment;

/// The number of heaps.
const HEAPS: &str = "MALLOC_ARENA_MAX";
/// That it was started once more: for a program with privileges of its file glibc may strike its variables out.
const STARTED_ANEW: &str = "_KORE_ARCHIVER_STARTED_ANEW";
/// What goes with it, in bytes: how much is kept at the heap's end, how much is added to it at once, and from which size on
/// a block is not of it (a part's pieces have up to 400 KiB).
const KEEPING: [(&str, &str); 3] =
    [("MALLOC_TRIM_THRESHOLD_", "134217728"), ("MALLOC_TOP_PAD_", "16777216"), ("MALLOC_MMAP_THRESHOLD_", "4194304")];

/// Returns where the heap is as it was chosen, or cannot be: that costs memory, and nothing else.
pub(super) fn share_one(environment: &Environment) {
    if environment.get(HEAPS).is_some() || environment.get(STARTED_ANEW).is_some() {
        return;
    }
    let mut words = std::env::args_os();
    let name = words.next().unwrap_or_else(|| env!("CARGO_PKG_NAME").into());
    // By its own name, which `ps` and the kernel's log show.
    let program = std::env::current_exe().unwrap_or_else(|_| "/proc/self/exe".into());
    let _ = Command::new(program).arg0(name).args(words).env(HEAPS, "1").env(STARTED_ANEW, "1").envs(KEEPING).exec();
}
