//! What each answer of Kore does (CONTRACT section 3, the first table): who waits, who ends, and by which clock.

use std::time::Duration;

use crate::support::kore::{Answer, Outage, Timeline};
use crate::support::rows::{call, eventually, id_of_a_call, ready, rest};
use crate::support::world::{World, id};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_ready_is_waited_for_counts_as_a_poll_and_fails_nothing() {
    let world = World::new().await;
    let later = |timeline: Timeline| timeline.finally(Answer::success([call(1)]));
    let waits = [
        Timeline::new().polls(2, "call_in_progress"),
        Timeline::new().polls(2, "media_in_progress"),
        Timeline::new().polls(1, "Call_In_Progress").polls(1, " MEDIA_IN_PROGRESS"),
        Timeline::new().polls(2, Answer::success([])),
        Timeline::new().polls(2, "media_conversion_failed"),
        Timeline::new().polls(2, "partial_download_failed"),
        Timeline::new().polls(2, "partial_upload_failed"),
        // A known status counts whatever the code beside it.
        Timeline::new().polls(2, Answer::status("media_in_progress").code(409)),
    ];
    let ids: Vec<String> = (1..).map(id).take(waits.len()).collect();
    for (id, waits) in ids.iter().zip(waits) {
        world.kore.session(id, later(waits));
    }
    world.insert(&ids.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let daemon = world.daemon().await;
    for id in &ids {
        assert_eq!(world.end_of(id).await, "done/archived");
        assert_eq!((world.number(id, "polls").await, world.number(id, "failures").await), (3, 0), "{id}");
        assert_eq!(world.kore.polls_of(id).len(), 3, "{id}");
        assert_eq!(world.column(id, "last_error").await, None, "{id}");
    }
    assert_eq!(world.log_lines("success without recordings").len(), 2);
    let outcome = |outcome: &str| format!("kore_archiver_polls_total{{bot=\"default\",outcome=\"{outcome}\"}}");
    assert_eq!(daemon.metric(&outcome("call_in_progress")).await, Some(3.0));
    assert_eq!(daemon.metric(&outcome("other_status")).await, Some(6.0));
    assert_eq!(daemon.metric(&outcome("error")).await, Some(0.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_word_that_nobody_knows_is_waited_out_and_mentioned_once_a_row() {
    let world = World::new().await;
    let odd = Timeline::new().polls(2, "Transcoding\u{1b}[2J").polls(1, "media_in_progress").polls(2, "TRANSCODING II");
    world.kore.session(&id(1), odd.finally(Answer::success([call(1)])));
    world.insert(&[&id(1)]).await;
    let _daemon = world.daemon().await;
    eventually("the word is in the row", async || {
        world.column(&id(1), "kore_status").await.as_deref() == Some("TRANSCODING II")
    })
    .await;
    assert_eq!(world.end_of(&id(1)).await, "done/archived");
    assert_eq!((world.number(&id(1), "polls").await, world.number(&id(1), "failures").await), (6, 0));
    assert_eq!(world.log_lines("a status that is not known").len(), 1);
    assert_eq!(world.events(&id(1), "unknown_status").await, 1);
    assert!(!world.log().contains('\u{1b}'));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_never_have_a_recording_ends_at_the_first_look() {
    let world = World::new().await;
    world.kore.session(&id(1), Timeline::new().finally("media_unavailable_short_duration"));
    world.kore.session(&id(2), Timeline::new().finally("Recording_Disabled"));
    world.insert(&[&id(1), &id(2)]).await;
    let _daemon = world.daemon().await;
    assert_eq!(world.end_of(&id(1)).await, "unavailable/too_short");
    assert_eq!(world.end_of(&id(2)).await, "unavailable/recording_disabled");
    assert_eq!((world.number(&id(1), "polls").await, world.number(&id(2), "polls").await), (1, 1));
    assert!(world.column(&id(1), "finished_at").await.is_some());
    assert_eq!(world.column(&id(2), "kore_status").await.as_deref(), Some("Recording_Disabled"));
    assert_eq!(world.events(&id(1), "unavailable").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_is_believed_when_it_is_said_twice_kore_retrying_apart_and_the_grace_is_over() {
    let mut world = World::new().await;
    world.set("poll.kore_retrying", "{ initial = \"1s\", factor = 1.0, max = \"1s\" }");
    let old = [
        (Timeline::new().finally("media_unavailable"), "unavailable/media_unavailable", 2),
        (Timeline::new().finally("failed"), "failed/kore_failed", 2),
        (Timeline::new().finally("media_generation_failed"), "failed/kore_failed", 2),
        (Timeline::new().polls(1, "media_unavailable").finally(Answer::success([call(4)])), "done/archived", 2),
        (Timeline::new().polls(1, "failed").finally(Answer::success([call(5)])), "done/archived", 2),
        // What was said before another word counts no more.
        (
            Timeline::new().polls(1, "failed").polls(1, "media_in_progress").finally("media_unavailable"),
            "unavailable/media_unavailable",
            4,
        ),
    ];
    let ids: Vec<String> = (1..).map(id).take(old.len()).collect();
    for (id, (timeline, ..)) in ids.iter().zip(&old) {
        world.kore.session(id, timeline.clone());
    }
    world.insert(&ids.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let _daemon = world.daemon().await;
    for (id, (_, end, polls)) in ids.iter().zip(&old) {
        assert_eq!(world.end_of(id).await, *end, "{id}");
        assert_eq!(world.number(id, "polls").await, *polls, "{id}");
        assert_eq!(world.number(id, "failures").await, 0, "{id}");
    }
    let looks = world.kore.polls_of(&ids[0]);
    assert!(looks[1].at.saturating_sub(looks[0].at) >= Duration::from_millis(750), "{looks:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_grace_counts_from_the_call_or_from_the_queue_where_the_id_does_not_tell() {
    let mut world = World::new().await;
    world.set("poll.unavailable_grace", "\"6s\"");
    let (long_ago, just_now, tells_nothing) = (id(1), id_of_a_call(Duration::ZERO, 2), "call-3".to_owned());
    world.create_queue();
    let _daemon = world.daemon().await;
    for id in [&long_ago, &just_now, &tells_nothing] {
        world.kore.session(id, Timeline::new().finally("media_unavailable"));
        world.insert(&[id]).await;
    }
    for id in [&long_ago, &just_now, &tells_nothing] {
        assert_eq!(world.end_of(id).await, "unavailable/media_unavailable");
    }
    assert_eq!(world.number(&long_ago, "polls").await, 2);
    assert!(world.number(&just_now, "polls").await > 3);
    assert!(world.number(&tells_nothing, "polls").await > 3);
    let took = "(julianday(finished_at) - julianday(pending_since)) * 86400 AS took";
    let row = world.row(&format!("SELECT {took} FROM sessions WHERE session_id = 'call-3'")).await.unwrap();
    assert!(row["took"].as_deref().unwrap().parse::<f64>().unwrap() >= 5.99, "{row:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn not_yet_ends_with_give_up_after_which_starts_again_when_the_row_does() {
    let mut world = World::new().await;
    world.set("poll.give_up_after", "\"5s\"");
    let never = ["call_in_progress", "media_in_progress", "partial_upload_failed", "Transcoding", "success"];
    world.create_queue();
    let _daemon = world.daemon().await;
    for (number, status) in (1..).zip(never) {
        world.kore.session(&id(number), Timeline::new().finally(status));
        world.insert(&[&id(number)]).await;
    }
    for number in 1..=5 {
        assert_eq!(world.end_of(&id(number)).await, "failed/never_ready");
    }
    let polls = world.number(&id(1), "polls").await;
    assert!(polls > 2, "{polls}");
    world.execute(&format!("UPDATE sessions SET state = 'pending' WHERE session_id = '{}'", id(1))).await.unwrap();
    eventually("it is polled again", async || world.number(&id(1), "polls").await > polls + 2).await;
    world.kore.session(&id(1), ready(1));
    assert_eq!(world.end_of(&id(1)).await, "done/archived");
}

/// A machine that starts with a wrong clock: what looks old to it may be an hour old.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_given_up_by_a_clock_that_kores_contradicts_p3() {
    let mut world = World::new().await;
    world.set("poll.give_up_after", "\"1s\"");
    let of_another_year = Answer::status("media_in_progress").header("Date", "Tue, 05 Mar 2024 12:00:00 GMT");
    world.kore.session(&id(1), Timeline::new().polls(6, of_another_year).finally(Answer::success([call(1)])));
    world.create_queue();
    world.insert(&[&id(1)]).await;
    world.execute("UPDATE sessions SET pending_since = '2026-01-01T00:00:00.000Z'").await.unwrap();
    let daemon = world.daemon().await;
    assert_eq!(world.end_of(&id(1)).await, "done/archived");
    let told = world.log_lines("set it right");
    assert_eq!(told.len(), 1, "once an hour");
    assert!(told[0].contains("\"host\":\"127.0.0.1\"") && told[0].contains("never_ready"), "{told:?}");
    assert_eq!(daemon.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_success_that_is_taken_back_is_waited_for_again_v10() {
    let world = World::new().await;
    let file = call(1);
    world.kore.session(
        &id(1),
        Timeline::new()
            .polls(1, Answer::success([file.clone()]))
            .polls(2, "media_in_progress")
            .finally(Answer::success([file])),
    );
    world.kore.media_outage(Outage::Says(Answer::error(500, "Internal Server Error")));
    world.insert(&[&id(1)]).await;
    let _daemon = world.daemon().await;
    eventually("Kore took its word back", async || world.kore.polls_of(&id(1)).len() >= 2).await;
    world.kore.media_outage(None);
    assert_eq!(world.end_of(&id(1)).await, "done/archived");
    assert_eq!((world.number(&id(1), "polls").await, world.number(&id(1), "failures").await), (4, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_waits_is_not_polled_before_its_time() {
    let mut world = World::new().await;
    world.set("poll.media_in_progress", "{ initial = \"1h\", factor = 1.0, max = \"1h\" }");
    world.kore.session(&id(1), Timeline::new().finally("media_in_progress"));
    world.insert(&[&id(1)]).await;
    let _daemon = world.daemon().await;
    eventually("it was looked at", async || world.number(&id(1), "polls").await == 1).await;
    rest(1500).await;
    assert_eq!(world.kore.polls_of(&id(1)).len(), 1);
    world.execute(&format!("UPDATE sessions SET state = 'pending' WHERE session_id = '{}'", id(1))).await.unwrap();
    eventually("a person's word counts more", async || world.kore.polls_of(&id(1)).len() == 2).await;
}
