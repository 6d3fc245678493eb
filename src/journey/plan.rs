//! Where each file of a list belongs, and what the queue knows of it already.
//!
//! A file is told from its siblings by its URL's path (see [`SourceFile`]), at every poll: the same one gets the same key,
//! and what is proven to be in the bucket is found again. What a record of another bucket or of another making says is
//! nothing that is known.

use std::collections::HashMap;
use std::time::Duration;

use super::{Journeys, Sight};
use crate::decide::Seen;
use crate::key::{KeyParts, Named, ObjectKey, distinct_names};
use crate::metrics::Stage;
use crate::queue::{Known, Row};
use crate::receipt::Sha256;
use crate::source::SourceFile;

/// One file and where it belongs.
pub(super) struct Plan {
    /// Its place in Kore's list.
    pub(super) place: usize,
    pub(super) file: SourceFile,
    pub(super) source: Sha256,
    pub(super) key: ObjectKey,
    /// What the queue knows of it.
    pub(super) known: Option<Known>,
}

impl Journeys {
    pub(super) async fn plan(&self, row: &Row, files: Vec<SourceFile>) -> Result<Vec<Plan>, Sight> {
        let known = self.desk.known(&row.session_id).await.map_err(|error| {
            self.metrics.failed(Stage::Queue);
            Sight { seen: Seen::Trouble { at_least: Duration::ZERO }, trouble: Some((Stage::Queue, error.to_string())) }
        })?;
        let here = known.into_iter().filter(|known| known.bucket == self.bucket);
        let known: HashMap<Sha256, Known> = here.map(|known| (known.source, known)).collect();
        let sources: Vec<Sha256> = files.iter().map(|file| file.url.digest()).collect();
        let asked: Vec<_> = files.iter().zip(&sources).map(|(file, path)| Named { name: &file.name, path }).collect();
        let names = distinct_names(&asked);
        let parts = parts(row);
        let plan = |(place, ((file, source), name)): (usize, ((SourceFile, Sha256), String))| {
            let known = known.get(&source).cloned();
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
}

pub(super) fn parts(row: &Row) -> KeyParts<'_> {
    KeyParts {
        bot: &row.bot,
        date: row.session_id.started_at().unwrap_or(row.enqueued_at),
        session_id: &row.session_id,
    }
}
