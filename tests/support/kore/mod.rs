//! A stateful fake of Kore.ai: the recordings API and the file host, on two ports of the loopback.
//!
//! It refuses what the real one refuses (KORE.md, "Limits and errors"), with the codes and texts that are documented;
//! `tests/it/kore_refusals.rs` holds it to that. A scenario scripts each session with a [`Timeline`] of [`Answer`]s,
//! bends answers and [`SourceFile`]s with [`Quirk`]s, breaks whole hosts with an [`Outage`], and reads at the end what
//! was asked of either host.
//!
//! ```ignore
//! let kore = FakeKore::start(Options::default()).await;
//! let file = SourceFile::new("call-merged.wav", Body::noise(1, 2_000_000))
//!     .next(1, Quirk::Cut { after: 1_000_000, how: Cut::Rst });
//! kore.session("65e7133a3242653c58d70001", Timeline::new().polls(2, "media_in_progress").finally(Answer::success([file])));
//! ```

mod answer;
mod api;
mod body;
mod clock;
mod file_host;
mod host;
mod quirk;
mod range;
mod records;
mod reply;
mod source_file;
mod timeline;
mod token;
mod url;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::TcpListener;

pub use answer::{Answer, RATE_LIMIT_TEXT};
pub use api::RateLimit;
pub use body::Body;
pub use host::Outage;
pub use quirk::{Cut, Framing, Quirk, Ranges, Target};
pub use records::{Poll, Served};
pub use source_file::SourceFile;
pub use timeline::Timeline;

use api::Api;
use clock::FakeClock;
use file_host::FileHost;
use host::Host;
use records::Records;
use url::Signer;

/// Who may ask, and what happens to those who ask too much or for the unknown.
#[derive(Clone, Debug)]
pub struct Options {
    pub bot_id: String,
    pub client_id: String,
    pub client_secret: String,
    /// `None`: as many requests as anybody likes.
    pub rate_limit: Option<RateLimit>,
    /// What a session gets that was never scripted; Kore does not document it.
    pub unknown_session: Answer,
    /// How file URLs begin, if somebody stands before the file host.
    pub files_at: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            bot_id: "st-2f1e7a54-93d0-5c9c-b0e8-6a2d4f8c7e10".to_owned(),
            client_id: "cs-7d0c9a3e-41b8-5f26-a5cd-0e9b8f7a6d54".to_owned(),
            client_secret: "a fake secret that no log may ever show".to_owned(),
            rate_limit: None,
            unknown_session: Answer::error(404, "Session not found"),
            files_at: None,
        }
    }
}

/// The running fake; it ends when this is dropped.
pub struct FakeKore {
    api: Arc<Api>,
    files: Arc<FileHost>,
    api_host: Host,
    file_host: Host,
}

impl FakeKore {
    /// Listens on two free ports.
    pub async fn start(options: Options) -> Self {
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let api_listener = TcpListener::bind(loopback).await.expect("the loopback has a free port");
        let file_listener = TcpListener::bind(loopback).await.expect("the loopback has a free port");
        let file_address = file_listener.local_addr().expect("a bound listener has an address");

        let clock = Arc::new(FakeClock::new());
        let files_at = options.files_at.clone().unwrap_or_else(|| format!("http://{file_address}"));
        let signer = Arc::new(Signer::new(files_at, Arc::clone(&clock)));
        let records = Arc::new(Records::default());
        let files = Arc::new(FileHost::new(Arc::clone(&clock), Arc::clone(&signer), Arc::clone(&records)));
        let api = Arc::new(Api::new(options, clock, signer, records));

        let api_host = Host::start(api_listener, Arc::clone(&api) as _);
        let file_host = Host::start(file_listener, Arc::clone(&files) as _);
        Self { api, files, api_host, file_host }
    }

    /// `http://127.0.0.1:port`, for `bots.NAME.host`.
    pub fn api_url(&self) -> String {
        format!("http://{}", self.api_host.address)
    }

    /// `127.0.0.1:port`, for `bots.NAME.media_hosts`.
    pub fn media_host(&self) -> String {
        self.file_host.address.to_string()
    }

    /// The options in force.
    pub fn options(&self) -> Options {
        self.api.options()
    }
}

/// Scripting: each call takes effect with the next request.
impl FakeKore {
    /// What polls for this session get; a timeline that it already has starts over with this one.
    pub fn session(&self, id: &str, timeline: Timeline) {
        for file in timeline.files() {
            self.files.add(file);
        }
        self.api.script(id, timeline);
    }

    /// Puts a file on the file host that no session lists.
    pub fn serve(&self, file: &SourceFile) {
        self.files.add(file);
    }

    /// A URL for it, as a poll would return it now.
    pub fn signed_url(&self, file: &SourceFile) -> String {
        file.url(&self.files.signer)
    }

    pub fn unknown_sessions_get(&self, answer: Answer) {
        self.api.change(|options| options.unknown_session = answer);
    }

    pub fn set_rate_limit(&self, limit: Option<RateLimit>) {
        self.api.change(|options| options.rate_limit = limit);
    }

    /// Rotates the secret: tokens under the old one are refused from now on.
    pub fn set_client_secret(&self, secret: &str) {
        self.api.change(|options| secret.clone_into(&mut options.client_secret));
    }

    pub fn publish_scope(&self, published: bool) {
        self.api.publish_scope(published);
    }

    /// Kore's clock, wrong by so much: it judges tokens and dates URLs.
    pub fn set_clock_offset(&self, seconds: i64) {
        self.api.clock.set_offset(seconds);
    }

    /// Breaks the API, or mends it with `None`.
    pub fn api_outage(&self, outage: impl Into<Option<Outage>>) {
        self.api_host.set_outage(outage.into());
    }

    /// Breaks the file host, or mends it with `None`.
    pub fn media_outage(&self, outage: impl Into<Option<Outage>>) {
        self.file_host.set_outage(outage.into());
    }
}

/// What was seen.
impl FakeKore {
    /// How long it has been running: the time in which all that was seen is told.
    pub fn elapsed(&self) -> Duration {
        self.api.clock.elapsed()
    }

    /// Every request that reached the API, in order, those that were refused included.
    pub fn polls(&self) -> Vec<Poll> {
        self.api.records.polls()
    }

    pub fn polls_of(&self, session: &str) -> Vec<Poll> {
        self.polls().into_iter().filter(|poll| poll.session == session).collect()
    }

    /// Every request for a file under a good URL, in order.
    pub fn files_served(&self) -> Vec<Served> {
        self.api.records.served()
    }

    /// Requests to the file host that carried what it must never see.
    pub fn violations(&self) -> Vec<String> {
        self.api.records.violations()
    }

    /// Connections that the file host accepted.
    pub fn media_connections(&self) -> usize {
        self.file_host.connections.load(Ordering::Relaxed)
    }

    /// The most polls in any window of this length.
    pub fn max_in_window(&self, window: Duration) -> usize {
        records::most_in_window(self.poll_times(), window)
    }

    /// The shortest time between two polls.
    pub fn min_gap(&self) -> Option<Duration> {
        records::shortest_gap(self.poll_times())
    }

    fn poll_times(&self) -> Vec<Duration> {
        self.polls().iter().map(|poll| poll.at).collect()
    }
}
