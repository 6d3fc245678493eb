//! What is served on `http.listen`: `/metrics`, `/healthz`, `/readyz`. It reads and changes nothing.
//!
//! Counts of the queue are taken when somebody asks, and not more often than a twentieth of the time allows, so that
//! an idle daemon does no work for a scraper that is not there, and a huge queue is not counted all day.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State as Shared;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::Mutex;

use crate::clock::{Clock, Timestamp};
use crate::metrics::Metrics;
use crate::queue::{Desk, QueueError};
use crate::session::State;
use crate::worker::Vitals;

/// A loop that has not come round for that long is stuck: it turns at least once a second.
pub const STUCK: Duration = Duration::from_mins(1);
/// Counts are not older than that, or than [`COUNTING_SHARE`] times what counting took.
const COUNTS_AGE: Duration = Duration::from_millis(500);
const COUNTING_SHARE: u32 = 20;
/// Due rows are counted up to that many.
const MOST_DUE: i64 = 1_000_000;

/// What the pages show.
#[derive(Debug)]
pub struct Site {
    /// Counters.
    pub metrics: Metrics,
    /// Counts of the queue.
    pub desk: Arc<Desk>,
    /// Whether the loop turns.
    pub vitals: Vitals,
    /// Time.
    pub clock: Arc<dyn Clock>,
    counted: Mutex<Option<(Duration, Duration)>>,
}

impl Site {
    /// A site over these.
    #[must_use]
    pub fn new(metrics: Metrics, desk: Arc<Desk>, vitals: Vitals, clock: Arc<dyn Clock>) -> Self {
        Self { metrics, desk, vitals, clock, counted: Mutex::new(None) }
    }

    /// Brings the gauges up to date, unless that was done just now.
    async fn count(&self) -> Result<(), QueueError> {
        let mut counted = self.counted.lock().await;
        let began = self.clock.elapsed();
        if let Some((at, took)) = *counted
            && began.saturating_sub(at) < COUNTS_AGE.max(took * COUNTING_SHARE)
        {
            return Ok(());
        }
        let (now, counts) = (self.clock.now(), self.desk.counts().await?);
        for state in State::ALL {
            let count = counts.iter().find(|count| count.0 == state.as_str()).map_or(0, |count| count.1);
            self.metrics.sessions(state.as_str(), as_float(count));
        }
        let pending = counts.iter().find(|count| count.0 == State::Pending.as_str());
        let oldest = pending.and_then(|count| Timestamp::parse(count.2.as_deref()?).ok());
        let due = self.desk.due(now, MOST_DUE).await? - i64::try_from(self.vitals.in_hand()).unwrap_or(0);
        let age = oldest.map_or(Duration::ZERO, |oldest| now.since(oldest));
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float, and no log is that long")]
        self.metrics.queue(age, as_float(due.max(0)), self.desk.wal_bytes() as f64);
        *counted = Some((self.clock.elapsed(), self.clock.elapsed().saturating_sub(began)));
        Ok(())
    }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float, and no queue is that long")]
fn as_float(count: i64) -> f64 {
    count as f64
}

/// Takes the address.
///
/// # Errors
/// The operating system's, if the address cannot be had.
pub async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Serves until the process ends.
///
/// # Errors
/// The operating system's, if accepting fails for good.
pub async fn serve(listener: TcpListener, site: Arc<Site>) -> std::io::Result<()> {
    let routes = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .with_state(site);
    axum::serve(listener, routes).await
}

async fn metrics(Shared(site): Shared<Arc<Site>>) -> Response {
    if let Err(error) = site.count().await {
        tracing::warn!(%error, "the queue could not be counted for /metrics");
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], site.metrics.render()).into_response()
}

async fn healthz(Shared(site): Shared<Arc<Site>>) -> Response {
    let age = site.vitals.age();
    if age < STUCK {
        (StatusCode::OK, "ok\n").into_response()
    } else {
        let text = format!("the loop has not come round for {} s\n", age.as_secs());
        (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
    }
}

/// It is served only once the queue is open and the settings hold.
async fn readyz() -> &'static str {
    "ready\n"
}
