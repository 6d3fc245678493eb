//! The account's budget as Kore sees it, and whose turn it is.

use std::time::Duration;

use crate::support::kore::{Outage, Timeline};
use crate::support::rows::{eventually, rest};
use crate::support::world::{World, id};

#[tokio::test(flavor = "multi_thread")]
async fn two_bots_of_one_account_keep_its_budget_through_an_outage_and_a_restart_v3_v16() {
    let mut world = World::new().await;
    world.add_bot("sibling", "default", None);
    for bot in ["default", "sibling"] {
        world.set(&format!("bots.{bot}.requests_per_minute"), "100");
    }
    world.set("poll.concurrency", "1").set("poll.timeout", "\"2s\"");
    world.create_queue();
    for number in 1..=40 {
        world.kore.session(&id(number), Timeline::new().finally("media_in_progress"));
        world.insert_for(if number % 2 == 0 { "default" } else { "sibling" }, &id(number)).await;
    }
    // While nothing is answered requests pile up; they must not leave together afterwards.
    world.kore.api_outage(Outage::BlackHole);
    let daemon = world.daemon().await;
    eventually("some are waiting", async || !world.kore.polls().is_empty()).await;
    rest(1500).await;
    world.kore.api_outage(None);
    eventually("many were asked", async || world.kore.polls().len() >= 7).await;
    daemon.kill().await;
    let _daemon = world.daemon().await;
    eventually("many more were asked", async || world.kore.polls().len() >= 14).await;

    // 600 ms apart as the daemon sends them; a busy machine shakes that where the fake listens.
    assert!(world.kore.min_gap().unwrap() >= Duration::from_millis(250), "{:?}", world.kore.min_gap());
    let most = world.kore.max_in_window(Duration::from_secs(6));
    assert!(most <= 11, "{most} requests in six seconds");
    let bots = "SELECT DISTINCT bot FROM sessions WHERE polls > 0";
    assert_eq!(world.rows(bots).await.len(), 2);
}

/// A day's worth of one bot's old sessions, and another bot of the account whose calls end now.
#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_of_one_bot_keeps_no_other_bot_of_its_account_waiting_until_it_is_through() {
    let mut world = World::new().await;
    world.add_bot("sibling", "default", None);
    for bot in ["default", "sibling"] {
        world.set(&format!("bots.{bot}.requests_per_minute"), "1200");
    }
    world.set("poll.media_in_progress", "{ initial = \"1h\", factor = 1.0, max = \"1h\" }");
    world.kore.unknown_sessions_get("media_in_progress".into());
    world.create_queue();
    let old = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) \
        INSERT INTO sessions (session_id, next_poll_at) SELECT 'old-' || i, '2026-01-01T00:00:00.000Z' FROM n";
    world.execute(old).await.unwrap();
    let _daemon = world.daemon().await;
    eventually("the backlog is begun", async || world.kore.polls().len() >= 10).await;
    let before = world.kore.polls().len();
    for number in 1..=3 {
        world.insert_for("sibling", &id(number)).await;
    }
    eventually("the other bot's are asked", async || {
        (1..=3).all(|number| !world.kore.polls_of(&id(number)).is_empty())
    })
    .await;
    let after = world.kore.polls().len() - before;
    assert!(after < 300, "{after} requests went by, of a backlog of 1,000");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_due_is_asked_by_priority_then_by_age_and_who_comes_later_need_not_wait_for_all() {
    let mut world = World::new().await;
    world.set("bots.default.requests_per_minute", "150");
    world.set("poll.media_in_progress", "{ initial = \"1h\", factor = 1.0, max = \"1h\" }");
    world.create_queue();
    world.kore.unknown_sessions_get("media_in_progress".into());
    // Whatever the inserts take.
    let due = |number: u32| format!("'2020-01-01T00:00:{number:02}.000Z'");
    for number in [5, 2, 8, 1, 7, 4, 3, 6] {
        let (id, at, priority) = (id(number), due(number), if number > 6 { 3 } else { 0 });
        let columns = "session_id, priority, next_poll_at";
        world.execute(&format!("INSERT INTO sessions ({columns}) VALUES ('{id}', {priority}, {at})")).await.unwrap();
    }
    let _daemon = world.daemon().await;
    eventually("three were asked", async || world.kore.polls().len() >= 3).await;
    let before = world.kore.polls().len();
    world.execute(&format!("INSERT INTO sessions (session_id, priority) VALUES ('{}', 9)", id(9))).await.unwrap();
    eventually("all were asked", async || world.kore.polls().len() == 9).await;
    let asked: Vec<String> = world.kore.polls().into_iter().map(|poll| poll.session).collect();
    let late = asked.iter().position(|session| *session == id(9)).unwrap();
    assert!(late <= before + 3, "it was {late} requests late, {before} were before it");
    let others: Vec<_> = asked.into_iter().filter(|session| *session != id(9)).collect();
    assert_eq!(others, [7, 8, 1, 2, 3, 4, 5, 6].map(id));
}
