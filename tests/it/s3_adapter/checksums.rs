//! Stores without CRC64NVME, without checksums, without conditions (FAULTS S6, S15).

use super::*;
use crate::support::s3::{Algorithm, Asked, Fault, Lie, Op, Times};

const CRC64NVME: &[Algorithm] = &[Algorithm::Crc64Nvme];
const BOTH: &[Algorithm] = &[Algorithm::Crc64Nvme, Algorithm::Crc32];

/// What the object's checksums are after a put, then after an upload in parts.
async fn stored_with(s3: &FakeS3, store: &S3Store) -> [Vec<Algorithm>; 2] {
    let mut found = [Vec::new(), Vec::new()];
    for (in_parts, found) in [false, true].into_iter().zip(&mut found) {
        let bytes = noise(6 * MIB);
        if in_parts { put_in_parts(store, &bytes, 5 * MIB).await } else { put(store, &bytes).await }.unwrap();
        assert!(s3.body(KEY).unwrap() == bytes);
        *found = s3.objects()[KEY].checksums.keys().copied().collect();
        s3.forget(KEY);
    }
    found
}

#[tokio::test]
async fn a_store_without_crc64nvme_is_given_crc32_from_then_on() {
    let (s3, store) = fixture().await;
    s3.fail_next(Op::Any, Times::Forever, Fault::Refuse(Asked::Checksums(CRC64NVME), 400, "InvalidArgument"));
    assert_eq!(stored_with(&s3, &store).await, [[Algorithm::Crc32], [Algorithm::Crc32]]);
    let (puts, creates) = (s3.count(Op::PutObject), s3.count(Op::CreateUpload));
    stored_with(&s3, &store).await;
    assert_eq!((s3.count(Op::PutObject), s3.count(Op::CreateUpload)), (puts + 1, creates + 1));
}

#[tokio::test]
async fn the_crc32_of_a_whole_upload_is_reported() {
    let s3 = FakeS3::start(Options::default()).await;
    let store = connected(&s3, &BucketSettings { checksum: ChecksumChoice::Crc32, ..settings(&s3) }).await;
    let bytes = noise(11 * MIB);
    put_in_parts(&store, &bytes, 5 * MIB).await.unwrap();
    let head = store.head(&key()).await.unwrap().unwrap();
    assert_eq!((head.crc32, head.crc64nvme), (receipt(&bytes).crc32, None));
}

#[tokio::test]
async fn a_store_that_refuses_every_checksum_is_sent_none() {
    let (s3, store) = fixture().await;
    s3.fail_next(Op::Any, Times::Forever, Fault::Refuse(Asked::Checksums(BOTH), 400, "InvalidArgument"));
    // What stands there was computed by the store alone.
    assert_eq!(stored_with(&s3, &store).await, [[Algorithm::Crc64Nvme], [Algorithm::Crc64Nvme]]);
}

#[tokio::test]
async fn a_store_that_ignores_checksums_shows_none() {
    let (s3, store) = fixture().await;
    s3.fail_next(Op::Any, Times::Forever, Fault::NoChecksums);
    put_in_parts(&store, &noise(6 * MIB), 5 * MIB).await.unwrap();
    let head = store.head(&key()).await.unwrap().unwrap();
    assert_eq!((head.crc64nvme, head.crc32, head.bytes), (None, None, 6 * MIB as u64));
}

#[tokio::test]
async fn a_checksum_that_the_settings_name_is_not_given_up() {
    let s3 = FakeS3::start(Options::default()).await;
    let store = connected(&s3, &BucketSettings { checksum: ChecksumChoice::Crc64Nvme, ..settings(&s3) }).await;
    s3.fail_next(Op::Any, Times::Forever, Fault::Refuse(Asked::Checksums(CRC64NVME), 400, "InvalidArgument"));
    assert_eq!(kind(put(&store, &noise(9)).await), "invalid");
    assert_eq!(kind(store.create_upload(&key(), &label()).await), "invalid");
}

#[tokio::test]
async fn a_refusal_of_another_kind_weakens_nothing() {
    let (s3, store) = fixture().await;
    s3.fail_next(Op::PutObject, Times::Next(7), Fault::Status(400, "InvalidArgument"));
    assert_eq!(kind(put(&store, &noise(9)).await), "invalid");
    assert_eq!(s3.count(Op::PutObject), 7);
    assert_eq!(stored_with(&s3, &store).await, [[Algorithm::Crc64Nvme], [Algorithm::Crc64Nvme]]);
}

#[tokio::test]
async fn a_refusal_that_does_not_come_twice_weakens_nothing() {
    let (s3, store) = fixture().await;
    for op in [Op::PutObject, Op::CreateUpload, Op::UploadPart, Op::CompleteUpload] {
        s3.fail_next(op, Times::Next(1), Fault::Status(501, "NotImplemented"));
    }
    assert_eq!(stored_with(&s3, &store).await, [[Algorithm::Crc64Nvme], [Algorithm::Crc64Nvme]]);
    s3.pre_put(KEY, "somebody else's", &[]).await;
    let looks = s3.count(Op::HeadObject);
    assert_eq!(kind(put(&store, &noise(9)).await), "exists");
    assert_eq!(kind(put_in_parts(&store, &noise(9), MIB).await), "exists");
    assert_eq!((s3.count(Op::HeadObject), s3.overwrites()), (looks, 0), "the condition still goes with each");
}

#[tokio::test]
async fn what_head_says_is_passed_on_as_it_is() {
    let (s3, store) = fixture().await;
    put(&store, &noise(9)).await.unwrap();
    let told = async |lie| {
        s3.fail_next(Op::HeadObject, Times::Next(1), Fault::LieOnHead(lie));
        store.head(&key()).await.unwrap().unwrap()
    };
    assert_eq!(told(Lie::Bytes(8)).await.bytes, 8);
    assert_eq!(told(Lie::NoChecksum).await.crc64nvme, None);
    assert_ne!(told(Lie::WrongChecksum).await.crc64nvme, Some(receipt(&noise(9)).crc64nvme));
}

#[tokio::test]
async fn a_store_that_ignores_conditions_overwrites_so_the_archive_must_look_first() {
    let (s3, store) = fixture().await;
    s3.pre_put(KEY, "somebody else's", &[]).await;
    s3.fail_next(Op::Any, Times::Forever, Fault::IgnoreIfNoneMatch);
    put(&store, &noise(9)).await.unwrap();
    assert_eq!(s3.overwrites(), 1);
}
