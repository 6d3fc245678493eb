//! What is odd about a session, for the log and for its history: each once a row.

use serde_json::json;

use super::Journeys;
use crate::queue::{Row, Write};
use crate::session::StatusKind;
use crate::source::Answer;

/// The event of a `call_ended_at` that is of no use.
const HINT_IGNORED: &str = "call_ended_at_ignored";
/// The event of a status that is not known.
const UNKNOWN_STATUS: &str = "unknown_status";

impl Journeys {
    /// Something for a row's history.
    pub(super) fn event(&self, row: &Row, kind: &'static str, detail: serde_json::Value) {
        let session_id = row.session_id.as_str().to_owned();
        drop(self.writer.submit(Write::Event { session_id, kind, detail }));
    }

    /// A hint that cannot be used is mentioned at a row's first look, and later if it was not yet: it may be set at any time.
    pub(super) async fn mention_hint(&self, row: &Row) {
        let Some(hint) = row.unusable_hint.as_deref() else { return };
        let is_first_look = row.history.polls == 0 && row.history.failures == 0 && row.history.error_step == 0;
        if is_first_look || !self.desk.has_event(row.session_id.as_str(), HINT_IGNORED).await.unwrap_or(true) {
            tracing::warn!(call_ended_at = hint, "call_ended_at is no UTC time, or lies in the future: ignored");
            let detail = json!({ "call_ended_at": hint });
            self.event(row, HINT_IGNORED, detail);
        }
    }

    /// A status that is not known is mentioned once a row; its history remembers that.
    pub(super) async fn mention_oddities(&self, row: &Row, answer: &Answer) {
        let (id, status) = (row.session_id.as_str(), answer.status.as_str());
        match answer.status.kind() {
            StatusKind::Other => {
                if !self.desk.has_event(id, UNKNOWN_STATUS).await.unwrap_or(true) {
                    tracing::warn!(
                        kore.status = status,
                        "a status that is not known; waiting as for media_in_progress"
                    );
                    self.event(row, UNKNOWN_STATUS, json!({ "kore_status": status }));
                }
            }
            StatusKind::Success => {
                if answer.recordings.is_empty() {
                    tracing::warn!("success without recordings; waiting as for media_in_progress");
                }
            }
            StatusKind::CallInProgress
            | StatusKind::MediaInProgress
            | StatusKind::Unavailable
            | StatusKind::Failed
            | StatusKind::KoreRetrying
            | StatusKind::TooShort
            | StatusKind::RecordingDisabled => {}
        }
    }
}
