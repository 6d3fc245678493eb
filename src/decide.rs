//! What happens next: what was seen, what went before, the policy and the time give one [`Step`].
//!
//! All policy of CONTRACT section 3 is here, and nothing else is: no clock, no randomness, no I/O. The journey
//! observes and carries out. Waiting and failing are counted apart: only the row's own errors raise
//! [`History::failures`]; a vendor, a network, a bucket or a disk that is down ends no row, however long it lasts.
//!
//! Whoever adds a status or an error adds an arm; there are no wildcards. How long a row waits whose recordings are not
//! ready yet may be the adaptive schedule's say: `outlook` asks it.

mod outlook;

use std::time::Duration;

use crate::backoff::{Backoff, jittered};
use crate::clock::Timestamp;
use crate::config::PollSettings;
use crate::session::{Reason, StatusKind};

pub use outlook::{Outlook, known};

/// What a row remembers between two looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// When the row became pending: the start of `poll.give_up_after`.
    pub pending_since: Timestamp,
    /// The session's start, if its id tells: the start of `poll.unavailable_grace`.
    pub started_at: Option<Timestamp>,
    /// Answers of Kore that carried a status.
    pub polls: u32,
    /// Errors that counted against the row.
    pub failures: u32,
    /// When the first of them was.
    pub first_failure_at: Option<Timestamp>,
    /// Of which kind the last wait was.
    pub wait_kind: Option<WaitKind>,
    /// How many waits of that kind came in a row.
    pub wait_step: u32,
    /// How many attempts in a row ended in an error, whosever it was.
    pub error_step: u32,
    /// How many answers in a row said that there is no recording.
    pub denials: u32,
    /// How many attempts brought text or nothing where a recording should be.
    pub odd_bodies: u32,
    /// The last answer that people were talking.
    pub in_call_at: Option<Timestamp>,
    /// The first answer that they no longer were.
    pub over_at: Option<Timestamp>,
    /// The last answer that there is no recording yet.
    pub not_ready_at: Option<Timestamp>,
}

impl History {
    /// Of a row that nobody has looked at yet.
    #[must_use]
    pub fn new(pending_since: Timestamp, started_at: Option<Timestamp>) -> Self {
        Self {
            pending_since,
            started_at,
            polls: 0,
            failures: 0,
            first_failure_at: None,
            wait_kind: None,
            wait_step: 0,
            error_step: 0,
            denials: 0,
            odd_bodies: 0,
            in_call_at: None,
            over_at: None,
            not_ready_at: None,
        }
    }

    /// Whether nothing has come of it since it became pending.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.not_ready_at.is_none() && self.wait_kind.is_none() && self.failures == 0 && self.error_step == 0
    }

    /// As it is once its first poll was put off, which happens once.
    #[must_use]
    pub fn put_off(&self) -> Self {
        Self { wait_kind: Some(WaitKind::PutOff), ..self.clone() }
    }

    /// Notes what a status told of the call and its media.
    fn note(&mut self, status: StatusKind, recordings: usize, now: Timestamp) {
        match status {
            StatusKind::CallInProgress => (self.in_call_at, self.over_at) = (Some(now), None),
            StatusKind::MediaInProgress | StatusKind::Success => self.over_at = self.over_at.or(Some(now)),
            StatusKind::Unavailable
            | StatusKind::Failed
            | StatusKind::KoreRetrying
            | StatusKind::TooShort
            | StatusKind::RecordingDisabled
            | StatusKind::Other => {}
        }
        if status != StatusKind::Success || recordings == 0 {
            self.not_ready_at = Some(now);
        }
    }
}

/// What a wait is for; after an answer it is a line of `[poll]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitKind {
    /// Too early to ask at all: within the bounds of `poll.media_in_progress`.
    PutOff,
    /// `poll.call_in_progress`
    CallInProgress,
    /// `poll.media_in_progress`
    MediaInProgress,
    /// `poll.kore_retrying`
    KoreRetrying,
}

impl WaitKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::PutOff, Self::CallInProgress, Self::MediaInProgress, Self::KoreRetrying];

    /// The word in the table.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PutOff => "put_off",
            Self::CallInProgress => "call_in_progress",
            Self::MediaInProgress => "media_in_progress",
            Self::KoreRetrying => "kore_retrying",
        }
    }

    /// The kind of that name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    fn backoff(self, policy: &PollSettings) -> &Backoff {
        match self {
            Self::CallInProgress => &policy.call_in_progress,
            Self::PutOff | Self::MediaInProgress => &policy.media_in_progress,
            Self::KoreRetrying => &policy.kore_retrying,
        }
    }
}

/// What one attempt saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Kore answered with a status, and with that many recordings.
    Status(StatusKind, usize),
    /// Every recording of the last list is proven whole in the bucket; whether one of them is suspect.
    Archived {
        /// At least one of them.
        suspect: bool,
    },
    /// The row's own error.
    Failure {
        /// It was a 404.
        not_found: bool,
    },
    /// Text or nothing came where a recording should be.
    OddBody,
    /// Somebody else's error: Kore's, the network's, the bucket's. Not to be tried again before `at_least` from now.
    Trouble {
        /// From a `Retry-After`, or the end of a pause.
        at_least: Duration,
    },
    /// Nothing was tried, because the bucket is paused for so long.
    Held(Duration),
    /// A file URL leads where `media_hosts` does not allow.
    HostRefused,
    /// A recording is larger than `transfer.max_bytes`; its siblings are archived.
    TooLarge,
}

/// What to do, and what to remember.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What to do.
    pub next: Next,
    /// What the row remembers from now on.
    pub history: History,
}

/// What to do with a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Copy what Kore listed, now.
    Copy,
    /// Look again then.
    Wait(Timestamp),
    /// It ends.
    Finish(Reason),
}

/// How many attempts may bring text or nothing before it is archived as suspect (CONTRACT section 4).
pub const ODD_BODY_TRIES: u32 = 3;

/// Decides. `draw` is random in 0..=1 and shakes the wait by `poll.jitter`; `outlook` is what is believed about the row, for
/// `schedule = "adaptive"`.
#[must_use]
pub fn decide(
    policy: &PollSettings,
    history: &History,
    seen: Seen,
    now: Timestamp,
    draw: f64,
    outlook: &Outlook<'_>,
) -> Step {
    let mut decision = Decision { policy, history: history.clone(), now, draw, outlook };
    let next = match seen {
        Seen::Status(status, recordings) => decision.on_status(status, recordings),
        Seen::Archived { suspect: false } => Next::Finish(Reason::Archived),
        Seen::Archived { suspect: true } => Next::Finish(Reason::SuspectContent),
        Seen::Failure { not_found } => decision.on_failure(not_found),
        Seen::OddBody => {
            decision.history.odd_bodies = decision.history.odd_bodies.saturating_add(1);
            decision.after_error(Duration::ZERO)
        }
        Seen::Trouble { at_least } => decision.after_error(at_least),
        Seen::Held(wait) => decision.error_wait(0, wait),
        Seen::HostRefused if decision.is_given_up() => Next::Finish(Reason::HostRefused),
        Seen::HostRefused => decision.after_error(Duration::ZERO),
        Seen::TooLarge => Next::Finish(Reason::TooLarge),
    };
    Step { next, history: decision.history }
}

/// Longer waits than that make no sense; the queue takes a row that is due much later for a mistake, and looks at once.
const LONGEST_WAIT: Duration = Duration::from_hours(7 * 24);

/// One decision in the making.
struct Decision<'a> {
    policy: &'a PollSettings,
    history: History,
    now: Timestamp,
    draw: f64,
    outlook: &'a Outlook<'a>,
}

impl Decision<'_> {
    fn on_status(&mut self, status: StatusKind, recordings: usize) -> Next {
        self.history.polls = self.history.polls.saturating_add(1);
        self.history.note(status, recordings, self.now);
        let denied = matches!(status, StatusKind::Unavailable | StatusKind::Failed);
        self.history.denials = if denied { self.history.denials.saturating_add(1) } else { 0 };
        match status {
            StatusKind::Success if recordings > 0 => Next::Copy,
            // The list may still be on its way.
            StatusKind::Success | StatusKind::MediaInProgress | StatusKind::Other => {
                self.not_yet(WaitKind::MediaInProgress)
            }
            StatusKind::CallInProgress => self.not_yet(WaitKind::CallInProgress),
            StatusKind::KoreRetrying => self.not_yet(WaitKind::KoreRetrying),
            StatusKind::Unavailable => self.denied(Reason::MediaUnavailable),
            StatusKind::Failed => self.denied(Reason::KoreFailed),
            StatusKind::TooShort => Next::Finish(Reason::TooShort),
            StatusKind::RecordingDisabled => Next::Finish(Reason::RecordingDisabled),
        }
    }

    fn not_yet(&mut self, kind: WaitKind) -> Next {
        if self.is_given_up() { Next::Finish(Reason::NeverReady) } else { self.wait(kind) }
    }

    /// "No" soon after a call may be early (KORE.md): it is believed after the grace, and only when said twice.
    fn denied(&mut self, reason: Reason) -> Next {
        let since = self.history.started_at.unwrap_or(self.history.pending_since);
        let believed = self.now >= since.after(self.policy.unavailable_grace);
        if believed && self.history.denials >= 2 { Next::Finish(reason) } else { self.wait(WaitKind::KoreRetrying) }
    }

    fn is_given_up(&self) -> bool {
        self.now >= self.gives_up_at()
    }

    fn gives_up_at(&self) -> Timestamp {
        self.history.pending_since.after(self.policy.give_up_after)
    }

    fn on_failure(&mut self, not_found: bool) -> Next {
        self.history.failures = self.history.failures.saturating_add(1);
        let first = *self.history.first_failure_at.get_or_insert(self.now);
        let often = self.history.failures >= self.policy.max_failures;
        let long = self.now >= first.after(self.policy.fail_after);
        match (often && long, not_found) {
            (true, true) => Next::Finish(Reason::NotFound),
            (true, false) => Next::Finish(Reason::TooManyFailures),
            (false, _) => self.after_error(Duration::ZERO),
        }
    }

    /// The next wait of this kind; the last one before giving up ends at that moment, for a last look.
    fn wait(&mut self, kind: WaitKind) -> Next {
        let history = &mut self.history;
        history.wait_step = if history.wait_kind == Some(kind) { history.wait_step.saturating_add(1) } else { 0 };
        history.wait_kind = Some(kind);
        history.error_step = 0;
        let plain = kind.backoff(self.policy).wait(history.wait_step);
        let wait = self.adaptive(kind).unwrap_or_else(|| jittered(plain, self.policy.jitter, self.draw));
        let at = self.now.after(wait.min(LONGEST_WAIT));
        // Two looks that are to be apart stay so.
        Next::Wait(if self.history.denials == 0 { at.min(self.gives_up_at()) } else { at })
    }

    /// What Kore itself said will be retried, and its denials, keep their backoff.
    fn adaptive(&self, kind: WaitKind) -> Option<Duration> {
        match kind {
            WaitKind::CallInProgress | WaitKind::MediaInProgress => {
                let backoff = kind.backoff(self.policy);
                self.outlook.wait(self.policy, backoff, &self.history, self.now, self.draw)
            }
            WaitKind::PutOff | WaitKind::KoreRetrying => None,
        }
    }

    fn after_error(&mut self, at_least: Duration) -> Next {
        let step = self.history.error_step;
        self.history.error_step = step.saturating_add(1);
        self.error_wait(step, at_least)
    }

    fn error_wait(&self, step: u32, at_least: Duration) -> Next {
        let wait = jittered(self.policy.error.wait(step), self.policy.jitter, self.draw);
        Next::Wait(self.now.after(wait.max(at_least).min(LONGEST_WAIT)))
    }
}

#[cfg(test)]
mod tests;
