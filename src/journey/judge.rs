//! Whose error it is when a file or a sidecar is not kept, and what follows for its row.

use std::time::Duration;

use super::{Journeys, Sight};
use crate::archive::CopyError;
use crate::archive::store::StoreError;
use crate::decide::Seen;
use crate::metrics::Stage;
use crate::pause::{Pass, UNAVAILABLE};
use crate::source::FetchError;

impl Journeys {
    pub(super) fn judge(&self, pass: &Pass, file_name: &str, error: &CopyError) -> Sight {
        self.judge_named(pass, &file_name.chars().take(100).collect::<String>().escape_debug().to_string(), error)
    }

    /// Whose error it is, and what follows for the row.
    pub(super) fn judge_named(&self, pass: &Pass, name: &str, error: &CopyError) -> Sight {
        let text = format!("{name}: {error}");
        let trouble = |at_least| Seen::Trouble { at_least };
        let (seen, stage) = match error {
            CopyError::Fetch(FetchError::Expired { code, .. }) => {
                (Seen::Failure { not_found: *code == Some(404) }, Stage::Download)
            }
            CopyError::Fetch(FetchError::HostRefused { .. }) => (Seen::HostRefused, Stage::Download),
            CopyError::Fetch(FetchError::TooLarge { .. }) => (Seen::TooLarge, Stage::Download),
            CopyError::Fetch(FetchError::Unreachable { retry_after, .. }) => {
                (trouble(retry_after.unwrap_or_default()), Stage::Download)
            }
            CopyError::Fetch(FetchError::Refused { .. }) => (Seen::Failure { not_found: false }, Stage::Download),
            CopyError::Odd(_) => (Seen::OddBody, Stage::Download),
            CopyError::Key(_) | CopyError::Unsettled(_) => (Seen::Failure { not_found: false }, Stage::Upload),
            CopyError::Store(store) => (trouble(self.pause(pass, store_reason(store), &text, None)), Stage::Upload),
            CopyError::Mismatch { .. } => (trouble(self.pause(pass, "mismatch", &text, None)), Stage::Verify),
            // Of the bucket and of this file alone: it waits for a person, and pauses nobody.
            CopyError::Taken(_) | CopyError::Stopped => (trouble(Duration::ZERO), Stage::Upload),
        };
        self.metrics.failed(stage);
        Sight { seen, trouble: Some((stage, text)) }
    }
}

fn store_reason(error: &StoreError) -> &'static str {
    match error {
        StoreError::Setup { reason, .. } => reason,
        StoreError::Unavailable(_) | StoreError::Unanswered(_) => UNAVAILABLE,
        StoreError::Corrupted(_) => "corrupted",
        StoreError::Exists(_) | StoreError::UploadLost(_) | StoreError::Unreadable(_) | StoreError::Hollow(_) => {
            "conflict"
        }
    }
}

/// The sight that is milder for the row; of two alike the first.
pub(super) fn milder(one: Option<Sight>, other: Sight) -> Sight {
    let severity = |seen: &Seen| match seen {
        Seen::Trouble { .. } | Seen::Held(_) => 0,
        Seen::HostRefused => 1,
        Seen::OddBody => 2,
        Seen::Failure { .. } => 3,
        Seen::TooLarge => 4,
        Seen::Status(..) | Seen::Archived { .. } => 5,
    };
    match one {
        Some(one) if severity(&one.seen) <= severity(&other.seen) => one,
        _ => other,
    }
}
