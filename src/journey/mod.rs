//! ONE session: ask, decide, copy, prove, record.
//!
//! A journey is one attempt at one row. It observes through the edges (vendor, archive), lets `decide` choose,
//! and ends in one [`Write`] for the queue, or in none: then the row is given back as it was, because the daemon is
//! stopping or a pause began meanwhile. Each step may run twice; a crash between any two of them costs a repetition.
//!
//! Who pays: errors of Kore, the network, the bucket and the set-up are charged to no row. They pause what they
//! concern, and the row waits by `poll.error`; that its siblings try first when a pause of its bot ends is the worker's.
//!
//! `line` is where rows wait for their account's turn, `seats` where files wait for room; `plan` says where a session's
//! files belong, `copy` brings them into the bucket, `judge` says whose its errors are, and `seal` ends it with the
//! sidecar; `verdict` makes a write of what came of an attempt; `mention` tells a row's history what is odd about it;
//! `learned` is what earlier sessions taught about when to ask.

mod copy;
mod judge;
mod learned;
mod line;
mod mention;
mod notices;
mod plan;
mod seal;
mod seats;
mod verdict;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::SemaphorePermit;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span};

use crate::archive::Archive;
use crate::clock::Clock;
use crate::config::PollSettings;
use crate::decide::{Next, Seen};
use crate::flights::Flights;
use crate::key::KeyTemplate;
use crate::metrics::{Metrics, Outcome, Stage};
use crate::pause::{Gate, Pass, Pauses, What};
use crate::queue::{Claimed, Desk, Row, Write, Writer};
use crate::session::{Reason, Status, StatusKind};
use crate::source::{Answer, PollError, Vendor};

pub use learned::Learned;
pub use line::{Line, Place};
pub use notices::Notices;
pub use seats::Seats;
use verdict::put_off;

/// A bot as the journey needs it.
#[derive(Clone, Debug)]
pub struct Bot {
    /// Its way to Kore.
    pub vendor: Arc<dyn Vendor>,
    /// Kore's id of it, for sidecars.
    pub bot_id: String,
    /// All bots of its account: a rate limit concerns every one of them.
    pub account: Vec<String>,
    /// Who waits for the account's turn.
    pub line: Arc<Line>,
}

/// What all journeys share.
#[derive(Clone)]
pub struct Journeys {
    /// `[bots.NAME]`
    pub bots: Arc<BTreeMap<String, Bot>>,
    /// `[poll]`
    pub policy: Arc<PollSettings>,
    /// `bucket.key_template`
    pub template: KeyTemplate,
    /// `bucket.name`
    pub bucket: String,
    /// The bucket.
    pub archive: Archive,
    /// Sessions asked about at once.
    pub polls: Arc<Seats>,
    /// Files copied at once.
    pub transfers: Arc<Seats>,
    /// What waits for somebody else.
    pub pauses: Pauses,
    /// What is being copied, for people to look at.
    pub flights: Flights,
    /// The one writer.
    pub writer: Writer,
    /// Lists of what is known.
    pub desk: Arc<Desk>,
    /// Counters.
    pub metrics: Metrics,
    /// What earlier sessions taught.
    pub learned: Arc<Learned>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Random numbers in 0..1, for jitter.
    pub draw: fn() -> f64,
    /// No new request once this is cancelled.
    pub stop: CancellationToken,
    /// Nor is the answer to an old one waited for once this is.
    pub called_off: CancellationToken,
}

impl fmt::Debug for Journeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journeys").field("bots", &self.bots.keys()).finish_non_exhaustive()
    }
}

/// What an attempt saw, before anything is decided.
struct Sight {
    seen: Seen,
    /// What went wrong, if something did.
    trouble: Option<(Stage, String)>,
}

/// Kore's last word of a row that is being copied, which may be asked about again for new URLs.
struct Last {
    /// With the answers counted.
    row: Row,
    status: Status,
}

/// What came of asking.
enum Asked {
    /// Kore said something.
    Answer(Answer),
    /// It did not, and what that means for the row.
    Sight(Sight),
    /// The daemon is stopping, or the bot was paused meanwhile.
    Released,
}

impl Journeys {
    /// The place that a row needs before it starts, or none if it will not ask Kore.
    #[must_use]
    pub fn join_line(&self, claimed: &Claimed) -> Option<Place> {
        let Claimed::Row(row) = claimed else { return None };
        self.bots.get(&row.bot).map(|bot| bot.line.join())
    }

    /// Makes one attempt at a row. `None`: it is given back as it was.
    pub async fn travel(&self, claimed: &Claimed, place: Option<Place>) -> Option<Write> {
        let attempt = async {
            match claimed {
                Claimed::Row(row) => self.attempt(row, place).await,
                Claimed::Invalid { lease, why, .. } => {
                    tracing::warn!(why, "a row that breaks the queue's rules: failed as invalid_row");
                    Some(Write::Refuses { lease: lease.clone(), why: why.clone(), at: self.clock.now() })
                }
            }
        };
        attempt.instrument(span(claimed)).await
    }

    async fn attempt(&self, row: &Row, place: Option<Place>) -> Option<Write> {
        let Some(bot) = self.bots.get(&row.bot) else {
            self.metrics.failed(Stage::Poll);
            let error = format!("the settings have no [bots.{}]", row.bot.escape_debug());
            let trouble = Some((Stage::Poll, error));
            return Some(self.finish(row, None, Reason::UnknownBot, trouble, row.history.clone()));
        };
        if let Some(at) = self.learned.first_look(&self.policy, row, self.clock.now(), (self.draw)()) {
            return Some(put_off(row, at));
        }
        if let Some(wait) = self.held_back(row) {
            return Some(self.conclude(row, None, Sight { seen: Seen::Held(wait), trouble: None }));
        }
        let asked = self.ask(row, bot, place).await;
        if matches!(asked, Asked::Answer(_) | Asked::Sight(_)) {
            self.mention_hint(row).await;
        }
        match asked {
            Asked::Answer(answer) => self.act_on(row, bot, answer).await,
            Asked::Sight(sight) => Some(self.conclude(row, None, sight)),
            Asked::Released => None,
        }
    }

    /// How long to wait for the bucket with what is ready: Kore would say so once more, and its requests are few.
    fn held_back(&self, row: &Row) -> Option<Duration> {
        let is_ready = row.kore_status.as_deref().is_some_and(|text| Status::new(text).kind() == StatusKind::Success);
        match self.pauses.gate(&What::Bucket) {
            Gate::Closed(wait) if is_ready => Some(wait),
            Gate::Closed(_) | Gate::Open | Gate::Probe => None,
        }
    }

    /// Asks Kore, when it is this account's turn and the bot is not paused by then.
    async fn ask(&self, row: &Row, bot: &Bot, place: Option<Place>) -> Asked {
        let permit = tokio::select! {
            biased;
            () = self.stop.cancelled() => return Asked::Released,
            permit = self.turn(row, bot, place) => permit,
        };
        let Ok(pass) = self.pauses.enter(&What::Bot(row.bot.clone())) else { return Asked::Released };
        let answer = tokio::select! {
            biased;
            answer = bot.vendor.poll(&row.session_id) => answer,
            () = self.called_off.cancelled() => return Asked::Released,
        };
        drop(permit);
        for _ in 0..bot.vendor.take_repeats() {
            self.metrics.polled(&row.bot, Outcome::Unauthorized);
        }
        match answer {
            Ok(answer) => {
                self.metrics.polled(&row.bot, outcome(answer.status.kind()));
                pass.succeeded();
                Asked::Answer(answer)
            }
            Err(error) => self.refused(row, bot, error, &pass),
        }
    }

    /// One of the daemon's polls, at this account's turn. Who has no place yet joins the line at its end.
    async fn turn(&self, row: &Row, bot: &Bot, place: Option<Place>) -> SemaphorePermit<'_> {
        let mut place = place.unwrap_or_else(|| bot.line.join());
        let _first = place.be_first().await;
        let permit = self.polls.take(&row.bot).await;
        bot.vendor.turn().await;
        permit
    }

    fn refused(&self, row: &Row, bot: &Bot, error: PollError, pass: &Pass) -> Asked {
        self.metrics.failed(Stage::Poll);
        self.metrics.polled(&row.bot, poll_outcome(&error));
        let sight = |seen, message| Asked::Sight(Sight { seen, trouble: Some((Stage::Poll, message)) });
        match error {
            PollError::RateLimited { retry_after, message } => {
                let wait = self.pause(pass, "rate_limited", &message, retry_after);
                let siblings = bot.account.iter().filter(|name| **name != row.bot && !wait.is_zero());
                for name in siblings {
                    self.pauses.pause(&What::Bot(name.clone()), "rate_limited", &message, wait);
                }
                sight(Seen::Trouble { at_least: Duration::ZERO }, message)
            }
            PollError::Unauthorized { message } => {
                self.pause(pass, "unauthorized", &message, None);
                sight(Seen::Trouble { at_least: Duration::ZERO }, message)
            }
            // Whether the token is right was not found out.
            PollError::Unreachable { message } => sight(Seen::Trouble { at_least: Duration::ZERO }, message),
            PollError::NotFound { message } => {
                pass.succeeded();
                sight(Seen::Failure { not_found: true }, message)
            }
            PollError::Refused { message } => {
                pass.succeeded();
                sight(Seen::Failure { not_found: false }, message)
            }
        }
    }

    /// What Kore said leads to a wait, to an end, or to copying.
    async fn act_on(&self, row: &Row, bot: &Bot, answer: Answer) -> Option<Write> {
        self.mention_oddities(row, &answer).await;
        let ready_at = self.clock.elapsed();
        let seen = Seen::Status(answer.status.kind(), answer.recordings.len());
        let step = self.decide(row, seen);
        let status = answer.status.clone();
        if step.next != Next::Copy {
            return Some(self.record(row, Some(&status), Sight { seen, trouble: None }, step));
        }
        let mut last = Last { row: Row { history: step.history, ..row.clone() }, status };
        let sight = self.copy(&mut last, bot, answer).await?;
        let Last { row, status } = last;
        if matches!(sight.seen, Seen::Archived { suspect: false }) {
            self.metrics.ready_to_archived(self.clock.elapsed().saturating_sub(ready_at));
        }
        Some(self.conclude(&row, Some(&status), sight))
    }

    /// Pauses what an attempt failed at; says for how long.
    fn pause(&self, pass: &Pass, reason: &'static str, message: &str, wait: Option<Duration>) -> Duration {
        pass.failed(reason, message, wait);
        match self.pauses.gate(pass.what()) {
            Gate::Closed(wait) => wait,
            Gate::Open | Gate::Probe => Duration::ZERO,
        }
    }
}

/// One an attempt: whatever is logged meanwhile says whose it is, at every level.
fn span(claimed: &Claimed) -> Span {
    tracing::error_span!("attempt", session.id = claimed.lease().label(), bot = claimed.bot())
}

fn outcome(status: StatusKind) -> Outcome {
    match status {
        StatusKind::Success => Outcome::Success,
        StatusKind::CallInProgress => Outcome::CallInProgress,
        StatusKind::MediaInProgress => Outcome::MediaInProgress,
        StatusKind::Unavailable | StatusKind::TooShort | StatusKind::RecordingDisabled => Outcome::Unavailable,
        StatusKind::Failed => Outcome::Failed,
        StatusKind::KoreRetrying | StatusKind::Other => Outcome::OtherStatus,
    }
}

fn poll_outcome(error: &PollError) -> Outcome {
    match error {
        PollError::RateLimited { .. } => Outcome::RateLimited,
        PollError::Unauthorized { .. } => Outcome::Unauthorized,
        PollError::Unreachable { .. } | PollError::NotFound { .. } | PollError::Refused { .. } => Outcome::Error,
    }
}
