//! `session.json`: what a session consists of, written last. Its presence means that the session is complete.
//!
//! A sidecar that lists the same recordings, or more, is left as it is. If the list has grown since, the new one is
//! `session-2.json`, and so on: the highest number counts. None is ever overwritten.

use bytes::Bytes;
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::store::{Label, StoreError};
use super::{Archive, CopyError};
use crate::clock::Timestamp;
use crate::key::{NotAKey, ObjectKey};
use crate::receipt::{Receipt, Verified};
use crate::transfer::Segments;

/// The sidecar's schema; `config/session-1.schema.json` describes it.
pub const SCHEMA: &str = "kore-archiver/session/1";

/// What a sidecar says.
#[derive(Clone, Debug, Serialize)]
pub struct Sidecar {
    /// [`SCHEMA`]
    pub schema: &'static str,
    /// Kore's id.
    pub session_id: String,
    /// `[bots.NAME]`
    pub bot: String,
    /// Kore's id of it.
    pub bot_id: String,
    /// When the session started, or was enqueued if its id does not tell.
    pub session_started_at: Timestamp,
    /// When the session was complete in the bucket.
    pub archived_at: Timestamp,
    /// Which version of this program wrote it.
    pub archiver_version: &'static str,
    /// The enqueuer's own, as it was written.
    pub metadata: Box<RawValue>,
    /// Every file, in Kore's order.
    pub recordings: Vec<SidecarRecording>,
}

/// One file in a sidecar.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SidecarRecording {
    /// As Kore named it.
    pub file_name: String,
    /// Where it is.
    pub key: String,
    /// How long it is.
    pub bytes: u64,
    /// Hex.
    pub sha256: String,
    /// Base64.
    pub crc64nvme: String,
    /// From its bytes.
    pub content_type: String,
    /// When the container says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_seconds: Option<f64>,
    /// When the container says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<u16>,
    /// In Hz, when the container says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample_rate: Option<u32>,
    /// Why it is suspect, if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspect: Option<String>,
}

/// What tells one list of recordings from another.
#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Listed {
    key: String,
    bytes: u64,
    sha256: String,
}

#[derive(Deserialize)]
struct Stored {
    schema: String,
    session_id: String,
    recordings: Vec<Listed>,
}

/// Nobody's list grows that often; beyond it something is wrong with the bucket.
const MOST_SIDECARS: u32 = 1000;
/// The largest that is read back: a thousand recordings take a tenth of it.
const LARGEST: u64 = 8 * 1024 * 1024;

impl Archive {
    /// Makes sure that the newest sidecar of the session lists these recordings; whether one was written for that. `key_of`
    /// gives the key of a sidecar's name. There may be a gap before the newest, unless the session `is_new`.
    ///
    /// # Errors
    /// [`CopyError`] of the bucket.
    pub async fn keep_sidecar(
        &self,
        key_of: impl Fn(&str) -> Result<ObjectKey, NotAKey>,
        sidecar: &Sidecar,
        is_new: bool,
    ) -> Result<bool, CopyError> {
        let (mut newest, mut is_written) = (None, false);
        for number in 1..=MOST_SIDECARS {
            let key = key_of(&name(number))?;
            if self.unless_stopped(self.store.head(&key)).await?.is_some() {
                newest = Some(key);
                continue;
            }
            // Somebody may have deleted one from their middle.
            let may_be_gap = newest.is_some() || !is_new;
            if may_be_gap && self.unless_stopped(self.store.head(&key_of(&name(number + 1))?)).await?.is_some() {
                // The first one says that the session is complete, and the last one of what.
                if number == 1 {
                    is_written = self.put_sidecar(&key, sidecar).await?.is_some();
                }
                continue;
            }
            if let Some(newest) = newest.take()
                && self.lists_all_of(&newest, sidecar).await?
            {
                return Ok(is_written);
            }
            if self.put_sidecar(&key, sidecar).await?.is_some() {
                return Ok(true);
            }
            newest = Some(key);
        }
        Err(CopyError::Unsettled(format!("{}: there are {MOST_SIDECARS} sidecars already", sidecar.session_id)))
    }

    async fn put_sidecar(&self, key: &ObjectKey, sidecar: &Sidecar) -> Result<Option<Verified>, CopyError> {
        let body = Bytes::from(serde_json::to_vec_pretty(sidecar).expect("text, numbers and JSON values serialise"));
        let receipt = Receipt::of_bytes(&body);
        let label = Label::new(&sidecar.session_id, &sidecar.bot, "application/json", Some(&receipt));
        // Whoever sends the session back has it read again.
        let label = Label { at_hand: true, ..label };
        self.put(key, &label, Segments::from(body), &receipt).await
    }

    async fn lists_all_of(&self, key: &ObjectKey, sidecar: &Sidecar) -> Result<bool, CopyError> {
        let mut body = match self.unless_stopped(self.open(key)).await {
            // In a storage class that wants it restored first, or lost: a new one beside it costs less than never ending.
            Err(CopyError::Store(StoreError::Unreadable(_) | StoreError::Hollow(_))) => return Ok(false),
            body => body?,
        };
        let mut text = Vec::new();
        while let Some(bytes) = self.unless_stopped(async { body.next().await.transpose() }).await? {
            text.extend_from_slice(&bytes);
            if text.len() as u64 > LARGEST {
                return Ok(false);
            }
        }
        // What cannot be read is somebody else's, and lists nothing of ours.
        let Ok(stored) = serde_json::from_slice::<Stored>(&text) else { return Ok(false) };
        let is_listed = |ours: &SidecarRecording| stored.recordings.contains(&ours.listed());
        let all = sidecar.recordings.iter().all(is_listed);
        Ok(stored.schema == SCHEMA && stored.session_id == sidecar.session_id && all)
    }
}

impl SidecarRecording {
    fn listed(&self) -> Listed {
        Listed { key: self.key.clone(), bytes: self.bytes, sha256: self.sha256.clone() }
    }
}

fn name(number: u32) -> String {
    if number == 1 { "session.json".into() } else { format!("session-{number}.json") }
}
