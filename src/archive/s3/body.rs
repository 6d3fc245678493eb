//! Bodies on their way out: segments sent as they came, and sent again from the start when an attempt fails.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::progress::Progress;
use crate::transfer::Segments;

/// The segments as a body that the SDK can ask for again: each attempt gets a fresh walk over the same bytes, which are
/// shared and never gathered.
pub(super) fn replayable(segments: &Segments, progress: &Arc<Progress>) -> ByteStream {
    let (segments, progress) = (segments.clone(), Arc::clone(progress));
    ByteStream::new(SdkBody::retryable(move || {
        progress.note();
        SdkBody::from_body_1_x(SegmentsBody::new(&segments, Arc::clone(&progress)))
    }))
}

/// One walk over the segments. Its size hint is exact, so the request carries a Content-Length and a short body cannot
/// pass for a whole one.
struct SegmentsBody {
    rest: std::vec::IntoIter<Bytes>,
    bytes_left: u64,
    progress: Arc<Progress>,
}

impl SegmentsBody {
    fn new(segments: &Segments, progress: Arc<Progress>) -> Self {
        // An empty frame would end a chunk for nothing.
        let full: Vec<Bytes> = segments.iter().filter(|segment| !segment.is_empty()).cloned().collect();
        Self { rest: full.into_iter(), bytes_left: segments.len(), progress }
    }
}

impl Body for SegmentsBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let next = self.rest.next();
        self.progress.note();
        self.bytes_left -= next.as_ref().map_or(0, |segment| segment.len() as u64);
        Poll::Ready(next.map(|segment| Ok(Frame::data(segment))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes_left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes_left)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    async fn frames(mut body: SegmentsBody) -> Vec<Bytes> {
        let mut frames = Vec::new();
        while let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            frames.push(frame.into_data().expect("only data is sent"));
        }
        assert_eq!((body.is_end_stream(), body.size_hint().exact()), (true, Some(0)));
        frames
    }

    #[tokio::test]
    async fn segments_are_sent_as_the_very_bytes_that_came() {
        let (first, second) = (Bytes::from(vec![1; 70_000]), Bytes::from(vec![2; 3]));
        let mut segments = Segments::from(first.clone());
        segments.push(Bytes::new());
        segments.push(second.clone());
        let body = SegmentsBody::new(&segments, Arc::default());
        assert_eq!(body.size_hint().exact(), Some(70_003));
        let sent = frames(body).await;
        assert_eq!(sent.iter().map(|frame| frame.as_ptr()).collect::<Vec<_>>(), [first.as_ptr(), second.as_ptr()]);
    }

    #[tokio::test]
    async fn a_body_can_be_had_again_from_the_start() {
        let body = replayable(&Segments::from(Bytes::from_static(b"whole")), &Arc::default()).into_inner();
        let again = body.try_clone().expect("a replayable body can be cloned");
        for body in [body, again] {
            assert_eq!(ByteStream::new(body).collect().await.unwrap().into_bytes(), "whole");
        }
    }

    #[test]
    fn an_empty_body_is_at_its_end() {
        let body = SegmentsBody::new(&Segments::default(), Arc::default());
        assert_eq!((body.is_end_stream(), body.size_hint().exact()), (true, Some(0)));
    }
}
