//! The end of the loop: what is under way ends by itself or is given back, and results are written.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use tokio_util::sync::CancellationToken;

use super::{LOOK, Worker};

/// How long results may take to be written once the daemon is stopping.
const LAST_WRITES: Duration = Duration::from_secs(10);

impl Worker {
    /// Lets what is under way end by itself for `patience`, then calls it off (`hard`), and sees the results written.
    pub async fn drain(&mut self, patience: Duration, hard: &CancellationToken) {
        let clock = Arc::clone(&self.journeys.clock);
        tokio::select! {
            () = self.finish_all() => {}
            () = clock.sleep(patience) => {
                tracing::warn!(sessions = self.tasks.len(), "drain_timeout is over; giving back what is not finished");
                hard.cancel();
                tokio::select! {
                    () = self.finish_all() => {}
                    () = clock.sleep(LAST_WRITES) => self.tasks.abort_all(),
                }
            }
        }
        tokio::select! {
            () = self.commit_all() => {}
            () = clock.sleep(LAST_WRITES) => {
                tracing::warn!(results = self.unwritten.len(), "the queue cannot be written to; these sessions are looked at again after the next start");
            }
        }
    }

    /// A drain beats as the loop does: it may last longer than the service manager's patience with a stuck daemon.
    async fn finish_all(&mut self) {
        let clock = Arc::clone(&self.journeys.clock);
        while !self.tasks.is_empty() {
            self.vitals.beat(self.hands.len());
            tokio::select! {
                Some(done) = self.tasks.join_next_with_id() => self.finished(done),
                () = clock.sleep(LOOK) => {}
            }
        }
    }

    async fn commit_all(&mut self) {
        let clock = Arc::clone(&self.journeys.clock);
        while !self.unwritten.is_empty() {
            self.vitals.beat(self.hands.len());
            tokio::select! {
                Some(written) = self.unwritten.next() => self.committed(&written),
                () = clock.sleep(LOOK) => {}
            }
        }
    }
}
