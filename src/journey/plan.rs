//! Where each file of a list belongs, and what the queue knows of it already.
//!
//! A file is told from its siblings by its URL's path (see [`SourceFile`]), at every poll: the same one gets the same key,
//! and what is proven to be in the bucket is found again. What a record of another bucket or of another making says is
//! nothing that is known.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Journeys, Sight};
use crate::clock::Timestamp;
use crate::decide::Seen;
use crate::key::{KeyParts, Named, ObjectKey, distinct_names};
use crate::metrics::Stage;
use crate::queue::desk::Record;
use crate::queue::write::Facts;
use crate::queue::{self, Row};
use crate::receipt::{Receipt, Sha256};
use crate::source::SourceFile;

/// One file and where it belongs.
pub(super) struct Plan {
    /// Its place in Kore's list.
    pub(super) place: usize,
    pub(super) file: SourceFile,
    pub(super) source: Sha256,
    pub(super) key: ObjectKey,
    /// What the queue knows of it.
    pub(super) known: Option<Proven>,
}

/// A file that was proven to be in the bucket before.
#[derive(Clone)]
pub(super) struct Proven {
    pub(super) archived_at: Timestamp,
    pub(super) key: ObjectKey,
    pub(super) receipt: Receipt,
    pub(super) facts: Facts,
}

type Sha256Text = String;

impl Journeys {
    pub(super) async fn plan(&self, row: &Row, files: Vec<SourceFile>) -> Result<Vec<Plan>, Sight> {
        let records = self.desk.known(&row.session_id).await.map_err(|error| {
            self.metrics.failed(Stage::Queue);
            Sight { seen: Seen::Trouble { at_least: Duration::ZERO }, trouble: Some((Stage::Queue, error.to_string())) }
        })?;
        let known: BTreeMap<Sha256Text, Proven> = records.iter().filter_map(|record| self.known(record)).collect();
        let sources: Vec<Sha256> = files.iter().map(|file| file.url.digest()).collect();
        let asked: Vec<_> = files.iter().zip(&sources).map(|(file, path)| Named { name: &file.name, path }).collect();
        let names = distinct_names(&asked);
        let parts = parts(row);
        let plan = |(place, ((file, source), name)): (usize, ((SourceFile, Sha256), String))| {
            let known = known.get(&source.to_string()).cloned();
            let sound = known.as_ref().filter(|known| known.facts.suspect.is_none());
            let key = match sound {
                Some(known) => known.key.clone(),
                None => self.template.key(parts, &name).map_err(|error| {
                    self.metrics.failed(Stage::Upload);
                    Sight {
                        seen: Seen::Failure { not_found: false },
                        trouble: Some((Stage::Upload, format!("the key of a file would not do: {error}"))),
                    }
                })?,
            };
            Ok(Plan { place, file, source, key, known })
        };
        files.into_iter().zip(sources).zip(names).enumerate().map(plan).collect()
    }

    fn known(&self, record: &Record) -> Option<(Sha256Text, Proven)> {
        let text = |column: &str| record.get(column)?.as_str().map(ToOwned::to_owned);
        if text("bucket")? != self.bucket {
            return None;
        }
        let (key, receipt) = queue::proven(record)?;
        let facts = Facts {
            content_type: text("content_type")?,
            suspect: text("suspect"),
            duration_seconds: record.get("duration_seconds").and_then(serde_json::Value::as_f64),
            channels: record.get("channels").and_then(serde_json::Value::as_u64).and_then(|n| n.try_into().ok()),
            sample_rate: record.get("sample_rate").and_then(serde_json::Value::as_u64).and_then(|n| n.try_into().ok()),
        };
        let archived_at = Timestamp::parse(&text("archived_at")?).ok()?;
        Some((text("source")?, Proven { archived_at, key, receipt, facts }))
    }
}

pub(super) fn parts(row: &Row) -> KeyParts<'_> {
    KeyParts {
        bot: &row.bot,
        date: row.session_id.started_at().unwrap_or(row.enqueued_at),
        session_id: &row.session_id,
    }
}
