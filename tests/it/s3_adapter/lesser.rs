//! Stores that refuse what they do not know: what is learned of them, and what takes its place (FAULTS S15).

use super::*;
use crate::support::s3::{Algorithm, Asked, Fault, Op, Times};

async fn refusing(op: Op, asked: Asked, status: u16, code: &'static str) -> (FakeS3, S3Store) {
    let (s3, store) = fixture().await;
    s3.fail_next(op, Times::Forever, Fault::Refuse(asked, status, code));
    (s3, store)
}

/// How many requests of this kind the work takes.
async fn requests<T>(s3: &FakeS3, op: Op, work: impl Future<Output = T>) -> usize {
    let before = s3.count(op);
    work.await;
    s3.count(op) - before
}

#[tokio::test]
async fn a_condition_that_is_refused_is_left_out_from_then_on_and_checksums_are_not() {
    for (status, code) in [(501, "NotImplemented"), (400, "InvalidArgument"), (400, "")] {
        let (s3, store) = refusing(Op::Any, Asked::Condition, status, code).await;
        for round in 0..2 {
            let bytes = noise(6 * MIB);
            let puts = requests(&s3, Op::PutObject, async { put(&store, &bytes).await.unwrap() }).await;
            assert_eq!(s3.objects()[KEY].checksums.keys().collect::<Vec<_>>(), [&Algorithm::Crc64Nvme], "{code}");
            s3.forget(KEY);
            let upload = async { put_in_parts(&store, &bytes, 5 * MIB).await.unwrap() };
            let completions = requests(&s3, Op::CompleteUpload, upload).await;
            assert!(s3.body(KEY).unwrap() == bytes);
            s3.forget(KEY);
            // Twice as it should be, once with CRC32, or without the length, or with less of checksums; then without.
            assert_eq!((puts, completions), [(4, 5), (1, 1)][round], "{code}");
        }
        assert_eq!((s3.count(Op::CreateUpload), s3.count(Op::UploadPart)), (2, 4), "no part is sent twice");
    }
}

#[tokio::test]
async fn where_no_condition_goes_with_a_write_a_look_comes_right_before_it() {
    let (s3, store) = refusing(Op::Any, Asked::Condition, 501, "NotImplemented").await;
    s3.pre_put(KEY, "somebody else's", &[]).await;
    for _ in 0..2 {
        assert_eq!(kind(put(&store, &noise(9)).await), "exists");
        assert_eq!(kind(put_in_parts(&store, &noise(9), MIB).await), "exists");
    }
    s3.forget(KEY);
    put(&store, &noise(9)).await.unwrap();
    for _ in 0..2 {
        assert_eq!(kind(put(&store, &noise(7)).await), "exists");
        assert_eq!(kind(put_in_parts(&store, &noise(7), MIB).await), "exists");
    }
    assert_eq!((s3.body(KEY).unwrap(), s3.overwrites()), (noise(9), 0));
}

#[tokio::test]
async fn a_write_without_a_condition_whose_answer_is_lost_is_not_sent_again_unlooked() {
    let (s3, store) = refusing(Op::Any, Asked::Condition, 501, "NotImplemented").await;
    for in_parts in [false, true] {
        let write = async |bytes: &Bytes| {
            if in_parts { put_in_parts(&store, bytes, MIB).await } else { put(&store, bytes).await }
        };
        write(&noise(9)).await.unwrap();
        s3.forget(KEY);
        let op = if in_parts { Op::CompleteUpload } else { Op::PutObject };
        s3.fail_next(op, Times::Next(1), Fault::DropAfterApply);
        // The archive waits and looks.
        let lost = if in_parts { "unanswered" } else { "unavailable" };
        assert_eq!(requests(&s3, op, async { assert_eq!(kind(write(&noise(8)).await), lost) }).await, 1);
        assert_eq!((s3.body(KEY).unwrap(), s3.overwrites()), (noise(8), 0));
        s3.forget(KEY);
        s3.fail_next(op, Times::Forever, Fault::SlowDown);
        assert_eq!(requests(&s3, op, async { assert_eq!(kind(write(&noise(8)).await), "unavailable") }).await, 1);
        s3.forget(KEY);
        s3.heal();
        s3.fail_next(Op::Any, Times::Forever, Fault::Refuse(Asked::Condition, 501, "NotImplemented"));
    }
}

#[tokio::test]
async fn a_look_that_fails_stops_the_write_that_it_should_precede() {
    let (s3, store) = refusing(Op::Any, Asked::Condition, 501, "NotImplemented").await;
    put(&store, &noise(9)).await.unwrap();
    s3.forget(KEY);
    s3.deny("s3:GetObject");
    let sent = async { assert_eq!(kind(put(&store, &noise(9)).await), "access_denied") };
    assert_eq!(requests(&s3, Op::PutObject, sent).await, 0);
}

#[tokio::test]
async fn a_completion_is_sent_again_with_less_and_no_part_is() {
    let table = [
        (Op::CompleteUpload, Fault::Refuse(Asked::WholeChecksum, 400, "BadDigest")),
        (Op::CompleteUpload, Fault::Refuse(Asked::WholeChecksum, 400, "InvalidArgument")),
        (Op::CompleteUpload, Fault::Refuse(Asked::PartChecksums, 400, "MalformedXML")),
        (Op::CompleteUpload, Fault::Refuse(Asked::ObjectSize, 501, "NotImplemented")),
        (Op::CompleteUpload, Fault::Refuse(Asked::ObjectSize, 400, "InvalidRequest")),
        (Op::CompleteUpload, Fault::Refuse(Asked::Condition, 501, "NotImplemented")),
        (Op::Any, Fault::CompositeOnly),
    ];
    for (op, fault) in table {
        let (s3, store) = fixture().await;
        s3.fail_next(op, Times::Forever, fault.clone());
        let bytes = noise(11 * MIB);
        for _ in 0..2 {
            put_in_parts(&store, &bytes, 5 * MIB).await.unwrap_or_else(|error| panic!("{fault:?}: {error}"));
            assert!(s3.body(KEY).unwrap() == bytes, "{fault:?}");
            // A checksum of checksums is none of the whole: it is read back.
            let head = store.head(&key()).await.unwrap().unwrap();
            assert_eq!(head.crc64nvme.is_none(), fault == Fault::CompositeOnly, "{fault:?}");
            s3.forget(KEY);
        }
        assert_eq!((s3.count(Op::CreateUpload), s3.count(Op::UploadPart)), (2, 6), "{fault:?}");
        let completions = requests(&s3, Op::CompleteUpload, put_in_parts(&store, &bytes, 5 * MIB)).await;
        assert_eq!(completions, 1, "{fault:?} is known");
        assert!(s3.open_uploads().is_empty());
    }
}

#[tokio::test]
async fn a_completion_that_nothing_helps_weakens_nothing() {
    let (s3, store) = fixture().await;
    s3.fail_next(Op::CompleteUpload, Times::Next(13), Fault::Status(400, "InvalidRequest"));
    assert_eq!(kind(put_in_parts(&store, &noise(9), MIB).await), "invalid");
    assert_eq!((s3.count(Op::CompleteUpload), s3.open_uploads().len()), (13, 1));
    let (upload, parts) = send_parts(&store, &noise(9), MIB).await.unwrap();
    let other = Receipt { bytes: 9, ..receipt(b"other") };
    assert_eq!(kind(store.complete(&key(), &upload, &parts, &other).await), "corrupted");
    assert!(s3.keys().is_empty());
}

#[tokio::test]
async fn an_algorithm_that_is_refused_in_unknown_words_gives_way_to_the_next() {
    const CRC64NVME: Asked = Asked::Checksums(&[Algorithm::Crc64Nvme]);
    const BOTH: Asked = Asked::Checksums(&[Algorithm::Crc64Nvme, Algorithm::Crc32]);
    let bytes = noise(6 * MIB);
    for op in [Op::Any, Op::PutObject, Op::CreateUpload, Op::UploadPart] {
        for asked in [CRC64NVME, BOTH] {
            let (s3, store) = refusing(op, asked, 400, "BadRequest").await;
            put(&store, &bytes).await.unwrap_or_else(|error| panic!("{op:?} {asked:?}: {error}"));
            s3.forget(KEY);
            put_in_parts(&store, &bytes, 5 * MIB).await.unwrap_or_else(|error| panic!("{op:?} {asked:?}: {error}"));
            assert!(s3.body(KEY).unwrap() == bytes, "{op:?} {asked:?}");
            assert!(s3.count(Op::CreateUpload) <= 4, "{op:?} {asked:?}");
        }
    }
}

#[tokio::test]
async fn a_whole_that_is_refused_rightly_is_never_seen() {
    let (s3, store) = fixture().await;
    s3.fail_next(Op::Any, Times::Forever, Fault::BelieveParts);
    s3.fail_next(Op::UploadPart, Times::Next(1), Fault::FlipBit);
    let bytes = noise(300_000);
    let upload = store.create_upload(&key(), &label()).await.unwrap();
    let part = flows::flowing(&store, &upload, &bytes, bytes.len()).await.unwrap();
    assert_eq!(kind(store.complete(&key(), &upload, &[part], &receipt(&bytes)).await), "corrupted");
    assert!(s3.keys().is_empty());
    assert!(!store.takes_flows(), "parts are held, and compared as they come, from then on");
    store.abort(&key(), &upload).await.unwrap();
    put_in_parts(&store, &bytes, MIB).await.unwrap();
    assert!(s3.body(KEY).unwrap() == bytes);
}
