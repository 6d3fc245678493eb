//! One run: the plan's operations, then no more faults, then rest, then the questions.
//!
//! Everything is polled from here, one actor at a time, and nothing else goes on meanwhile: after each poll the writer
//! and the desk are waited for, so that SQLite's own threads cannot change the order of anything. The loop of the
//! worker is played by [`Run::look`]; claims, journeys, the archive, the pauses and the writer are the real ones.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::task::AtomicWaker;
use kore_archiver::app::recall_uploads;
use kore_archiver::clock::Clock;
use kore_archiver::journey::Journeys;
use kore_archiver::pause::{Gate, What};

use kore_archiver::queue::{Applied, Claimed, Hands, Writer};
use tokio::sync::oneshot;

use crate::actor::Actor;
use crate::bench::Bench;
use crate::daemon::{BOTS, Opened, journeys, template};
use crate::model::{Model, Verdict};
use crate::plan::{Op, Plan};
use crate::rng::{Rng, seed_draws};
use crate::script::CANARY;
use crate::world::World;

/// Rounds of claiming, working and waiting in which everything must come to rest once the faults are over.
const MOST_ROUNDS: usize = 600;
/// And some.
const A_DAY: Duration = Duration::from_hours(25);
/// Calls that one round may let through.
const MOST_CALLS: usize = 5000;
/// What SQLite may take for one statement before a run counts as stuck.
const STUCK: Duration = Duration::from_mins(1);

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) violations: Vec<String>,
    pub(crate) steps: u64,
    pub(crate) fingerprint: u64,
    pub(crate) strikes: Vec<u64>,
    pub(crate) puts: u64,
    pub(crate) flows: u64,
    pub(crate) trace: Vec<String>,
}

pub(crate) struct Run<'a> {
    bench: &'a mut Bench,
    plan: &'a Plan,
    world: World,
    rng: Rng,
    journeys: Journeys,
    hands: Hands,
    actors: std::collections::BTreeMap<u64, Actor>,
    next_actor: u64,
    waker: Arc<AtomicWaker>,
    /// Of processes that were replaced.
    old_writers: Vec<Writer>,
    submitted: Vec<(Verdict, oneshot::Receiver<Applied>)>,
    model: Model,
}

/// Plays a plan; a panic is a violation like any other.
pub(crate) fn play(bench: &mut Bench, plan: &Plan, traced: bool) -> Outcome {
    let played = catch_unwind(AssertUnwindSafe(|| play_on(bench, plan, traced)));
    played.unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().cloned();
        let said = said.or_else(|| panic.downcast_ref::<&str>().map(|said| (*said).to_owned()));
        let (trace, steps, fingerprint) = (bench.stage.trace(), bench.stage.steps(), bench.stage.fingerprint());
        // Whatever state it is in, nobody works with it any more.
        *bench = Bench::new();
        let violations = vec![format!("a panic: {}", said.unwrap_or_default())];
        Outcome { violations, steps, fingerprint, strikes: Vec::new(), puts: 0, flows: 0, trace }
    })
}

fn play_on(bench: &mut Bench, plan: &Plan, traced: bool) -> Outcome {
    bench.stage.reset(traced);
    seed_draws(plan.seed);
    let world = World::new(bench.stage.clone(), plan.run_seed(), plan.mix.clone(), &plan.scripts);
    let opened = bench.opened.as_ref().expect("it is opened again whenever it is taken");
    let journeys = journeys(&world, opened, &bench.metrics, plan);
    let mut run = Run {
        bench,
        plan,
        world,
        rng: Rng::new(!plan.run_seed()),
        journeys,
        hands: Hands::default(),
        actors: std::collections::BTreeMap::new(),
        next_actor: 1,
        waker: Arc::default(),
        old_writers: Vec::new(),
        submitted: Vec::new(),
        model: Model::default(),
    };
    run.all();
    let world = run.world.clone();
    drop(run);
    let state = world.lock();
    Outcome {
        violations: state.violations.clone(),
        steps: bench.stage.steps(),
        fingerprint: bench.stage.fingerprint(),
        strikes: state.strikes.clone(),
        puts: state.bucket.puts,
        flows: state.flows,
        trace: bench.stage.trace(),
    }
}

impl Run<'_> {
    fn all(&mut self) {
        self.wait_for(async |run| run.bench.hand.wipe().await);
        for op in &self.plan.ops {
            self.world.stage.note(&format!("{op:?}"));
            match *op {
                Op::DieMidWrite => self.die_mid_write(),
                op => self.wait_for(async move |run| run.perform(op).await),
            }
        }
        self.wait_for(async |run| {
            run.heal();
            run.rest().await;
            run.die().await;
            run.rest().await;
            // What was told to complete is held for no longer, and no store is at it for as long.
            run.pass(A_DAY);
            run.world.go_on(1000);
            run.die().await;
            run.rest().await;
            run.ask().await;
        });
    }

    /// Runs something on the bench's runtime. Without tokio's budget, which would let a poll that asked for much at
    /// once come back empty-handed.
    fn wait_for(&mut self, work: impl AsyncFnOnce(&mut Self)) {
        let runtime = self.bench.runtime.take().expect("it is put back below");
        runtime.block_on(tokio::task::unconstrained(work(self)));
        self.bench.runtime = Some(runtime);
    }

    async fn perform(&mut self, op: Op) {
        let now = self.world.stage.now();
        match op {
            Op::Insert(one) => {
                let (id, bot) = self.session(one);
                if !self.model.knows(&id) {
                    self.begins(&id);
                }
                self.bench.hand.insert("INSERT OR IGNORE", &id, bot, now).await;
            }
            Op::Replace(one) => {
                let (id, bot) = self.session(one);
                self.begins(&id);
                self.bench.hand.insert("INSERT OR REPLACE", &id, bot, now).await;
            }
            Op::Requeue(one) => {
                let (id, _) = self.session(one);
                if self.model.knows(&id) {
                    self.begins(&id);
                }
                self.bench.hand.requeue(&id, now).await;
            }
            Op::Delete(one) => {
                let (id, _) = self.session(one);
                self.model.deleted(&id);
                self.bench.hand.delete(&id).await;
            }
            Op::Weird(which) => self.bench.hand.insert_weird(which, now).await,
            Op::Look => drop(self.look().await),
            Op::Steps(most) => self.steps(most.into()).await,
            Op::Advance(seconds) => {
                self.pass(Duration::from_secs(seconds.into()));
                self.sweep_held();
            }
            Op::Jump(seconds) => {
                self.world.stage.jump(i64::from(seconds) * 1000);
                // As after a machine's sleep: others saw the time pass.
                self.world.pass();
            }
            Op::Die => self.die().await,
            Op::DieMidWrite => unreachable!("it is no matter of the runtime that it ends"),
            Op::TakeOver => self.take_over().await,
            Op::ForeignObject(one) => self.plant(one),
            Op::ForeignUpload => self.world.lock().bucket.plant_upload(),
        }
        self.settle().await;
    }

    fn session(&self, one: usize) -> (String, &'static str) {
        let script = &self.plan.scripts[one];
        (script.id.clone(), script.bot)
    }

    fn begins(&mut self, id: &str) {
        self.model.begins(id, self.world.stage.now());
        self.world.lock().kore.entry(id.to_owned()).and_modify(crate::world::Told::forget);
    }

    /// Other bytes stand where the session's first file would go.
    fn plant(&mut self, one: usize) {
        let script = &self.plan.scripts[one];
        let id = kore_archiver::session::SessionId::parse(&script.id).expect("the script makes ids");
        let date = id.started_at().unwrap_or_else(|| self.world.stage.now());
        let parts = kore_archiver::key::KeyParts { bot: script.bot, date, session_id: &id };
        let name = kore_archiver::key::safe_name(&script.files[0].name);
        let key = template().key(parts, &name).expect("it is short");
        self.world.lock().bucket.plant(key.as_str().to_owned(), bytes::Bytes::from_static(b"somebody else's"));
    }

    /// Claims what is due, and starts it. Says when there is more to do: `None` if never.
    async fn look(&mut self) -> Option<Duration> {
        let (now, elapsed) = (self.world.stage.now(), self.world.stage.elapsed());
        self.hands.forgive(elapsed);
        let opened = self.bench.opened.as_mut().expect("it is opened again whenever it is taken");
        let due = opened.next_due(now).await;
        let mut next = self.hands.forgives_in(elapsed).filter(|_| !due.is_empty());
        let mut rows = Vec::new();
        for (bot, at) in &due.bots {
            let mut wait = at.since(now);
            if wait.is_zero() {
                let room = match self.journeys.pauses.gate(&What::Bot(bot.clone())) {
                    Gate::Open => 4,
                    Gate::Probe => 1,
                    Gate::Closed(left) => {
                        wait = left;
                        0
                    }
                };
                if room > 0 {
                    let claimed = opened.claims.claim(&due, bot, room, now, &self.hands).await;
                    rows.extend(claimed.expect("the queue can be read"));
                    wait = Duration::from_millis(500);
                }
            }
            next = Some(next.map_or(wait, |next| next.min(wait)));
        }
        if due.strangers {
            let strangers = opened.claims.claim_strangers(&BOTS, 4, now, &self.hands).await;
            rows.extend(strangers.expect("the queue can be read"));
            // One may have to wait: for the attempt at a row that was deleted, whose place in the table it has.
            let wait = Duration::from_millis(500);
            next = Some(next.map_or(wait, |next| next.min(wait)));
        }
        let started = !rows.is_empty();
        for row in rows {
            self.start(row);
        }
        self.settle().await;
        if started { Some(Duration::ZERO) } else { next }
    }

    fn start(&mut self, claimed: Claimed) {
        let claimed = Arc::new(claimed);
        let id = claimed.lease().label().to_owned();
        self.hands.take(claimed.lease().clone());
        let place = self.journeys.join_line(&claimed);
        let (journeys, row) = (self.journeys.clone(), Arc::clone(&claimed));
        let work = Box::pin(async move { journeys.travel(&row, place).await });
        let mut actor = Actor::new(work, &self.waker, &self.journeys.writer, &self.journeys.desk);
        actor.life = self.model.life(&id);
        actor.own_before = self.world.lock().kore.get(&id).map_or(0, |told| told.own);
        actor.claimed = Some(claimed);
        self.add(actor);
    }

    fn add(&mut self, actor: Actor) {
        self.actors.insert(self.next_actor, actor);
        self.next_actor += 1;
    }

    /// Lets some calls through, in any order.
    async fn steps(&mut self, most: usize) {
        for _ in 0..most {
            let calls = self.world.stage.calls();
            if calls.is_empty() {
                return;
            }
            self.world.stage.release(*self.rng.pick(&calls));
            self.settle().await;
            // Who waits for room loses patience while others are still at work.
            if self.plan.is_tight() && self.rng.chance(150) {
                self.world.stage.advance(Duration::from_millis(600));
                self.settle().await;
            }
        }
    }

    /// Polls whoever was woken until nobody is, and sees everything written.
    async fn settle(&mut self) {
        loop {
            let woken = self.actors.iter().find(|(_, actor)| actor.is_woken()).map(|(id, _)| *id);
            let Some(id) = woken else { break };
            self.poll(id);
            // Its look at the table is its own: nobody else is polled before it has ended.
            while self.actors.get(&id).is_some_and(|actor| actor.desk.is_busy()) {
                if tokio::time::timeout(STUCK, self.actors[&id].woken()).await.is_err() {
                    return self.world.violation("a look at the queue does not end".into());
                }
                self.poll(id);
            }
            self.written().await;
        }
        self.written().await;
    }

    fn poll(&mut self, id: u64) {
        let Some(actor) = self.actors.get_mut(&id) else { return };
        self.world.stage.set_actor(id);
        let Poll::Ready(write) = actor.poll() else { return };
        let actor = self.actors.remove(&id).expect("it was there just now");
        let Some(claimed) = actor.claimed else { return };
        match write {
            Some(write) => {
                let receiver = actor.writer.submit(write.clone());
                let (life, own_before, is_zombie) = (actor.life, actor.own_before, actor.is_zombie);
                let verdict = Verdict { actor: id, claimed, life, own_before, is_zombie, write, applied: None };
                self.submitted.push((verdict, receiver));
            }
            None if actor.is_zombie => {}
            None => drop(self.hands.release(claimed.lease().row())),
        }
    }

    /// Waits for the writers, and learns what they did.
    async fn written(&mut self) {
        for writer in self.old_writers.iter().chain([&self.journeys.writer]) {
            if tokio::time::timeout(STUCK, writer.settled()).await.is_err() {
                self.world.violation("the writer does not come to an end".into());
            }
        }
        for (mut verdict, mut receiver) in std::mem::take(&mut self.submitted) {
            verdict.applied = receiver.try_recv().ok();
            if !verdict.is_zombie {
                self.hands.release(verdict.claimed.lease().row());
            }
            self.model.learn(&self.world, &verdict);
        }
    }

    /// The process ends, and another starts; what was handed over has been written.
    async fn die(&mut self) {
        self.actors.clear();
        self.written().await;
        self.begin_life().await;
    }

    /// The process ends while it hands something over: that is lost.
    fn die_mid_write(&mut self) {
        let calls = self.world.stage.calls();
        if !calls.is_empty() {
            self.world.stage.release(*self.rng.pick(&calls));
        }
        if let Some(id) = self.actors.iter().find(|(_, actor)| actor.is_woken()).map(|(id, _)| *id) {
            self.poll(id);
        }
        self.actors.clear();
        self.submitted.clear();
        self.old_writers.clear();
        self.bench.kill();
        self.wait_for(async |run| {
            run.bench.opened = Some(Opened::open(&run.bench.file, &run.world.stage).await);
            run.begin_life().await;
        });
    }

    /// Another process takes over, and the one of before works on.
    async fn take_over(&mut self) {
        self.actors.values_mut().for_each(|actor| actor.is_zombie = true);
        self.world.lock().bucket.is_shared = true;
        self.old_writers.push(self.journeys.writer.clone());
        drop(self.bench.opened.take());
        self.bench.opened = Some(Opened::open(&self.bench.file, &self.world.stage).await);
        self.begin_life().await;
    }

    /// A start takes a second; then it is found out what the last run left.
    async fn begin_life(&mut self) {
        self.world.stage.advance(Duration::from_secs(1));
        let told = self.bench.hand.told_uploads().await;
        self.world.outlive(&told);
        self.hands = Hands::default();
        let opened = self.bench.opened.as_ref().expect("it was opened just now");
        self.journeys = journeys(&self.world, opened, &self.bench.metrics, self.plan);
        // The queue is opened once for many runs, so the token of "this run" is that of no upload.
        let is_recalled = recall_uploads(&self.journeys, "").await;
        assert!(is_recalled, "the queue can be read");
        self.sweep();
        self.settle().await;
    }

    fn sweep(&mut self) {
        let archive = self.journeys.archive.clone();
        let work = Box::pin(async move {
            archive.sweep().await;
            None
        });
        let actor = Actor::new(work, &self.waker, &self.journeys.writer, &self.journeys.desk);
        self.add(actor);
    }

    /// Where uploads are left alone for a while, the sweep comes round again.
    fn sweep_held(&mut self) {
        if self.world.lock().bucket.has_hung {
            self.sweep();
        }
    }

    fn pass(&self, time: Duration) {
        self.world.stage.advance(time);
        self.world.pass();
    }

    fn heal(&mut self) {
        self.world.lock().healed = true;
        self.world.stage.note("heal");
    }

    /// Works and waits until there is nothing left to do.
    async fn rest(&mut self) {
        for _ in 0..MOST_ROUNDS {
            self.steps(MOST_CALLS).await;
            let next = [self.look().await, self.world.stage.next_sleep()].into_iter().flatten().min();
            match next {
                None if self.actors.is_empty() => return,
                None => return self.world.violation(format!("somebody waits for nothing: {:?}", self.actors)),
                Some(wait) if wait.is_zero() => {}
                Some(wait) => {
                    self.pass(wait);
                    self.sweep_held();
                }
            }
            self.settle().await;
        }
        self.world.violation("it does not come to rest".into());
    }

    /// The questions at the end.
    async fn ask(&mut self) {
        self.world.pass();
        self.sweep();
        self.settle().await;
        self.steps(MOST_CALLS).await;
        let (rows, recordings) = (self.bench.hand.rows().await, self.bench.hand.recordings().await);
        self.world.stage.note(&format!("{rows:?} {recordings:?}"));
        self.model.compare(&self.world, &rows, &recordings);
        let told = self.bench.hand.told_uploads().await;
        let (left, touched) = {
            let state = self.world.lock();
            let bucket = &state.bucket;
            let ours = |name: &&String| !bucket.foreign_uploads.contains(name);
            // Those that may be what an object is made of stay, and their keys.
            let may_stay =
                |name: &&String| told.contains(name) && bucket.objects.contains_key(&bucket.uploads[*name].key);
            let left: Vec<String> =
                bucket.uploads.keys().filter(ours).filter(|name| !may_stay(name)).cloned().collect();
            let gone = bucket.foreign_uploads.iter().any(|name| !bucket.uploads.contains_key(name));
            let changed = bucket.foreign_objects.iter().any(|(key, body)| bucket.objects.get(key) != Some(body));
            (left, gone || changed)
        };
        let leaks = {
            let state = self.world.lock();
            let sidecars = state.bucket.objects.iter().filter(|(key, _)| key.rsplit('.').next() == Some("json"));
            sidecars.filter(|(_, body)| String::from_utf8_lossy(body).contains(CANARY)).count() > 0
        };
        if leaks || self.bench.hand.holds(CANARY).await {
            self.world.violation("the signature of a URL is in a sidecar or in the queue".into());
        }
        if !left.is_empty() {
            self.world.violation(format!("uploads are left after the sweep: {left:?}"));
        }
        if touched {
            self.world.violation("what belongs to somebody else was touched".into());
        }
    }
}
