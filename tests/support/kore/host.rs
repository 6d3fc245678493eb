//! A listener on a port of its own, and the outages that can befall it.
//!
//! A [`Service`] says what is answered; the host carries it, unless an [`Outage`] is on. While connections are
//! refused the listener is closed and every open connection with it; the port is taken again afterwards.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::answer::Answer;
use super::clock::pause;
use super::quirk::Cut;
use super::reply::Reply;
use super::wire::{Connection, Request};

/// What a host answers.
pub(super) trait Service: Send + Sync + 'static {
    /// `outage` is what is said in place of an answer while one is on. The request counts either way.
    fn answer(&self, request: &Request, outage: Option<&Answer>) -> Reply;
}

/// What is wrong with a whole host.
#[derive(Clone, Debug)]
pub enum Outage {
    /// Nothing listens.
    Refused,
    /// Requests are read, and their connections reset.
    Reset,
    /// Requests are read, and nothing comes back.
    BlackHole,
    /// Every request gets this: 500s, a storm of 429s.
    Says(Answer),
}

impl Outage {
    /// What a request gets that still comes through.
    fn answer(self) -> Answer {
        match self {
            Self::Refused | Self::Reset => Answer::vanish(Cut::Rst),
            Self::BlackHole => Answer::hang(),
            Self::Says(answer) => answer,
        }
    }
}

/// A running listener; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) address: SocketAddr,
    pub(super) connections: Arc<AtomicUsize>,
    outage: watch::Sender<Option<Outage>>,
    _running: DropGuard,
}

impl Host {
    pub(super) fn start(listener: TcpListener, service: Arc<dyn Service>) -> Self {
        let address = listener.local_addr().expect("a bound listener has an address");
        let (outage, seen) = watch::channel(None);
        let stop = CancellationToken::new();
        let connections = Arc::new(AtomicUsize::new(0));
        let door = Door { service, outage: seen, connections: Arc::clone(&connections), stop: stop.clone() };
        tokio::spawn(door.keep(address, listener));
        Self { address, connections, outage, _running: stop.drop_guard() }
    }

    pub(super) fn set_outage(&self, outage: Option<Outage>) {
        self.outage.send_replace(outage);
    }
}

#[derive(Clone)]
struct Door {
    service: Arc<dyn Service>,
    outage: watch::Receiver<Option<Outage>>,
    connections: Arc<AtomicUsize>,
    stop: CancellationToken,
}

impl Door {
    async fn keep(mut self, address: SocketAddr, listener: TcpListener) {
        let stop = self.stop.clone();
        let mut listener = Some(listener);
        stop.run_until_cancelled(async {
            loop {
                if self.is_refusing() {
                    listener = None;
                    let _ = self.outage.changed().await;
                    continue;
                }
                let open = match listener.take() {
                    Some(open) => open,
                    None => bind_again(address).await,
                };
                tokio::select! {
                    accepted = open.accept() => self.admit(accepted),
                    _ = self.outage.changed() => {}
                }
                listener = Some(open);
            }
        })
        .await;
    }

    fn is_refusing(&self) -> bool {
        matches!(*self.outage.borrow(), Some(Outage::Refused))
    }

    fn admit(&self, accepted: std::io::Result<(TcpStream, SocketAddr)>) {
        let Ok((stream, _)) = accepted else { return };
        self.connections.fetch_add(1, Ordering::Relaxed);
        let _ = stream.set_nodelay(true);
        let (door, mut outage) = (self.clone(), self.outage.clone());
        tokio::spawn(async move {
            let refused = outage.wait_for(|outage| matches!(outage, Some(Outage::Refused)));
            tokio::select! {
                // A client that leaves in the middle is a scenario's business, not the fake's.
                _ = door.converse(Connection::new(stream)) => {}
                _ = refused => {}
                () = door.stop.cancelled() => {}
            }
        });
    }

    async fn converse(&self, mut connection: Connection) -> std::io::Result<()> {
        while let Some(request) = connection.request().await? {
            let outage = self.outage.borrow().clone();
            let reply = self.service.answer(&request, outage.map(Outage::answer).as_ref());
            if !connection.send(&reply).await? || request.is_the_last() {
                break;
            }
        }
        Ok(())
    }
}

/// Takes the port again; a connection that is still closing may hold it for a moment.
async fn bind_again(address: SocketAddr) -> TcpListener {
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(_) => pause(Duration::from_millis(5)).await,
        }
    }
}
