//! Ends of every kind: kill -9 at any moment, a signal in each phase, a crash around the creation of an upload.

use crate::support::kore::{Answer, Quirk, SourceFile, Timeline};
use crate::support::rows::{eventually, rest};
use crate::support::s3::{Fault, Op, Times};
use crate::support::scene::{PART, key, recording};
use crate::support::world::{World, id, until};
use std::time::Duration;

/// `KORE_ARCHIVER_KILLS=1000` for a night of it.
fn rounds() -> u32 {
    std::env::var("KORE_ARCHIVER_KILLS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(12)
}

#[tokio::test(flavor = "multi_thread")]
async fn whenever_it_is_killed_the_next_run_finishes_and_leaves_no_upload_and_no_second_object() {
    let world = World::in_parts().await;
    let (mut files, mut open) = (Vec::new(), 0);
    for number in 0..rounds() {
        let seed = u64::from(number);
        let session = [
            SourceFile::new("small.wav", recording(seed, 2000)),
            SourceFile::new("large.wav", recording(seed, 2 * PART + seed)).always(Quirk::Throttle(40_000_000)),
        ];
        world.ready(&id(number), session.clone()).await;
        files.push(session);
        let daemon = world.daemon().await;
        moment(&world, &id(number), number).await;
        daemon.kill().await;
        open += world.s3.open_uploads().len();
    }
    assert_ne!(open, 0, "no kill came while an upload was open: this proves nothing");
    let foreign = foreign_upload(&world).await;
    let daemon = world.daemon().await;
    for (session, number) in files.iter().zip(0..) {
        assert_eq!(world.end_of(&id(number)).await, "done/archived");
        for file in session {
            world.assert_holds(&key(&id(number), file.name()), file);
        }
    }
    let swept = until(|| (world.s3.open_uploads().len() == 1).then_some(())).await;
    assert!(swept.is_some(), "{:?}", world.s3.open_uploads());
    assert_eq!(world.s3.open_uploads()[0].key, foreign);
    assert_eq!(world.s3.keys().len(), 3 * files.len());
    assert_eq!((world.s3.overwrites(), world.s3.deletes()), (0, 0));
    assert_eq!(daemon.stop().await, 0);
    // A creation of which nobody knows whether it arrived is remembered for a day.
    assert_eq!(world.rows("SELECT * FROM uploads WHERE upload_id IS NOT NULL").await.len(), 0);
}

/// Waits for a random moment, most often one at which something of this session is under way.
async fn moment(world: &World, session: &str, round: u32) {
    let has = |op: Op| world.s3.calls().iter().any(|call| call.op == op && call.key.contains(session));
    let is_open = || world.s3.open_uploads().iter().any(|upload| upload.key.contains(session));
    until(|| {
        let come = match round % 4 {
            0 => true,
            1 => is_open(),
            2 => has(Op::UploadPart),
            _ => has(Op::CompleteUpload) || has(Op::PutObject),
        };
        come.then_some(())
    })
    .await
    .expect("it comes to that");
    rest(u64::from(rand::random::<u8>()) / 2).await;
}

/// Somebody else's upload, on a key that this queue never worked on.
async fn foreign_upload(world: &World) -> String {
    let mut other = World::in_parts().await;
    other
        .set("bucket.endpoint_url", &format!("\"{}\"", world.s3.endpoint()))
        .set("bucket.key_template", "\"other/{session_id}/{file_name}\"");
    let file = SourceFile::new("large.wav", recording(99, 2 * PART + 1)).always(Quirk::Stall { after: PART + 1 });
    other.ready("foreign", [file]).await;
    let daemon = other.daemon().await;
    let open = || world.s3.open_uploads().into_iter().find(|upload| upload.key.starts_with("other/"));
    let open = until(open).await.expect("it is begun");
    daemon.kill().await;
    open.key
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_whose_name_was_never_learned_is_found_by_its_key_and_the_new_one_is_left_alone() {
    let world = World::in_parts().await;
    let file = SourceFile::new("large.wav", recording(1, 2 * PART + 1));
    world.s3.fail_next(Op::CreateUpload, Times::Next(1), Fault::DropAfterApply);
    world.s3.fail_next(Op::ListUploads, Times::Forever, Fault::Hang(Duration::from_mins(5)));
    world.ready(&id(1), [file.clone()]).await;
    let daemon = world.daemon().await;
    until(|| (!world.s3.open_uploads().is_empty()).then_some(())).await.expect("it is begun");
    rest(300).await;
    daemon.kill().await;
    world.s3.heal();
    let daemon = world.daemon().await;
    assert_eq!(world.end_of(&id(1)).await, "done/archived");
    world.assert_holds(&key(&id(1), "large.wav"), &file);
    world.assert_clean();
    assert_eq!(world.kore.polls().len(), 2, "the new upload was not disturbed");
    assert_eq!(daemon.stop().await, 0);
}

/// What is under way when the signal comes.
async fn phase(name: &str) -> World {
    let mut world = World::in_parts().await;
    world.set("transfer.drain_timeout", "\"1s\"").set("transfer.stall_window", "\"60s\"");
    let file = SourceFile::new("large.wav", recording(1, 2 * PART + 1));
    match name {
        "idle" => world.create_queue(),
        "waits for its turn" => {
            world.set("bots.default.requests_per_minute", "1");
            world.kore.session(&id(1), Timeline::ready([file]));
            world.insert(&[&id(0), &id(1), &id(2)]).await;
        }
        "kore is silent" => {
            world.kore.session(&id(1), Timeline::new().finally(Answer::hang()));
            world.insert(&[&id(1)]).await;
        }
        "the download stalls" => {
            world.ready(&id(1), [file.always(Quirk::Stall { after: PART + 1000 })]).await;
        }
        upload => {
            let op = match upload {
                "head hangs" => Op::HeadObject,
                "create hangs" => Op::CreateUpload,
                "a part hangs" => Op::UploadPart,
                "complete hangs" => Op::CompleteUpload,
                other => panic!("no phase is called {other}"),
            };
            world.s3.fail_next(op, Times::Forever, Fault::Hang(Duration::from_mins(5)));
            world.ready(&id(1), [file]).await;
        }
    }
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_in_any_phase_ends_it_in_time_and_gives_back_what_is_not_finished() {
    let phases = [
        "idle",
        "waits for its turn",
        "kore is silent",
        "the download stalls",
        "head hangs",
        "create hangs",
        "a part hangs",
        "complete hangs",
    ];
    let all = phases.into_iter().zip(["TERM", "INT", "HUP"].into_iter().cycle()).map(async |(name, signal)| {
        let world = phase(name).await;
        let mut daemon = world.daemon().await;
        match name {
            "create hangs" => rest(1500).await,
            "complete hangs" => {
                let told = "SELECT 1 FROM uploads WHERE told_at IS NOT NULL";
                eventually("it is told to complete", async || world.rows(told).await.len() == 1).await;
            }
            "a part hangs" | "the download stalls" => {
                until(|| (!world.s3.open_uploads().is_empty()).then_some(())).await.expect("it is begun");
                rest(500).await;
            }
            _ => rest(1000).await,
        }
        let began = now();
        daemon.signal(signal);
        let ended = until(|| daemon.has_ended()).await;
        assert_eq!(ended.map(|status| status.code()), Some(Some(0)), "{name}: {}", world.log());
        let took = began.elapsed();
        // The drain, where the bucket hangs a last call to it and an abort; and a machine that is busy.
        let most = Duration::from_secs(if name.ends_with("hangs") { 12 } else { 6 });
        assert!(took < most, "{name} took {took:?}: {}", world.log());
        // One that may yet be completed is left alone.
        let left = usize::from(name == "complete hangs");
        assert_eq!(world.s3.open_uploads().len(), left, "{name}");
        let charged = world.rows("SELECT * FROM sessions WHERE state <> 'pending' OR failures > 0").await;
        assert!(charged.iter().all(|row| row["session_id"] == Some(id(0))), "{name}: {charged:?}");
    });
    futures_util::future::join_all(all).await;
}

#[expect(clippy::disallowed_methods, reason = "how long another process takes is on the machine's clock")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_it_at_once() {
    let mut world = phase("the download stalls").await;
    world.set("transfer.drain_timeout", "\"60s\"");
    let mut daemon = world.daemon().await;
    until(|| (!world.s3.open_uploads().is_empty()).then_some(())).await.expect("it is begun");
    daemon.signal("TERM");
    world.until_logged("stopping: nothing").await;
    rest(500).await;
    let began = now();
    daemon.signal("TERM");
    assert_eq!(daemon.ended().await.code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(3));
    // The next start clears up, and finishes.
    world.kore.session(&id(1), Timeline::ready([SourceFile::new("large.wav", recording(1, 2 * PART + 1))]));
    let daemon = world.daemon().await;
    assert_eq!(world.end_of(&id(1)).await, "done/archived");
    until(|| world.s3.open_uploads().is_empty().then_some(())).await.expect("it is swept");
    world.assert_clean();
    assert_eq!(daemon.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_until_nothing_is_pending_is_not_told_so_by_a_second_signal() {
    let mut world = phase("the download stalls").await;
    world.set("transfer.drain_timeout", "\"60s\"");
    let mut command = world.command(&["run", "--until-empty"]);
    command.stderr(std::fs::File::create(world.path("log")).unwrap());
    let mut daemon = world.daemon_of(command).await;
    until(|| (!world.s3.open_uploads().is_empty()).then_some(())).await.expect("it is begun");
    daemon.signal("TERM");
    world.until_logged("stopping: nothing").await;
    rest(500).await;
    daemon.signal("TERM");
    assert_eq!(daemon.ended().await.code(), Some(3));
    assert!(world.log().contains("stopping at once"), "{}", world.log());
}

/// As `timeout` sends them, to the process and to its group.
#[tokio::test(flavor = "multi_thread")]
async fn two_signals_at_once_are_one() {
    let world = phase("the download stalls").await;
    let mut daemon = world.daemon().await;
    until(|| (!world.s3.open_uploads().is_empty()).then_some(())).await.expect("it is begun");
    // Of two kinds, because two of one kind may come as one.
    let both = ["-c", "kill -TERM $0; kill -INT $0", &daemon.id().to_string()];
    assert!(std::process::Command::new("sh").args(both).status().unwrap().success());
    assert_eq!(daemon.ended().await.code(), Some(0));
    assert!(!world.log().contains("stopping at once"), "{}", world.log());
    assert_eq!(world.s3.open_uploads().len(), 0, "there was time to abort it");
}

/// As under `nohup`.
#[tokio::test(flavor = "multi_thread")]
async fn a_hang_up_that_was_ignored_before_it_started_stays_ignored() {
    let world = World::new().await;
    let plain = world.command(&["run"]);
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "trap '' HUP; exec \"$@\"", "sh"]).arg(plain.get_program()).args(plain.get_args());
    shell.stderr(std::fs::File::create(world.path("log")).unwrap());
    let mut daemon = world.daemon_of(shell).await;
    daemon.signal("HUP");
    rest(500).await;
    assert_eq!(daemon.has_ended(), None);
    assert_eq!(daemon.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_under_way_is_finished_within_the_drain() {
    let world = World::in_parts().await;
    let file = SourceFile::new("large.wav", recording(1, 2 * PART + 1)).always(Quirk::Throttle(8_000_000));
    world.ready(&id(1), [file.clone()]).await;
    let daemon = world.daemon().await;
    until(|| (!world.s3.open_uploads().is_empty()).then_some(())).await.expect("it is begun");
    assert_eq!(daemon.stop().await, 0);
    assert_eq!(world.column(&id(1), "state").await.as_deref(), Some("done"));
    world.assert_holds(&key(&id(1), "large.wav"), &file);
    world.assert_clean();
}

/// A file that a daemon left would be what the next program works with, whoever that is.
#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_ends_in_order_and_is_the_last_leaves_the_queue_and_nothing_beside_it() {
    let world = World::new().await;
    for round in 0..8 {
        let daemon = world.daemon().await;
        if round % 2 == 0 {
            // A page has the queue open as well.
            daemon.get("/metrics").await;
        }
        assert_eq!(daemon.stop().await, 0);
        for beside in ["queue.db-wal", "queue.db-shm"] {
            assert!(!world.path(beside).exists(), "{beside} is left after round {round}");
        }
    }
    assert!(world.run_until_empty().await.success());
    assert!(!world.path("queue.db-wal").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_left_in_the_bucket_of_before_is_told_of() {
    let world = World::new().await;
    world.create_queue();
    let columns = "id, bucket, key, upload_id, run, started_at";
    let left = "7, 'the-old-one', 'a/b.wav', 'u1', 'r1', '2026-11-01T00:00:00.000Z'";
    world.execute(&format!("INSERT INTO uploads ({columns}) VALUES ({left})")).await.unwrap();
    let daemon = world.daemon().await;
    world.until_logged("uploads may be left in the bucket of before").await;
    assert!(world.log_lines("bucket of before")[0].contains("\"the-old-one\""), "{}", world.log());
    assert_eq!(daemon.stop().await, 0);
}
