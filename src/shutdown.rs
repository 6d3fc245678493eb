//! Soft, then hard: the first SIGTERM, SIGINT or SIGHUP asks the daemon to finish, a second one, a quarter of a second later
//! or more, ends it at once.
//!
//! SIGHUP is what a terminal or a session that is closed sends to what runs in it; by itself it would end the process
//! in the middle of everything; where the parent had it ignored, as `nohup` does, it stays so. The token is cancelled
//! before the line is logged, because a log may take its time.

use std::fs;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;

/// What comes so soon after a signal is the same request: `timeout` sends its own to the process and to its group.
const ONE_REQUEST: Duration = Duration::from_millis(250);

/// Two tokens: what is under way may finish after `soft`, and is called off after `hard`.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    /// Nothing new.
    pub soft: CancellationToken,
    /// Nothing at all.
    pub hard: CancellationToken,
}

impl Shutdown {
    /// Listens to the signals of this process, which the second one ends with this exit code.
    ///
    /// # Errors
    /// The operating system's, if it takes no signal handler.
    pub fn on_signals(at_once: i32, clock: impl Clock + 'static) -> std::io::Result<Self> {
        let shutdown = Self::default();
        tokio::spawn(shutdown.clone().listen(Signals::of_daemon()?, at_once, clock));
        Ok(shutdown)
    }

    async fn listen(self, mut signals: Signals, at_once: i32, clock: impl Clock) {
        signals.next().await;
        self.soft.cancel();
        tracing::info!("stopping: nothing is claimed any more; what is under way is finished, or given back");
        signals.another(&clock).await;
        tracing::warn!("stopping at once; what is under way is looked at again after the next start");
        crate::telemetry::flush();
        std::process::exit(at_once);
    }
}

/// Those that ask for an end.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// None if it is left to do what it did.
    hang_up: Option<Signal>,
}

impl Signals {
    /// SIGHUP too, unless whoever started this process has it ignored.
    fn of_daemon() -> std::io::Result<Self> {
        let hang_up = if is_hang_up_ignored() { None } else { Some(signal(SignalKind::hangup())?) };
        Ok(Self { hang_up, ..Self::of_command()? })
    }

    /// SIGTERM and SIGINT.
    pub(crate) fn of_command() -> std::io::Result<Self> {
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        Ok(Self { terminate, interrupt, hang_up: None })
    }

    /// One that is no echo of the one that came just now.
    pub(crate) async fn another(&mut self, clock: &impl Clock) {
        let first = clock.elapsed();
        while clock.elapsed().saturating_sub(first) < ONE_REQUEST {
            self.next().await;
        }
    }

    pub(crate) async fn next(&mut self) {
        let hang_up = async {
            match &mut self.hang_up {
                Some(signal) => signal.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = hang_up => {}
        }
    }
}

/// Linux tells by a bit for each signal, the lowest for SIGHUP.
fn is_hang_up_ignored() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}
