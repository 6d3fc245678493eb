//! The end of a session that is in the bucket: its sidecar, written last and proven like the files.

use serde_json::value::RawValue;

use super::plan::parts;
use super::{Bot, Journeys, Sight};
use crate::archive::CopyError;
use crate::archive::sidecar::{SCHEMA, Sidecar, SidecarRecording};
use crate::decide::Seen;
use crate::key::{NotAKey, ObjectKey};
use crate::pause::{Pass, What};
use crate::queue::Row;
use crate::queue::write::Recording;

impl Journeys {
    /// Everything is proven: the sidecar goes last, beside its files. There is none for a row that was replaced or deleted
    /// meanwhile: whoever did that has not asked for it. Its lease then writes nothing, but keeps the row in hand until
    /// what was archived is in the table, so that the next attempt finds it there.
    pub(super) async fn seal(
        &self,
        row: &Row,
        bot: &Bot,
        recordings: &[Recording],
        is_new: bool,
        pass: &Pass,
    ) -> Option<Sight> {
        if let Err(sight) = self.unless_changed(row).await {
            tracing::info!("the row was changed meanwhile; no sidecar is written for it");
            return Some(sight);
        }
        let sidecar = Sidecar {
            schema: SCHEMA,
            session_id: row.session_id.as_str().to_owned(),
            bot: row.bot.clone(),
            bot_id: bot.bot_id.clone(),
            session_started_at: row.session_id.started_at().unwrap_or(row.enqueued_at),
            archived_at: self.clock.now(),
            archiver_version: env!("CARGO_PKG_VERSION"),
            metadata: row.metadata.clone().unwrap_or_else(no_metadata),
            recordings: recordings.iter().map(listed).collect(),
        };
        let suspect = recordings.iter().any(|recording| recording.facts.suspect.is_some());
        let key_of = |name: &str| self.key_beside(row, recordings, name);
        match self.archive.keep_sidecar(key_of, &sidecar, is_new).await {
            Ok(is_written) => {
                if is_written {
                    self.pauses.resume(&What::Bucket);
                } else {
                    // Its last write may have been applied and never answered: nobody might write again for hours.
                    pass.was_answered();
                }
                Some(Sight { seen: Seen::Archived { suspect }, trouble: None })
            }
            Err(CopyError::Stopped) => None,
            Err(error) => Some(self.judge_named(pass, "session.json", &error)),
        }
    }

    /// The key of a sidecar's name: in the folder of the session's sound files, wherever an earlier attempt put them.
    fn key_beside(&self, row: &Row, recordings: &[Recording], name: &str) -> Result<ObjectKey, NotAKey> {
        let sound = recordings.iter().find(|recording| recording.facts.suspect.is_none());
        let beside = sound.and_then(|recording| self.template.beside(&recording.key, name));
        beside.unwrap_or_else(|| self.template.key(parts(row), name))
    }
}

fn no_metadata() -> Box<RawValue> {
    RawValue::from_string("{}".to_owned()).expect("an empty object is JSON")
}

fn listed(recording: &Recording) -> SidecarRecording {
    let receipt = recording.verified.receipt();
    SidecarRecording {
        file_name: recording.file_name.clone(),
        key: recording.key.as_str().to_owned(),
        bytes: receipt.bytes,
        sha256: receipt.sha256.to_string(),
        crc64nvme: receipt.crc64nvme.to_string(),
        content_type: recording.facts.content_type.clone(),
        duration_seconds: recording.facts.duration_seconds,
        channels: recording.facts.channels,
        sample_rate: recording.facts.sample_rate,
        suspect: recording.facts.suspect.clone(),
    }
}
