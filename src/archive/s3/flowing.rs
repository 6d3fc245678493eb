//! A part that is sent while it comes: one request, whose checksum follows its body.
//!
//! The checksum cannot go ahead of bytes that nobody has seen, so it is a trailer, in S3's own framing; over plain http
//! the SDK signs each chunk as well. That costs more than a header, and some stores know no trailers: one that refuses
//! such a part for anything but its own trouble gets no other, see [`Reception`].
//!
//! A source may be as slow as `transfer.min_throughput` lets it: while it gives nothing, nobody else is waited for.

use std::collections::HashSet;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::progress::Progress;
use crate::archive::store::{StoreError, UploadId};
use crate::transfer::Flow;

/// Whether a store takes parts that are not held. It does until it has shown that it does not.
#[derive(Debug, Default)]
pub(super) struct Reception {
    refused: AtomicBool,
}

impl Reception {
    pub(super) fn is_open(&self) -> bool {
        !self.refused.load(Ordering::Relaxed)
    }

    /// What throttling, a broken connection or the upload's end say nothing about, a refusal does.
    pub(super) fn judge(&self, error: &StoreError) {
        let is_refusal = matches!(error, StoreError::Corrupted(_) | StoreError::Setup { reason: "invalid", .. });
        if is_refusal {
            self.close(&error.to_string());
        }
    }

    /// It has shown that it does not: a refusal, or an object of other bytes than the parts had.
    pub(super) fn close(&self, error: &str) {
        if !self.refused.swap(true, Ordering::Relaxed) {
            tracing::warn!(error, "the store takes no part whose checksum follows it: parts wait for room instead");
        }
    }
}

/// The uploads with such a part, which the store may have taken unchecked: until they end.
#[derive(Debug, Default)]
pub(super) struct Flowed(Mutex<HashSet<UploadId>>);

impl Flowed {
    pub(super) fn note(&self, upload: &UploadId) {
        self.uploads().insert(upload.clone());
    }

    pub(super) fn is_in(&self, upload: &UploadId) -> bool {
        self.uploads().contains(upload)
    }

    pub(super) fn forget(&self, upload: &UploadId) {
        self.uploads().remove(upload);
    }

    fn uploads(&self) -> MutexGuard<'_, HashSet<UploadId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The body of one request. It cannot be had again, so the SDK makes one attempt.
pub(super) fn body(flow: Flow, progress: &Arc<Progress>) -> ByteStream {
    let body = FlowBody { bytes_left: flow.bytes(), flow, progress: Arc::clone(progress) };
    ByteStream::new(SdkBody::from_body_1_x(body))
}

struct FlowBody {
    flow: Flow,
    bytes_left: u64,
    progress: Arc<Progress>,
}

impl Body for FlowBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        if self.bytes_left == 0 {
            return Poll::Ready(None);
        }
        let next = self.flow.poll_next(context);
        self.progress.note_starving(next.is_pending());
        next.map(|piece| {
            let piece = piece.filter(|piece| piece.len() as u64 <= self.bytes_left);
            let piece = piece.ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "the source broke off"));
            self.bytes_left -= piece.as_ref().map_or(self.bytes_left, |piece| piece.len() as u64);
            self.progress.note();
            Some(piece.map(Frame::data))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.bytes_left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes_left)
    }
}
