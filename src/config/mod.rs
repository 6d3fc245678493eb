//! The settings, in types that can be trusted: what is here was checked once, at start.
//!
//! The way of a setting: `environment` is a snapshot of the variables, `layers` lays them over the file's tables,
//! `section` hands out one key after the other, `reading` turns it into a trusted type, `read` lists the keys with
//! their defaults, and `show` prints what came of it. The first fault ends it, with the file or variable, the key and
//! what is expected; the process then exits with 78.
//!
//! Secrets take a way of their own (`secret`): no function that could show a value ever holds one.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use crate::backoff::Backoff;
use crate::hosts::MediaHost;
use crate::key::KeyTemplate;

mod environment;
mod error;
mod layers;
mod read;
mod reading;
mod secret;
mod section;
mod show;
#[cfg(test)]
mod tests;
mod text;

pub use environment::Environment;
pub use error::SettingsError;
pub use read::{DEFAULT_PATH, NO_FILE, file_of, read, read_without_secrets};
pub use secret::ClientSecret;
pub use text::{parse_duration, parse_size, write_duration, write_size};

/// Everything that CONTRACT section 7 lists.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `[queue]`
    pub queue: QueueSettings,
    /// `[bots.NAME]`, at least one.
    pub bots: BTreeMap<String, BotSettings>,
    /// `[bucket]`
    pub bucket: BucketSettings,
    /// `[poll]`
    pub poll: PollSettings,
    /// `[transfer]`
    pub transfer: TransferSettings,
    /// `[http]`
    pub http: HttpSettings,
    /// `[log]`
    pub log: LogSettings,
}

impl Settings {
    /// What is allowed and yet should be seen by a person: each a sentence that names the key.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for (name, bot) in &self.bots {
            if let (ClientSecret::File(path), true) = (&bot.client_secret, bot.client_secret.is_open_to_others()) {
                let path = path.display();
                warnings.push(format!(
                    "bots.{name}.client_secret_file: others than owner and group may use {path}; chmod o= it"
                ));
            }
            if bot.allow_insecure_http {
                warnings.push(format!("bots.{name}.allow_insecure_http: tokens and recordings may travel unencrypted"));
            }
        }
        if self.bucket.endpoint_url.as_ref().is_some_and(|url| url.scheme() != "https") {
            warnings.push("bucket.endpoint_url: it is not https, so recordings travel unencrypted".to_owned());
        }
        warnings
    }
}

/// `[queue]`
#[derive(Clone, Debug)]
pub struct QueueSettings {
    /// The database; next to it are the files that belong to it.
    pub path: PathBuf,
}

/// `[bots.NAME]`
#[derive(Clone, Debug)]
pub struct BotSettings {
    /// Kore's platform: scheme, host, port; no path.
    pub host: Url,
    /// `st-…`
    pub bot_id: String,
    /// `cs-…`
    pub client_id: String,
    /// Where the client secret is.
    pub client_secret: ClientSecret,
    /// At least 1.
    pub requests_per_minute: u32,
    /// Bots of one account share one budget.
    pub account: String,
    /// Where file URLs may lead.
    pub media_hosts: Vec<MediaHost>,
    /// Plain http for the API and for files.
    pub allow_insecure_http: bool,
}

/// `[bucket]`
#[derive(Clone, Debug)]
pub struct BucketSettings {
    /// The bucket's name.
    pub name: String,
    /// Its region.
    pub region: String,
    /// For S3-compatible stores.
    pub endpoint_url: Option<Url>,
    /// `endpoint/bucket/key` instead of `bucket.endpoint/key`.
    pub force_path_style: bool,
    /// Where files go.
    pub key_template: KeyTemplate,
    /// What stands before the key of a suspect file.
    pub suspect_prefix: String,
    /// An account id, sent with every request.
    pub expected_owner: Option<String>,
    /// Such as `STANDARD_IA`.
    pub storage_class: Option<String>,
    /// Server-side encryption.
    pub sse: Sse,
    /// Object tags.
    pub tags: BTreeMap<String, String>,
    /// A role to assume for every request.
    pub assume_role_arn: Option<String>,
    /// Where that is done, if not at AWS's own endpoint for the region: `AWS_ENDPOINT_URL_STS`.
    pub role_endpoint: Option<String>,
    /// For one attempt of one request; of one with a body, how long that may stand still.
    pub timeout: Duration,
    /// How arrival is proven.
    pub checksum: ChecksumChoice,
}

impl BucketSettings {
    /// Whether what is stored must be restored before anybody can read it.
    #[must_use]
    pub fn archives(&self) -> bool {
        matches!(self.storage_class.as_deref(), Some("GLACIER" | "DEEP_ARCHIVE"))
    }
}

/// `bucket.sse` and `bucket.kms_key_id`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sse {
    /// The bucket's default.
    Default,
    /// `AES256`
    Aes256,
    /// `aws:kms`, with the account's default key if none is named.
    Kms(Option<String>),
}

/// `bucket.checksum`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChecksumChoice {
    /// The best that the store has.
    Auto,
    /// `crc64nvme`
    Crc64Nvme,
    /// `crc32`
    Crc32,
    /// `read_back`
    ReadBack,
}

/// The words for it.
const CHECKSUMS: [(&str, ChecksumChoice); 4] = [
    ("auto", ChecksumChoice::Auto),
    ("crc64nvme", ChecksumChoice::Crc64Nvme),
    ("crc32", ChecksumChoice::Crc32),
    ("read_back", ChecksumChoice::ReadBack),
];

/// `[poll]`
#[derive(Clone, Debug)]
pub struct PollSettings {
    /// `schedule`
    pub schedule: Schedule,
    /// The longest wait that the adaptive schedule chooses in a row's first two hours.
    pub adaptive_max: Duration,
    /// And after them.
    pub adaptive_max_old: Duration,
    /// Sessions asked about at once.
    pub concurrency: usize,
    /// While people talk.
    pub call_in_progress: Backoff,
    /// While media is being made.
    pub media_in_progress: Backoff,
    /// While Kore retries by itself, and before "no" is believed.
    pub kore_retrying: Backoff,
    /// After errors, and for pauses.
    pub error: Backoff,
    /// 0.0 to 1.0
    pub jitter: f64,
    /// For one request to Kore, body included.
    pub timeout: Duration,
    /// How long `media_unavailable`, and that Kore failed, are doubted.
    pub unavailable_grace: Duration,
    /// How long "not yet" is believed.
    pub give_up_after: Duration,
    /// How many failures end a row,
    pub max_failures: u32,
    /// and how long after the first.
    pub fail_after: Duration,
}

impl PollSettings {
    /// The same without any end by age, for as long as the clock cannot be believed.
    #[must_use]
    pub fn ageless(&self) -> Self {
        let never = Duration::MAX;
        Self { unavailable_grace: never, give_up_after: never, fail_after: never, ..self.clone() }
    }
}

/// `poll.schedule`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// Learns when media is usually ready.
    Adaptive,
    /// Only the backoffs.
    Backoff,
}

/// The words for it.
const SCHEDULES: [(&str, Schedule); 2] = [("adaptive", Schedule::Adaptive), ("backoff", Schedule::Backoff)];

/// `[transfer]`
#[derive(Clone, Copy, Debug)]
pub struct TransferSettings {
    /// Files copied at once.
    pub concurrency: usize,
    /// Bytes of parts held at once, over all transfers.
    pub memory: u64,
    /// Bytes of one part: 5 MiB to 5 GiB.
    pub part_size: u64,
    /// Bytes of the largest recording that is copied.
    pub max_bytes: u64,
    /// Bytes a second, under which a source counts as stalled.
    pub min_throughput: u64,
    /// Over how long that is measured.
    pub stall_window: Duration,
    /// How long work may go on after SIGTERM.
    pub drain_timeout: Duration,
}

/// `[http]`
#[derive(Clone, Copy, Debug)]
pub struct HttpSettings {
    /// `None` for no server.
    pub listen: Option<SocketAddr>,
}

/// `[log]`
#[derive(Clone, Debug)]
pub struct LogSettings {
    /// A level, or filter directives as tracing-subscriber reads them.
    pub level: String,
    /// How lines look.
    pub format: LogFormat,
}

/// `log.format`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// journald when stderr is the journal, else text.
    Auto,
    /// For people.
    Text,
    /// One object a line.
    Json,
    /// With fields, to the journal's socket.
    Journald,
}

/// The words for it.
const FORMATS: [(&str, LogFormat); 4] = [
    ("auto", LogFormat::Auto),
    ("text", LogFormat::Text),
    ("json", LogFormat::Json),
    ("journald", LogFormat::Journald),
];
