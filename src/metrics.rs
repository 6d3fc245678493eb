//! Counters and gauges for Prometheus (CONTRACT section 8), without a global recorder.
//!
//! Every counter is touched when this is made, so that a rate is known from the first scrape on. Labels are bounded:
//! bots of the settings (or `unknown`), words of our own; never an id, a URL, a file name or a word of Kore's.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use crate::session::{Reason, State};

/// Where a failure happened; a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Asking Kore.
    Poll,
    /// Fetching a file.
    Download,
    /// Sending to the bucket.
    Upload,
    /// Comparing with the bucket.
    Verify,
    /// Writing results.
    Queue,
}

impl Stage {
    const ALL: [Self; 5] = [Self::Poll, Self::Download, Self::Upload, Self::Verify, Self::Queue];

    /// The label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Poll => "poll",
            Self::Download => "download",
            Self::Upload => "upload",
            Self::Verify => "verify",
            Self::Queue => "queue",
        }
    }
}

/// What came of a poll; a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// `success`
    Success,
    /// `call_in_progress`
    CallInProgress,
    /// `media_in_progress`
    MediaInProgress,
    /// There is none: `media_unavailable`, too short, recording disabled.
    Unavailable,
    /// `failed`, `media_generation_failed`
    Failed,
    /// Kore retries by itself, or said a word that we do not know.
    OtherStatus,
    /// No status.
    Error,
    /// Too many requests.
    RateLimited,
    /// The token was refused.
    Unauthorized,
}

impl Outcome {
    const ALL: [Self; 9] = [
        Self::Success,
        Self::CallInProgress,
        Self::MediaInProgress,
        Self::Unavailable,
        Self::Failed,
        Self::OtherStatus,
        Self::Error,
        Self::RateLimited,
        Self::Unauthorized,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::CallInProgress => "call_in_progress",
            Self::MediaInProgress => "media_in_progress",
            Self::Unavailable => "unavailable",
            Self::Failed => "failed",
            Self::OtherStatus => "other_status",
            Self::Error => "error",
            Self::RateLimited => "rate_limited",
            Self::Unauthorized => "unauthorized",
        }
    }
}

/// What the bot label says for rows whose bot the settings do not know.
const UNKNOWN_BOT: &str = "unknown";
/// Seconds; from a file of a second of speech to a day of waiting.
const READY_TO_ARCHIVED: [f64; 12] = [0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 21600.0, 86400.0];
const TRANSFER: [f64; 12] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0];

/// All metrics of one daemon. Clones share them.
#[derive(Clone)]
pub struct Metrics {
    recorder: Arc<PrometheusRecorder>,
    handle: PrometheusHandle,
    bots: Arc<BTreeSet<String>>,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").field("bots", &self.bots).finish_non_exhaustive()
    }
}

impl Metrics {
    /// Metrics for these bots.
    ///
    /// # Errors
    /// None that can happen: the buckets are constants.
    pub fn new<'a>(bots: impl IntoIterator<Item = &'a String>) -> Result<Self, BuildError> {
        let full = |name: &str| Matcher::Full(format!("kore_archiver_{name}"));
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(full("ready_to_archived_seconds"), &READY_TO_ARCHIVED)?
            .set_buckets_for_metric(full("transfer_seconds"), &TRANSFER)?
            .build_recorder();
        let handle = recorder.handle();
        let metrics =
            Self { recorder: Arc::new(recorder), handle, bots: Arc::new(bots.into_iter().cloned().collect()) };
        metrics.with(describe);
        metrics.touch();
        Ok(metrics)
    }

    fn with<T>(&self, work: impl FnOnce() -> T) -> T {
        metrics::with_local_recorder(&*self.recorder, work)
    }

    fn touch(&self) {
        self.with(|| {
            gauge!("kore_archiver_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
            for stage in Stage::ALL {
                counter!("kore_archiver_failures_total", "stage" => stage.as_str()).absolute(0);
            }
            for what in ["transfers_in_flight", "queue_wal_bytes", "due_sessions", "oldest_pending_seconds"] {
                gauge!(format!("kore_archiver_{what}")).set(0.0);
            }
            let _ = histogram!("kore_archiver_ready_to_archived_seconds");
            let _ = histogram!("kore_archiver_transfer_seconds");
        });
        for state in State::ALL {
            self.sessions(state.as_str(), 0.0);
        }
        for bot in self.bots.iter().map(String::as_str).chain([UNKNOWN_BOT]) {
            self.touch_bot(bot);
        }
        ["bucket".to_owned(), "queue".to_owned()]
            .into_iter()
            .chain(self.bots.iter().map(|bot| format!("bot:{bot}")))
            .for_each(|what| self.paused(&what, "none", false));
    }

    fn touch_bot(&self, bot: &str) {
        self.with(|| {
            let bot = bot.to_owned();
            for outcome in Outcome::ALL {
                counter!("kore_archiver_polls_total", "bot" => bot.clone(), "outcome" => outcome.as_str()).absolute(0);
            }
            counter!("kore_archiver_recordings_archived_total", "bot" => bot.clone()).absolute(0);
            counter!("kore_archiver_archived_bytes_total", "bot" => bot.clone()).absolute(0);
            for reason in Reason::ALL {
                finished(&bot, reason).absolute(0);
            }
        });
    }

    fn bot(&self, name: &str) -> String {
        self.bots.get(name).map_or(UNKNOWN_BOT, String::as_str).to_owned()
    }

    /// A poll came back.
    pub fn polled(&self, bot: &str, outcome: Outcome) {
        let bot = self.bot(bot);
        self.with(|| counter!("kore_archiver_polls_total", "bot" => bot, "outcome" => outcome.as_str()).increment(1));
    }

    /// A sound file was archived.
    pub fn archived(&self, bot: &str, bytes: u64) {
        let bot = self.bot(bot);
        self.with(|| {
            counter!("kore_archiver_recordings_archived_total", "bot" => bot.clone()).increment(1);
            counter!("kore_archiver_archived_bytes_total", "bot" => bot).increment(bytes);
        });
    }

    /// A row left `pending`.
    pub fn finished(&self, bot: &str, reason: Reason) {
        let bot = self.bot(bot);
        self.with(|| finished(&bot, reason).increment(1));
    }

    /// Something failed there.
    pub fn failed(&self, stage: Stage) {
        self.with(|| counter!("kore_archiver_failures_total", "stage" => stage.as_str()).increment(1));
    }

    /// From the poll that said success to done.
    pub fn ready_to_archived(&self, took: Duration) {
        self.with(|| histogram!("kore_archiver_ready_to_archived_seconds").record(took));
    }

    /// A file took that long.
    pub fn transferred(&self, took: Duration) {
        self.with(|| histogram!("kore_archiver_transfer_seconds").record(took));
    }

    /// So many files are being copied.
    pub fn in_flight(&self, files: f64) {
        self.with(|| gauge!("kore_archiver_transfers_in_flight").set(files));
    }

    /// A pause began or is over.
    pub fn paused(&self, what: &str, reason: &'static str, is_paused: bool) {
        let what = what.to_owned();
        self.with(|| {
            gauge!("kore_archiver_paused", "what" => what, "reason" => reason).set(if is_paused { 1.0 } else { 0.0 });
        });
    }

    /// How many rows are in a state.
    pub fn sessions(&self, state: &str, count: f64) {
        let state = state.to_owned();
        self.with(|| gauge!("kore_archiver_sessions", "state" => state).set(count));
    }

    /// The age of the oldest pending row, how many are due and not taken, the size of the write-ahead log.
    pub fn queue(&self, oldest_pending: Duration, due: f64, wal_bytes: f64) {
        self.with(|| {
            gauge!("kore_archiver_oldest_pending_seconds").set(oldest_pending.as_secs_f64());
            gauge!("kore_archiver_due_sessions").set(due);
            gauge!("kore_archiver_queue_wal_bytes").set(wal_bytes);
        });
    }

    /// The page that Prometheus reads.
    #[must_use]
    pub fn render(&self) -> String {
        self.handle.render()
    }

    /// Adds up what was measured since the last time, as [`Metrics::render`] does: until then each figure of a histogram is
    /// held by itself, and where nobody reads the page they would gather for ever.
    pub fn sum_up(&self) {
        self.handle.run_upkeep();
    }
}

fn finished(bot: &str, reason: Reason) -> metrics::Counter {
    let labels = [
        ("bot", bot.to_owned()),
        ("state", reason.state().as_str().to_owned()),
        ("reason", reason.as_str().to_owned()),
    ];
    counter!("kore_archiver_sessions_finished_total", &labels)
}

fn describe() {
    describe_gauge!("kore_archiver_sessions", "Rows of the queue by state.");
    describe_gauge!("kore_archiver_oldest_pending_seconds", Unit::Seconds, "Age of the oldest pending row.");
    describe_gauge!("kore_archiver_due_sessions", "Rows that are due and not yet taken.");
    describe_counter!("kore_archiver_polls_total", "Requests to the recordings API by what came of them.");
    describe_counter!("kore_archiver_recordings_archived_total", "Sound recordings archived.");
    describe_counter!("kore_archiver_archived_bytes_total", Unit::Bytes, "Bytes of sound recordings archived.");
    describe_counter!("kore_archiver_sessions_finished_total", "Rows that left pending.");
    describe_histogram!(
        "kore_archiver_ready_to_archived_seconds",
        Unit::Seconds,
        "From the poll that said success to done."
    );
    describe_histogram!("kore_archiver_transfer_seconds", Unit::Seconds, "Copying one file.");
    describe_counter!("kore_archiver_failures_total", "Failed attempts by where they failed.");
    describe_gauge!("kore_archiver_paused", "1 while work waits for somebody else.");
    describe_gauge!("kore_archiver_transfers_in_flight", "Files being copied.");
    describe_gauge!("kore_archiver_queue_wal_bytes", Unit::Bytes, "Size of the queue's write-ahead log.");
    describe_gauge!("kore_archiver_build_info", "The running version.");
}
