//! "Errors, by whose they are" (CONTRACT section 3): who is paused, who is charged, what is said, and how it ends.

use std::time::Duration;

use kore_archiver::clock::Timestamp;

use crate::support::kore::{Answer, FakeKore, Options, Outage, Quirk, Timeline};
use crate::support::rows::{call, eventually, ready};
use crate::support::world::{World, id};

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_limit_pauses_the_whole_account_charges_nobody_and_ends_by_itself_v1() {
    let mut world = World::new().await;
    let elsewhere = FakeKore::start(Options::default()).await;
    let account = FakeKore::start(Options::default()).await;
    world.add_bot("sibling", "default", &account);
    world.add_bot("stranger", "another", &elsewhere);
    world.kore.session(
        &id(1),
        Timeline::new().polls(1, Answer::rate_limited().retry_after("4")).finally(Answer::success([call(1)])),
    );
    account.session(&id(2), ready(2));
    elsewhere.session(&id(3), ready(3));
    world.insert(&[&id(1)]).await;
    let daemon = world.daemon().await;
    let paused = |bot: &str| format!("kore_archiver_paused{{what=\"bot:{bot}\",reason=\"rate_limited\"}}");
    eventually("the bot pauses", async || daemon.metric(&paused("default")).await == Some(1.0)).await;
    assert_eq!(daemon.metric(&paused("sibling")).await, Some(1.0));
    world.insert_for("sibling", &id(2)).await;
    world.insert_for("stranger", &id(3)).await;
    assert_eq!(world.end_of(&id(3)).await, "done/archived");
    assert_eq!((world.kore.polls().len(), account.polls().len()), (1, 0));
    let status = String::from_utf8(world.run(&["status"]).stdout).unwrap();
    assert!(status.contains("bot:default") && status.contains("rate_limited"), "{status}");
    assert!(status.contains("exceeded the per-minute rate limit"), "{status}");

    assert_eq!(world.end_of(&id(1)).await, "done/archived");
    assert_eq!(world.end_of(&id(2)).await, "done/archived");
    let polls = world.kore.polls_of(&id(1));
    assert!(polls[1].at.saturating_sub(polls[0].at) >= Duration::from_millis(3900), "{polls:?}");
    for number in [1, 2] {
        assert_eq!((world.number(&id(number), "polls").await, world.number(&id(number), "failures").await), (1, 0));
    }
    assert_eq!(world.events(&id(1), "error").await, 1);
    assert_eq!(
        (daemon.metric(&paused("default")).await, daemon.metric(&paused("sibling")).await),
        (Some(0.0), Some(0.0))
    );
    eventually("no pause is left", async || world.row("SELECT * FROM pauses").await.is_none()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_lasts_as_long_as_retry_after_says_within_reason_v1_v2() {
    let mut world = World::new().await;
    world.set("poll.error", "{ initial = \"5s\", factor = 1.0, max = \"5s\" }");
    let forbidden = Answer::forbidden_for_rate();
    let unavailable = Answer::error(503, "busy");
    let date = httpdate::fmt_http_date(std::time::UNIX_EPOCH + Duration::from_secs(4_000_000_000));
    let limits = [
        ("seconds", Answer::rate_limited().retry_after("30"), 30.0),
        ("nothing", Answer::rate_limited().retry_after("0"), 1.0),
        ("days", Answer::rate_limited().retry_after("86400"), 900.0),
        ("date", Answer::rate_limited().retry_after(&date), 900.0),
        ("negative", Answer::rate_limited().retry_after("-5"), 5.0),
        ("endless", Answer::rate_limited().retry_after("1e99"), 5.0),
        ("garbage", Answer::rate_limited().retry_after("soon"), 5.0),
        ("silent", Answer::rate_limited(), 5.0),
        ("forbidden", forbidden.retry_after("30"), 30.0),
        ("busy", unavailable.retry_after("30"), 30.0),
    ];
    let kore = FakeKore::start(Options::default()).await;
    for (bot, ..) in &limits {
        world.add_bot(bot, bot, &kore);
    }
    world.create_queue();
    for (number, (bot, answer, _)) in (1..).zip(&limits) {
        kore.session(&id(number), Timeline::new().finally(answer.clone()));
        world.insert_for(bot, &id(number)).await;
    }
    let _daemon = world.daemon().await;
    for (bot, _, seconds) in &limits {
        let told = format!("\"what\":\"bot:{bot}\"");
        eventually(bot, async || world.log_lines(&told).iter().any(|line| line.contains("\"paused\""))).await;
        let line = world.log_lines(&told).into_iter().find(|line| line.contains("\"paused\"")).unwrap();
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        let time = |name: &str| Timestamp::parse(line[name].as_str().unwrap()).unwrap();
        let wait = time("until").since(time("at")).as_secs_f64();
        assert!((wait - seconds).abs() < 0.5, "{bot}: {wait} s");
    }
    for number in 1..=10 {
        assert_eq!((world.number(&id(number), "polls").await, world.number(&id(number), "failures").await), (0, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kores_or_the_networks_fault_is_waited_out_and_charged_to_nobody_v4_v5() {
    let mut world = World::new().await;
    world.set("poll.timeout", "\"500ms\"");
    world.create_queue();
    let _daemon = world.daemon().await;
    let outages = [
        Outage::Refused,
        Outage::Reset,
        Outage::BlackHole,
        Outage::Says(Answer::error(500, "Internal Server Error")),
        Outage::Says(Answer::page(502, "text/html", "<html>Bad Gateway</html>")),
        Outage::Says(Answer::status("success").dripping(Duration::from_millis(100))),
        Outage::Says(Answer::status("success").with(Quirk::DripHead(Duration::from_millis(100)))),
    ];
    for (number, outage) in (1..).zip(outages) {
        world.kore.session(&id(number), ready(number.into()));
        world.kore.api_outage(outage);
        world.insert(&[&id(number)]).await;
        eventually("it was tried", async || world.events(&id(number), "error").await >= 2).await;
        world.kore.api_outage(None);
        assert_eq!(world.end_of(&id(number)).await, "done/archived");
        assert_eq!((world.number(&id(number), "polls").await, world.number(&id(number), "failures").await), (1, 0));
        assert!(world.column(&id(number), "last_error").await.is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kore_whose_name_nobody_knows_is_waited_for_charged_to_nobody_and_keeps_no_other_bot_waiting_v4() {
    let mut world = World::new().await;
    world.add_bot("lost", "another", None);
    world.set("bots.lost.host", "\"http://nowhere.invalid\"");
    world.create_queue();
    world.insert_for("lost", &id(1)).await;
    let daemon = world.daemon().await;
    eventually("it is tried again", async || world.events(&id(1), "error").await >= 2).await;
    world.kore.session(&id(2), ready(2));
    world.insert(&[&id(2)]).await;
    assert_eq!(world.end_of(&id(2)).await, "done/archived");
    assert_eq!(world.column(&id(1), "state").await.as_deref(), Some("pending"));
    assert_eq!((world.number(&id(1), "polls").await, world.number(&id(1), "failures").await), (0, 0));
    let said = world.column(&id(1), "last_error").await.unwrap();
    assert!(said.starts_with("Kore was not reached: "), "{said}");
    assert_eq!(daemon.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scope_that_is_not_published_pauses_the_bot_says_so_and_goes_on_when_it_is_v12() {
    let mut world = World::new().await;
    world.set("poll.error", "{ initial = \"1s\", factor = 1.0, max = \"1s\" }");
    world.kore.publish_scope(false);
    world.create_queue();
    for number in 1..=3 {
        world.kore.session(&id(number), ready(number.into()));
    }
    world.insert(&[&id(1)]).await;
    let daemon = world.daemon().await;
    let paused = "kore_archiver_paused{what=\"bot:default\",reason=\"unauthorized\"}";
    eventually("the bot pauses", async || daemon.metric(paused).await == Some(1.0)).await;
    let polls = world.kore.polls();
    assert_eq!(polls.iter().map(|poll| poll.code).collect::<Vec<_>>(), [401, 401], "one fresh token, no more");
    assert_ne!(polls[0].jti, polls[1].jti);
    world.insert(&[&id(2), &id(3)]).await;
    for text in [String::from_utf8(world.run(&["status"]).stdout).unwrap(), world.log()] {
        assert!(text.contains("SmartAssist Recordings") && text.contains("Published"), "{text}");
    }
    // Then one request a step, whoever is waiting.
    eventually("it is tried again", async || world.kore.polls().len() >= 4).await;
    let polls = world.kore.polls();
    assert!(polls[3].at.saturating_sub(polls[2].at) >= Duration::from_millis(900), "{polls:?}");
    world.kore.publish_scope(true);
    for number in 1..=3 {
        assert_eq!(world.end_of(&id(number)).await, "done/archived");
        assert_eq!(world.number(&id(number), "failures").await, 0);
    }
    assert_eq!(daemon.metric(paused).await, Some(0.0));
}

/// Kore knows why; its siblings must not wait for that.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_refused_for_something_of_its_own_keeps_no_sibling_waiting_and_is_charged_nothing_v12() {
    for (answer, reason) in [
        (Answer::error(403, "Forbidden"), "unauthorized"),
        (Answer::error(401, "Invalid SDK credentials"), "unauthorized"),
        (Answer::error(503, "no backend for this session"), "rate_limited"),
        (Answer::error(429, "too many").retry_after("1"), "rate_limited"),
    ] {
        let world = World::new().await;
        world.create_queue();
        world.kore.session(&id(1), Timeline::new().finally(answer));
        for number in 2..=4 {
            world.kore.session(&id(number), ready(number.into()));
        }
        world.insert(&[&id(1)]).await;
        world.execute(&format!("UPDATE sessions SET priority = 5 WHERE session_id = '{}'", id(1))).await.unwrap();
        let daemon = world.daemon().await;
        let paused = format!("kore_archiver_paused{{what=\"bot:default\",reason=\"{reason}\"}}");
        eventually("the bot pauses", async || daemon.metric(&paused).await == Some(1.0)).await;
        world.insert(&[&id(2), &id(3), &id(4)]).await;
        for number in 2..=4 {
            assert_eq!(world.end_of(&id(number)).await, "done/archived");
        }
        assert_eq!(world.column(&id(1), "state").await.as_deref(), Some("pending"));
        assert_eq!(world.number(&id(1), "failures").await, 0);
        assert_eq!(daemon.stop().await, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_rotated_while_running_is_picked_up_v12() {
    let world = World::new().await;
    for number in 1..=3 {
        world.kore.session(&id(number), ready(number.into()));
    }
    world.insert(&[&id(1)]).await;
    let daemon = world.daemon().await;
    assert_eq!(world.end_of(&id(1)).await, "done/archived");
    // In good order: nobody notices.
    world.kore.set_client_secret("the second secret of this bot, long enough");
    std::fs::write(world.path("client-secret"), "the second secret of this bot, long enough\n").unwrap();
    world.insert(&[&id(2)]).await;
    assert_eq!(world.end_of(&id(2)).await, "done/archived");
    assert_eq!(world.log_lines("\"paused\"").len(), 0);
    // At Kore first: a pause until the file has it.
    world.kore.set_client_secret("the third secret of this bot, long enough");
    world.insert(&[&id(3)]).await;
    let paused = "kore_archiver_paused{what=\"bot:default\",reason=\"unauthorized\"}";
    eventually("the bot pauses", async || daemon.metric(paused).await == Some(1.0)).await;
    std::fs::write(world.path("client-secret"), "the third secret of this bot, long enough\n").unwrap();
    assert_eq!(world.end_of(&id(3)).await, "done/archived");
    assert_eq!(world.number(&id(3), "failures").await, 0);
    assert!(!world.log().contains("secret of this bot"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rows_own_errors_end_it_when_they_are_many_and_go_on_for_long_v7_v8_v13() {
    let mut world = World::new().await;
    world.set("poll.max_failures", "3").set("poll.fail_after", "\"3s\"");
    let listing = || Answer::status("media_in_progress");
    let bad = [
        ("failed/not_found", Answer::error(404, "Session not found")),
        ("failed/too_many_failures", Answer::error(400, "Invalid StreamId")),
        ("failed/too_many_failures", Answer::error(412, "Validation errors/ Invalid arguments")),
        ("failed/too_many_failures", Answer::error(200, "something went wrong")),
        ("failed/too_many_failures", listing().about(&id(99))),
        ("failed/too_many_failures", Answer::page(200, "text/html", "<html>Welcome</html>")),
        ("failed/too_many_failures", Answer::page(200, "application/json", "{\"status\":")),
        ("failed/too_many_failures", Answer::page(200, "application/json", "")),
        ("failed/too_many_failures", listing().header("Content-Encoding", "gzip")),
    ];
    world.create_queue();
    for (number, (_, answer)) in (1..).zip(&bad) {
        world.kore.session(&id(number), Timeline::new().finally(answer.clone()));
        world.insert(&[&id(number)]).await;
    }
    // Many, and not for long enough: it goes on.
    world
        .kore
        .session(&id(50), Timeline::new().polls(4, Answer::error(404, "not yet")).finally(Answer::success([call(5)])));
    world.insert(&[&id(50)]).await;
    let _daemon = world.daemon().await;
    assert_eq!(world.end_of(&id(50)).await, "done/archived");
    assert_eq!(world.number(&id(50), "failures").await, 4);
    for (number, (end, answer)) in (1..).zip(&bad) {
        assert_eq!(world.end_of(&id(number)).await, *end, "{answer:?}");
        let failures = world.number(&id(number), "failures").await;
        assert!(failures > 3, "{answer:?}: {failures}");
        assert_eq!(world.kore.polls_of(&id(number)).len(), usize::try_from(failures).unwrap());
        assert_eq!(world.number(&id(number), "polls").await, 0, "{answer:?}");
        assert!(world.events(&id(number), "error").await >= 3);
        let polls = world.kore.polls_of(&id(number));
        assert!(polls.last().unwrap().at.saturating_sub(polls[0].at) >= Duration::from_millis(2900), "{answer:?}");
    }
    assert_eq!(world.log_lines("\"paused\"").len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_ends_although_the_row_that_met_it_was_taken_away() {
    let world = World::new().await;
    world.kore.session(&id(1), Timeline::new().finally(Answer::rate_limited().retry_after("2")));
    world.kore.session(&id(2), ready(2));
    world.insert(&[&id(1)]).await;
    let daemon = world.daemon().await;
    let paused = "kore_archiver_paused{what=\"bot:default\",reason=\"rate_limited\"}";
    eventually("the bot pauses", async || daemon.metric(paused).await == Some(1.0)).await;
    world.execute("DELETE FROM sessions").await.unwrap();
    eventually("the pause is over", async || daemon.metric(paused).await == Some(0.0)).await;
    // Not before its time: who asked for two seconds has them.
    world.insert(&[&id(2)]).await;
    assert_eq!(world.end_of(&id(2)).await, "done/archived");
    let polls = world.kore.polls();
    assert!(polls[1].at.saturating_sub(polls[0].at) >= Duration::from_secs(2));
}

/// A sibling was paused at another's word, and the row that met the other pause is taken away: what else is pending there
/// is due in an hour, and tells nothing before.
#[tokio::test(flavor = "multi_thread")]
async fn a_pause_that_has_run_out_is_not_shown_until_the_next_row_is_due_in_an_hour() {
    let mut world = World::new().await;
    world.add_bot("sibling", "default", None);
    world.add_bot("deserted", "another", None);
    world.create_queue();
    let limited = || Answer::rate_limited().retry_after("2");
    world.kore.session(&id(1), Timeline::new().polls(1, limited()).finally(Answer::success([call(1)])));
    world.kore.session(&id(2), Timeline::new().finally(limited()));
    for (bot, number) in [("default", 1), ("deserted", 2), ("sibling", 3), ("deserted", 4)] {
        world.insert_for(bot, &id(number)).await;
    }
    let ids = format!("'{}', '{}'", id(3), id(4));
    let later = "strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '+1 hour')";
    world.execute(&format!("UPDATE sessions SET next_poll_at = {later} WHERE session_id IN ({ids})")).await.unwrap();
    let daemon = world.daemon().await;
    let paused = |bot: &str| format!("kore_archiver_paused{{what=\"bot:{bot}\",reason=\"rate_limited\"}}");
    for bot in ["default", "sibling", "deserted"] {
        eventually(bot, async || daemon.metric(&paused(bot)).await == Some(1.0)).await;
    }
    world.execute(&format!("DELETE FROM sessions WHERE session_id = '{}'", id(2))).await.unwrap();
    assert_eq!(world.end_of(&id(1)).await, "done/archived");
    for bot in ["default", "sibling", "deserted"] {
        eventually(bot, async || daemon.metric(&paused(bot)).await == Some(0.0)).await;
    }
    eventually("no pause is left", async || world.row("SELECT * FROM pauses").await.is_none()).await;
    let asked = world.kore.polls().len();
    assert_eq!(asked, 3, "two were refused, one was tried again, and nobody was asked about the others");
}

/// A row that met a pause may come by somewhat later than the pause runs out: whoever watches must see that it lasts.
#[tokio::test(flavor = "multi_thread")]
async fn a_pause_that_a_single_row_meets_again_and_again_is_shown_all_the_time() {
    let mut world = World::new().await;
    world.set("poll.error", "{ initial = \"2s\", factor = 1.0, max = \"2s\" }").set("poll.jitter", "0.5");
    world.kore.session(
        &id(1),
        Timeline::new().polls(4, Answer::rate_limited().retry_after("1")).finally(Answer::success([call(1)])),
    );
    world.insert(&[&id(1)]).await;
    let daemon = world.daemon().await;
    assert_eq!(world.end_of(&id(1)).await, "done/archived");
    assert_eq!(world.log_lines("the pause is over").len(), 1);
    assert_eq!(daemon.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_that_redirects_is_not_followed_and_costs_no_row_anything_v15() {
    let mut world = World::new().await;
    world.set("poll.max_failures", "1").set("poll.fail_after", "\"1s\"");
    let elsewhere = Answer::redirect("http://127.0.0.1:1/elsewhere");
    world.kore.session(&id(1), Timeline::new().polls(4, elsewhere).finally(Answer::success([call(1)])));
    world.insert(&[&id(1)]).await;
    let _daemon = world.daemon().await;
    assert_eq!(world.end_of(&id(1)).await, "done/archived");
    assert_eq!(world.number(&id(1), "failures").await, 0);
    assert!(!world.log_lines("check `host`").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_host_that_the_settings_do_not_name_is_named_and_waited_for_until_the_end() {
    let mut world = World::new().await;
    world.set("bots.default.media_hosts", "[\"*.kore.ai\"]").set("poll.give_up_after", "\"2s\"");
    world.kore.session(&id(1), ready(1));
    world.create_queue();
    let _daemon = world.daemon().await;
    world.insert(&[&id(1)]).await;
    assert_eq!(world.end_of(&id(1)).await, "failed/host_refused");
    assert!(world.number(&id(1), "polls").await > 1);
    assert_eq!(world.number(&id(1), "failures").await, 0);
    let told = world.log_lines("media_hosts");
    assert!(told.iter().any(|line| line.contains("127.0.0.1") && line.contains("\"warn\"")), "{told:?}");
    assert_eq!(world.kore.files_served().len(), 0);
}

/// Only a person can help: it must be seen. But nothing else waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_file_host_is_shown_as_a_pause_that_stops_nobody() {
    let world = World::new().await;
    let elsewhere = call(1).listed_as("https://media.acme.example/rec-1.wav?sig=secret");
    world.kore.session(&id(1), Timeline::new().finally(Answer::success([elsewhere])));
    world.kore.session(&id(2), ready(2));
    world.create_queue();
    world.insert(&[&id(1)]).await;
    let daemon = world.daemon().await;
    let paused = "kore_archiver_paused{what=\"bot:default\",reason=\"host_refused\"}";
    eventually("it is shown", async || daemon.metric(paused).await == Some(1.0)).await;
    let polls = world.number(&id(1), "polls").await;
    eventually("it is tried again", async || world.number(&id(1), "polls").await > polls + 1).await;
    world.insert(&[&id(2)]).await;
    assert_eq!(world.end_of(&id(2)).await, "done/archived");
    assert_eq!(daemon.metric(paused).await, Some(1.0), "a file that came proves nothing about the other's host");
    assert_eq!(world.log_lines("\"paused\"").len(), 1, "told once, not at each attempt");
    let status = String::from_utf8(world.run(&["status"]).stdout).unwrap();
    assert!(status.contains("host_refused") && status.contains("media.acme.example"), "{status}");
    let check = String::from_utf8(world.run(&["check"]).stdout).unwrap();
    assert!(check.contains("the daemon waits for files") && check.contains("add it there"), "{check}");
    // Another pause of the same bot hides neither, and takes neither with it.
    let reasons = async || world.rows("SELECT what, reason FROM pauses ORDER BY reason").await;
    world.kore.publish_scope(false);
    eventually("both are noted", async || reasons().await.len() == 2).await;
    world.kore.publish_scope(true);
    eventually("one is over", async || reasons().await.len() == 1).await;
    assert_eq!(reasons().await[0]["reason"].as_deref(), Some("host_refused"));
}
