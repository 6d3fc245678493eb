//! A bucket that refuses, stumbles or is away: nothing is charged, all of it is seen, and work goes on by itself.

use super::stores::paused;
use super::*;
use crate::support::rows::eventually;
use crate::support::s3::{Fault, Times};
use crate::support::world::until;

#[tokio::test(flavor = "multi_thread")]
async fn a_set_up_that_is_wrong_pauses_uploads_and_names_what_to_do_until_it_is_mended() {
    let denials = [
        ("s3:PutObject", "access_denied", "s3:PutObject"),
        ("s3:GetObject", "access_denied", "s3:ListBucket"),
        ("kms:GenerateDataKey", "kms", "kms:GenerateDataKey"),
    ];
    for (denied, reason, hint) in denials {
        let mut world = World::in_parts().await;
        world.set("bucket.sse", "\"aws:kms\"").set("bucket.kms_key_id", "\"arn:aws:kms:x\"");
        world.s3.deny(denied);
        world.ready(&id(1), small_and_large()).await;
        let daemon = world.daemon().await;
        paused(&daemon, reason).await;
        let status = || String::from_utf8(world.run(&["status"]).stdout).unwrap();
        let shown = until(|| Some(status()).filter(|text| text.contains("bucket") && text.contains(hint))).await;
        assert!(shown.is_some(), "{denied}: {}", status());
        world.until_logged(hint).await;
        assert_eq!(world.column(&id(1), "failures").await.as_deref(), Some("0"), "{denied}");
        world.s3.heal();
        assert_eq!(world.end_of(&id(1)).await, "done/archived", "{denied}");
        let page = daemon.get("/metrics").await.1;
        let over = page.lines().filter_map(|line| line.strip_prefix("kore_archiver_paused{what=\"bucket\","));
        assert_eq!(over.filter(|line| line.ends_with(" 1")).collect::<Vec<_>>(), [] as [&str; 0], "{denied}");
        world.assert_clean();
        assert_eq!(daemon.stop().await, 0);
    }
}

/// Each of them would be told once more that it is ready, by an account that may ask 60 times a minute.
#[tokio::test(flavor = "multi_thread")]
async fn a_paused_bucket_costs_no_requests_to_kore_but_those_of_who_tries_it() {
    let mut world = World::in_parts().await;
    world.set("poll.error", "{ initial = \"1s\", factor = 1.0, max = \"1s\" }").set("poll.jitter", "0.0");
    world.s3.deny("s3:PutObject");
    let ids: Vec<String> = (1..=10).map(id).collect();
    for id in &ids {
        world.ready(id, [SourceFile::new("small.wav", recording(1, 1000))]).await;
    }
    let daemon = world.daemon().await;
    until(|| (world.log_lines("\"paused\"").len() >= 5).then_some(())).await.expect("the bucket is tried again");
    let tries = world.log_lines("\"paused\"").len();
    let polls = world.kore.polls().len();
    assert!(polls <= ids.len() + 3 * tries, "{polls} polls, {tries} tries");
    world.s3.heal();
    for id in &ids {
        assert_eq!(world.end_of(id).await, "done/archived");
        assert_eq!(world.column(id, "failures").await.as_deref(), Some("0"));
    }
    assert_eq!(daemon.stop().await, 0);
}

/// As after a backup of the queue was put back: what it no longer knows is found in the bucket.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_found_in_the_bucket_does_not_prove_that_it_can_be_written_to() {
    let world = World::in_parts().await;
    world.ready(&id(1), small_and_large()).await;
    assert!(world.run_until_empty().await.success());
    world.execute("DELETE FROM recordings").await.unwrap();
    world.s3.deny("s3:PutObject");
    world.ready(&id(2), small_and_large()).await;
    let daemon = world.daemon().await;
    paused(&daemon, "access_denied").await;
    world.execute(&format!("UPDATE sessions SET state = 'pending' WHERE session_id = '{}'", id(1))).await.unwrap();
    assert_eq!(world.end_of(&id(1)).await, "done/archived");
    assert_eq!(world.log_lines("the pause is over"), [] as [&str; 0]);
    world.s3.heal();
    assert_eq!(world.end_of(&id(2)).await, "done/archived");
    world.until_logged("the pause is over").await;
    assert_eq!(daemon.stop().await, 0);
    world.assert_clean();
}

/// Nobody is left who could write before an hour is over.
#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_is_shown_as_paused_no_longer_than_somebody_needs_it() {
    let world = World::in_parts().await;
    world.s3.fail_next(Op::Any, Times::Forever, Fault::Status(503, "SlowDown"));
    world.ready(&id(1), small_and_large()).await;
    world.insert(&[&id(2)]).await;
    let later = "strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '+1 hour')";
    let second = format!("session_id = '{}'", id(2));
    world.execute(&format!("UPDATE sessions SET next_poll_at = {later} WHERE {second}")).await.unwrap();
    let daemon = world.daemon().await;
    paused(&daemon, "unavailable").await;
    world.execute(&format!("DELETE FROM sessions WHERE NOT {second}")).await.unwrap();
    world.until_logged("the pause is over").await;
    assert_eq!(daemon.stop().await, 0);
}

/// S3 says so where somebody else writes or deletes there at this moment.
#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_of_a_moment_is_looked_at_and_put_again_s4() {
    let world = World::in_parts().await;
    world.s3.fail_next(Op::PutObject, Times::Next(2), Fault::Status(409, "ConditionalRequestConflict"));
    world.ready(&id(1), small_and_large()).await;
    let daemon = world.daemon().await;
    assert_eq!(world.end_of(&id(1)).await, "done/archived");
    assert_eq!(world.log_lines("\"paused\""), [] as [&str; 0]);
    assert_eq!(daemon.stop().await, 0);
    world.assert_clean();
}

/// The first call of each copy is a HEAD, whose refusal says nothing of why.
#[tokio::test(flavor = "multi_thread")]
async fn keys_and_clocks_that_are_wrong_are_told_from_a_permission_that_is_missing_s8_s10() {
    for (code, reason) in [
        ("InvalidAccessKeyId", "credentials"),
        ("SignatureDoesNotMatch", "credentials"),
        ("RequestTimeTooSkewed", "clock"),
        ("AccessDenied", "access_denied"),
    ] {
        let world = World::in_parts().await;
        world.s3.fail_next(Op::Any, Times::Forever, Fault::Status(403, code));
        world.ready(&id(1), small_and_large()).await;
        let daemon = world.daemon().await;
        paused(&daemon, reason).await;
        world.s3.heal();
        assert_eq!(world.end_of(&id(1)).await, "done/archived", "{code}");
        assert_eq!(daemon.stop().await, 0);
    }
}

/// As after a rule that moves objects to an archive class.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_any_more_keeps_no_row_from_its_end() {
    let world = World::in_parts().await;
    world.ready(&id(1), small_and_large()).await;
    assert!(world.run_until_empty().await.success());
    world.s3.fail_next(Op::GetObject, Times::Forever, Fault::Status(403, "InvalidObjectState"));
    world.execute("UPDATE sessions SET state = 'pending'").await.unwrap();
    assert!(world.run_until_empty().await.success(), "{}", world.log());
    assert_eq!(world.column(&id(1), "state").await.as_deref(), Some("done"));
    assert!(world.s3.keys().contains(&key(&id(1), "session-2.json")), "{:?}", world.s3.keys());
    assert!(!world.log().contains("\"paused\""), "{}", world.log());
    world.assert_clean();
}

/// As in a store that has lost the bytes of objects which it still lists.
#[tokio::test(flavor = "multi_thread")]
async fn what_head_shows_and_get_does_not_find_has_its_place_taken_by_what_goes_beside() {
    let world = World::in_parts().await;
    world.ready(&id(1), small_and_large()).await;
    for name in ["small.wav", "large.wav", "session.json"] {
        world.s3.pre_put(&key(&id(1), name), b"lost".to_vec(), &[]).await;
    }
    world.s3.fail_next(Op::GetObject, Times::Forever, Fault::Status(404, "NoSuchKey"));
    assert!(world.run_until_empty().await.success(), "{}", world.log());
    assert_eq!(world.column(&id(1), "state").await.as_deref(), Some("done"));
    let keys = world.s3.keys();
    assert_eq!(keys.iter().filter(|key| key.contains(".conflict-")).count(), 2, "{keys:?}");
    assert!(keys.contains(&key(&id(1), "session-2.json")), "{keys:?}");
    assert!(!world.log().contains("\"paused\""), "{}", world.log());
    world.assert_clean();
}

/// Also of what knows keys alone.
#[tokio::test(flavor = "multi_thread")]
async fn every_line_of_an_attempt_says_whose_it_is() {
    let mut world = World::in_parts().await;
    world.set("log.level", "\"warn\"");
    for op in [Op::UploadPart, Op::AbortUpload] {
        world.s3.fail_next(op, Times::Forever, Fault::Status(403, "AccessDenied"));
    }
    world.ready(&id(1), small_and_large()).await;
    let daemon = world.daemon().await;
    world.until_logged("an upload could not be aborted").await;
    let line: serde_json::Value = serde_json::from_str(&world.log_lines("could not be aborted")[0]).unwrap();
    let told = ["session.id", "bot"].map(|name| line[name].as_str());
    assert_eq!(told, [Some(id(1).as_str()), Some("default")], "{line}");
    world.s3.heal();
    assert_eq!(world.end_of(&id(1)).await, "done/archived");
    assert_eq!(daemon.stop().await, 0);
}

/// Whoever deletes a row wants no more of its files.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_deleted_is_copied_no_further() {
    let mut world = World::new().await;
    world.set("transfer.concurrency", "1");
    let files: Vec<SourceFile> = (1..=6)
        .map(|n| SourceFile::new(&format!("{n}.wav"), recording(n, 200_000)).always(Quirk::Throttle(400_000)))
        .collect();
    world.ready(&id(1), files.clone()).await;
    let daemon = world.daemon().await;
    world.until_calls(Op::PutObject, 1).await;
    world.execute("DELETE FROM sessions").await.unwrap();
    world.kore.session(&id(2), Timeline::ready([SourceFile::new("a.wav", recording(9, 1000))]));
    world.insert(&[&id(2)]).await;
    assert_eq!(world.end_of(&id(2)).await, "done/archived");
    let fetched: u32 = files.iter().map(SourceFile::requests).sum();
    assert!(fetched <= 3, "{fetched} of 6 were fetched");
    assert_eq!(daemon.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_missing_and_keys_that_are_wrong_pause_uploads() {
    let mut world = World::in_parts().await;
    world.set("bucket.name", "\"elsewhere\"");
    world.ready(&id(1), small_and_large()).await;
    let daemon = world.daemon().await;
    paused(&daemon, "no_such_bucket").await;
    assert_eq!(daemon.stop().await, 0);
    let world = World::in_parts().await;
    let (access_key, secret_key) = world.s3.credentials();
    world.create_queue();
    let daemon = world.daemon().await;
    world.s3.rotate_credentials("AKIDOTHER", "another secret");
    world.ready(&id(1), small_and_large()).await;
    world.until_logged("\"paused\"").await;
    world.s3.rotate_credentials(&access_key, &secret_key);
    assert_eq!(world.end_of(&id(1)).await, "done/archived");
    assert_eq!(world.column(&id(1), "failures").await.as_deref(), Some("0"));
    world.assert_clean();
    assert_eq!(daemon.stop().await, 0);
}

const CALLS: [Op; 6] =
    [Op::HeadObject, Op::PutObject, Op::CreateUpload, Op::UploadPart, Op::CompleteUpload, Op::AbortUpload];

#[tokio::test(flavor = "multi_thread")]
async fn any_call_may_fail_once_in_any_way() {
    let faults = [
        Fault::SlowDown,
        Fault::Status(500, "InternalError"),
        Fault::DropBeforeApply,
        Fault::DropAfterApply,
        Fault::Hang(Duration::from_secs(3)),
    ];
    let mut worlds = Vec::new();
    for fault in faults {
        let mut world = World::in_parts().await;
        world.set("bucket.timeout", "\"2s\"");
        for op in CALLS {
            world.s3.fail_next(op, Times::Next(1), fault.clone());
        }
        let files = small_and_large();
        world.ready(&id(1), files.clone()).await;
        let daemon = world.daemon().await;
        worlds.push((fault, world, files, daemon));
    }
    for (fault, world, files, daemon) in worlds {
        assert_eq!(world.end_of(&id(1)).await, "done/archived", "{fault:?}");
        for file in &files {
            world.assert_holds(&key(&id(1), file.name()), file);
        }
        assert_eq!(world.s3.keys().len(), 3, "{fault:?}: {:?}", world.s3.keys());
        assert_eq!(world.column(&id(1), "failures").await.as_deref(), Some("0"), "{fault:?}");
        assert_eq!(world.rows("SELECT * FROM uploads WHERE upload_id IS NOT NULL").await.len(), 0, "{fault:?}");
        world.assert_clean();
        assert_eq!(daemon.stop().await, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_call_may_fail_for_a_while() {
    let mut worlds = Vec::new();
    for op in CALLS {
        let world = World::in_parts().await;
        world.s3.fail_next(op, Times::Next(7), Fault::Status(500, "InternalError"));
        let files = small_and_large();
        world.ready(&id(1), files.clone()).await;
        let daemon = world.daemon().await;
        worlds.push((op, world, files, daemon));
    }
    for (op, world, files, daemon) in worlds {
        assert_eq!(world.end_of(&id(1)).await, "done/archived", "{op:?}");
        for file in &files {
            world.assert_holds(&key(&id(1), file.name()), file);
        }
        assert_eq!(world.s3.keys().len(), 3, "{op:?}: {:?}", world.s3.keys());
        assert_eq!(world.column(&id(1), "failures").await.as_deref(), Some("0"), "{op:?}");
        world.assert_clean();
        assert_eq!(daemon.stop().await, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_lost_after_the_write_costs_no_second_object() {
    let world = World::in_parts().await;
    world.s3.fail_next(Op::PutObject, Times::Next(3), Fault::DropAfterApply);
    world.s3.fail_next(Op::CompleteUpload, Times::Next(3), Fault::DropAfterApply);
    let files = small_and_large();
    world.ready(&id(1), files.clone()).await;
    assert!(world.run_until_empty().await.success());
    for file in &files {
        world.assert_holds(&key(&id(1), file.name()), file);
        assert_eq!(file.requests(), 1);
    }
    assert_eq!((world.s3.keys().len(), world.s3.count(Op::CreateUpload)), (3, 1));
    world.assert_clean();
}

/// Nothing is left to write then: that the store answers again is seen by the look at what was written.
#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_was_away_when_the_last_sidecar_was_written_is_in_use_again_when_that_is_found() {
    let world = World::in_parts().await;
    // Somebody waits all the time, and writes nothing.
    world.kore.session(&id(2), Timeline::new().finally("call_in_progress"));
    world.insert(&[&id(2)]).await;
    // The file's calls go well, and the look whether there is a sidecar.
    world.s3.fail_after(Op::PutObject, 1, Times::Next(1), Fault::DropAfterApply);
    world.s3.fail_after(Op::HeadObject, 3, Times::Next(3), Fault::SlowDown);
    world.ready(&id(1), [SourceFile::new("small.wav", recording(1, 1000))]).await;
    let daemon = world.daemon().await;
    paused(&daemon, "unavailable").await;
    assert_eq!(world.end_of(&id(1)).await, "done/archived");
    assert_eq!((world.s3.keys().len(), world.s3.count(Op::PutObject)), (2, 2), "it was found");
    let shown = "kore_archiver_paused{what=\"bucket\",reason=\"unavailable\"}";
    eventually("the pause is over", async || daemon.metric(shown).await == Some(0.0)).await;
    assert_eq!(world.log_lines("the pause is over").len(), 1);
    assert_eq!(daemon.stop().await, 0);
    world.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_complete_that_says_200_and_means_an_error_or_a_conflict_is_done_over() {
    for fault in
        [Fault::ErrorIn200, Fault::Status(409, "ConditionalRequestConflict"), Fault::Status(404, "NoSuchUpload")]
    {
        let world = World::in_parts().await;
        world.s3.fail_next(Op::CompleteUpload, Times::Next(1), fault.clone());
        let files = small_and_large();
        world.ready(&id(1), files.clone()).await;
        assert!(world.run_until_empty().await.success(), "{fault:?}");
        world.assert_holds(&key(&id(1), "large.wav"), &files[1]);
        assert_eq!(world.s3.keys().len(), 3, "{fault:?}");
        world.assert_clean();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_somebody_ended_is_begun_anew_at_once() {
    let world = World::in_parts().await;
    world.s3.fail_next(Op::UploadPart, Times::Next(1), Fault::Status(404, "NoSuchUpload"));
    let files = small_and_large();
    world.ready(&id(1), files.clone()).await;
    assert!(world.run_until_empty().await.success());
    world.assert_holds(&key(&id(1), "large.wav"), &files[1]);
    assert_eq!(world.kore.polls().len(), 1);
    world.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_that_is_denied_is_tried_again_until_it_is_allowed() {
    let world = World::in_parts().await;
    world.s3.deny("s3:AbortMultipartUpload");
    let file = SourceFile::new("large.wav", recording(2, 3 * PART));
    let cut = Quirk::Cut { after: 2 * PART, how: crate::support::kore::Cut::Rst };
    let cut = file.clone().next(1, cut).next(1, Quirk::NoETag);
    world.ready(&id(1), [cut]).await;
    let daemon = world.daemon().await;
    assert_eq!(world.end_of(&id(1)).await, "done/archived");
    assert_eq!(world.s3.open_uploads().len(), 1);
    world.s3.heal();
    let aborted = until(|| world.s3.open_uploads().is_empty().then_some(())).await;
    assert!(aborted.is_some(), "{}", world.log());
    world.assert_clean();
    assert_eq!(daemon.stop().await, 0);
}

/// The store may be at it still, and of one that is completed and aborted at once the bytes may be gone later.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_whose_completion_was_never_answered_is_aborted_some_time_after_the_next_one_is_complete_s2() {
    let world = World::in_parts().await;
    world.s3.fail_next(Op::CompleteUpload, Times::Next(3), Fault::DropBeforeApply);
    let [_, large] = small_and_large();
    world.ready(&id(1), [large.clone()]).await;
    let daemon = world.daemon().await;
    assert_eq!(world.end_of(&id(1)).await, "done/archived");
    world.assert_holds(&key(&id(1), large.name()), &large);
    assert_eq!((world.s3.count(Op::CreateUpload), world.s3.count(Op::AbortUpload)), (2, 0));
    assert_eq!(world.s3.open_uploads().len(), 1, "it is left alone");
    let swept = until(|| world.s3.open_uploads().is_empty().then_some(())).await;
    assert!(swept.is_some(), "{:?}", world.s3.open_uploads());
    assert_eq!(world.s3.count(Op::AbortUpload), 1);
    assert_eq!(daemon.stop().await, 0);
}

/// As in Swift, where an abort of what the store lists still would take the object's parts.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_listed_beside_the_object_which_it_made_is_never_aborted_s2() {
    let world = World::in_parts().await;
    let [_, large] = small_and_large();
    for (number, times) in [(1, Times::Next(1)), (2, Times::Forever)] {
        world.s3.fail_next(Op::CompleteUpload, times, Fault::HalfDone);
        world.ready(&id(number), [large.clone()]).await;
        let daemon = world.daemon().await;
        assert_eq!(world.end_of(&id(number)).await, "done/archived");
        world.until_logged("may be made of its parts").await;
        assert_eq!(daemon.stop().await, 0);
    }
    // In the next run too, once another write has come through.
    let daemon = world.daemon().await;
    world.s3.heal();
    world.ready(&id(3), [large.clone()]).await;
    assert_eq!(world.end_of(&id(3)).await, "done/archived");
    assert_eq!((world.s3.count(Op::AbortUpload), world.s3.open_uploads().len()), (0, 2));
    for number in 1..=3 {
        world.assert_holds(&key(&id(number), large.name()), &large);
    }
    assert_eq!(daemon.stop().await, 0);
}

/// A store that says that it failed may be at it still.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_whose_completion_failed_is_aborted_when_the_next_one_is_complete_and_not_before_s1() {
    let world = World::in_parts().await;
    world.s3.fail_next(Op::CompleteUpload, Times::Next(3), Fault::Status(500, "InternalError"));
    let [_, large] = small_and_large();
    world.ready(&id(1), [large.clone()]).await;
    let daemon = world.daemon().await;
    assert_eq!(world.end_of(&id(1)).await, "done/archived");
    let calls: Vec<Op> = world.s3.calls().iter().map(|call| call.op).collect();
    let last = |op| calls.iter().rposition(|call| *call == op);
    assert!(last(Op::CompleteUpload) < last(Op::AbortUpload), "{calls:?}");
    assert_eq!((world.s3.count(Op::AbortUpload), world.s3.open_uploads().len()), (1, 0));
    assert_eq!(daemon.stop().await, 0);
}

/// It was under way when the daemon was stopped; the next run knows it.
#[tokio::test(flavor = "multi_thread")]
async fn a_completion_that_a_stop_cuts_off_is_in_doubt_in_the_next_run_too_s2() {
    let mut world = World::in_parts().await;
    world.set("transfer.drain_timeout", "\"1s\"");
    world.s3.fail_next(Op::CompleteUpload, Times::Forever, Fault::Hang(Duration::from_mins(1)));
    let [_, large] = small_and_large();
    world.ready(&id(1), [large.clone()]).await;
    let daemon = world.daemon().await;
    let told = "SELECT told_at FROM uploads WHERE told_at IS NOT NULL";
    eventually("it is told to complete", async || world.rows(told).await.len() == 1).await;
    assert_eq!(daemon.stop().await, 0);
    assert_eq!((world.rows(told).await.len(), world.s3.count(Op::AbortUpload)), (1, 0));
    world.s3.heal();
    let daemon = world.daemon().await;
    assert_eq!(world.end_of(&id(1)).await, "done/archived");
    assert_eq!((world.s3.count(Op::CreateUpload), world.s3.count(Op::AbortUpload)), (2, 0));
    assert_eq!(world.s3.open_uploads().len(), 1, "it is left alone");
    // The object is known to be the other one's.
    assert_eq!(world.rows(told).await.len(), 0);
    assert_eq!(daemon.stop().await, 0);
}
