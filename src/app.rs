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
use crate::journey::{Bot, Journeys, Line, Seats};
use crate::kore::budget::Budget;
use crate::kore::client::KoreClient;
use crate::metrics::{Metrics, Stage};
use crate::pause::{Change, Pauses, What};
use crate::queue::writer::Health;
use crate::queue::{Desk, Queue, QueueError, RunLock, Write, Writer};
use crate::shutdown::Shutdown;
use crate::worker::{Ended, Vitals, Worker};
use lessons::Account;
use uploads::sweep;
pub use uploads::{QueueLedger, recall_uploads};

/// How long the last notes may take to be written once the daemon is stopping.
const LAST_NOTES: Duration = Duration::from_secs(2);
/// The number of no upload: those of the ledger are made from the time, and above it.
const NO_UPLOAD: i64 = -1;

/// A daemon that is ready to run.
#[derive(Debug)]
pub struct App {
    worker: Worker,
    journeys: Journeys,
    accounts: Vec<Account>,
    writer: Writer,
    desk: Arc<Desk>,
    shutdown: Shutdown,
    drain_timeout: Duration,
    server: Option<JoinHandle<()>>,
    vitals: Vitals,
    queue_lock: RunLock,
}

impl App {
    /// Opens the queue, builds everything, and takes the address for metrics. Talks to neither Kore nor the bucket.
    ///
    /// # Errors
    /// [`QueueError`] inside, or what the operating system or a client refused.
    pub async fn build(settings: &Settings, shutdown: Shutdown, until_empty: bool) -> anyhow::Result<Self> {
        let store = Arc::new(S3Store::connect(&settings.bucket).await);
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
    ) -> anyhow::Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let queue = Queue::open(&settings.queue.path, Arc::clone(&clock)).await?;
        let (desk, writer) = (queue.desk, queue.writer);
        let metrics = Metrics::new(settings.bots.keys())?;
        let vitals = Vitals::new(Arc::clone(&clock));
        let (pauses, flights) =
            (Pauses::new(Arc::clone(&clock), settings.poll.error), Flights::new(Arc::clone(&clock)));
        let budgets = budgets(settings, &clock);
        let site = Site {
            metrics: metrics.clone(),
            desk: Arc::clone(&desk),
            vitals: vitals.clone(),
            pauses: pauses.clone(),
            budgets: budgets.clone(),
            flights: flights.clone(),
            clock: Arc::clone(&clock),
            counted: Mutex::default(),
        };
        let server = serve(settings, site).await?;
        let moved = Arc::new(Notify::new());
        let ledger = Arc::new(QueueLedger::new(settings.bucket.name.clone(), writer.clone(), Arc::clone(&clock)));
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
            writer: writer.clone(),
            desk: Arc::clone(&desk),
            metrics,
            learned: lessons::recall(&desk).await,
            clock,
            draw: rand::random::<f64>,
            stop: shutdown.soft.clone(),
            called_off: shutdown.hard.clone(),
        };
        let most_active = settings.poll.concurrency + settings.transfer.concurrency;
        let worker = Worker::new(queue.claims, journeys.clone(), vitals.clone(), most_active, moved, until_empty);
        let drain_timeout = settings.transfer.drain_timeout;
        Ok(Self {
            worker,
            journeys,
            accounts: accounts(settings, &budgets),
            writer,
            desk,
            shutdown,
            drain_timeout,
            server,
            vitals,
            queue_lock: queue.lock,
        })
    }

    /// Counts and lists, for whoever shows progress.
    #[must_use]
    pub fn desk(&self) -> Arc<Desk> {
        Arc::clone(&self.desk)
    }

    /// Works until a signal, until nothing is pending if that was asked for, or until something has failed for good.
    ///
    /// # Errors
    /// [`QueueError::NotUsable`] inside if the queue can no longer be used, else what has failed.
    pub async fn run(mut self) -> anyhow::Result<Ended> {
        tracing::info!(version = env!("CARGO_PKG_VERSION"), bots = self.journeys.bots.len(), "ready");
        service::ready();
        let is_recalled = recall_uploads(&self.journeys, &self.desk, self.writer.run()).await;
        let mut helpers = JoinSet::new();
        helpers.spawn(sweep(self.journeys.clone(), self.writer.run().to_owned(), is_recalled));
        helpers.spawn(service::feed_watchdog(self.journeys.clone(), self.vitals.clone()));
        helpers.spawn(service::tell(self.journeys.clone(), self.vitals.clone()));
        helpers.spawn(watch_wal(Arc::clone(&self.desk), Arc::clone(&self.journeys.clock)));
        helpers.spawn(lessons::keep(self.journeys.clone(), std::mem::take(&mut self.accounts)));
        let mut health = self.writer.health();
        let ended = {
            let working = self.worker.run(&self.shutdown.soft);
            tokio::select! {
                ended = working => ended.map_err(anyhow::Error::from),
                error = follow(&mut health, &self.journeys, &self.queue_lock) => Err(error),
                error = server_end(self.server.as_mut()) => Err(error),
                error = panic_of(&mut helpers) => Err(error),
            }
        };
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

    /// Waits until everything that was handed to the writer is written: it keeps the order, so a write that changes
    /// nothing comes last.
    async fn flush(&self) -> bool {
        let last = self.writer.submit(Write::UploadEnded { id: NO_UPLOAD });
        tokio::select! {
            last = last => last.is_ok(),
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
        self.writer.close().await;
        self.desk.close().await;
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

/// The budget of each account, with the number of requests a minute that it is made of.
type Budgets = BTreeMap<String, (u32, Arc<Budget>)>;

fn budgets(settings: &Settings, clock: &Arc<dyn Clock>) -> Budgets {
    let budget = |bot: &BotSettings| {
        let rate = bot.requests_per_minute;
        (bot.account.clone(), (rate, Arc::new(Budget::new(rate, Arc::clone(clock)))))
    };
    settings.bots.values().map(budget).collect()
}

/// One budget and one line an account; one client a bot.
fn bots(
    settings: &Settings,
    budgets: &Budgets,
    clock: &Arc<dyn Clock>,
    moved: &Arc<Notify>,
) -> anyhow::Result<BTreeMap<String, Bot>> {
    let mut lines: BTreeMap<&str, Arc<Line>> = BTreeMap::new();
    let mut bots = BTreeMap::new();
    for (name, bot) in &settings.bots {
        let (rate, budget) = &budgets[&bot.account];
        let line = lines.entry(&bot.account).or_insert_with(|| Arc::new(Line::new(*rate, Arc::clone(moved))));
        let client = KoreClient::new(
            name,
            bot,
            settings.poll.timeout,
            &settings.transfer,
            Arc::clone(budget),
            Arc::clone(clock),
        );
        let vendor = Arc::new(client.map_err(anyhow::Error::msg)?);
        let account = siblings(settings, bot);
        bots.insert(name.clone(), Bot { vendor, bot_id: bot.bot_id.clone(), account, line: Arc::clone(line) });
    }
    Ok(bots)
}

/// The accounts with their bots, for what is learned of each.
fn accounts(settings: &Settings, budgets: &Budgets) -> Vec<Account> {
    let of = |account: &str| {
        settings.bots.iter().filter(|(_, bot)| bot.account == account).map(|(name, _)| name.clone()).collect()
    };
    budgets.iter().map(|(account, (_, budget))| Account { bots: of(account), budget: Arc::clone(budget) }).collect()
}

fn siblings(settings: &Settings, bot: &BotSettings) -> Vec<String> {
    let of_account = settings.bots.iter().filter(|(_, other)| other.account == bot.account);
    of_account.map(|(name, _)| name.clone()).collect()
}

/// Shows the writer's health as a pause of the queue, beside the queue as well, where it can be written; ends with the
/// daemon's reason to end.
async fn follow(health: &mut watch::Receiver<Health>, journeys: &Journeys, lock: &RunLock) -> anyhow::Error {
    loop {
        let now = health.borrow_and_update().clone();
        match now {
            Health::Fine => {
                lock.note(None);
                journeys.tell(journeys.pauses.resume(&What::Queue));
            }
            Health::Waits(reason, message, wait) => {
                journeys.metrics.failed(Stage::Queue);
                let change = journeys.pauses.pause(&What::Queue, reason, &message, wait);
                if let Some(Change::Paused { pause, .. }) = &change {
                    lock.note(Some(pause));
                }
                journeys.tell(change);
            }
            Health::Ended(path, cause) => return QueueError::NotUsable { path, cause }.into(),
        }
        if health.changed().await.is_err() {
            return anyhow!("the writer of the queue has ended");
        }
    }
}

/// Bytes of write-ahead log that nobody needs, and how often it is looked at.
const LONG_WAL: u64 = 256 * 1024 * 1024;
const WAL_LOOK: Duration = Duration::from_mins(1);

/// A reader that somebody forgot keeps SQLite from starting its log afresh: harmless but for the disk (FAULTS Q8).
async fn watch_wal(desk: Arc<Desk>, clock: Arc<dyn Clock>) {
    loop {
        let bytes = desk.wal_bytes();
        if bytes > LONG_WAL {
            tracing::warn!(
                bytes,
                "the queue's write-ahead log has grown long: some program keeps a transaction open; end that one"
            );
        }
        clock.sleep(WAL_LOOK).await;
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
