//! Sources that break off, stall, run out or send something else, while parts are on their way to the bucket.

use crate::support::kore::{Answer, Body, Cut, Framing, Quirk, Ranges, SourceFile, Target, Timeline};
use crate::support::media;
use crate::support::rows::eventually;
use crate::support::s3::Op;
use crate::support::scene::{PART, key, recording};
use crate::support::world::{World, id, until};
use std::time::Duration;

const LENGTH: u64 = 2 * PART + 70_000;
/// In the second part.
const MIDDLE: u64 = PART + 1_000_000;

fn large(name: &str) -> SourceFile {
    SourceFile::new(name, recording(name.len() as u64, LENGTH))
}

/// Archives these, one a session, and says how often Kore was asked about each.
async fn archive(world: &World, files: &[SourceFile]) -> Vec<usize> {
    for (file, number) in files.iter().zip(0..) {
        world.ready(&id(number), [file.clone()]).await;
    }
    let daemon = world.daemon().await;
    for (file, number) in files.iter().zip(0..) {
        assert_eq!(world.end_of(&id(number)).await, "done/archived", "{}", file.name());
        world.assert_holds(&key(&id(number), file.name()), file);
        assert_eq!(world.column(&id(number), "failures").await.as_deref(), Some("0"), "{}", file.name());
    }
    assert_eq!(world.s3.keys().len(), 2 * files.len());
    world.assert_clean();
    assert_eq!(daemon.stop().await, 0);
    (0..).take(files.len()).map(|number| world.kore.polls_of(&id(number)).len()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_breaks_off_goes_on_where_the_host_proves_that_it_is_the_same_file() {
    let world = World::in_parts().await;
    let cut = |how| Quirk::Cut { after: MIDDLE, how };
    let files = [
        large("fin.wav").next(1, cut(Cut::Fin)),
        large("reset.wav").next(1, cut(Cut::Rst)),
        large("at-the-edge-of-a-part.wav").next(1, Quirk::Cut { after: PART, how: Cut::Fin }),
        large("stalls.wav").next(1, Quirk::Stall { after: MIDDLE }),
        large("whole-again.wav").next(1, cut(Cut::Fin)).nth(1, Quirk::Ranges(Ranges::Ignored)),
    ];
    let polls = archive(&world, &files).await;
    assert_eq!(polls, [1; 5], "none was begun anew");
    assert!(files.iter().all(|file| file.requests() == 2));
    assert_eq!(world.s3.count(Op::CreateUpload), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_breaks_off_is_begun_anew_where_nothing_proves_that_it_goes_on() {
    let world = World::in_parts().await;
    let cut = || Quirk::Cut { after: MIDDLE, how: Cut::Rst };
    let bent = |name, quirk| large(name).next(1, cut()).nth(1, quirk);
    let files = [
        large("no-tag.wav").always(Quirk::NoETag).next(1, cut()),
        large("no-tag-chunked.wav").always(Quirk::Framed(Framing::Chunked)).next(1, cut()),
        bent("other-tag.wav", Quirk::ETag("\"another\"")),
        bent("shifted.wav", Quirk::Ranges(Ranges::Shifted)),
        bent("misnamed.wav", Quirk::Ranges(Ranges::Misnamed)),
        bent("416.wav", Quirk::Ranges(Ranges::Unsatisfiable)),
    ];
    let polls = archive(&world, &files).await;
    assert_eq!(polls, [2; 6]);
    // One that was reset before its first part was read had begun none.
    assert_eq!(world.s3.count(Op::AbortUpload), world.s3.count(Op::CreateUpload) - 6);
    assert_ne!(world.s3.count(Op::AbortUpload), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_that_runs_out_before_or_during_the_download_is_asked_for_again() {
    let world = World::in_parts().await;
    let before = large("before.wav").next(1, Quirk::Code(403));
    let during = large("during.wav");
    let during = during.next(1, Quirk::Cut { after: MIDDLE, how: Cut::Fin }).nth(1, Quirk::Code(410));
    assert_eq!(archive(&world, &[before, during]).await, [2, 2]);
    // Two files of a session, one of them gone: the other is fetched once.
    let world = World::in_parts().await;
    let (sound, late) = (large("sound.wav"), large("late.wav").next(1, Quirk::Code(404)));
    world.ready(&id(1), [sound.clone(), late.clone()]).await;
    assert!(world.run_until_empty().await.success());
    assert_eq!((sound.requests(), late.requests()), (1, 2));
    world.assert_clean();
}

/// By its own time, which the daemon reads and the host enforces.
#[tokio::test(flavor = "multi_thread")]
async fn a_url_that_expires_between_the_poll_and_the_download_or_during_it_is_asked_for_again_d6() {
    let mut world = World::in_parts().await;
    world.set("transfer.concurrency", "1");
    // The first keeps the only place until the second's URL is old.
    let slow = SourceFile::new("slow.wav", recording(1, 120_000)).always(Quirk::Throttle(40_000));
    let between = SourceFile::new("between.wav", recording(2, 1000)).expires_in(2);
    world.ready(&id(1), [slow.clone(), between.clone()]).await;
    assert!(world.run_until_empty().await.success(), "{}", world.log());
    for file in [&slow, &between] {
        world.assert_holds(&key(&id(1), file.name()), file);
        assert_eq!(file.requests(), 1, "{}", file.name());
    }
    assert_eq!(world.kore.polls().len(), 2);
    // What breaks off later than that cannot go on.
    let during = large("during.wav").expires_in(2);
    let bent = during.clone().next(1, Quirk::Throttle(2_000_000)).next(1, Quirk::Cut { after: MIDDLE, how: Cut::Fin });
    world.ready(&id(2), [bent]).await;
    assert!(world.run_until_empty().await.success(), "{}", world.log());
    world.assert_holds(&key(&id(2), during.name()), &during);
    assert_eq!((world.kore.polls_of(&id(2)).len(), during.requests()), (2, 2));
    for number in 1..=2 {
        assert_eq!(world.column(&id(number), "failures").await.as_deref(), Some("0"), "{number}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_that_is_old_when_kore_gives_it_is_charged_to_its_row_until_a_fresh_one_comes_d6() {
    let world = World::new().await;
    let file = SourceFile::new("a.wav", recording(1, 1000)).expires_in(-60);
    world.ready(&id(1), [file.clone()]).await;
    let daemon = world.daemon().await;
    let failures = async || world.column(&id(1), "failures").await.is_some_and(|failures| failures != "0");
    eventually("it is charged", failures).await;
    assert_eq!(file.requests(), 0, "the host takes no such URL");
    let file = file.expires_in(3600);
    assert_eq!(world.end_of(&id(1)).await, "done/archived");
    world.assert_holds(&key(&id(1), "a.wav"), &file);
    assert_eq!(daemon.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_that_is_never_honoured_is_charged_to_its_row_and_ends_it_as_not_found() {
    let mut world = World::in_parts().await;
    world.set("poll.max_failures", "3").set("poll.fail_after", "\"1s\"");
    let (gone, sound) = (large("gone.wav").always(Quirk::Code(404)), large("sound.wav"));
    world.ready(&id(1), [gone, sound.clone()]).await;
    assert_eq!(world.run_until_empty().await.code(), Some(3));
    assert_eq!(world.column(&id(1), "reason").await.as_deref(), Some("not_found"));
    world.assert_holds(&key(&id(1), "sound.wav"), &sound);
    assert_eq!(sound.requests(), 1, "what is archived is not fetched again");
    world.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_within_the_hosts_are_followed_and_others_wait_for_the_settings() {
    let world = World::in_parts().await;
    let target = large("target.wav");
    world.kore.serve(&target);
    let near = SourceFile::new("near.wav", recording(10, LENGTH)).always(Quirk::Redirect(Target::File(target.clone())));
    let far = large("far.wav").always(Quirk::Redirect(Target::To("http://169.254.169.254/latest?s=secret".into())));
    let around = large("around.wav").always(Quirk::Redirect(Target::Itself));
    for (file, number) in [&near, &far, &around].into_iter().zip(1..) {
        world.ready(&id(number), [file.clone()]).await;
    }
    let daemon = world.daemon().await;
    assert_eq!(world.end_of(&id(1)).await, "done/archived");
    world.assert_holds(&key(&id(1), "near.wav"), &target);
    world.until_logged("169.254.169.254").await;
    crate::support::world::until(|| (around.requests() > 4).then_some(())).await.expect("it is tried again");
    assert_eq!(world.column(&id(2), "failures").await.as_deref(), Some("0"));
    assert_ne!(world.column(&id(3), "failures").await.as_deref(), Some("0"));
    world.assert_clean();
    assert_eq!(daemon.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_fails_and_its_siblings_are_archived() {
    let mut world = World::in_parts().await;
    world.set("transfer.max_bytes", "\"10MiB\"");
    let sound = SourceFile::new("sound.wav", recording(1, PART + 1));
    for (number, framing) in
        [(1, Framing::Length), (2, Framing::Chunked), (3, Framing::LengthText("18446744073709551615"))]
    {
        let large = SourceFile::new("large.wav", recording(2, 2 * PART + 1)).always(Quirk::Framed(framing));
        world.ready(&id(number), [large, sound.clone()]).await;
    }
    let daemon = world.daemon().await;
    for number in 1..=3 {
        assert_eq!(world.end_of(&id(number)).await, "failed/too_large", "{number}");
        world.assert_holds(&key(&id(number), "sound.wav"), &sound);
    }
    assert_eq!(world.s3.keys().len(), 3, "no sidecar says that they are complete");
    world.assert_clean();
    assert_eq!(daemon.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_file_is_charged_to_its_row_and_the_file_is_archived_when_it_comes() {
    let world = World::in_parts().await;
    let quirks = [
        Quirk::Gzip,
        Quirk::NoContent,
        Quirk::Ranges(Ranges::Unasked),
        Quirk::Framed(Framing::LengthAndChunked),
        Quirk::Code(451),
    ];
    let mut files = Vec::new();
    for (quirk, number) in quirks.into_iter().zip(0..) {
        let file = SourceFile::new("a.wav", recording(u64::from(number), LENGTH)).next(2, quirk);
        world.ready(&id(number), [file.clone()]).await;
        files.push(file);
    }
    let daemon = world.daemon().await;
    for (file, number) in files.iter().zip(0..) {
        assert_eq!(world.end_of(&id(number)).await, "done/archived");
        world.assert_holds(&key(&id(number), "a.wav"), file);
        assert_eq!(world.column(&id(number), "failures").await.as_deref(), Some("2"), "{number}");
    }
    world.assert_clean();
    assert_eq!(daemon.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_longer_than_it_said_is_charged_to_its_row_until_it_says_the_truth() {
    let world = World::in_parts().await;
    let second = Duration::from_secs(1);
    // Their containers tell no length: cut between two frames, each would be a whole recording.
    let zero = media::wav(media::WavShape::SizesZero, &media::speech(1, second));
    let without_a_count = media::mp3::mp3(second).bytes.split_off(144);
    let bodies: [(&str, Body, i64); 4] = [
        ("a.amr", media::telephony::amr(second).bytes.into(), 30 * 32),
        ("b.mp3", without_a_count.into(), 10 * 144),
        ("c.wav", zero.into(), 4000),
        ("d.wav", recording(4, LENGTH), 80_000),
    ];
    let mut files = Vec::new();
    for ((name, body, surplus), number) in bodies.into_iter().zip(0..) {
        let file = SourceFile::new(name, body).next(2, Quirk::Framed(Framing::LengthOff(-surplus)));
        world.ready(&id(number), [file.clone()]).await;
        files.push(file);
    }
    let daemon = world.daemon().await;
    for (file, number) in files.iter().zip(0..) {
        assert_eq!(world.end_of(&id(number)).await, "done/archived", "{}", file.name());
        world.assert_holds(&key(&id(number), file.name()), file);
        assert_eq!(world.column(&id(number), "failures").await.as_deref(), Some("2"), "{}", file.name());
        assert_eq!(file.requests(), 3, "{}", file.name());
    }
    assert_eq!(world.s3.keys().len(), 2 * files.len());
    world.until_logged("sent more than").await;
    world.assert_clean();
    assert_eq!(daemon.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_down_or_drips_is_waited_for_and_nobody_is_charged() {
    let world = World::in_parts().await;
    let files = [
        large("500.wav").next(2, Quirk::Code(500)),
        large("silent.wav").next(1, Quirk::Vanish(Cut::Rst)),
        large("drips.wav").next(1, Quirk::Drip(Duration::from_millis(200))),
    ];
    archive(&world, &files).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_files_of_the_last_list_are_what_done_means() {
    let world = World::in_parts().await;
    let (old, new) = (large("old.wav").always(Quirk::Code(404)), large("new.wav"));
    let timeline = Timeline::new().polls(1, Answer::success([old.clone()]));
    world.kore.session(&id(1), timeline.finally(Answer::success([new.clone()])));
    world.insert(&[&id(1)]).await;
    assert!(world.run_until_empty().await.success());
    world.assert_holds(&key(&id(1), "new.wav"), &new);
    assert_eq!(world.s3.keys().len(), 2);
    world.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_kore_says_when_it_is_asked_for_new_urls_counts_as_an_answer() {
    let world = World::new().await;
    let late = |name| SourceFile::new(name, recording(1, 1000)).next(1, Quirk::Code(403));
    world.ready(&id(1), [late("a.wav")]).await;
    let gone = Timeline::new().polls(1, Answer::success([late("b.wav")])).finally("recording_disabled");
    world.kore.session(&id(2), gone);
    world.insert(&[&id(2)]).await;
    let daemon = world.daemon().await;
    for (number, end, status) in
        [(1, "done/archived", "success"), (2, "unavailable/recording_disabled", "recording_disabled")]
    {
        assert_eq!(world.end_of(&id(number)).await, end);
        assert_eq!(world.column(&id(number), "polls").await.as_deref(), Some("2"));
        assert_eq!(world.column(&id(number), "kore_status").await.as_deref(), Some(status));
    }
    assert_eq!(daemon.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_is_empty_when_it_is_asked_for_new_urls_is_waited_for() {
    let world = World::new().await;
    let late = SourceFile::new("a.wav", recording(1, 1000)).next(1, Quirk::Code(403));
    let empty = Answer::success([]);
    let timeline = Timeline::new().polls(1, Answer::success([late.clone()])).polls(1, empty);
    world.kore.session(&id(1), timeline.finally(Answer::success([late])));
    world.insert(&[&id(1)]).await;
    let daemon = world.daemon().await;
    assert_eq!(world.end_of(&id(1)).await, "done/archived");
    assert_eq!(world.column(&id(1), "failures").await.as_deref(), Some("0"));
    assert_eq!(daemon.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_without_a_usable_url_keeps_no_sibling_from_the_bucket_and_its_row_from_done() {
    let world = World::new().await;
    let sound = SourceFile::new("sound.wav", recording(1, 1000));
    let broken = SourceFile::new("broken.wav", recording(2, 1000));
    let nowhere = SourceFile::new("broken.wav", recording(2, 1000)).listed_as("");
    let odd = Answer::success([sound.clone(), nowhere]);
    world.kore.session(&id(1), Timeline::new().polls(2, odd).finally(Answer::success([sound.clone(), broken.clone()])));
    world.insert(&[&id(1)]).await;
    let daemon = world.daemon().await;
    until(|| world.s3.body(&key(&id(1), "sound.wav")).map(|_| ())).await.expect("the sound one is archived");
    assert_eq!(world.end_of(&id(1)).await, "done/archived");
    assert_eq!(world.column(&id(1), "failures").await.as_deref(), Some("2"));
    assert_eq!((sound.requests(), broken.requests()), (1, 1));
    assert_eq!(world.s3.keys().len(), 3, "one sidecar, written when all was there: {:?}", world.s3.keys());
    world.assert_clean();
    assert_eq!(daemon.stop().await, 0);
}
