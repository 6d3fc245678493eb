//! Who is told of a pause: people by the log, monitoring by the metric, and every other program by the table.

use crate::metrics::Metrics;
use crate::pause::{Change, Listener};
use crate::queue::{Write, Writer};

/// Tells log, metric and table of pauses.
#[derive(Debug)]
pub struct Notices {
    /// Where the gauge is.
    pub metrics: Metrics,
    /// Of the table.
    pub writer: Writer,
}

impl Notices {
    fn over(&self, what: String, reason: &'static str) {
        self.metrics.paused(&what, reason, false);
        drop(self.writer.submit(Write::Resumed { what, reason }));
    }
}

impl Listener for Notices {
    fn tell(&self, change: Change) {
        match change {
            Change::Paused { pause, was_for, again } => {
                if let Some(reason) = was_for {
                    self.over(pause.what.clone(), reason);
                }
                let (what, until) = (&pause.what, &pause.until);
                if again {
                    tracing::debug!(what, reason = pause.reason, %until, "paused for longer");
                } else {
                    tracing::warn!(what, reason = pause.reason, error = pause.message, %until, "paused");
                }
                self.metrics.paused(&pause.what, pause.reason, true);
                drop(self.writer.submit(Write::Paused(pause)));
            }
            Change::Resumed(what, reason) => {
                tracing::info!(what, reason, "the pause is over");
                self.over(what, reason);
            }
        }
    }
}
