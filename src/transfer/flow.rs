//! A part that is sent while it comes: a narrow channel between the source and the bucket.
//!
//! It takes next to no memory, and has one drawback: what was sent is gone, so that the part cannot be sent again
//! without its source. So it is for parts alone, never for whole objects: what did not arrive is never completed.

use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::sync::mpsc;

/// The source's end. Dropping it early leaves a body that is too short, which no store takes for a part.
#[derive(Debug)]
pub struct Sink(mpsc::Sender<Bytes>);

/// The bucket's end: a body of exactly so many bytes.
#[derive(Debug)]
pub struct Flow {
    bytes: u64,
    pieces: mpsc::Receiver<Bytes>,
}

/// A channel for a part of `bytes`.
#[must_use]
pub fn flow(bytes: u64) -> (Sink, Flow) {
    let (sink, pieces) = mpsc::channel(1);
    (Sink(sink), Flow { bytes, pieces })
}

impl Sink {
    /// Hands over the next bytes. Where nobody takes them any more, the call that sends them tells why.
    pub async fn send(&self, piece: Bytes) {
        drop(self.0.send(piece).await);
    }
}

impl Flow {
    /// How many the part has: its length goes ahead of it.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The next bytes; none after the last, or if the source broke off.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        self.pieces.poll_recv(context)
    }

    /// The same, for those who can wait.
    pub async fn next(&mut self) -> Option<Bytes> {
        self.pieces.recv().await
    }
}
