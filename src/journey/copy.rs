//! All files of a session into the bucket, then the sidecar.
//!
//! Files are copied side by side, as far as the daemon's transfers allow. A file that the queue knows is looked at in
//! the bucket and left. A URL that ran out is asked for again, once; what else goes wrong is told apart by whose it is
//! and comes back as one [`Sight`] of the whole session: the mildest for the row counts, so that a file that is too
//! large never ends a session while a sibling only waits for the network.

use std::pin::pin;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde_json::json;
use tokio::sync::SemaphorePermit;

use super::judge::milder;
use super::plan::Plan;
use super::{Asked, Bot, Journeys, Last, Sight};
use crate::archive::CopyError;
use crate::archive::keep::{FileJob, Kept};
use crate::decide::{ODD_BODY_TRIES, Seen};
use crate::flights::Watched;
use crate::key::ObjectKey;
use crate::metrics::Stage;
use crate::pause::{Pass, What};
use crate::queue::write::{Facts, Recording};
use crate::queue::{Known, Row, Write};
use crate::session::StatusKind;
use crate::source::{Answer, FetchError, SourceFile};

type Copied = (Plan, Result<Recording, CopyError>);

fn is_expired((_, result): &Copied) -> bool {
    matches!(result, Err(CopyError::Fetch(FetchError::Expired { .. })))
}

impl Journeys {
    /// Copies what Kore listed. `None`: the daemon is stopping, the row is given back.
    pub(super) async fn copy(&self, last: &mut Last, bot: &Bot, answer: Answer) -> Option<Sight> {
        // Dropped at the end: if nothing that was tried has told anything about the bucket, somebody else may try.
        let pass = match self.pauses.enter(&What::Bucket) {
            Ok(pass) => pass,
            Err(wait) => return Some(Sight { seen: Seen::Held(wait), trouble: None }),
        };
        self.copy_all(last, bot, answer, &pass).await
    }

    async fn copy_all(&self, last: &mut Last, bot: &Bot, answer: Answer, pass: &Pass) -> Option<Sight> {
        let mut fault = answer.fault;
        let plans = match self.plan(&last.row, answer.recordings).await {
            Ok(plans) => plans,
            Err(sight) => return Some(sight),
        };
        let mut results = self.copy_files(&last.row, bot, plans).await;
        if results.iter().any(is_expired) {
            let answer = match self.renew(last, bot).await {
                Ok(answer) => answer,
                Err(instead) => return instead,
            };
            fault = answer.fault;
            results = match self.copy_again(&last.row, bot, results, answer.recordings).await {
                Ok(results) => results,
                Err(sight) => return Some(sight),
            };
        }
        let mut kept = Vec::new();
        let mut worst: Option<Sight> = None;
        // A sidecar of before lists what was known before; who sent the row back may have moved some.
        let mut is_new = last.row.history.pending_since <= last.row.enqueued_at;
        for (plan, result) in results {
            is_new &= plan.known.is_none();
            match result {
                Ok(recording) => kept.push(recording),
                Err(CopyError::Stopped) => return self.unless_changed(&last.row).await.err(),
                Err(error) => worst = Some(milder(worst, self.judge(pass, &plan.file.name, &error))),
            }
        }
        if let Some(fault) = fault {
            self.metrics.failed(Stage::Poll);
            let seen = Seen::Failure { not_found: false };
            worst = Some(milder(worst, Sight { seen, trouble: Some((Stage::Poll, fault)) }));
        }
        match worst {
            Some(sight) => Some(sight),
            None => self.seal(&last.row, bot, &kept, is_new, pass).await,
        }
    }

    /// Side by side, begun in the order of the list, and back in it; a slow one keeps none of the others from its turn.
    async fn copy_files(&self, row: &Row, bot: &Bot, plans: Vec<Plan>) -> Vec<Copied> {
        let mut copied = Vec::with_capacity(plans.len());
        let mut under_way = FuturesUnordered::new();
        for plan in plans {
            // A known file takes no seat before it is looked at.
            if under_way.len() >= self.transfers.all() {
                copied.extend(under_way.next().await);
            }
            let permit = {
                let mut boarding = pin!(self.board(row, &plan));
                loop {
                    tokio::select! {
                        biased;
                        permit = &mut boarding => break permit,
                        Some(one) = under_way.next() => copied.push(one),
                    }
                }
            };
            under_way.push(async move {
                let result = match permit {
                    Ok(permit) => self.copy_file(row, bot, &plan, permit).await,
                    Err(error) => Err(error),
                };
                (plan, result)
            });
        }
        copied.extend(under_way.collect::<Vec<_>>().await);
        copied.sort_by_key(|(plan, _)| plan.place);
        copied
    }

    /// Tries those again whose URL ran out, and what the newer list has beyond the older one.
    async fn copy_again(
        &self,
        row: &Row,
        bot: &Bot,
        results: Vec<Copied>,
        files: Vec<SourceFile>,
    ) -> Result<Vec<Copied>, Sight> {
        let (expired, mut settled): (Vec<_>, Vec<_>) = results.into_iter().partition(is_expired);
        // Their `e` has been heeded once: from here on the host decides.
        let files = files.into_iter().map(|file| SourceFile { url: file.url.to_be_tried(), ..file }).collect();
        let mut plans = self.plan(row, files).await?;
        plans.retain(|plan| settled.iter().all(|(known, _)| known.source != plan.source));
        // What Kore no longer lists keeps its error.
        let is_gone = |(known, _): &Copied| plans.iter().all(|plan| plan.source != known.source);
        settled.extend(expired.into_iter().filter(is_gone));
        settled.extend(self.copy_files(row, bot, plans).await);
        settled.sort_by_key(|(plan, _)| plan.place);
        Ok(settled)
    }

    /// Asks for new URLs; or says what came of the session instead, and nothing when the daemon is stopping.
    async fn renew(&self, last: &mut Last, bot: &Bot) -> Result<Answer, Option<Sight>> {
        let answer = match self.ask(&last.row, bot, None).await {
            Asked::Answer(answer) => answer,
            Asked::Sight(sight) => return Err(Some(sight)),
            Asked::Released => return Err(None),
        };
        last.status = answer.status.clone();
        if answer.status.kind() != StatusKind::Success || answer.recordings.is_empty() {
            let seen = Seen::Status(answer.status.kind(), answer.recordings.len());
            return Err(Some(Sight { seen, trouble: None }));
        }
        last.row.history.polls = last.row.history.polls.saturating_add(1);
        Ok(answer)
    }

    /// Waits until the file may be copied; one that is known needs no permit, unless it has vanished.
    async fn board(&self, row: &Row, plan: &Plan) -> Result<Option<SemaphorePermit<'_>>, CopyError> {
        // A suspect file of before the row was sent back is fetched again: that is what it was sent back for.
        let counts = |known: &Known| known.facts.suspect.is_none() || known.archived_at > row.history.pending_since;
        if plan.known.as_ref().is_some_and(counts) {
            return Ok(None);
        }
        let permit = self.transfers.take(&row.bot).await;
        // Whoever deletes a row, or replaces it, wants no more of it.
        self.unless_changed(row).await.map_err(|_| CopyError::Stopped)?;
        Ok(Some(permit))
    }

    async fn copy_file(
        &self,
        row: &Row,
        bot: &Bot,
        plan: &Plan,
        permit: Option<SemaphorePermit<'_>>,
    ) -> Result<Recording, CopyError> {
        if permit.is_none()
            && let Some(known) = &plan.known
            && let Some(verified) = self.archive.still_there(&known.key, &known.receipt).await?
        {
            // To look is not to write: this ends no pause, and neither does a file that is adopted.
            return Ok(self.recording(row, plan, known.key.clone(), verified, known.facts.clone()));
        }
        let _permit = match permit {
            Some(permit) => permit,
            None => self.transfers.take(&row.bot).await,
        };
        let began = self.clock.elapsed();
        let flight = self.flights.begin(&row.session_id, &plan.file.name);
        let files = Watched::new(&*bot.vendor, &flight);
        let job = FileJob {
            files: &files,
            url: &plan.file.url,
            key: &plan.key,
            session_id: row.session_id.as_str(),
            bot: &row.bot,
            accepts_odd: row.history.odd_bodies.saturating_add(1) >= ODD_BODY_TRIES,
        };
        let kept = self.archive.keep(&job).await?;
        let took = self.clock.elapsed().saturating_sub(began);
        if !kept.adopted {
            self.pauses.resume(&What::Bucket);
        }
        Ok(self.landed(row, plan, kept, took))
    }

    /// A file is proven: into the log, the metrics and the queue.
    fn landed(&self, row: &Row, plan: &Plan, kept: Kept, took: Duration) -> Recording {
        let suspect = kept.inspection.doubt.as_ref().map(ToString::to_string);
        let bytes = kept.verified.receipt().bytes;
        let seconds = (took.as_secs_f64() * 1000.0).round() / 1000.0;
        tracing::info!(
            key = %kept.key, bytes, seconds,
            content_type = kept.inspection.content_type, adopted = kept.adopted, suspect, "archived a file"
        );
        if kept.beside {
            tracing::warn!(key = %plan.key, beside = %kept.key, "other bytes stand under this key; the file went beside them");
            let detail = json!({ "key": plan.key.as_str(), "beside": kept.key.as_str() });
            self.event(row, "conflict", detail);
        }
        self.metrics.transferred(took);
        if suspect.is_none() {
            self.metrics.archived(&row.bot, bytes);
        }
        let facts = Facts {
            content_type: kept.inspection.content_type.to_owned(),
            suspect,
            duration_seconds: kept.inspection.duration_seconds,
            channels: kept.inspection.channels,
            sample_rate: kept.inspection.sample_rate,
        };
        let mut recording = self.recording(row, plan, kept.key, kept.verified, facts);
        let is_known = plan.known.as_ref().is_some_and(|known| known.key == plan.key);
        recording.instead_of = (kept.beside && is_known).then(|| plan.key.clone());
        // Committed before the row's end, because the writer keeps the order.
        drop(self.writer.submit(Write::Archived(Box::new(recording.clone()))));
        recording
    }

    fn recording(
        &self,
        row: &Row,
        plan: &Plan,
        key: ObjectKey,
        verified: crate::receipt::Verified,
        facts: Facts,
    ) -> Recording {
        Recording {
            lease: row.lease.clone(),
            session_id: row.session_id.clone(),
            file_name: plan.file.name.chars().take(LONGEST_FILE_NAME).collect(),
            source: plan.source,
            bucket: self.bucket.clone(),
            key,
            instead_of: None,
            verified,
            facts,
            archived_at: self.clock.now(),
        }
    }

    /// What to do with a row that somebody has changed or deleted since it was claimed: its lease writes nothing any more.
    pub(super) async fn unless_changed(&self, row: &Row) -> Result<(), Sight> {
        if self.desk.is_held(&row.lease).await.unwrap_or(true) {
            return Ok(());
        }
        Err(Sight { seen: Seen::Trouble { at_least: Duration::ZERO }, trouble: None })
    }
}

/// Of Kore's file name in the table and the sidecar.
const LONGEST_FILE_NAME: usize = 1000;
