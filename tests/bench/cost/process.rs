//! What a process has used, as the kernel counts it.

use std::process::Child;
use std::time::{Duration, Instant};

/// `sysconf(_SC_CLK_TCK)` is 100 on every Linux that there is.
const TICKS_A_SECOND: f64 = 100.0;

/// What a process has used since its start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    pub cpu_seconds: f64,
    /// Its largest resident set so far, in MB.
    pub peak_mb: f64,
    pub voluntary_switches: u64,
}

/// Of a process that runs, or has ended and was not waited for; children of its own that it has waited for included.
pub fn usage(pid: u32) -> Option<Usage> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in brackets, may hold anything; after it come state, ppid, …, utime (14th), stime, cutime, cstime.
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let ticks: u64 = fields.get(11..15)?.iter().filter_map(|field| field.parse::<u64>().ok()).sum();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let number = |name: &str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    };
    #[expect(clippy::cast_precision_loss, reason = "these are figures for people")]
    Some(Usage {
        cpu_seconds: ticks as f64 / TICKS_A_SECOND,
        peak_mb: number("VmHWM:").unwrap_or_default() as f64 * 1024.0 / 1e6,
        voluntary_switches: number("voluntary_ctxt_switches:").unwrap_or_default(),
    })
}

/// Watches a child to its end.
pub async fn watched(mut child: Child) -> (Duration, Usage) {
    let began = Instant::now();
    let mut last = Usage::default();
    loop {
        if let Some(now) = usage(child.id()) {
            // A process that has ended has no memory any more.
            last = Usage { peak_mb: now.peak_mb.max(last.peak_mb), ..now };
        }
        let state = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap_or_default();
        if state.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z')) {
            let took = began.elapsed();
            let status = child.wait().expect("the child is ours");
            assert!(status.success(), "a measured command ended with {status}");
            return (took, last);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
