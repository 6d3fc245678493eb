//! What lands in the bucket, and how: sizes, labels, adoption, conflicts.

mod stores;
mod trouble;

use crate::support::kore::{Framing, Quirk, SourceFile, Timeline};
use crate::support::media;
use crate::support::s3::{Algorithm, Fault, Op, Times};
use crate::support::scene::{PART, key, recording, small_and_large};
use crate::support::world::{World, id};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_small_file_is_one_put_with_its_label_and_a_checksum_that_the_store_verified() {
    let mut world = World::new().await;
    let owner = format!("\"{}\"", world.s3.owner());
    world
        .set("bucket.storage_class", "\"STANDARD_IA\"")
        .set("bucket.sse", "\"aws:kms\"")
        .set("bucket.kms_key_id", "\"arn:aws:kms:eu-central-1:111122223333:key/1\"")
        .set("bucket.expected_owner", &owner)
        .set("bucket.tags", "{ team = \"voice + data\" }");
    for (sample, number) in media::one_of_each(7, Duration::from_secs(2)).into_iter().zip(1..) {
        world.ready(&id(number), [SourceFile::new(sample.file_name, sample.bytes)]).await;
    }
    let daemon = world.daemon().await;
    for (sample, number) in media::one_of_each(7, Duration::from_secs(2)).into_iter().zip(1..) {
        assert_eq!(
            world.end_of(&id(number)).await,
            "done/archived",
            "{} {:?}",
            sample.file_name,
            world.rows("SELECT * FROM recordings").await
        );
        let object = world.s3.objects().remove(&key(&id(number), sample.file_name)).unwrap();
        let row = world.recorded(&id(number), sample.file_name).await;
        world.assert_labelled(&key(&id(number), sample.file_name), &id(number));
        assert_eq!(object.metadata["sha256"], object.sha256);
        assert_eq!(row["sha256"], Some(object.sha256));
        assert_eq!(row["crc64nvme"].as_ref(), object.checksums.get(&Algorithm::Crc64Nvme));
        assert_eq!((row["etag"].clone(), row["content_type"].clone()), (Some(object.etag), object.content_type));
        assert!(row["content_type"].as_ref().is_some_and(|kind| kind.starts_with("audio/")), "{row:?}");
        assert_eq!(object.storage_class.as_deref(), Some("STANDARD_IA"));
        assert_eq!((object.encryption.as_deref(), object.kms_key.is_some()), (Some("aws:kms"), true));
        assert_eq!(object.tags.as_deref(), Some("team=voice%20%2B%20data"));
    }
    world.assert_clean();
    assert_eq!(daemon.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_store_is_to_encrypt_with_its_own_key_says_so_in_one_piece_and_in_parts() {
    let mut world = World::in_parts().await;
    world.set("bucket.sse", "\"AES256\"");
    let files = [("small.wav", 1000), ("large.wav", PART + 1)];
    world.ready(&id(1), files.map(|(name, bytes)| SourceFile::new(name, recording(bytes, bytes)))).await;
    assert!(world.run_until_empty().await.success(), "{}", world.log());
    let objects = world.s3.objects();
    assert_eq!(objects.len(), 3);
    for (key, object) in objects {
        assert_eq!((object.encryption.as_deref(), object.kms_key), (Some("AES256"), None), "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_size_around_the_parts_is_archived_whole_with_and_without_a_known_length() {
    let world = World::in_parts().await;
    let sizes = [45, 1000, PART - 1, PART, PART + 1, 2 * PART, 2 * PART + 7, 3 * PART];
    let mut files = Vec::new();
    for (size, seed) in sizes.into_iter().zip(1..) {
        files.push(SourceFile::new(&format!("known-{size}.wav"), recording(seed, size)));
        let chunked = SourceFile::new(&format!("chunked-{size}.wav"), recording(seed, size));
        files.push(chunked.always(Quirk::Framed(Framing::Chunked)));
    }
    world.ready(&id(1), files.clone()).await;
    assert!(world.run_until_empty().await.success());
    let objects = world.s3.objects();
    for file in &files {
        let key = key(&id(1), file.name());
        world.assert_holds(&key, file);
        assert_eq!(file.requests(), 1, "{}", file.name());
        let object = &objects[&key];
        let in_one_piece = file.body().len() <= PART;
        assert_eq!(object.metadata.contains_key("sha256"), in_one_piece, "{}", file.name());
        world.assert_labelled(&key, &id(1));
        assert_eq!(object.content_type.as_deref(), Some("audio/wav"), "{}", file.name());
        let row = world.recorded(&id(1), file.name()).await;
        assert_eq!(row["crc64nvme"].as_ref(), object.checksums.get(&Algorithm::Crc64Nvme), "{}", file.name());
        assert_eq!(row["bytes"], Some(file.body().len().to_string()));
    }
    let uploads = 2 * sizes.iter().filter(|size| **size > PART).count();
    assert_eq!((world.s3.count(Op::CreateUpload), world.s3.count(Op::CompleteUpload)), (uploads, uploads));
    assert_eq!(world.rows("SELECT * FROM uploads").await.len(), 0);
    world.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_already_with_the_same_bytes_is_adopted_whatever_its_size() {
    let world = World::in_parts().await;
    let (small, large) =
        (SourceFile::new("small.wav", recording(1, 1000)), SourceFile::new("large.wav", recording(2, 2 * PART)));
    for file in [&small, &large] {
        world.s3.pre_put(&key(&id(1), file.name()), file.body().to_vec(), &[]).await;
    }
    world.ready(&id(1), [small.clone(), large.clone()]).await;
    assert!(world.run_until_empty().await.success());
    assert_eq!((world.s3.count(Op::PutObject), world.s3.count(Op::CreateUpload)), (1, 0), "the sidecar alone");
    assert_eq!(world.rows("SELECT * FROM recordings").await.len(), 2);
    world.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn other_bytes_under_a_key_stay_and_the_recording_goes_beside_them_with_a_warning() {
    let world = World::in_parts().await;
    let (small, large) =
        (SourceFile::new("small.wav", recording(1, 1000)), SourceFile::new("large.wav", recording(2, 2 * PART)));
    world.s3.pre_put(&key(&id(1), "small.wav"), vec![7; 1000], &[]).await;
    world.s3.pre_put(&key(&id(1), "large.wav"), vec![7; 10], &[]).await;
    world.ready(&id(1), [small.clone(), large.clone()]).await;
    let daemon = world.daemon().await;
    assert_eq!(world.end_of(&id(1)).await, "done/archived");
    for file in [&small, &large] {
        let beside = format!("{}.conflict-{}", key(&id(1), file.name()), &file.body().sha256()[..8]);
        world.assert_holds(&beside, file);
        world.assert_labelled(&beside, &id(1));
        assert_eq!(world.recorded(&id(1), file.name()).await["key"].as_ref(), Some(&beside));
        world.until_logged(&beside).await;
    }
    assert_eq!(world.s3.body(&key(&id(1), "small.wav")).unwrap(), vec![7; 1000]);
    assert_eq!(world.rows("SELECT * FROM events WHERE kind = 'conflict'").await.len(), 2);
    // Sent back, it is found where it is.
    let puts = world.s3.count(Op::PutObject);
    world.execute("UPDATE sessions SET state = 'pending'").await.unwrap();
    assert_eq!(world.end_of(&id(1)).await, "done/archived");
    assert_eq!((world.s3.count(Op::PutObject), small.requests()), (puts, 1));
    world.assert_clean();
    assert_eq!(daemon.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_sent_back_fetches_nothing_and_writes_nothing_unless_something_vanished() {
    let world = World::in_parts().await;
    let (small, large) =
        (SourceFile::new("small.wav", recording(1, 1000)), SourceFile::new("large.wav", recording(2, 2 * PART)));
    world.ready(&id(1), [small.clone(), large.clone()]).await;
    let daemon = world.daemon().await;
    world.end_of(&id(1)).await;
    for again in [
        "UPDATE sessions SET state = 'pending'",
        "INSERT OR REPLACE INTO sessions (session_id) SELECT session_id FROM sessions",
    ] {
        world.execute(again).await.unwrap();
        assert_eq!(world.end_of(&id(1)).await, "done/archived");
        assert_eq!((small.requests(), large.requests()), (1, 1));
        assert_eq!((world.s3.count(Op::PutObject), world.s3.count(Op::CreateUpload)), (2, 1));
    }
    for file in [&small, &large] {
        world.s3.forget(&key(&id(1), file.name()));
        world.execute("UPDATE sessions SET state = 'pending'").await.unwrap();
        assert_eq!(world.end_of(&id(1)).await, "done/archived");
        world.assert_holds(&key(&id(1), file.name()), file);
    }
    assert_eq!((small.requests(), large.requests()), (2, 2));
    assert_eq!(world.s3.keys().len(), 3);
    world.assert_clean();
    assert_eq!(daemon.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_grew_while_a_url_ran_out_is_archived_whole() {
    let world = World::new().await;
    let (one, other) = (SourceFile::new("a.wav", recording(1, 1000)), SourceFile::new("b.wav", recording(2, 2000)));
    let late = one.clone().next(1, Quirk::Code(403));
    let timeline = Timeline::new().polls(1, crate::support::kore::Answer::success([late]));
    world.kore.session(&id(1), timeline.finally(crate::support::kore::Answer::success([one.clone(), other.clone()])));
    world.insert(&[&id(1)]).await;
    assert!(world.run_until_empty().await.success());
    assert_eq!(world.kore.polls().len(), 2);
    for file in [&one, &other] {
        world.assert_holds(&key(&id(1), file.name()), file);
    }
    assert_eq!(world.sidecar(&key(&id(1), "session.json"))["recordings"].as_array().unwrap().len(), 2);
    world.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_that_fails_is_sent_again_after_a_look_and_pauses_nothing_s1() {
    let world = World::new().await;
    world.s3.fail_next(Op::Any, Times::Forever, Fault::IgnoreIfNoneMatch);
    world.s3.fail_next(Op::PutObject, Times::Next(2), Fault::SlowDown);
    world.ready(&id(1), [SourceFile::new("call.wav", recording(1, 5000))]).await;
    let _daemon = world.daemon().await;
    assert_eq!(world.end_of(&id(1)).await, "done/archived");
    let of_file =
        world.s3.calls().into_iter().filter(|call| !call.key.ends_with("session.json") && !call.key.is_empty());
    let order: Vec<_> = of_file.map(|call| (call.op, call.status)).collect();
    let (head, put) = (Op::HeadObject, Op::PutObject);
    let missing = (head, Some(404));
    let slow = (put, Some(503));
    assert_eq!(order, [missing, slow, missing, slow, missing, (put, Some(200)), (head, Some(200))]);
    assert!(world.log_lines("\"paused\"").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_completion_that_fails_is_sent_again_after_a_look_and_no_part_is_s1() {
    let world = World::in_parts().await;
    world.s3.fail_next(Op::Any, Times::Forever, Fault::IgnoreIfNoneMatch);
    world.s3.fail_next(Op::CompleteUpload, Times::Next(2), Fault::SlowDown);
    world.ready(&id(1), [SourceFile::new("call.wav", recording(1, PART + 5000))]).await;
    let _daemon = world.daemon().await;
    assert_eq!(world.end_of(&id(1)).await, "done/archived");
    let [creations, parts, completions] =
        [Op::CreateUpload, Op::UploadPart, Op::CompleteUpload].map(|op| world.s3.count(op));
    assert_eq!((creations, parts, completions), (1, 2, 3));
    let calls = world.s3.calls();
    let before = calls.windows(2).filter(|pair| pair[1].op == Op::CompleteUpload).map(|pair| pair[0].op);
    assert!(before.eq([Op::HeadObject; 3]), "{calls:?}");
    assert!(world.log_lines("\"paused\"").is_empty());
}
