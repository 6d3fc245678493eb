//! Who is let in, and for how long.
//!
//! The pages share file descriptors with everything that archives, so clients that come and say nothing, or never hang
//! up, must not take them all, nor keep the others out: so many are let in at once, and one more shows out who came
//! first; each must have said what it wants within some seconds, and nobody stays for longer than a slow answer takes.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::clock::Clock;

/// A few scrapers and probes, and the browsers of a team.
const MOST_CLIENTS: usize = 32;
/// For a request's head, from the connection or the last answer on.
const HEAD: Duration = Duration::from_secs(5);
/// A connection is closed after that, whatever goes on; who is served often connects again.
const LONGEST_STAY: Duration = Duration::from_mins(1);
/// After the operating system refused to hand a client over: it is short of something.
const BREATH: Duration = Duration::from_secs(1);

/// Takes the address.
///
/// # Errors
/// The operating system's, if the address cannot be had.
pub async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Serves until the process ends.
pub(super) async fn serve(listener: TcpListener, routes: Router, clock: Arc<dyn Clock>) {
    let mut clients: VecDeque<JoinHandle<()>> = VecDeque::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                clients.retain(|client| !client.is_finished());
                if clients.len() >= MOST_CLIENTS
                    && let Some(first) = clients.pop_front()
                {
                    first.abort();
                    // Only then is its descriptor free: on a busy machine hundreds could be let in before.
                    let _ = first.await;
                }
                let (routes, clock) = (routes.clone(), Arc::clone(&clock));
                clients.push_back(tokio::spawn(async move { converse(stream, routes, &*clock).await }));
            }
            Err(error) => {
                tracing::warn!(%error, "a client of http.listen could not be let in; trying again");
                clock.sleep(BREATH).await;
            }
        }
    }
}

async fn converse(stream: TcpStream, routes: Router, clock: &dyn Clock) {
    let mut http = http1::Builder::new();
    let http = http.timer(TokioTimer::new()).header_read_timeout(HEAD);
    let conversation = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    tokio::select! {
        // A client that breaks off, or says what is no HTTP, hurts itself alone.
        _ = conversation => {}
        () = clock.sleep(LONGEST_STAY) => {}
    }
}
