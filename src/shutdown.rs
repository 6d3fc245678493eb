//! Soft, then hard: the first SIGTERM, SIGINT or SIGHUP asks the daemon to finish, the second ends it at once.
//!
//! SIGHUP is what a terminal or a session that is closed sends to what runs in it; by itself it would end the process
//! in the middle of everything. What is to happen comes before it is told: a log that takes its time delays no end.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Two tokens: what is under way may finish after `soft`, and is called off after `hard`.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    /// Nothing new.
    pub soft: CancellationToken,
    /// Nothing at all.
    pub hard: CancellationToken,
}

impl Shutdown {
    /// Listens to the signals of this process.
    ///
    /// # Errors
    /// The operating system's, if it takes no signal handler.
    pub fn on_signals() -> std::io::Result<Self> {
        let shutdown = Self::default();
        tokio::spawn(shutdown.clone().listen(Signals::new()?));
        Ok(shutdown)
    }

    async fn listen(self, mut signals: Signals) {
        signals.next().await;
        self.soft.cancel();
        tracing::info!("stopping: nothing is claimed any more; what is under way is finished, or given back");
        signals.next().await;
        tracing::warn!("stopping at once; what is under way is looked at again after the next start");
        std::process::exit(0);
    }
}

/// Those that ask for an end.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        let [terminate, interrupt, hang_up] =
            [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()].map(signal);
        Ok(Self { terminate: terminate?, interrupt: interrupt?, hang_up: hang_up? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }
}
