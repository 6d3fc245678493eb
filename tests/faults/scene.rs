//! Sessions whose outcome is known, and the proof that they came out so whatever happened on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::SqliteConnection;

use super::mount::Mount;
use super::plan::within;
use super::process::Process;
use crate::support::kore::{Answer, Cut, Quirk, SourceFile, Timeline};
use crate::support::media::{self, WavShape};
use crate::support::s3::Op;
use crate::support::scene::key;
use crate::support::world::{World, id};

/// How long everything may take once nothing is in the way: far more than it does.
const PATIENCE: Duration = Duration::from_mins(3);
/// How long uploads of dead runs may stay after a start (CONTRACT section 4).
const SWEEP: Duration = Duration::from_mins(1);
const MIB: u64 = 1 << 20;

/// What a session's recording is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One PUT.
    Small,
    /// Three parts.
    Large,
    /// Three parts, the first download of which breaks off in the second.
    Resumed,
    /// Three parts, slow at the first requests, so that it is under way for about a second.
    Slow,
}

/// A world and what must become of its rows.
pub struct Scene {
    pub world: World,
    sessions: BTreeMap<String, SourceFile>,
    done: BTreeSet<String>,
}

impl Scene {
    /// A world without a metrics page, whose queue exists and is empty.
    pub async fn new() -> Self {
        let mut scene = Self::bare().await;
        scene.world.set("http.listen", "\"\"");
        scene.world.create_queue();
        scene
    }

    /// A world with a metrics page.
    pub async fn with_page() -> Self {
        let scene = Self::bare().await;
        scene.world.create_queue();
        scene
    }

    /// A world with a metrics page whose queue lies on a file system of its own.
    pub async fn on(mount: impl FnOnce(&Path) -> Result<Mount, String>) -> Result<(Self, Mount), String> {
        let mut scene = Self::bare().await;
        let disk = mount(&scene.disk())?;
        let queue = scene.disk().join("queue.db");
        scene.world.set("queue.path", &format!("{:?}", queue.display().to_string()));
        // Where everybody else looks for it.
        std::os::unix::fs::symlink(&queue, scene.world.queue_path()).map_err(|error| error.to_string())?;
        scene.world.create_queue();
        Ok((scene, disk))
    }

    async fn bare() -> Self {
        let mut world = World::new().await;
        world.set("log.level", "\"info\"").set("transfer.part_size", "\"5MiB\"").set("poll.max_failures", "1000000");
        Self { world, sessions: BTreeMap::new(), done: BTreeSet::new() }
    }

    /// Where the queue's own file system is mounted, if it has one.
    pub fn disk(&self) -> PathBuf {
        self.world.path("disk")
    }

    /// Scripts a session of this kind, and says its id. It is not in the queue yet.
    pub fn script(&mut self, kind: Kind) -> String {
        let number = u32::try_from(self.sessions.len()).expect("a scene has not that many sessions");
        let session = id(number);
        let large = || SourceFile::new("call.wav", media::big_wav(number.into(), 11 * MIB));
        let file = match kind {
            Kind::Small => {
                let samples = media::speech(number.into(), Duration::from_millis(500));
                SourceFile::new("call.wav", media::wav(WavShape::Plain, &samples))
            }
            Kind::Large => large(),
            Kind::Resumed => large().next(1, Quirk::Cut { after: 7 * MIB, how: Cut::Rst }),
            Kind::Slow => large().next(2, Quirk::Throttle(16 * MIB)),
        };
        let waits = number % 2;
        let timeline = Timeline::new().polls(waits.max(1), "media_in_progress");
        let timeline = if waits == 0 { Timeline::new() } else { timeline };
        self.world.kore.session(&session, timeline.finally(Answer::success([file.clone()])));
        self.sessions.insert(session.clone(), file);
        session
    }

    /// Kore has this session's recording from now on.
    pub fn script_ready(&self, id: &str) {
        self.world.kore.session(id, Timeline::ready([self.sessions[id].clone()]));
    }

    /// Inserts sessions of these kinds, as another program would.
    pub async fn insert(&mut self, kinds: &[Kind]) -> Vec<String> {
        self.insert_due_in(kinds, Duration::ZERO).await
    }

    /// Inserts sessions that are not asked about before so long from now.
    pub async fn insert_due_in(&mut self, kinds: &[Kind], wait: Duration) -> Vec<String> {
        let ids: Vec<String> = kinds.iter().map(|kind| self.script(*kind)).collect();
        let due = format!("strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '+{:.3} seconds')", wait.as_secs_f64());
        let values: Vec<String> = ids.iter().map(|id| format!("('{id}', {due})")).collect();
        let insert = format!("INSERT INTO sessions (session_id, next_poll_at) VALUES {}", values.join(", "));
        self.world.execute(&insert).await.expect("the ids are good");
        ids
    }

    /// Inserts again what is not there any more; says how many rows are not done.
    pub async fn insert_again(&self) -> usize {
        let values: Vec<String> = self.sessions.keys().map(|id| format!("('{id}')")).collect();
        let insert = format!("INSERT OR IGNORE INTO sessions (session_id) VALUES {}", values.join(", "));
        self.world.execute(&insert).await.expect("the ids are good");
        self.left().await
    }

    /// Starts the daemon, and waits for nothing.
    pub fn start(&self) -> Process {
        Process::start(&mut self.world.command(&["run"]), &self.world.path("log"))
    }

    /// Starts the daemon, and waits until it says that it is ready.
    pub async fn start_ready(&self) -> Process {
        let said = self.world.log().len();
        let mut daemon = self.start();
        let ready = async || {
            assert_eq!(daemon.has_ended(), None, "{}", self.log_end());
            self.says_ready(said).then_some(())
        };
        within(PATIENCE, ready).await.expect("the daemon becomes ready");
        daemon
    }

    /// Whether a daemon has said that it is ready, in the log from this byte on.
    pub fn says_ready(&self, from: usize) -> bool {
        self.world.log()[from..].contains("\"message\":\"ready\"")
    }

    /// How many rows are not done.
    pub async fn left(&self) -> usize {
        let row = self.world.row("SELECT COUNT(*) AS left FROM sessions WHERE state <> 'done'").await;
        row.and_then(|row| row["left"].as_ref()?.parse().ok()).expect("a count is a number")
    }

    /// Looks at the queue in the middle of things: what is done is whole in the bucket now, and stays done.
    pub async fn look(&mut self) {
        let mut connection = self.world.sql().await;
        self.look_through(&mut connection).await;
    }

    /// The same through a connection that stays open.
    pub async fn look_through(&mut self, connection: &mut SqliteConnection) {
        let done = sqlx::query_scalar::<_, String>("SELECT session_id FROM sessions WHERE state = 'done'");
        let done: BTreeSet<String> =
            done.fetch_all(connection).await.expect("the queue can be read").into_iter().collect();
        let back: Vec<_> = self.done.difference(&done).collect();
        assert!(back.is_empty(), "was done, and is not any more: {back:?}");
        for id in done.difference(&self.done) {
            let body =
                self.world.s3.body(&key(id, "call.wav")).unwrap_or_else(|| panic!("{id} is done without a file"));
            assert!(*body == *self.sessions[id].body().to_vec(), "{id} is done with other bytes than its source");
            assert!(self.world.s3.body(&key(id, "session.json")).is_some(), "{id} is done without a sidecar");
        }
        self.done = done;
    }

    /// How many rows were seen done.
    pub fn acknowledged(&self) -> usize {
        self.done.len()
    }

    /// Lets a daemon work undisturbed until every row is done and no upload is left, and stops it.
    pub async fn settle(&mut self) {
        let daemon = self.start_ready().await;
        self.until_done(PATIENCE).await;
        let swept = within(SWEEP, async || self.world.s3.open_uploads().is_empty().then_some(())).await;
        assert!(swept.is_some(), "uploads left: {:?}\n{}", self.world.s3.open_uploads(), self.log_end());
        assert_eq!(daemon.stop(Duration::from_secs(30)).await, 0, "{}", self.log_end());
    }

    /// Waits until every row is done.
    pub async fn until_done(&self, patience: Duration) {
        let done = within(patience, async || (self.left().await == 0).then_some(())).await;
        if done.is_none() {
            let rows = self.world.rows("SELECT * FROM sessions WHERE state <> 'done' LIMIT 3").await;
            panic!("still not done: {rows:#?}\n{}", self.log_end());
        }
    }

    /// What must be so once everything is settled.
    pub async fn prove(&mut self) {
        self.look().await;
        let rows = self.world.rows("SELECT session_id, state, reason, failures FROM sessions").await;
        assert_eq!(rows.len(), self.sessions.len(), "a row was lost, or came from nowhere");
        for row in rows {
            let word = |column: &str| row[column].clone().unwrap_or_default();
            let end = (word("state"), word("reason"), word("failures"));
            assert_eq!(end, ("done".into(), "archived".into(), "0".into()), "{row:?}\n{}", self.log_end());
        }
        let recordings = self.world.rows("SELECT session_id, key, sha256 FROM recordings").await;
        assert_eq!(recordings.len(), self.sessions.len(), "{recordings:?}");
        self.prove_objects();
        let s3 = &self.world.s3;
        assert_eq!((s3.overwrites(), s3.deletes()), (0, 0), "something in the bucket was replaced or deleted");
        assert_eq!(s3.open_uploads(), [], "uploads left");
        assert_eq!(self.world.kore.violations(), [] as [&str; 0]);
    }

    /// Exactly the objects that belong there, each equal to its source and written once.
    fn prove_objects(&self) {
        let objects = self.world.s3.objects();
        let mut expected: BTreeSet<String> = BTreeSet::new();
        for (id, file) in &self.sessions {
            assert_eq!(objects[&key(id, "call.wav")].sha256, file.body().sha256(), "{id}");
            expected.extend([key(id, "call.wav"), key(id, "session.json")]);
        }
        assert_eq!(objects.into_keys().collect::<BTreeSet<_>>(), expected);
        let mut written: BTreeMap<String, u32> = BTreeMap::new();
        for call in self.world.s3.calls() {
            if matches!(call.op, Op::PutObject | Op::CompleteUpload) && call.status == Some(200) {
                *written.entry(call.key).or_default() += 1;
            }
        }
        written.retain(|_, times| *times > 1);
        assert!(written.is_empty(), "uploaded more than once: {written:?}");
    }

    /// The last lines of the log.
    pub fn log_end(&self) -> String {
        let log = self.world.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(25)..].join("\n")
    }

    pub fn len(&self) -> usize {
        self.sessions.len()
    }
}

impl Drop for Scene {
    /// What a failure left is kept to be looked at.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.world.folder.disable_cleanup(true);
            eprintln!("kept: {}", self.world.folder.path().display());
        }
    }
}
