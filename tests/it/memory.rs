//! Memory does not depend on the size of files: what the daemon held at its peak, as the kernel counted it.
//!
//! `KORE_ARCHIVER_LARGE=2000000000 cargo test --release --test it memory:: -- --nocapture` measures what README says.

use crate::support::kore::{Answer, Framing, Quirk, SourceFile, Timeline};
use crate::support::media::big_wav;
use crate::support::rows::{eventually, rest};
use crate::support::s3::{self, Fault, Op, Storage, Times};
use crate::support::scene::{key, recording};
use crate::support::world::{World, id};

/// A world whose bucket is on disk, and whose daemon has the default settings for transfers and log.
async fn world() -> (tempfile::TempDir, World) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let storage = Storage::Folder(folder.path().to_owned());
    let mut world = World::with(s3::Options { storage, ..s3::Options::default() }).await;
    world.set("log.level", "\"info\"").set("transfer.stall_window", "\"60s\"");
    // In this order: a world looks at its bucket when it is dropped.
    (folder, world)
}

/// A session for each file, and somebody who asks for it.
async fn asked_for(world: &World, files: &[SourceFile]) {
    for (file, number) in files.iter().zip(0..) {
        world.ready(&id(number), [file.clone()]).await;
    }
}

/// Waits until all of them are done, whole.
async fn all_are_kept(world: &World, files: &[SourceFile]) {
    for (file, number) in files.iter().zip(0..) {
        archived(world, &id(number)).await;
        world.assert_holds(&key(&id(number), file.name()), file);
    }
}

/// Gigabytes take longer than any scenario may.
async fn archived(world: &World, id: &str) {
    for _ in 0..900 {
        let state = world.column(id, "state").await.expect("it was inserted");
        if state != "pending" {
            assert_eq!(state, "done");
            return;
        }
        rest(1000).await;
    }
    panic!("still pending: {}", world.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_huge_file_among_others_fits_into_200_mb() {
    let large = std::env::var("KORE_ARCHIVER_LARGE").ok().and_then(|bytes| bytes.parse().ok()).unwrap_or(300_000_000);
    let (_folder, world) = world().await;
    let mut files = vec![SourceFile::new("huge.wav", big_wav(1, large))];
    files.extend((0..12).map(|n| SourceFile::new(&format!("{n}.wav"), recording(n, 20_000_000 + n))));
    asked_for(&world, &files).await;
    let daemon = world.daemon().await;
    let idle = daemon.peak_megabytes();
    all_are_kept(&world, &files).await;
    let busy = daemon.peak_megabytes();
    println!("a file of {large} bytes and 12 of 20 MB: idle {idle} MB, peak {busy} MB");
    assert!(busy < 200, "{busy} MB");
    world.assert_clean();
    assert_eq!(daemon.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_transfers_hold_at_once_is_bounded_however_their_sources_send() {
    let (_folder, mut world) = world().await;
    world.set("transfer.memory", "\"32MiB\"");
    let size = 30_000_000;
    let file = |n: u64| SourceFile::new(&format!("{n}.wav"), recording(n, size + n));
    let files: Vec<_> = (0..8)
        .map(|n| match n % 4 {
            0 => file(n).always(Quirk::Throttle(4_000_000)),
            1 => file(n).always(Quirk::Framed(Framing::Chunked)),
            _ => file(n),
        })
        .collect();
    asked_for(&world, &files).await;
    let daemon = world.daemon().await;
    all_are_kept(&world, &files).await;
    let busy = daemon.peak_megabytes();
    println!("8 files of 30 MB at once in 32 MiB: peak {busy} MB");
    assert!(busy < 110, "{busy} MB");
    world.assert_clean();
    assert_eq!(daemon.stop().await, 0);
}

/// More slow sources than there is room for their parts: all go on at once, and what they hold is bounded.
#[tokio::test(flavor = "multi_thread")]
async fn many_slow_sources_hold_no_more_than_a_few() {
    let (_folder, mut world) = world().await;
    world.set("transfer.memory", "\"32MiB\"").set("transfer.concurrency", "48").set("poll.concurrency", "48");
    let files: Vec<_> = (0..48)
        .map(|n| SourceFile::new(&format!("{n}.wav"), recording(n, 3_000_000 + n)).always(Quirk::Throttle(500_000)))
        .collect();
    asked_for(&world, &files).await;
    let daemon = world.daemon().await;
    let idle = daemon.peak_megabytes();
    all_are_kept(&world, &files).await;
    let busy = daemon.peak_megabytes();
    let parts = world.s3.count(Op::UploadPart);
    println!("48 slow files of 3 MB at once in 32 MiB: idle {idle} MB, peak {busy} MB, {parts} sent while they came");
    assert!(parts > 0, "none flowed");
    assert!(busy < 34 + 60, "{busy} MB");
    world.assert_clean();
    assert_eq!(daemon.stop().await, 0);
}

/// A part that was sent while it came cannot be sent again: its file is fetched once more, and held.
#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_is_lost_while_it_comes_is_fetched_again_and_held() {
    let (_folder, mut world) = world().await;
    world.set("transfer.memory", "\"8MiB\"").set("transfer.concurrency", "12").set("poll.concurrency", "12");
    let files: Vec<_> = (0..12)
        .map(|n| SourceFile::new(&format!("{n}.wav"), recording(n, 1_000_000 + n)).always(Quirk::Throttle(400_000)))
        .collect();
    // Whole files that are held are put, so only parts that flow meet this.
    world.s3.fail_next(Op::UploadPart, Times::Forever, Fault::DropAfterApply);
    asked_for(&world, &files).await;
    let daemon = world.daemon().await;
    all_are_kept(&world, &files).await;
    let most = files.iter().map(SourceFile::requests).max();
    assert_eq!(most, Some(2), "some flowed, were lost, and were held the second time");
    for number in 0..12 {
        assert_eq!(world.column(&id(number), "failures").await.as_deref(), Some("0"));
    }
    world.assert_clean();
    assert_eq!(daemon.stop().await, 0);
}

/// Ten gigabytes as they come, and one once it is unpacked.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_kores_that_never_ends_and_one_that_swells_are_an_error_of_their_row_and_held_by_nobody_v6() {
    let (_folder, world) = world().await;
    world.create_queue();
    let daemon = world.daemon().await;
    let idle = daemon.peak_megabytes();
    for (number, answer) in [(1, Answer::endless(10 << 30)), (2, Answer::gzip_bomb())] {
        let file = SourceFile::new("a.wav", recording(number.into(), 5000));
        world.kore.session(&id(number), Timeline::new().polls(2, answer).finally(Answer::success([file])));
        world.insert(&[&id(number)]).await;
        archived(&world, &id(number)).await;
        assert_eq!(world.column(&id(number), "failures").await.as_deref(), Some("2"));
        assert_eq!(world.column(&id(number), "polls").await.as_deref(), Some("1"));
    }
    let busy = daemon.peak_megabytes();
    assert!(busy < idle + 20, "{busy} MB where {idle} MB are held by one that does nothing");
    assert_eq!(daemon.stop().await, 0);
}

/// Their callers wrote much into them; for their results the daemon needs none of it.
#[tokio::test(flavor = "multi_thread")]
async fn rows_whose_results_a_blocked_writer_has_yet_to_write_are_not_held_q7() {
    let (_folder, world) = world().await;
    world.create_queue();
    for number in 1..=400 {
        world.kore.session(&id(number), Timeline::new().finally("media_in_progress"));
    }
    let daemon = world.daemon().await;
    let idle = daemon.peak_megabytes();
    let rows = "WITH RECURSIVE row (number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM row WHERE number < 400) \
        INSERT INTO sessions (session_id, next_poll_at, metadata) \
        SELECT printf('65e7133a3242653c%08x', number), strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '+1 day'), \
               json_object('notes', printf('%.250000c', 'x')) FROM row";
    world.execute(rows).await.unwrap();
    let mut other = world.sql().await;
    let due = "UPDATE sessions SET next_poll_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now'); BEGIN IMMEDIATE";
    sqlx::raw_sql(due).execute(&mut other).await.unwrap();
    eventually("all are asked about", async || world.kore.polls().len() >= 400).await;
    let busy = daemon.peak_megabytes();
    println!("400 rows of 250 kB whose results wait: idle {idle} MB, peak {busy} MB");
    assert!(busy < idle + 60, "{busy} MB where {idle} MB are held by one that does nothing");
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    assert_eq!(daemon.stop().await, 0);
}
