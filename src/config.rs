//! The settings, in types that can be trusted: what is here was checked once, at start.
//!
//! Placeholder while the reader is being written: the shapes only.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use crate::backoff::Backoff;
use crate::hosts::MediaHost;
use crate::key::KeyTemplate;

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

/// `[queue]`
#[derive(Clone, Debug)]
pub struct QueueSettings {
    /// The SQLite file.
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

/// Where a client secret is; the secret itself is read when it is needed, so that a rotation needs no restart.
#[derive(Clone, Debug)]
pub enum ClientSecret {
    /// `client_secret_file`, or a systemd credential.
    File(PathBuf),
    /// `KORE_ARCHIVER__BOTS__NAME__CLIENT_SECRET`
    Environment(SecretString),
}

impl ClientSecret {
    /// The secret as it is now; trailing line ends are not part of it.
    ///
    /// # Errors
    /// A sentence naming the file and the cause.
    pub fn read(&self) -> Result<SecretString, String> {
        match self {
            Self::File(path) => std::fs::read_to_string(path)
                .map(|text| SecretString::from(text.trim_end_matches(['\r', '\n'])))
                .map_err(|error| format!("cannot read the client secret {}: {error}", path.display())),
            Self::Environment(secret) => Ok(secret.clone()),
        }
    }
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
    /// For one attempt of one request.
    pub timeout: Duration,
    /// How arrival is proven.
    pub checksum: ChecksumChoice,
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
    /// How long `media_unavailable` is doubted.
    pub unavailable_grace: Duration,
    /// How long "not yet" is believed.
    pub give_up_after: Duration,
    /// How many failures end a row,
    pub max_failures: u32,
    /// and how long after the first.
    pub fail_after: Duration,
}

/// `poll.schedule`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// Learns when media is usually ready.
    Adaptive,
    /// Only the backoffs.
    Backoff,
}

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
