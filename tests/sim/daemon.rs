//! One life of the daemon: its queue, its journeys, and the settings of the simulation.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kore_archiver::app::QueueLedger;
use kore_archiver::archive::Archive;
use kore_archiver::backoff::Backoff;
use kore_archiver::clock::{Clock, Timestamp};
use kore_archiver::config::{BucketSettings, ChecksumChoice, PollSettings, Schedule, Sse, TransferSettings};
use kore_archiver::flights::Flights;
use kore_archiver::journey::{Bot, Journeys, Learned, Line, Notices, Seats};
use kore_archiver::key::KeyTemplate;
use kore_archiver::metrics::Metrics;
use kore_archiver::pause::Pauses;
use kore_archiver::queue::{Claims, Desk, Due, Queue, RunLock, Turn, Writer};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::plan::Plan;
use crate::rng;
use crate::stage::Stage;
use crate::store::SimStore;
use crate::vendor::SimVendor;
use crate::world::World;

pub(crate) const BUCKET: &str = "simulated";
pub(crate) const BOTS: [&str; 2] = ["default", "second"];
/// More than a run has actors: nobody waits for a permit, only for calls.
const PLENTY: usize = 1000;

/// An open queue, which may serve many runs.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) claims: Claims,
    pub(crate) writer: Writer,
    pub(crate) desk: Arc<Desk>,
    _lock: RunLock,
}

impl Opened {
    pub(crate) async fn open(path: &Path, stage: &Stage) -> Self {
        let opened = Queue::open(path, Arc::new(stage.clone()), &CancellationToken::new()).await;
        let queue = opened.expect("the queue can be opened again");
        let Queue { claims, writer, desk, lock, .. } = queue.expect("nobody stops it");
        Self { claims, writer, desk, _lock: lock }
    }

    pub(crate) async fn next_due(&mut self, now: Timestamp) -> Due {
        self.claims.next_due(&BOTS, now, Turn::drawn(rng::draw())).await.expect("the queue can be read")
    }
}

pub(crate) fn journeys(world: &World, opened: &Opened, metrics: &Metrics, plan: &Plan) -> Journeys {
    let clock: Arc<dyn Clock> = Arc::new(world.stage.clone());
    let stop = CancellationToken::new();
    let ledger = Arc::new(QueueLedger::new(BUCKET.into(), opened.writer.clone(), Arc::clone(&clock)));
    let policy = policy();
    let bucket = bucket();
    let store = Arc::new(SimStore(world.clone()));
    let notices = Notices { metrics: metrics.clone(), writer: opened.writer.clone() };
    Journeys {
        bots: Arc::new(bots(world)),
        template: bucket.key_template.clone(),
        bucket: bucket.name.clone(),
        archive: Archive::new(store, ledger, &bucket, &transfer(plan), Arc::clone(&clock), stop.clone()),
        polls: Arc::new(Seats::new(PLENTY, [])),
        transfers: Arc::new(Seats::new(PLENTY, [])),
        pauses: Pauses::new(Arc::clone(&clock), policy.error, Box::new(notices)),
        flights: Flights::new(Arc::clone(&clock)),
        learned: Arc::new(Learned::default()),
        policy: Arc::new(policy),
        writer: opened.writer.clone(),
        desk: Arc::clone(&opened.desk),
        metrics: metrics.clone(),
        clock,
        draw: rng::draw,
        called_off: stop.clone(),
        stop,
    }
}

fn bots(world: &World) -> BTreeMap<String, Bot> {
    let moved = Arc::new(Notify::new());
    let bot = |name: &&str| {
        let line = Arc::new(Line::new(60_000, Arc::clone(&moved)));
        let vendor = Arc::new(SimVendor(world.clone()));
        ((*name).to_owned(), Bot { vendor, bot_id: format!("st-{name}"), account: vec![(*name).to_owned()], line })
    };
    BOTS.iter().map(bot).collect()
}

fn backoff(initial: u64, max: u64) -> Backoff {
    Backoff::new(Duration::from_secs(initial), 2.0, Duration::from_secs(max)).expect("the constants make sense")
}

/// As the settings' defaults, but shorter where that makes a run meet more in fewer steps.
pub(crate) fn policy() -> PollSettings {
    PollSettings {
        schedule: Schedule::Backoff,
        adaptive_max: Duration::from_mins(5),
        adaptive_max_old: Duration::from_mins(15),
        concurrency: PLENTY,
        call_in_progress: backoff(60, 600),
        media_in_progress: backoff(30, 900),
        kore_retrying: backoff(300, 1800),
        error: backoff(10, 900),
        jitter: 0.2,
        timeout: Duration::from_secs(30),
        unavailable_grace: Duration::from_hours(1),
        give_up_after: Duration::from_hours(72),
        max_failures: 3,
        fail_after: Duration::from_mins(30),
    }
}

fn transfer(plan: &Plan) -> TransferSettings {
    TransferSettings {
        concurrency: PLENTY,
        memory: plan.memory,
        part_size: plan.part_size,
        max_bytes: 1024 * 1024,
        min_throughput: 1,
        stall_window: Duration::from_mins(1),
        drain_timeout: Duration::from_secs(20),
    }
}

fn bucket() -> BucketSettings {
    BucketSettings {
        name: BUCKET.into(),
        region: "eu-central-1".into(),
        endpoint_url: None,
        force_path_style: false,
        key_template: template(),
        suspect_prefix: "suspect/".into(),
        expected_owner: None,
        storage_class: None,
        sse: Sse::Default,
        tags: BTreeMap::new(),
        assume_role_arn: None,
        role_endpoint: None,
        timeout: Duration::from_mins(1),
        checksum: ChecksumChoice::Auto,
    }
}

pub(crate) fn template() -> KeyTemplate {
    KeyTemplate::parse("{bot}/year={yyyy}/month={mm}/day={dd}/{session_id}/{file_name}").expect("it is the default")
}
