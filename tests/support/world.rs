//! The whole scene: a queue in a folder, a fake Kore, a strict S3, and the daemon as a process between them.
//!
//! Whoever tests through here uses what a user has: a settings file, an inserted row, a signal, the metrics page, the
//! log. What came of it is read from the queue and the bucket.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::Value;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _, SqliteConnection};
use tempfile::TempDir;

use super::canaries::{Canaries, PAGES, assert_without};
use super::kore::{self, FakeKore};
pub use super::patience::until;
use super::patience::{LOOKS, PATIENCE, nap};
use super::s3::{self, FakeS3};
use super::tls::{Authority, Door, Parting};

/// Not known to the demo, which runs the library.
const BINARY: Option<&str> = option_env!("CARGO_BIN_EXE_kore-archiver");

/// A queue, a vendor and a bucket.
pub struct World {
    pub kore: FakeKore,
    pub s3: FakeS3,
    pub folder: TempDir,
    settings: BTreeMap<String, String>,
}

/// Waits fast enough for tests, with the shape of the defaults; the budget is lifted.
const QUICK: &[(&str, &str)] = &[
    ("bots.default.requests_per_minute", "60000"),
    ("poll.schedule", "\"backoff\""),
    ("poll.call_in_progress", "{ initial = \"100ms\", factor = 1.5, max = \"200ms\" }"),
    ("poll.media_in_progress", "{ initial = \"100ms\", factor = 1.5, max = \"200ms\" }"),
    ("poll.kore_retrying", "{ initial = \"200ms\", factor = 1.0, max = \"200ms\" }"),
    ("poll.error", "{ initial = \"100ms\", factor = 1.5, max = \"400ms\" }"),
    ("transfer.stall_window", "\"2s\""),
    ("transfer.drain_timeout", "\"5s\""),
    ("log.level", "\"trace\""),
    ("log.format", "\"json\""),
];

impl World {
    /// A world in which everything works.
    pub async fn new() -> Self {
        Self::with(s3::Options::default()).await
    }

    /// A world with this bucket.
    pub async fn with(bucket: s3::Options) -> Self {
        Self::between(FakeKore::start(kore::Options::default()).await, FakeS3::start(bucket).await)
    }

    /// A world in which everything is https, by certificates of an authority that `SSL_CERT_FILE` makes known; that
    /// file's path comes with it.
    pub async fn over_tls() -> (Self, String) {
        Self::over_tls_parting(Parting::Polite).await
    }

    /// The same, with a file host that takes leave like this.
    pub async fn over_tls_parting(parting: Parting) -> (Self, String) {
        let authority = Authority::new();
        let [api, files, bucket] = [Door::new().await, Door::new().await, Door::new().await];
        let options = kore::Options { files_at: Some(files.url()), ..kore::Options::default() };
        let mut world = Self::between(FakeKore::start(options).await, FakeS3::start(s3::Options::default()).await);
        world.set("bots.default.host", &format!("\"{}\"", api.url()));
        world.set("bots.default.media_hosts", &format!("[\"{}\"]", files.address()));
        world.set("bots.default.allow_insecure_http", "false");
        world.set("bucket.endpoint_url", &format!("\"{}\"", bucket.url()));
        api.open(&authority, world.kore.api_url().trim_start_matches("http://"), Parting::Polite);
        files.open(&authority, &world.kore.media_host(), parting);
        bucket.open(&authority, world.s3.endpoint().trim_start_matches("http://"), Parting::Polite);
        let known = world.path("authority.pem");
        std::fs::write(&known, authority.pem()).expect("the folder is ours");
        (world, known.display().to_string())
    }

    fn between(kore: FakeKore, s3: FakeS3) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let ours = kore.options();
        std::fs::write(folder.path().join("client-secret"), &ours.client_secret).expect("the folder is ours");
        let mut world = Self { kore, s3, folder, settings: BTreeMap::new() };
        let quoted = |text: &str| format!("\"{text}\"");
        let path = |name: &str| quoted(&world.folder.path().join(name).display().to_string());
        let mut settings: Vec<(&str, String)> = vec![
            ("queue.path", path("queue.db")),
            ("bots.default.host", quoted(&world.kore.api_url())),
            ("bots.default.bot_id", quoted(&ours.bot_id)),
            ("bots.default.client_id", quoted(&ours.client_id)),
            ("bots.default.client_secret_file", path("client-secret")),
            ("bots.default.media_hosts", format!("[\"{}\"]", world.kore.media_host())),
            ("bots.default.allow_insecure_http", "true".into()),
            ("bucket.name", quoted(world.s3.bucket())),
            ("bucket.region", quoted(world.s3.region())),
            ("bucket.endpoint_url", quoted(&world.s3.endpoint())),
            ("bucket.force_path_style", "true".into()),
            ("http.listen", quoted(&format!("127.0.0.1:{}", free_port()))),
        ];
        settings.extend(QUICK.iter().map(|(key, value)| (*key, (*value).to_owned())));
        world.settings = settings.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        world
    }

    /// Sets one setting: dotted key, value as TOML.
    pub fn set(&mut self, key: &str, value: &str) -> &mut Self {
        self.settings.insert(key.to_owned(), value.to_owned());
        self
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn queue_path(&self) -> PathBuf {
        self.path("queue.db")
    }

    /// Writes the settings file, and says where it is.
    pub fn config(&self) -> PathBuf {
        let mut sections: BTreeMap<&str, String> = BTreeMap::new();
        for (key, value) in &self.settings {
            let (section, name) = key.rsplit_once('.').expect("a setting is in a section");
            let text = sections.entry(section).or_default();
            writeln!(text, "{name} = {value}").expect("a String takes everything");
        }
        let text: Vec<_> = sections.iter().map(|(section, lines)| format!("[{section}]\n{lines}\n")).collect();
        let path = self.path("config.toml");
        std::fs::write(&path, text.concat()).expect("the folder is ours");
        path
    }

    /// The command with these arguments, the settings and the bucket's credentials.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let (access_key, secret_key) = self.s3.credentials();
        let mut command = Command::new(BINARY.expect("cargo tells every integration test where the binary is"));
        command
            .args(arguments)
            .arg("--config")
            .arg(self.config())
            .env("AWS_ACCESS_KEY_ID", access_key)
            .env("AWS_SECRET_ACCESS_KEY", secret_key)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        let output = self.command(arguments).output().expect("the binary starts");
        let said = [&output.stdout[..], &output.stderr].concat();
        assert_without(&[(arguments.join(" "), said)], &self.canaries());
        output
    }

    /// Starts the daemon, and waits until it is ready.
    pub async fn daemon(&self) -> Daemon {
        self.daemon_with(&[]).await
    }

    /// The same, with these variables.
    pub async fn daemon_with(&self, variables: &[(&str, String)]) -> Daemon {
        let log = self.path("log");
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&log).expect("the folder is ours");
        let variables = variables.iter().map(|(name, value)| (name, value));
        let mut command = self.command(&["run"]);
        command.envs(variables).stderr(file);
        self.daemon_of(command).await
    }

    /// The same of a command that a test has made.
    pub async fn daemon_of(&self, mut command: Command) -> Daemon {
        let (child, log) = (command.spawn().expect("the binary starts"), self.path("log"));
        let address = self.settings["http.listen"].trim_matches('"').to_owned();
        let mut daemon = Daemon { child, address, log, canaries: self.canaries() };
        daemon.ready().await;
        daemon
    }

    /// Works until nothing is pending.
    pub async fn run_until_empty(&self) -> ExitStatus {
        let log = self.path("log");
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&log).expect("the folder is ours");
        let mut child = self.command(&["run", "--until-empty"]).stderr(file).spawn().expect("the binary starts");
        let ended = until(|| child.try_wait().expect("the child is ours")).await;
        ended.unwrap_or_else(|| {
            let _ = child.kill();
            panic!("still pending: {}", std::fs::read_to_string(&log).unwrap_or_default())
        })
    }

    /// Another program's connection to the queue.
    pub async fn sql(&self) -> SqliteConnection {
        let options = SqliteConnectOptions::new().filename(self.queue_path()).busy_timeout(PATIENCE);
        options.connect().await.expect("the queue can be opened")
    }

    /// Executes statements as another program would.
    pub async fn execute(&self, statements: &str) -> Result<(), sqlx::Error> {
        let mut connection = self.sql().await;
        sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).execute(&mut connection).await?;
        connection.close().await
    }

    /// Creates the queue if need be, and inserts these ids as any program would.
    pub async fn insert(&self, ids: &[&str]) {
        self.create_queue();
        for id in ids {
            self.execute(&format!("INSERT INTO sessions (session_id) VALUES ('{id}')")).await.expect("it is a good id");
        }
    }

    /// Makes an empty queue as an operator can: a daemon that finds nothing to do.
    pub fn create_queue(&self) {
        if !self.queue_path().exists() {
            let made = self.run(&["run", "--until-empty"]);
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        }
    }

    /// The first row of a query, as text by column.
    pub async fn row(&self, sql: &str) -> Option<BTreeMap<String, Option<String>>> {
        self.rows(sql).await.into_iter().next()
    }

    /// All rows of a query, as text by column.
    pub async fn rows(&self, sql: &str) -> Vec<BTreeMap<String, Option<String>>> {
        use sqlx::Column as _;
        let mut connection = self.sql().await;
        let rows = sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_all(&mut connection).await.expect("it is good SQL");
        let text = |row: &sqlx::sqlite::SqliteRow| {
            row.columns()
                .iter()
                .map(|column| {
                    let value = row.try_get_unchecked::<Option<Vec<u8>>, _>(column.ordinal()).expect("it is a value");
                    (column.name().to_owned(), value.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
                })
                .collect()
        };
        rows.iter().map(text).collect()
    }

    /// `state/reason` of a session, once it is no longer pending.
    pub async fn end_of(&self, id: &str) -> String {
        let sql = format!("SELECT state, reason FROM sessions WHERE session_id = '{id}' AND state <> 'pending'");
        for _ in 0..LOOKS {
            if let Some(row) = self.row(&sql).await {
                let word = |column: &str| row[column].clone().unwrap_or_default();
                return format!("{}/{}", word("state"), word("reason"));
            }
            nap().await;
        }
        let show = self.run(&["show", id]);
        panic!("still pending:\n{}\n{}", String::from_utf8_lossy(&show.stdout), self.log());
    }

    /// One column of a session's row, as text.
    pub async fn column(&self, id: &str, column: &str) -> Option<String> {
        let row = self.row(&format!("SELECT {column} AS it FROM sessions WHERE session_id = '{id}'")).await;
        row.and_then(|row| row["it"].clone())
    }

    /// What all daemons of this world have logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// The sidecar under this key.
    pub fn sidecar(&self, key: &str) -> Value {
        let body = self.s3.body(key).unwrap_or_else(|| panic!("no {key} among {:?}", self.s3.keys()));
        serde_json::from_slice(&body).expect("a sidecar is JSON")
    }
}

/// A running daemon; killed when this is dropped.
pub struct Daemon {
    child: Child,
    pub address: String,
    log: PathBuf,
    canaries: Canaries,
}

impl Daemon {
    async fn ready(&mut self) {
        for _ in 0..LOOKS {
            if let Some(status) = self.child.try_wait().expect("the child is ours") {
                panic!("the daemon ended with {status}: {}", std::fs::read_to_string(&self.log).unwrap_or_default());
            }
            if self.try_get("/readyz").await.is_some_and(|(code, _)| code == 200) {
                return;
            }
            nap().await;
        }
        panic!("the daemon did not become ready: {}", std::fs::read_to_string(&self.log).unwrap_or_default());
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    async fn try_get(&self, path: &str) -> Option<(u16, String)> {
        let response = reqwest::Client::builder()
            .no_proxy()
            .build()
            .expect("a plain client")
            .get(format!("http://{}{path}", self.address))
            .send()
            .await
            .ok()?;
        Some((response.status().as_u16(), response.text().await.ok()?))
    }

    /// A page of the daemon: code and text.
    pub async fn get(&self, path: &str) -> (u16, String) {
        self.try_get(path).await.expect("the daemon answers")
    }

    /// The value of a metric's line, such as `kore_archiver_sessions{state="done"}`.
    pub async fn metric(&self, line: &str) -> Option<f64> {
        let (_, page) = self.get("/metrics").await;
        page.lines().find_map(|text| text.strip_prefix(line)?.trim().parse().ok())
    }

    /// The most memory that it ever had, in MB.
    pub fn peak_megabytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux tells");
        let kib: u64 = line.trim().trim_end_matches(" kB").trim().parse().expect("it is a number");
        kib * 1024 / 1_000_000
    }

    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.id().to_string()).status();
        assert!(sent.expect("there is a kill command").success());
    }

    /// Its end, if it has come.
    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("the child is ours")
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        until(|| self.child.try_wait().expect("the child is ours")).await.expect("the daemon ends")
    }

    /// SIGTERM, and its exit code.
    pub async fn stop(mut self) -> i32 {
        for page in PAGES {
            // One that has no pages, or no answer any more, has nothing to show.
            let shown = tokio::time::timeout(Duration::from_secs(2), self.try_get(page)).await;
            let shown = shown.ok().flatten().map(|(_, text)| (page.to_owned(), text.into_bytes()));
            assert_without(shown.as_slice(), &self.canaries);
        }
        self.signal("TERM");
        self.ended().await.code().unwrap_or(-1)
    }

    /// SIGKILL.
    pub async fn kill(mut self) {
        self.signal("KILL");
        self.ended().await;
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Below those that the kernel hands out by itself: one of those could be somebody's before the daemon has it.
pub fn free_port() -> u16 {
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    loop {
        let next = std::process::id().wrapping_mul(61).wrapping_add(TAKEN.fetch_add(1, Ordering::Relaxed));
        let port = 10_000 + u16::try_from(next % 20_000).expect("it is less than 20,000");
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// An id that tells its second, distinct for each number.
pub fn id(number: u32) -> String {
    format!("65e7133a3242653c{number:08x}")
}
