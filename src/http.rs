//! What is served on `http.listen`: `/metrics`, `/healthz`, `/readyz`, and a page for people (`page`). It reads and
//! changes nothing.
//!
//! Counts of the queue are taken when somebody asks, and not more often than a twentieth of the time allows, so that
//! an idle daemon does no work for a scraper that is not there, and a huge queue is not counted all day.

mod listen;
mod page;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State as Shared;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::Mutex;

use crate::clock::Clock;
use crate::flights::Flights;
use crate::kore::budget::Budget;
use crate::metrics::Metrics;
use crate::pause::Pauses;
use crate::queue::{Counts, Desk, QueueError};
use crate::session::State;
use crate::worker::Vitals;

pub use self::listen::bind;

/// A loop that has not come round for that long is stuck: it turns at least once a second.
pub const STUCK: Duration = Duration::from_mins(1);
/// Counts are not older than that, or than [`COUNTING_SHARE`] times what counting took.
const COUNTS_AGE: Duration = Duration::from_millis(500);
const COUNTING_SHARE: u32 = 20;
/// Due rows are counted up to that many.
const MOST_DUE: i64 = 1_000_000;
/// Rows that need a person, on the page.
const NEWEST: u32 = 10;

/// What the pages show.
#[derive(Debug)]
pub struct Site {
    /// Counters.
    pub metrics: Metrics,
    /// Counts of the queue.
    pub desk: Arc<Desk>,
    /// Whether the loop turns.
    pub vitals: Vitals,
    /// What waits for somebody else.
    pub pauses: Pauses,
    /// The budget of each account.
    pub budgets: BTreeMap<String, Arc<Budget>>,
    /// What is being copied.
    pub flights: Flights,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// What was counted last.
    pub counted: Mutex<Option<Counted>>,
}

/// A count of the queue, and what it took.
#[derive(Clone, Debug)]
pub struct Counted {
    at: Duration,
    took: Duration,
    counts: Counts,
    due: i64,
}

impl Site {
    /// Brings the gauges up to date, unless that was done just now.
    async fn count(&self) -> Result<Counted, QueueError> {
        let mut counted = self.counted.lock().await;
        let began = self.clock.elapsed();
        if let Some(known) = &*counted
            && began.saturating_sub(known.at) < COUNTS_AGE.max(known.took * COUNTING_SHARE)
        {
            return Ok(known.clone());
        }
        let (now, counts) = (self.clock.now(), self.desk.counts().await?);
        for state in State::ALL {
            self.metrics.sessions(state.as_str(), as_float(counts.of(state)));
        }
        let due = self.desk.due(now, MOST_DUE).await? - i64::try_from(self.vitals.in_hand()).unwrap_or(0);
        let due = due.max(0);
        let age = counts.oldest(State::Pending).map_or(Duration::ZERO, |oldest| now.since(oldest));
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float, and no log is that long")]
        self.metrics.queue(age, as_float(due), self.desk.wal_bytes() as f64);
        let (at, took) = (self.clock.elapsed(), self.clock.elapsed().saturating_sub(began));
        let fresh = Counted { at, took, counts, due };
        *counted = Some(fresh.clone());
        Ok(fresh)
    }

    async fn facts(&self) -> page::Facts {
        let spent = |(account, budget): (&String, &Arc<Budget>)| page::Spent {
            account: account.clone(),
            used: budget.used_in_last_minute(),
            limit: budget.limit(),
        };
        page::Facts {
            now: self.clock.now(),
            loop_age: self.vitals.age(),
            queue: self.queue_facts().await.map_err(|error| error.to_string()),
            pauses: self.pauses.all(),
            spent: self.budgets.iter().map(spent).collect(),
            flights: self.flights.all(),
        }
    }

    async fn queue_facts(&self) -> Result<page::QueueFacts, QueueError> {
        let Counted { counts, due, .. } = self.count().await?;
        let failures = self.desk.newest_in_need(NEWEST).await?;
        Ok(page::QueueFacts { counts, due, failures })
    }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float, and no queue is that long")]
fn as_float(count: i64) -> f64 {
    count as f64
}

/// Serves until the process ends.
pub async fn serve(listener: TcpListener, site: Arc<Site>) {
    let clock = Arc::clone(&site.clock);
    let routes = Router::new()
        .route("/", get(index))
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .with_state(site);
    listen::serve(listener, routes, clock).await;
}

async fn index(Shared(site): Shared<Arc<Site>>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, page::POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, page::page(&site.facts().await)).into_response()
}

async fn metrics(Shared(site): Shared<Arc<Site>>) -> Response {
    if let Err(error) = site.count().await {
        tracing::warn!(%error, "the queue could not be counted for /metrics");
    }
    site.metrics.in_flight(as_float(site.flights.all().len().try_into().unwrap_or(i64::MAX)));
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], site.metrics.render()).into_response()
}

async fn healthz(Shared(site): Shared<Arc<Site>>) -> Response {
    health(site.vitals.age()).into_response()
}

/// What is said of a loop that came round so long ago.
fn health(age: Duration) -> (StatusCode, String) {
    if age < STUCK {
        (StatusCode::OK, "ok\n".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, format!("the loop has not come round for {} s\n", age.as_secs()))
    }
}

/// It is served only once the queue is open and the settings hold.
async fn readyz() -> &'static str {
    "ready\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_that_has_not_come_round_for_a_minute_is_unwell_p7() {
        for (age, code, text) in [
            (Duration::ZERO, 200, "ok\n"),
            (Duration::from_millis(59_999), 200, "ok\n"),
            (Duration::from_mins(1), 503, "the loop has not come round for 60 s\n"),
            (Duration::from_hours(1), 503, "the loop has not come round for 3600 s\n"),
        ] {
            let (status, said) = health(age);
            assert_eq!((status.as_u16(), said.as_str()), (code, text));
        }
    }
}
