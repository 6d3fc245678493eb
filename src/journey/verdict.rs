//! What came of an attempt: decided, logged once, and made a write.

use super::{Journeys, Sight, span};
use crate::clock::Timestamp;
use crate::decide::{History, Next, Seen, Step};
use crate::metrics::Stage;
use crate::pause::What;
use crate::queue::write::{Note, Outcome};
use crate::queue::{Claimed, Row, Write};
use crate::session::{Reason, Status};

impl Journeys {
    /// Ages decide only while the clock can be believed: a jump ends no row.
    pub(super) fn decide(&self, row: &Row, seen: Seen) -> Step {
        let (now, draw) = (self.clock.now(), (self.draw)());
        if self.clock.is_steady() {
            return self.learned.decide(&self.policy, row, seen, now, draw);
        }
        self.learned.decide(&self.policy.ageless(), row, seen, now, draw)
    }

    pub(super) fn conclude(&self, row: &Row, status: Option<&Status>, sight: Sight) -> Write {
        let step = self.decide(row, sight.seen);
        self.record(row, status, sight, step)
    }

    /// The one place where an attempt's outcome is logged and turned into a write.
    pub(super) fn record(&self, row: &Row, status: Option<&Status>, sight: Sight, step: Step) -> Write {
        let charged = step.history.failures > row.history.failures;
        let at = match step.next {
            Next::Wait(at) => at,
            Next::Finish(reason) => return self.finish(row, status, reason, sight.trouble, step.history),
            Next::Copy => unreachable!("a status that leads to copying is acted on, not recorded"),
        };
        let said = status.map_or("", Status::as_str);
        if let Some((stage, error)) = &sight.trouble {
            let (stage, failures) = (stage.as_str(), step.history.failures);
            tracing::warn!(kore.status = said, stage, error, charged, failures, next_poll_at = %at, "attempt failed; tried again later");
            if sight.seen == Seen::HostRefused {
                let (what, wait) = (What::Files(row.bot.clone()), at.since(self.clock.now()));
                self.pauses.pause(&what, "host_refused", error, wait);
            }
        } else {
            let polls = step.history.polls;
            // Of what nobody is told here, its pause has told.
            let is_put_off = matches!(sight.seen, Seen::Trouble { .. } | Seen::Held(_));
            let what = if is_put_off { "put off" } else { "not ready" };
            tracing::info!(kore.status = said, polls, next_poll_at = %at, "{what}");
        }
        Write::Waits { outcome: outcome(row, status, step.history, sight.trouble), next_poll_at: at }
    }

    pub(super) fn finish(
        &self,
        row: &Row,
        status: Option<&Status>,
        reason: Reason,
        trouble: Option<(Stage, String)>,
        history: History,
    ) -> Write {
        let (state, polls) = (reason.state().as_str(), history.polls);
        let said = status.map_or("", Status::as_str);
        let error = trouble.as_ref().map_or("", |(_, error)| error.as_str());
        if reason == Reason::Archived {
            tracing::info!(state, reason = reason.as_str(), polls, "finished");
        } else {
            tracing::warn!(state, reason = reason.as_str(), polls, kore.status = said, error, "finished");
        }
        Write::Finishes { outcome: outcome(row, status, history, trouble), reason, at: self.clock.now() }
    }

    /// A task that panicked: that row waits like one that failed, the others go on.
    #[must_use]
    pub fn after_panic(&self, claimed: &Claimed) -> Option<Write> {
        match claimed {
            Claimed::Row(row) => {
                let error = "working on this row failed inside the daemon; please report it with its log".to_owned();
                let sight = Sight { seen: Seen::Failure { not_found: false }, trouble: Some((Stage::Poll, error)) };
                self.metrics.failed(Stage::Poll);
                Some(span(claimed).in_scope(|| self.conclude(row, None, sight)))
            }
            Claimed::Invalid { .. } => None,
        }
    }
}

/// It is too early to ask.
pub(super) fn put_off(row: &Row, at: Timestamp) -> Write {
    tracing::info!(next_poll_at = %at, "too early to ask");
    Write::Waits { outcome: outcome(row, None, row.history.put_off(), None), next_poll_at: at }
}

fn outcome(row: &Row, status: Option<&Status>, history: History, trouble: Option<(Stage, String)>) -> Outcome {
    let charged = history.failures > row.history.failures;
    Outcome {
        lease: row.lease.clone(),
        history,
        kore_status: status.map(|status| status.as_str().to_owned()),
        note: trouble.map(|(stage, error)| Note::new(stage.as_str(), charged, &error)),
    }
}
