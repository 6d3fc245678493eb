//! Places among bots, and among the files of one session: what one of them does slowly keeps no other from being asked
//! about and copied.

use crate::support::kore::{Answer, Quirk, SourceFile, Timeline};
use crate::support::rows::{eventually, ready, rest};
use crate::support::scene::{key, recording};
use crate::support::world::{World, id};

/// More slow files than there are places, of one bot; then a session of another.
#[tokio::test(flavor = "multi_thread")]
async fn a_bot_whose_file_host_is_slow_holds_neither_all_rows_nor_all_transfers() {
    let mut world = World::new().await;
    world.add_bot("sibling", "other", None);
    world.set("transfer.concurrency", "4").set("poll.concurrency", "2").set("transfer.stall_window", "\"60s\"");
    world.create_queue();
    for number in 1..=10 {
        let slow = SourceFile::new("slow.wav", recording(number.into(), 1_000_000)).always(Quirk::Throttle(2000));
        world.kore.session(&id(number), Timeline::ready([slow]));
        world.insert_for("default", &id(number)).await;
    }
    world.kore.session(&id(11), Timeline::ready([SourceFile::new("fast.wav", recording(11, 10_000))]));
    let daemon = world.daemon().await;
    let in_flight = async || daemon.metric("kore_archiver_transfers_in_flight").await;
    eventually("all places but one are taken", async || in_flight().await >= Some(3.0)).await;
    rest(1500).await;
    assert_eq!((in_flight().await, world.kore.polls().len()), (Some(3.0), 5), "of 4 transfers, and of 6 rows");

    world.insert_for("sibling", &id(11)).await;
    assert_eq!(world.end_of(&id(11)).await, "done/archived");
    assert_eq!(in_flight().await, Some(3.0));
    daemon.kill().await;
}

/// More rows whose polls are never answered than there are places, of one bot; then a session of another.
#[tokio::test(flavor = "multi_thread")]
async fn a_bot_whose_kore_is_silent_does_not_hold_all_polls() {
    let mut world = World::new().await;
    world.add_bot("sibling", "other", None);
    world.set("poll.concurrency", "4").set("poll.timeout", "\"60s\"");
    world.create_queue();
    for number in 1..=10 {
        world.kore.session(&id(number), Timeline::new().finally(Answer::hang()));
        world.insert_for("default", &id(number)).await;
    }
    world.kore.session(&id(11), ready(11));
    let daemon = world.daemon().await;
    eventually("all places but one are taken", async || world.kore.polls().len() >= 3).await;
    rest(1500).await;
    assert_eq!(world.kore.polls().len(), 3, "of 4");

    world.insert_for("sibling", &id(11)).await;
    assert_eq!(world.end_of(&id(11)).await, "done/archived");
    daemon.kill().await;
}

/// A session of a dozen files, of which so many come slowly.
async fn a_dozen(transfers: &str, slow: usize) -> World {
    let mut world = World::new().await;
    world.set("transfer.concurrency", transfers).set("transfer.stall_window", "\"60s\"");
    world.create_queue();
    let file = |number: usize| {
        let bytes = if number < slow { 1_000_000 } else { 10_000 };
        let file = SourceFile::new(&format!("{number}.wav"), recording(number as u64, bytes));
        if number < slow { file.always(Quirk::Throttle(2000)) } else { file }
    };
    world.kore.session(&id(1), Timeline::ready((0..12).map(file)));
    world.insert_for("default", &id(1)).await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_session_has_all_transfers_that_nobody_else_wants() {
    let world = a_dozen("12", 12).await;
    let daemon = world.daemon().await;
    let in_flight = async || daemon.metric("kore_archiver_transfers_in_flight").await;
    eventually("a dozen transfers are under way", async || in_flight().await == Some(12.0)).await;
    daemon.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_comes_slowly_keeps_none_of_its_session_waiting() {
    let world = a_dozen("2", 1).await;
    let daemon = world.daemon().await;
    let archived = async || world.rows("SELECT file_name FROM recordings").await.len();
    eventually("all but the slow one are archived", async || archived().await == 11).await;
    assert_eq!(daemon.metric("kore_archiver_transfers_in_flight").await, Some(1.0));
    daemon.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_lists_files_as_kore_does_whichever_comes_first() {
    let world = World::new().await;
    let late = SourceFile::new("0.wav", recording(0, 200_000)).always(Quirk::Throttle(100_000));
    let files = (1..4).map(|number| SourceFile::new(&format!("{number}.wav"), recording(number, 10_000)));
    world.ready(&id(1), std::iter::once(late).chain(files)).await;
    let daemon = world.daemon().await;
    assert_eq!(world.end_of(&id(1)).await, "done/archived");
    let sidecar = world.sidecar(&key(&id(1), "session.json"));
    let listed = sidecar["recordings"].as_array().expect("a list");
    let names: Vec<_> = listed.iter().map(|file| file["file_name"].as_str().expect("a name")).collect();
    assert_eq!(names, ["0.wav", "1.wav", "2.wav", "3.wav"]);
    assert_eq!(daemon.stop().await, 0);
}
