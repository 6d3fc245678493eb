//! What came of an attempt: decided, logged once, and made a write.

use super::{Journeys, Sight, span};
use crate::clock::Timestamp;
use crate::decide::{Next, Seen, Step};
use crate::metrics::Stage;
use crate::pause::What;
use crate::queue::write::Note;
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
        let said = status.map_or("", Status::as_str);
        let charged = step.history.failures > row.history.failures;
        let note = sight.trouble.as_ref().map(|(stage, error)| Note::new(stage.as_str(), charged, error));
        let kore_status = status.map(|status| status.as_str().to_owned());
        match step.next {
            Next::Wait(at) => {
                if let Some((stage, error)) = &sight.trouble {
                    let (stage, failures) = (stage.as_str(), step.history.failures);
                    tracing::warn!(kore.status = said, stage, error, charged, failures, next_poll_at = %at, "attempt failed; tried again later");
                } else {
                    let polls = step.history.polls;
                    // Of what nobody is told here, its pause has told.
                    let what = if matches!(sight.seen, Seen::Trouble { .. } | Seen::Held(_)) {
                        "put off"
                    } else {
                        "not ready"
                    };
                    tracing::info!(kore.status = said, polls, next_poll_at = %at, "{what}");
                }
                if let (Seen::HostRefused, Some((_, error))) = (sight.seen, &sight.trouble) {
                    let (what, wait) = (What::Files(row.bot.clone()), at.since(self.clock.now()));
                    self.pauses.pause(&what, "host_refused", error, wait);
                }
                let lease = row.lease.clone();
                Write::Waits { lease, history: step.history, kore_status, next_poll_at: at, note }
            }
            Next::Finish(reason) => {
                let row = Row { history: step.history, ..row.clone() };
                self.finish(&row, status, reason, sight.trouble, charged)
            }
            Next::Copy => unreachable!("a status that leads to copying is acted on, not recorded"),
        }
    }

    pub(super) fn finish(
        &self,
        row: &Row,
        status: Option<&Status>,
        reason: Reason,
        trouble: Option<(Stage, String)>,
        charged: bool,
    ) -> Write {
        let (state, polls) = (reason.state().as_str(), row.history.polls);
        let said = status.map_or("", Status::as_str);
        let error = trouble.as_ref().map_or("", |(_, error)| error.as_str());
        if reason == Reason::Archived {
            tracing::info!(state, reason = reason.as_str(), polls, "finished");
        } else {
            tracing::warn!(state, reason = reason.as_str(), polls, kore.status = said, error, "finished");
        }
        Write::Finishes {
            lease: row.lease.clone(),
            history: row.history.clone(),
            kore_status: status.map(|status| status.as_str().to_owned()),
            reason,
            at: self.clock.now(),
            note: trouble.map(|(stage, error)| Note::new(stage.as_str(), charged, &error)),
        }
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
    let (lease, history) = (row.lease.clone(), row.history.put_off());
    Write::Waits { lease, history, kore_status: None, next_poll_at: at, note: None }
}
