//! Soft, then hard: the first SIGTERM or SIGINT asks the daemon to finish, the second ends it at once.

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
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        tokio::spawn(shutdown.clone().listen(terminate, interrupt));
        Ok(shutdown)
    }

    async fn listen(self, mut terminate: Signal, mut interrupt: Signal) {
        next(&mut terminate, &mut interrupt).await;
        tracing::info!("stopping: nothing is claimed any more; what is under way is finished, or given back");
        self.soft.cancel();
        next(&mut terminate, &mut interrupt).await;
        tracing::warn!("stopping at once; what is under way is looked at again after the next start");
        std::process::exit(0);
    }
}

async fn next(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
