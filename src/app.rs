//! The composition root of the daemon: builds the edges and puts them together. Build, run, drain.

mod lessons;
mod service;
mod uploads;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use tokio::sync::{Mutex, Notify, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::archive::Archive;
use crate::archive::s3::S3Store;
use crate::archive::store::ObjectStore;
use crate::clock::{Clock, SystemClock};
use crate::config::{BotSettings, Settings};
use crate::flights::Flights;
use crate::http::{self, Site};
use crate::journey::{Bot, Journeys, Line, Notices, Seats};
use crate::kore::budget::Budget;
use crate::kore::client::KoreClient;
use crate::metrics::{Metrics, Stage};
use crate::pause::{Pauses, What};
use crate::queue::writer::Health;
use crate::queue::{Desk, Queue, QueueError, RunLock};
use crate::shutdown::Shutdown;
use crate::worker::{Ended, Vitals, Worker};
use lessons::Account;
use uploads::sweep;
pub use uploads::{QueueLedger, recall_uploads};

/// How long the last notes may take to be written once the daemon is stopping.
const LAST_NOTES: Duration = Duration::from_secs(2);

/// A daemon that is ready to run.
#[derive(Debug)]
pub struct App {
    worker: Worker,
    journeys: Journeys,
    accounts: Vec<Account>,
    pages: Arc<Desk>,
    shutdown: Shutdown,
    drain_timeout: Duration,
    server: Option<JoinHandle<()>>,
    vitals: Vitals,
    queue_lock: RunLock,
}

impl App {
    /// Opens the queue, builds everything, and takes the address for metrics. Talks to neither Kore nor the bucket. `None`:
    /// it was told to stop while the disk had no room for opening the queue.
    ///
    /// # Errors
    /// [`QueueError`] inside, or what the operating system or a client refused.
    pub async fn build(settings: &Settings, shutdown: Shutdown, until_empty: bool) -> anyhow::Result<Option<Self>> {
        let store = Arc::new(S3Store::connect(&settings.bucket, Arc::new(SystemClock::new())).await);
        Self::build_on(store, settings, shutdown, until_empty).await
    }

    /// The same on a store that is already there: one with keys of its own, or a simulated one.
    ///
    /// # Errors
    /// As [`App::build`].
    pub async fn build_on(
        store: Arc<dyn ObjectStore>,
        settings: &Settings,
        shutdown: Shutdown,
        until_empty: bool,
    ) -> anyhow::Result<Option<Self>> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let opened = Queue::open(&settings.queue.path, Arc::clone(&clock), &shutdown.soft).await?;
        let Some(queue) = opened else { return Ok(None) };
        let metrics = Metrics::new(settings.bots.keys())?;
        let vitals = Vitals::new(Arc::clone(&clock));
        let notices = Notices { metrics: metrics.clone(), writer: queue.writer.clone() };
        let pauses = Pauses::new(Arc::clone(&clock), settings.poll.error, Box::new(notices));
        let flights = Flights::new(Arc::clone(&clock));
        let budgets = budgets(settings, &clock);
        let site = Site {
            metrics: metrics.clone(),
            desk: Arc::clone(&queue.pages),
            vitals: vitals.clone(),
            pauses: pauses.clone(),
            budgets: budgets.clone(),
            flights: flights.clone(),
            clock: Arc::clone(&clock),
            counted: Mutex::default(),
        };
        let server = serve(settings, site).await?;
        let moved = Arc::new(Notify::new());
        let ledger = Arc::new(QueueLedger::new(settings.bucket.name.clone(), queue.writer.clone(), Arc::clone(&clock)));
        let journeys = Journeys {
            bots: Arc::new(bots(settings, &budgets, &clock, &moved)?),
            policy: Arc::new(settings.poll.clone()),
            template: settings.bucket.key_template.clone(),
            bucket: settings.bucket.name.clone(),
            archive: Archive::new(
                store,
                ledger,
                &settings.bucket,
                &settings.transfer,
                Arc::clone(&clock),
                shutdown.hard.clone(),
            ),
            polls: Arc::new(Seats::new(settings.poll.concurrency, settings.bots.keys())),
            transfers: Arc::new(Seats::new(settings.transfer.concurrency, settings.bots.keys())),
            pauses,
            flights,
            learned: lessons::recall(&queue.desk).await,
            writer: queue.writer,
            desk: queue.desk,
            metrics,
            clock,
            draw: rand::random::<f64>,
            stop: shutdown.soft.clone(),
            called_off: shutdown.hard.clone(),
        };
        let most_active = settings.poll.concurrency + settings.transfer.concurrency;
        let worker = Worker::new(queue.claims, journeys.clone(), vitals.clone(), most_active, moved, until_empty);
        let drain_timeout = settings.transfer.drain_timeout;
        Ok(Some(Self {
            worker,
            journeys,
            accounts: accounts(settings, &budgets),
            pages: queue.pages,
            shutdown,
            drain_timeout,
            server,
            vitals,
            queue_lock: queue.lock,
        }))
    }

    /// Counts and lists, for whoever shows progress.
    #[must_use]
    pub fn pages(&self) -> Arc<Desk> {
        Arc::clone(&self.pages)
    }

    /// Works until a signal, until nothing is pending if that was asked for, or until something has failed for good.
    ///
    /// # Errors
    /// [`QueueError::NotUsable`] inside if the queue can no longer be used, else what has failed.
    pub async fn run(mut self) -> anyhow::Result<Ended> {
        tracing::info!(version = env!("CARGO_PKG_VERSION"), bots = self.journeys.bots.len(), "ready");
        service::ready();
        let is_recalled = recall_uploads(&self.journeys, self.journeys.writer.run()).await;
        let mut helpers = JoinSet::new();
        helpers.spawn(sweep(self.journeys.clone(), is_recalled));
        helpers.spawn(service::feed_watchdog(self.journeys.clone(), self.vitals.clone()));
        helpers.spawn(service::tell(self.journeys.clone(), self.vitals.clone()));
        helpers.spawn(keep_house(self.journeys.clone()));
        helpers.spawn(lessons::keep(self.journeys.clone(), std::mem::take(&mut self.accounts)));
        let mut health = self.journeys.writer.health();
        let ended = {
            let working = self.worker.run(&self.shutdown.soft);
            tokio::select! {
                ended = working => ended.map_err(anyhow::Error::from),
                error = follow(&mut health, &self.journeys, &self.queue_lock) => Err(error),
                error = server_end(self.server.as_mut()) => Err(error),
                error = panic_of(&mut helpers) => Err(error),
            }
        };
        if matches!(ended, Ok(Ended::Empty)) {
            // It leaves no upload behind that can be told in a moment to lead nowhere.
            tokio::select! {
                () = self.journeys.archive.sweep_soon() => {}
                () = self.shutdown.soft.cancelled() => {}
            }
        }
        service::stopping();
        let is_written = ended.is_ok() && self.drain().await;
        self.shutdown.hard.cancel();
        helpers.shutdown().await;
        if is_written {
            self.let_go().await;
        } else {
            // The last connection that is closed moves the log into whatever stands in the queue's place by now: this one
            // stays open until the process ends, and the locks with it.
            std::mem::forget((self.worker, self.queue_lock));
        }
        tracing::info!("stopped");
        ended
    }

    /// Ends what is under way. Says whether everything is written.
    async fn drain(&mut self) -> bool {
        self.worker.drain(self.drain_timeout, &self.shutdown.hard).await;
        lessons::write(&self.journeys);
        self.flush().await
    }

    /// Waits until everything that was handed to the writer is written.
    async fn flush(&self) -> bool {
        tokio::select! {
            is_written = self.journeys.writer.settled() => is_written,
            () = self.journeys.clock.sleep(LAST_NOTES) => {
                tracing::warn!("the queue cannot be written to; what was noted last is found out again after the next start");
                false
            }
        }
    }

    /// Closes every connection before the process ends, so that the last one takes the `-wal` and the `-shm` with it:
    /// SQLite's threads would lose a race against the exit. Whoever opens the queue next makes files of their own.
    async fn let_go(self) {
        if let Some(server) = self.server {
            server.abort();
        }
        self.worker.close().await;
        self.journeys.writer.close().await;
        self.journeys.desk.close().await;
        self.pages.close().await;
    }
}

async fn serve(settings: &Settings, site: Site) -> anyhow::Result<Option<JoinHandle<()>>> {
    let Some(address) = settings.http.listen else { return Ok(None) };
    let listener = http::bind(address).await.with_context(|| {
        format!("http.listen = \"{address}\" cannot be had; name another address, or \"\" for none")
    })?;
    tracing::info!(address = %listener.local_addr()?, "serving a page, /metrics, /healthz and /readyz");
    Ok(Some(tokio::spawn(http::serve(listener, Arc::new(site)))))
}

async fn server_end(server: Option<&mut JoinHandle<()>>) -> anyhow::Error {
    match server {
        Some(server) => anyhow!("the HTTP server ended: {:?}", server.await),
        None => std::future::pending().await,
    }
}

/// What works beside the worker for as long as the daemon runs ends by a panic alone, or because there is nothing for it
/// to do. A daemon without it would look well and not be (P7).
async fn panic_of(helpers: &mut JoinSet<()>) -> anyhow::Error {
    loop {
        match helpers.join_next().await {
            Some(Ok(())) => {}
            Some(Err(panic)) => return anyhow!("a part of the daemon has failed: {panic}"),
            None => std::future::pending().await,
        }
    }
}

/// The budget of each account.
fn budgets(settings: &Settings, clock: &Arc<dyn Clock>) -> BTreeMap<String, Arc<Budget>> {
    let budget =
        |bot: &BotSettings| (bot.account.clone(), Arc::new(Budget::new(bot.requests_per_minute, Arc::clone(clock))));
    settings.bots.values().map(budget).collect()
}

/// One budget and one line an account; one client a bot.
fn bots(
    settings: &Settings,
    budgets: &BTreeMap<String, Arc<Budget>>,
    clock: &Arc<dyn Clock>,
    moved: &Arc<Notify>,
) -> anyhow::Result<BTreeMap<String, Bot>> {
    let mut lines: BTreeMap<&str, Arc<Line>> = BTreeMap::new();
    let mut bots = BTreeMap::new();
    for (name, bot) in &settings.bots {
        let budget = &budgets[&bot.account];
        let line = lines.entry(&bot.account);
        let line = line.or_insert_with(|| Arc::new(Line::new(budget.limit(), Arc::clone(moved))));
        let client = KoreClient::new(
            name,
            bot,
            settings.poll.timeout,
            &settings.transfer,
            Arc::clone(budget),
            Arc::clone(clock),
        );
        let vendor = Arc::new(client.map_err(anyhow::Error::msg)?);
        let account = bots_of(&bot.account, settings);
        bots.insert(name.clone(), Bot { vendor, bot_id: bot.bot_id.clone(), account, line: Arc::clone(line) });
    }
    Ok(bots)
}

/// The accounts with their bots, for what is learned of each.
fn accounts(settings: &Settings, budgets: &BTreeMap<String, Arc<Budget>>) -> Vec<Account> {
    let account = |(name, budget): (&String, _)| Account { bots: bots_of(name, settings), budget: Arc::clone(budget) };
    budgets.iter().map(account).collect()
}

fn bots_of(account: &str, settings: &Settings) -> Vec<String> {
    settings.bots.iter().filter(|(_, bot)| bot.account == account).map(|(name, _)| name.clone()).collect()
}

/// Shows the writer's health as a pause of the queue, beside the queue as well, where it can be written; ends with the
/// daemon's reason to end.
async fn follow(health: &mut watch::Receiver<Health>, journeys: &Journeys, lock: &RunLock) -> anyhow::Error {
    loop {
        let now = health.borrow_and_update().clone();
        match now {
            Health::Fine => {
                lock.note(None);
                journeys.pauses.resume(&What::Queue);
            }
            Health::Waits(reason, message, wait) => {
                journeys.metrics.failed(Stage::Queue);
                journeys.pauses.pause(&What::Queue, reason, &message, wait);
                lock.note(journeys.pauses.of(&What::Queue).as_ref());
            }
            Health::Ended(path, cause) => return QueueError::NotUsable { path, cause }.into(),
        }
        if health.changed().await.is_err() {
            return anyhow!("the writer of the queue has ended");
        }
    }
}

/// Bytes of write-ahead log that nobody needs.
const LONG_WAL: u64 = 256 * 1024 * 1024;
/// How often the house is looked after.
const HOUSE_LOOK: Duration = Duration::from_mins(1);

/// Sees to what would grow: figures for metrics that nobody reads, and the queue's log. A reader that somebody forgot keeps
/// SQLite from starting that afresh: harmless but for the disk (FAULTS Q8).
async fn keep_house(journeys: Journeys) {
    loop {
        journeys.metrics.sum_up();
        let bytes = journeys.desk.wal_bytes();
        if bytes > LONG_WAL {
            tracing::warn!(
                bytes,
                "the queue's write-ahead log has grown long: some program keeps a transaction open; end that one"
            );
        }
        journeys.clock.sleep(HOUSE_LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[tokio::test]
    async fn what_panics_beside_the_worker_is_noticed_and_what_has_nothing_to_do_may_end_p7() {
        let mut helpers = JoinSet::new();
        helpers.spawn(async {});
        assert!(tokio::time::timeout(Duration::from_millis(50), panic_of(&mut helpers)).await.is_err());
        assert!(panic_of(&mut helpers).now_or_never().is_none(), "nobody is left");
        helpers.spawn(async { panic!("on purpose") });
        assert!(panic_of(&mut helpers).await.to_string().contains("a part of the daemon has failed"));
    }
}
