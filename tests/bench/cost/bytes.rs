//! Moving files: CPU seconds a GB, peak memory, and time beside the peers; sources that are slow.

use std::time::Duration;

use crate::process::{Usage, usage, watched};
use crate::support::kore::{Quirk, SourceFile};
use crate::support::scene::recording;
use crate::support::world::{World, id};
use crate::{bare, peers};

/// Files copied at once, by everybody.
const AT_ONCE: usize = 16;
/// Each is measured so often; the least is shown, because noise only adds.
const ROUNDS: usize = 3;

/// One measured way to move all files.
struct Taken {
    who: &'static str,
    took: Duration,
    usage: Usage,
}

fn files(count: u64, bytes: u64) -> Vec<SourceFile> {
    (0..count).map(|n| SourceFile::new(&format!("{n}.wav"), recording(n, bytes + n))).collect()
}

/// Gives its daemon the default settings for transfers and log, but for `concurrency`.
fn set_up(mut world: World, concurrency: usize) -> World {
    world
        .set("log.level", "\"info\"")
        .set("transfer.stall_window", "\"60s\"")
        .set("transfer.concurrency", &concurrency.to_string())
        .set("poll.concurrency", &concurrency.to_string())
        .set("bots.default.requests_per_minute", "10000000");
    world
}

async fn plain(files: &[SourceFile], round: u32) -> Taken {
    daemon("kore-archiver", &set_up(World::new().await, AT_ONCE), &[], files, round * 1000).await
}

async fn over_tls(files: &[SourceFile], round: u32) -> Taken {
    let (world, known) = World::over_tls().await;
    let variables = [("SSL_CERT_FILE", known)];
    daemon("kore-archiver, https on both sides", &set_up(world, AT_ONCE), &variables, files, round * 1000).await
}

/// All files by the daemon, a session each: from the first poll to the last row that is done.
async fn daemon(
    who: &'static str,
    world: &World,
    variables: &[(&str, String)],
    files: &[SourceFile],
    from: u32,
) -> Taken {
    world.create_queue();
    for (file, number) in files.iter().zip(from..) {
        world.kore.session(&id(number), crate::support::kore::Timeline::ready([file.clone()]));
    }
    let daemon = world.daemon_with(variables).await;
    let before = usage(daemon.id()).expect("it runs");
    let numbers = from..from + u32::try_from(files.len()).expect("they are few");
    let rows: Vec<String> = numbers.map(|number| format!("('{}')", id(number))).collect();
    world.execute(&format!("INSERT INTO sessions (session_id) VALUES {}", rows.join(","))).await.expect("good ids");
    loop {
        let left = world.row("SELECT COUNT(*) AS n FROM sessions WHERE state <> 'done'").await.expect("a count");
        if left["n"].as_deref() == Some("0") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Somebody's insert is seen within a second, which is not what is measured.
    let took = world.kore.elapsed().saturating_sub(world.kore.polls()[0].at);
    let after = usage(daemon.id()).expect("it runs");
    assert_eq!(daemon.stop().await, 0);
    let usage = Usage { cpu_seconds: after.cpu_seconds - before.cpu_seconds, ..after };
    Taken { who, took, usage }
}

async fn best<F: Future<Output = Taken>>(mut measure: impl FnMut(u32) -> F) -> Taken {
    let mut best = measure(0).await;
    for round in 1..ROUNDS {
        let taken = measure(u32::try_from(round).expect("rounds are few")).await;
        best.took = best.took.min(taken.took);
        best.usage.cpu_seconds = best.usage.cpu_seconds.min(taken.usage.cpu_seconds);
        best.usage.peak_mb = best.usage.peak_mb.max(taken.usage.peak_mb);
    }
    best
}

#[expect(clippy::cast_precision_loss, reason = "these are figures for people")]
pub async fn against_peers() {
    for (count, bytes) in [(64, 20_000_000), (500, 2_000_000)] {
        let files = files(count, bytes);
        let gb = files.iter().map(|file| file.body().len()).sum::<u64>() as f64 / 1e9;
        let source = peers::serve(files.clone()).await;
        let mut all = vec![best(|round| plain(&files, round)).await, best(|round| over_tls(&files, round)).await];
        let peers: [(_, fn(_, &_, &_, _) -> _); 3] = [
            ("the bare work", |source, bucket, files, at_once| Some(bare::command(source, bucket, files, at_once))),
            ("rclone copy", peers::rclone),
            ("requests + boto3", peers::boto),
        ];
        for (who, command) in peers {
            let bucket = World::new().await;
            if command(source, &bucket.s3, &files, AT_ONCE).is_none() {
                println!("{who} is not installed; tests/bench/cost/run.sh does that");
                continue;
            }
            let measure = |_| {
                let files = &files;
                async move {
                    let bucket = World::new().await;
                    let mut command = command(source, &bucket.s3, files, AT_ONCE).expect("it was there before");
                    let (took, usage) = watched(command.spawn().expect("it starts")).await;
                    assert_eq!(bucket.s3.objects().len(), files.len(), "{who} copied them all");
                    Taken { who, took, usage }
                }
            };
            all.push(best(measure).await);
        }
        println!("\n{count} files of {} MB, {AT_ONCE} at once; the best of {ROUNDS}", bytes / 1_000_000);
        println!(
            "| | CPU s/GB | seconds | kore-archiver's time, as a share of this one's | peak MB |\n|---|---|---|---|---|"
        );
        let ours = all[0].took.as_secs_f64();
        for taken in &all {
            let seconds = taken.took.as_secs_f64();
            println!(
                "| {} | {:.2} | {seconds:.2} | {:.2} | {:.0} |",
                taken.who,
                taken.usage.cpu_seconds / gb,
                ours / seconds,
                taken.usage.peak_mb
            );
        }
    }
}

/// Sources of 4 MB/s, as many as there are places: how near all of them together come to what they offer.
#[expect(clippy::cast_precision_loss, reason = "these are figures for people")]
pub async fn slow_sources() {
    println!("\nslow sources of 20 MB, as many at once as transfer.concurrency\n");
    println!(
        "| sources | of | share of what they offer | CPU s/GB | peak MB above transfer.memory |\n|---|---|---|---|---|"
    );
    for (count, rate) in [(16, 8_000_000), (32, 4_000_000), (64, 4_000_000), (256, 1_000_000)] {
        let files: Vec<_> =
            files(count, 20_000_000).into_iter().map(|file| file.always(Quirk::Throttle(rate))).collect();
        let world = set_up(World::new().await, usize::try_from(count).expect("they are few"));
        let taken = daemon("kore-archiver", &world, &[], &files, 0).await;
        let bytes = files.iter().map(|file| file.body().len()).sum::<u64>() as f64;
        let reached = bytes / taken.took.as_secs_f64() / (count * rate) as f64;
        println!(
            "| {count} | {} MB/s | {reached:.2} | {:.2} | {:.0} |",
            rate / 1_000_000,
            taken.usage.cpu_seconds / bytes * 1e9,
            taken.usage.peak_mb - 134.2
        );
    }
}
