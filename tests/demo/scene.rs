//! The stage: a folder, a fake Kore, an S3 server that keeps its objects in that folder, and the settings file.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::support::kore::{self, Answer, FakeKore};
use crate::support::s3::{self, FakeS3, Storage};

/// Where metrics are served if nobody else is there: the daemon's usual port.
const USUAL_PORT: u16 = 9464;

pub(crate) struct Scene {
    pub folder: PathBuf,
    pub config: PathBuf,
    pub queue: PathBuf,
    pub kore: FakeKore,
    pub s3: FakeS3,
    port: u16,
}

impl Scene {
    /// Starts what is outside of the daemon.
    pub(crate) async fn set(folder: Option<&Path>) -> anyhow::Result<Self> {
        let folder = make(folder)?;
        // Whoever inserts an id that nobody made up gets a call that has only just begun; see `watch`.
        let options = kore::Options { unknown_session: Answer::status("call_in_progress"), ..kore::Options::default() };
        let kore = FakeKore::start(options).await;
        let storage = Storage::Folder(folder.join("bucket"));
        let s3 =
            FakeS3::start(s3::Options { storage, bucket: "acme-call-recordings".into(), ..Default::default() }).await;
        let (config, queue) = (folder.join("config.toml"), folder.join("queue.db"));
        let scene = Self { folder, config, queue, kore, s3, port: free_port()? };
        scene.write_settings()?;
        Ok(scene)
    }

    fn write_settings(&self) -> anyhow::Result<()> {
        let secret = self.folder.join("client-secret");
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&secret)?;
        file.write_all(self.kore.options().client_secret.as_bytes())?;
        fs::write(&self.config, self.settings(&secret)).context("the settings cannot be written")
    }

    fn settings(&self, secret: &Path) -> String {
        let ours = self.kore.options();
        format!(
            r#"# Written by the demo. Against the real Kore.ai the hosts are others, and [poll] is best left out.

[queue]
path = "{queue}"

[bots.default]
host = "{api}"
bot_id = "{bot_id}"
client_id = "{client_id}"
client_secret_file = "{secret}"
requests_per_minute = 6000               # Kore's own limit is 60, which is no fun to watch
media_hosts = ["{media_host}"]
allow_insecure_http = true

[bucket]
name = "{bucket}"
region = "{region}"
endpoint_url = "{endpoint}"
force_path_style = true

[poll]                                   # calls of a few seconds are asked about more often
schedule = "backoff"
call_in_progress  = {{ initial = "400ms", factor = 1.0, max = "400ms" }}
media_in_progress = {{ initial = "400ms", factor = 1.0, max = "400ms" }}
error             = {{ initial = "500ms", factor = 1.5, max = "2s" }}

[http]
listen = "127.0.0.1:{port}"
"#,
            queue = self.queue.display(),
            secret = secret.display(),
            api = self.kore.api_url(),
            bot_id = ours.bot_id,
            client_id = ours.client_id,
            media_host = self.kore.media_host(),
            bucket = self.s3.bucket(),
            region = self.s3.region(),
            endpoint = self.s3.endpoint(),
            port = self.port,
        )
    }

    pub(crate) fn log_file(&self) -> anyhow::Result<File> {
        let path = self.folder.join("daemon.log");
        File::options()
            .create(true)
            .append(true)
            .open(&path)
            .with_context(|| format!("{} cannot be written", path.display()))
    }

    pub(crate) fn introduce(&self) {
        println!("A fake Kore.ai, an S3 server and the daemon between them, all on 127.0.0.1.\n");
        println!("  settings  {}", self.config.display());
        println!("  queue     {}", self.queue.display());
        println!("  bucket    {}", self.folder.join("bucket/objects").display());
        println!("  log       {}", self.folder.join("daemon.log").display());
        println!("  metrics   http://127.0.0.1:{}/metrics\n", self.port);
    }

    /// What to type while it stays up.
    pub(crate) fn invite(&self) {
        let queue = self.queue.display();
        println!(
            "\nIt stays up until Ctrl-C, and any id that you insert gets a call of its own. In another terminal:\n"
        );
        println!("  sqlite3 {queue} \"INSERT INTO sessions (session_id) VALUES ('my-call-1')\"");
        println!("  sqlite3 {queue} \"SELECT * FROM queue_overview\"");
        println!("  curl -s http://127.0.0.1:{}/metrics | grep ^kore_archiver_sessions", self.port);
        println!("\nor, without sqlite3:\n");
        println!("  cargo run -q -- --config {} enqueue my-call-2", self.config.display());
        println!("  cargo run -q -- --config {} status\n", self.config.display());
    }

    /// What to look at afterwards.
    pub(crate) fn leave(&self) {
        println!("\nIt is all still there; remove the folder when you have seen enough:\n");
        println!("  sqlite3 {} \"SELECT * FROM recordings\"", self.queue.display());
        println!("  cargo run -q -- --config {} status", self.config.display());
        println!("  rm -r {}", self.folder.display());
    }
}

/// The folder of this run, which nobody used before.
fn make(folder: Option<&Path>) -> anyhow::Result<PathBuf> {
    let Some(folder) = folder else {
        let made = tempfile::Builder::new().prefix("kore-archiver-demo-").tempdir();
        return Ok(made.context("no temporary folder can be made; name one with --folder")?.keep());
    };
    let problem = || format!("--folder {} cannot be used", folder.display());
    fs::create_dir_all(folder).with_context(problem)?;
    if fs::read_dir(folder).with_context(problem)?.next().is_some() {
        bail!("--folder {} is not empty; name a new one", folder.display());
    }
    folder.canonicalize().with_context(problem)
}

/// The usual port, or any other if that is taken.
fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", USUAL_PORT)).or_else(|_| TcpListener::bind(("127.0.0.1", 0)));
    Ok(listener.context("the loopback has no free port")?.local_addr()?.port())
}
