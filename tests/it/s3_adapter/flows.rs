//! Parts that are sent while they come: whole or refused, and never sent to a store that takes none.

use kore_archiver::transfer::flow;

use super::*;
use crate::support::s3::{Fault, Op, Times};

/// Sends `bytes` as part 1 of `length` while they come.
pub(super) async fn flowing(
    store: &S3Store,
    upload: &UploadId,
    bytes: &Bytes,
    length: usize,
) -> Result<Part, StoreError> {
    let (sink, body) = flow(length as u64);
    let pieces: Vec<Bytes> = bytes.chunks(70_001).map(|piece| bytes.slice_ref(piece)).collect();
    let pouring = async move {
        for piece in pieces {
            sink.send(piece).await;
        }
    };
    let key = key();
    let ((), etag) = tokio::join!(pouring, store.flow_part(&key, upload, 1, body));
    Ok(Part { number: 1, etag: etag?, checksums: Checksums::of([&bytes[..]]) })
}

#[tokio::test]
async fn what_flowed_is_checked_by_what_follows_it_and_stands_whole() {
    for checksum in [ChecksumChoice::Auto, ChecksumChoice::Crc32, ChecksumChoice::ReadBack] {
        let s3 = FakeS3::start(Options::default()).await;
        let store = connected(&s3, &BucketSettings { checksum, ..settings(&s3) }).await;
        let bytes = noise(MIB + 1);
        let upload = store.create_upload(&key(), &label()).await.unwrap();
        let part = flowing(&store, &upload, &bytes, bytes.len()).await.unwrap();
        store.complete(&key(), &upload, &[part], &receipt(&bytes)).await.unwrap();
        assert!(read_back(&store).await.unwrap() == bytes);
        assert!(store.takes_flows());
    }
}

#[tokio::test]
async fn a_source_that_breaks_off_leaves_no_part() {
    let (s3, store) = fixture().await;
    let bytes = noise(300_000);
    let upload = store.create_upload(&key(), &label()).await.unwrap();
    assert_eq!(kind(flowing(&store, &upload, &bytes, bytes.len() + 1).await), "unavailable");
    assert_eq!(s3.open_uploads()[0].parts, 0);
    assert!(store.takes_flows(), "that was not the store's fault");
}

#[tokio::test]
async fn bits_that_turn_over_on_the_way_are_refused() {
    let (s3, store) = fixture().await;
    let bytes = noise(300_000);
    let upload = store.create_upload(&key(), &label()).await.unwrap();
    s3.fail_next(Op::UploadPart, Times::Next(1), Fault::FlipBit);
    assert!(flowing(&store, &upload, &bytes, bytes.len()).await.is_err());
    assert_eq!(s3.open_uploads()[0].parts, 0);
}

#[tokio::test]
async fn trouble_is_met_by_one_attempt_and_a_refusal_is_remembered() {
    let (s3, store) = fixture().await;
    let bytes = noise(300_000);
    let upload = store.create_upload(&key(), &label()).await.unwrap();
    for (fault, outcome, still) in [
        (Fault::SlowDown, "unavailable", true),
        (Fault::DropBeforeApply, "unavailable", true),
        (Fault::Status(403, "AccessDenied"), "access_denied", true),
        (Fault::Status(400, "InvalidRequest"), "invalid", false),
    ] {
        let before = s3.count(Op::UploadPart);
        s3.fail_next(Op::UploadPart, Times::Next(1), fault.clone());
        assert_eq!(kind(flowing(&store, &upload, &bytes, bytes.len()).await), outcome, "{fault:?}");
        assert_eq!((s3.count(Op::UploadPart) - before, store.takes_flows()), (1, still), "{fault:?}");
    }
}

#[tokio::test]
async fn a_store_that_stands_still_is_given_up_and_a_slow_source_is_not() {
    let s3 = FakeS3::start(Options::default()).await;
    let store = connected(&s3, &BucketSettings { timeout: Duration::from_millis(300), ..settings(&s3) }).await;
    let upload = store.create_upload(&key(), &label()).await.unwrap();
    let bytes = noise(100_000);
    let (sink, body) = flow(200_000);
    let pouring = async {
        sink.send(bytes.clone()).await;
        // Longer than the store may take.
        drop(tokio::time::timeout(Duration::from_secs(1), std::future::pending::<()>()).await);
        sink.send(bytes.clone()).await;
    };
    let key = key();
    let ((), sent) = tokio::join!(pouring, store.flow_part(&key, &upload, 1, body));
    assert_eq!(kind(sent), "ok");
    s3.fail_next(Op::UploadPart, Times::Next(1), Fault::Hang(Duration::from_secs(30)));
    assert_eq!(kind(flowing(&store, &upload, &bytes, bytes.len()).await), "unavailable");
}
