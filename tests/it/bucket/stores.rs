//! Stores that are not quite S3, and stores that lie.

use super::*;
use crate::support::rows::eventually;
use crate::support::s3::{Asked, Fault, Lie, Times};
use crate::support::world::Daemon;

async fn archive(world: &World) -> [SourceFile; 2] {
    let files = small_and_large();
    world.ready(&id(1), files.clone()).await;
    assert!(world.run_until_empty().await.success());
    for file in &files {
        world.assert_holds(&key(&id(1), file.name()), file);
    }
    world.assert_clean();
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_keeps_no_checksums_is_read_back() {
    let world = World::in_parts().await;
    world.s3.fail_next(Op::Any, Times::Forever, Fault::NoChecksums);
    archive(&world).await;
    assert_eq!(world.s3.count(Op::GetObject), 3);
    // And once more when somebody asks again.
    world.execute("UPDATE sessions SET state = 'pending'").await.unwrap();
    assert!(world.run_until_empty().await.success());
    assert_eq!(world.s3.count(Op::PutObject), 2);
}

/// The fake reports a CRC64NVME of everything, as S3 does.
#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_reading_back_gets_it_whatever_the_store_reports() {
    let mut world = World::in_parts().await;
    world.set("bucket.checksum", "\"read_back\"");
    archive(&world).await;
    let read = |name: &str| world.s3.calls().iter().any(|call| call.op == Op::GetObject && call.key.ends_with(name));
    assert!(world.s3.keys().iter().all(|key| read(key)), "{:?}", world.s3.calls());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_refuses_crc64nvme_gets_crc32_and_one_that_refuses_both_is_read_back() {
    for refused in [&[Algorithm::Crc64Nvme][..], &[Algorithm::Crc64Nvme, Algorithm::Crc32]] {
        let world = World::in_parts().await;
        let refused: &'static [Algorithm] = Box::leak(refused.into());
        world.s3.fail_next(Op::Any, Times::Forever, Fault::Refuse(Asked::Checksums(refused), 400, "InvalidArgument"));
        archive(&world).await;
        assert_eq!(world.s3.objects()[&key(&id(1), "large.wav")].bytes, 2 * PART + 77);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_whose_object_lock_sets_a_retention_is_told_how_each_object_is_proved_s12() {
    for checksum in ["auto", "crc64nvme", "crc32"] {
        let mut world = World::in_parts().await;
        world.set("bucket.checksum", &format!("{checksum:?}"));
        world.s3.fail_next(Op::PutObject, Times::Forever, Fault::Refuse(Asked::Trust, 400, "InvalidRequest"));
        archive(&world).await;
    }
}

/// What a store may refuse, where, and with which words: nothing of it is what a person must put right.
const REFUSALS: &[&[(Op, Fault)]] = &[
    &[(Op::Any, Fault::Refuse(Asked::Condition, 501, "NotImplemented"))],
    &[(Op::Any, Fault::Refuse(Asked::Condition, 400, "InvalidArgument"))],
    &[(Op::CompleteUpload, Fault::Refuse(Asked::Condition, 501, "NotImplemented"))],
    &[(Op::PutObject, Fault::Refuse(Asked::Condition, 400, "InvalidRequest"))],
    &[(Op::CompleteUpload, Fault::Refuse(Asked::WholeChecksum, 400, "InvalidArgument"))],
    &[(Op::CompleteUpload, Fault::Refuse(Asked::WholeChecksum, 400, "BadDigest"))],
    &[(Op::CompleteUpload, Fault::Refuse(Asked::PartChecksums, 400, "MalformedXML"))],
    &[(Op::Any, Fault::CompositeOnly)],
    &[(Op::CompleteUpload, Fault::Refuse(Asked::ObjectSize, 501, "NotImplemented"))],
    &[(Op::CompleteUpload, Fault::Refuse(Asked::ObjectSize, 400, "InvalidRequest"))],
    &[(Op::Any, Fault::Refuse(Asked::Checksums(&[Algorithm::Crc64Nvme]), 400, "BadRequest"))],
    &[(Op::UploadPart, Fault::Refuse(Asked::Checksums(&[Algorithm::Crc64Nvme, Algorithm::Crc32]), 400, ""))],
    // All of it at once.
    &[
        (Op::Any, Fault::Refuse(Asked::Condition, 501, "NotImplemented")),
        (Op::Any, Fault::Refuse(Asked::Checksums(&[Algorithm::Crc64Nvme]), 400, "BadRequest")),
        (Op::CompleteUpload, Fault::Refuse(Asked::WholeChecksum, 400, "InvalidArgument")),
        (Op::CompleteUpload, Fault::Refuse(Asked::ObjectSize, 501, "NotImplemented")),
    ],
];

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_refuses_what_it_does_not_know_is_found_out_and_archives_all_the_same() {
    let mut worlds = Vec::new();
    for refusals in REFUSALS {
        let world = World::in_parts().await;
        for (op, fault) in *refusals {
            world.s3.fail_next(*op, Times::Forever, fault.clone());
        }
        let files = small_and_large();
        world.ready(&id(1), files.clone()).await;
        worlds.push((refusals, files, world.daemon().await, world));
    }
    for (refusals, files, daemon, world) in worlds {
        assert_eq!(world.end_of(&id(1)).await, "done/archived", "{refusals:?}: {}", world.log());
        for file in &files {
            world.assert_holds(&key(&id(1), file.name()), file);
            assert_eq!(file.requests(), 1, "{refusals:?}: {}", world.log());
        }
        assert_eq!((world.s3.keys().len(), world.s3.count(Op::CreateUpload) <= 3), (3, true), "{refusals:?}");
        let (_, page) = daemon.get("/metrics").await;
        let pauses = page.lines().filter(|line| line.contains("what=\"bucket\"") && line.ends_with(" 1"));
        assert_eq!(pauses.count(), 0, "{refusals:?}");
        assert!(!world.log().contains("\"paused\""), "{refusals:?}: {}", world.log());
        world.assert_clean();
        assert_eq!(daemon.stop().await, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_there_is_left_on_a_store_that_refuses_conditions() {
    let world = World::in_parts().await;
    world.s3.fail_next(Op::Any, Times::Forever, Fault::Refuse(Asked::Condition, 501, "NotImplemented"));
    for name in ["small.wav", "large.wav", "session.json"] {
        world.s3.pre_put(&key(&id(1), name), vec![7; 10], &[]).await;
    }
    world.ready(&id(1), small_and_large()).await;
    assert!(world.run_until_empty().await.success());
    assert_eq!(world.s3.keys().len(), 6);
    world.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_reports_no_checksum_or_not_of_what_is_read_back() {
    for lie in [Lie::NoChecksum, Lie::Untyped] {
        let world = World::in_parts().await;
        world.s3.fail_next(Op::HeadObject, Times::Forever, Fault::LieOnHead(lie));
        archive(&world).await;
        assert_eq!(world.s3.count(Op::GetObject), 3, "{lie:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_ignores_conditions_is_looked_at_before_each_write() {
    let world = World::in_parts().await;
    world.s3.fail_next(Op::Any, Times::Forever, Fault::IgnoreIfNoneMatch);
    world.s3.pre_put(&key(&id(1), "small.wav"), vec![7; 10], &[]).await;
    world.s3.pre_put(&key(&id(1), "large.wav"), vec![7; 10], &[]).await;
    world.s3.pre_put(&key(&id(1), "session.json"), vec![7; 10], &[]).await;
    world.ready(&id(1), small_and_large()).await;
    assert!(world.run_until_empty().await.success());
    assert_eq!(world.s3.keys().len(), 6);
    world.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_lies_about_an_object_is_never_believed_and_gets_no_second_one() {
    for lie in [Lie::Bytes(999), Lie::WrongChecksum, Lie::DeleteMarker] {
        let world = World::in_parts().await;
        let files = small_and_large();
        world.s3.fail_next(Op::HeadObject, Times::Forever, Fault::LieOnHead(lie));
        world.ready(&id(1), files.clone()).await;
        let daemon = world.daemon().await;
        paused(&daemon, "mismatch").await;
        world.until_calls(Op::HeadObject, 12).await;
        assert_eq!(world.column(&id(1), "state").await.as_deref(), Some("pending"), "{lie:?}");
        assert_eq!(world.column(&id(1), "failures").await.as_deref(), Some("0"), "{lie:?}");
        world.s3.heal();
        assert_eq!(world.end_of(&id(1)).await, "done/archived", "{lie:?}");
        for file in &files {
            world.assert_holds(&key(&id(1), file.name()), file);
        }
        assert_eq!(world.s3.keys().len(), 3, "{lie:?}: {:?}", world.s3.keys());
        world.assert_clean();
        assert_eq!(daemon.stop().await, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bit_that_turns_over_on_the_way_is_never_seen_in_the_bucket() {
    let world = World::in_parts().await;
    world.s3.fail_next(Op::PutObject, Times::Next(2), Fault::FlipBit);
    world.s3.fail_next(Op::UploadPart, Times::Next(2), Fault::FlipBit);
    archive(&world).await;
    assert!(world.s3.calls().iter().any(|call| call.op == Op::UploadPart && call.status == Some(400)));
}

/// Waits until uploads are paused for this reason.
pub(super) async fn paused(daemon: &Daemon, reason: &str) {
    let line = format!("kore_archiver_paused{{what=\"bucket\",reason=\"{reason}\"}}");
    eventually(&line, async || daemon.metric(&line).await == Some(1.0)).await;
}

/// Its condition would not keep us from overwriting what came while the parts went up: only a look right before does.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_ignores_conditions_is_looked_at_again_before_an_upload_is_completed() {
    let world = World::in_parts().await;
    world.s3.fail_next(Op::Any, Times::Forever, Fault::IgnoreIfNoneMatch);
    let file = SourceFile::new("large.wav", recording(2, 2 * PART + 7)).always(Quirk::Throttle(8_000_000));
    world.ready(&id(1), [file.clone()]).await;
    let daemon = world.daemon().await;
    world.until_calls(Op::UploadPart, 1).await;
    world.s3.pre_put(&key(&id(1), "large.wav"), vec![7; 10], &[]).await;
    assert_eq!(world.end_of(&id(1)).await, "done/archived");
    assert_eq!(world.s3.body(&key(&id(1), "large.wav")).unwrap().len(), 10, "what was there stays");
    let beside = format!("{}.conflict-{}", key(&id(1), "large.wav"), &file.body().sha256()[..8]);
    world.assert_holds(&beside, &file);
    world.assert_clean();
    assert_eq!(daemon.stop().await, 0);
}
