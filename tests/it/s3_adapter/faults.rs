//! Every fault on every call, once and for ever.

use futures_util::future::{BoxFuture, join_all};

use super::*;
use crate::support::s3::{Fault, Op, Times};

const CALLS: [Op; 8] = [
    Op::HeadObject,
    Op::GetObject,
    Op::PutObject,
    Op::CreateUpload,
    Op::UploadPart,
    Op::CompleteUpload,
    Op::AbortUpload,
    Op::ListUploads,
];

/// A server, and one call on it that goes through this operation; with a timeout that a test can wait for.
async fn prepared(op: Op) -> (FakeS3, BoxFuture<'static, Result<(), StoreError>>) {
    let s3 = FakeS3::start(Options::default()).await;
    let mut settings = settings(&s3);
    settings.timeout = Duration::from_secs(1);
    let store = connected(&s3, &settings).await;
    let bytes = noise(70_000);
    if matches!(op, Op::HeadObject | Op::GetObject) {
        put(&store, &bytes).await.unwrap();
    }
    let (upload, parts) = send_parts(&store, &bytes, MIB).await.unwrap();
    let call = async move {
        match op {
            Op::HeadObject => store.head(&key()).await.map(drop),
            Op::GetObject => read_back(&store).await.map(drop),
            Op::PutObject => put(&store, &bytes).await,
            Op::CreateUpload => store.create_upload(&key(), &label()).await.map(drop),
            Op::UploadPart => {
                store.put_part(&key(), &upload, 2, segments(&bytes), &Checksums::of([&bytes[..]])).await.map(drop)
            }
            Op::CompleteUpload => store.complete(&key(), &upload, &parts, &receipt(&bytes)).await,
            Op::AbortUpload => store.abort(&key(), &upload).await,
            Op::ListUploads => store.uploads(&key()).await.map(drop),
            other => unreachable!("the adapter makes no {other:?}"),
        }
    };
    (s3, Box::pin(call))
}

fn passing() -> [Fault; 5] {
    [
        Fault::SlowDown,
        Fault::Status(500, "InternalError"),
        Fault::Status(502, ""),
        Fault::DropBeforeApply,
        Fault::Hang(Duration::from_secs(3)),
    ]
}

/// Each fault on each call, side by side once all is prepared: the waits between attempts add up otherwise.
async fn all(times: Times) -> Vec<(Op, Fault, Result<(), StoreError>)> {
    let mut runs = Vec::new();
    for op in CALLS {
        for fault in passing() {
            let (s3, call) = prepared(op).await;
            s3.fail_next(op, times, fault.clone());
            runs.push(async move {
                let outcome = call.await;
                drop(s3);
                (op, fault, outcome)
            });
        }
    }
    join_all(runs).await
}

/// A completion that is not answered may be under way for all that is known.
fn kind_of_passing(op: Op, fault: &Fault) -> &'static str {
    let is_answered =
        !matches!(fault, Fault::DropBeforeApply | Fault::DropAfterApply | Fault::Hang(_) | Fault::Status(502, _));
    if op == Op::CompleteUpload && !is_answered { "unanswered" } else { "unavailable" }
}

#[tokio::test]
async fn what_passes_is_waited_out_inside_the_call() {
    for (op, fault, outcome) in Box::pin(all(Times::Next(1))).await {
        // A second create would leave the upload of the first, if that was applied, without anybody who knows its name.
        // Before a second put or completion the archive waits and looks.
        if matches!(op, Op::CreateUpload | Op::PutObject | Op::CompleteUpload) {
            assert_eq!(kind(outcome), kind_of_passing(op, &fault), "{fault:?} once on {op:?}");
        } else {
            assert!(outcome.is_ok(), "{fault:?} once on {op:?}: {outcome:?}");
        }
    }
}

#[tokio::test]
async fn what_does_not_pass_is_unavailable_after_at_most_three_attempts() {
    for (op, fault, outcome) in Box::pin(all(Times::Forever)).await {
        assert_eq!(kind(outcome), kind_of_passing(op, &fault), "{fault:?} for ever on {op:?}");
    }
}

#[tokio::test]
async fn an_attempt_is_made_three_times_with_the_whole_body() {
    let (s3, store) = fixture().await;
    let bytes = noise(5 * MIB + 1);
    s3.fail_next(Op::UploadPart, Times::Next(2), Fault::SlowDown);
    put_in_parts(&store, &bytes, 6 * MIB).await.unwrap();
    assert_eq!(s3.count(Op::UploadPart), 3);
    assert!(s3.body(KEY).unwrap() == bytes);
}

#[tokio::test]
async fn a_write_that_was_applied_but_not_answered_is_not_sent_again_unlooked() {
    for ignores_conditions in [false, true] {
        let (s3, store) = fixture().await;
        if ignores_conditions {
            s3.fail_next(Op::Any, Times::Forever, Fault::IgnoreIfNoneMatch);
        }
        for op in [Op::PutObject, Op::CompleteUpload] {
            s3.fail_next(op, Times::Next(1), Fault::DropAfterApply);
            let bytes = noise(9);
            let outcome =
                if op == Op::PutObject { put(&store, &bytes).await } else { put_in_parts(&store, &bytes, MIB).await };
            // The archive looks.
            assert_eq!((kind(outcome), s3.count(op)), (kind_of_passing(op, &Fault::DropAfterApply), 1), "{op:?}");
            assert_eq!((s3.body(KEY).unwrap(), s3.overwrites()), (bytes, 0));
            s3.forget(KEY);
        }
    }
}

#[tokio::test]
async fn an_error_in_a_200_on_complete_is_an_error() {
    let (s3, store) = fixture().await;
    s3.fail_next(Op::CompleteUpload, Times::Forever, Fault::ErrorIn200);
    assert_eq!(kind(put_in_parts(&store, &noise(9), MIB).await), "unavailable");
    assert!(s3.keys().is_empty());
}

#[tokio::test]
async fn a_bit_that_flips_on_the_way_is_caught_and_the_body_sent_again() {
    for op in [Op::PutObject, Op::UploadPart] {
        let (s3, store) = fixture().await;
        s3.fail_next(op, Times::Next(2), Fault::FlipBit);
        let bytes = noise(100_000);
        if op == Op::PutObject { put(&store, &bytes).await } else { put_in_parts(&store, &bytes, MIB).await }.unwrap();
        assert_eq!((s3.count(op), s3.body(KEY).unwrap() == bytes), (3, true));
    }
}

#[tokio::test]
async fn a_bit_that_always_flips_is_given_up_after_three_sendings_and_nothing_is_stored() {
    for op in [Op::PutObject, Op::UploadPart] {
        let (s3, store) = fixture().await;
        s3.fail_next(op, Times::Forever, Fault::FlipBit);
        let outcome =
            if op == Op::PutObject { put(&store, &noise(9)).await } else { put_in_parts(&store, &noise(9), MIB).await };
        assert_eq!((kind(outcome), s3.count(op)), ("corrupted", 3));
        assert!(s3.keys().is_empty());
    }
}

#[tokio::test]
async fn conflicts_are_told_apart_by_the_call() {
    let table = [
        (Op::PutObject, 409, "ConditionalRequestConflict", "unavailable"),
        (Op::PutObject, 412, "PreconditionFailed", "exists"),
        (Op::CompleteUpload, 409, "ConditionalRequestConflict", "upload lost"),
        (Op::CompleteUpload, 404, "NoSuchUpload", "upload lost"),
        (Op::UploadPart, 404, "NoSuchUpload", "upload lost"),
        (Op::AbortUpload, 404, "NoSuchUpload", "ok"),
    ];
    for (op, status, code, expected) in table {
        let (s3, call) = prepared(op).await;
        s3.fail_next(op, Times::Forever, Fault::Status(status, code));
        assert_eq!(kind(call.await), expected, "{code} on {op:?}");
    }
}

#[tokio::test]
async fn what_arrived_wrong_in_the_whole_is_refused_on_complete() {
    let (s3, store) = fixture().await;
    let bytes = noise(9);
    let (upload, parts) = send_parts(&store, &bytes, MIB).await.unwrap();
    let other = Receipt { bytes: 9, ..receipt(b"other") };
    assert_eq!(kind(store.complete(&key(), &upload, &parts, &other).await), "corrupted");
    let longer = Receipt { bytes: 10, ..receipt(&bytes) };
    assert_eq!(kind(store.complete(&key(), &upload, &parts, &longer).await), "corrupted");
    assert!(s3.keys().is_empty());
}

#[tokio::test]
async fn a_part_that_the_store_forgot_loses_the_upload() {
    let (_s3, store) = fixture().await;
    let (upload, mut parts) = send_parts(&store, &noise(9), MIB).await.unwrap();
    parts[0].number = 2;
    assert_eq!(kind(store.complete(&key(), &upload, &parts, &receipt(&noise(9))).await), "upload lost");
}

#[tokio::test]
async fn a_body_that_is_cut_or_stalls_while_it_is_read_back_is_an_error() {
    let s3 = FakeS3::start(Options::default()).await;
    let mut settings = settings(&s3);
    settings.timeout = Duration::from_millis(500);
    let store = connected(&s3, &settings).await;
    put(&store, &noise(3 * MIB)).await.unwrap();
    for fault in [Fault::CutRead, Fault::StallRead] {
        s3.fail_next(Op::GetObject, Times::Next(1), fault.clone());
        assert_eq!(kind(read_back(&store).await), "unavailable", "{fault:?}");
    }
    assert!(read_back(&store).await.unwrap() == noise(3 * MIB));
}

#[tokio::test]
async fn an_object_that_vanished_before_it_is_read_back_is_looked_for_again() {
    let (_s3, store) = fixture().await;
    assert_eq!(kind(read_back(&store).await), "hollow");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let (s3, store) = fixture().await;
    drop(s3);
    tokio::task::yield_now().await;
    assert_eq!(kind(store.head(&key()).await), "unavailable");
}

/// Parts that share a narrow line take longer than any timeout for one of them; to break them off loses what was sent.
#[tokio::test]
async fn a_body_may_take_longer_than_the_timeout_as_long_as_it_moves() {
    let s3 = FakeS3::start(Options::default()).await;
    let store = connected(&s3, &BucketSettings { timeout: Duration::from_secs(1), ..settings(&s3) }).await;
    let bytes = noise(24 * MIB);
    s3.fail_next(Op::Any, Times::Forever, Fault::Narrow(10 << 20));
    put(&store, &bytes).await.unwrap();
    s3.forget(KEY);
    put_in_parts(&store, &bytes, 24 * MIB).await.unwrap();
    assert_eq!((s3.count(Op::PutObject), s3.count(Op::UploadPart)), (1, 1), "nothing was sent again");
}

#[tokio::test]
async fn a_body_that_stands_still_is_sent_again_where_that_does_no_harm() {
    for (times, outcome) in [(2, "ok"), (3, "unavailable")] {
        let s3 = FakeS3::start(Options::default()).await;
        let store = connected(&s3, &BucketSettings { timeout: Duration::from_millis(400), ..settings(&s3) }).await;
        for op in [Op::PutObject, Op::UploadPart] {
            s3.fail_next(op, Times::Next(times), Fault::Hang(Duration::from_secs(30)));
        }
        assert_eq!(kind(put(&store, &noise(MIB)).await), "unavailable", "somebody has to look first");
        assert_eq!(kind(put_in_parts(&store, &noise(MIB), MIB).await), outcome);
    }
}
