//! From an inserted row to a proven copy: the daemon as a process, between a fake Kore and a strict S3.

use std::time::Duration;

use crate::support::kore::{SourceFile, Timeline};
use crate::support::media;
use crate::support::scene::{PART, recording};
use crate::support::world::{World, id};

fn wav(seed: u64, seconds: u64) -> Vec<u8> {
    media::wav(media::WavShape::Plain, &media::speech(seed, Duration::from_secs(seconds)))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inserted_row_becomes_a_recording_in_the_bucket_and_says_done() {
    let world = World::new().await;
    let body = wav(1, 20);
    let file = SourceFile::new("22d8-merged.wav", body.clone());
    world.kore.session(
        &id(1),
        Timeline::new()
            .polls(2, "call_in_progress")
            .polls(2, "media_in_progress")
            .finally(crate::support::kore::Answer::success([file])),
    );
    world.insert(&[&id(1)]).await;
    let daemon = world.daemon().await;
    assert_eq!(world.end_of(&id(1)).await, "done/archived");
    let key = format!("default/year=2024/month=03/day=05/{}/22d8-merged.wav", id(1));
    assert_eq!(world.s3.body(&key).unwrap(), body);
    assert_eq!(world.column(&id(1), "polls").await.as_deref(), Some("5"));
    assert_eq!(daemon.metric("kore_archiver_sessions{state=\"done\"}").await, Some(1.0));
    assert_eq!(world.kore.violations(), [] as [&str; 0]);
    let sidecar = world.sidecar(&format!("default/year=2024/month=03/day=05/{}/session.json", id(1)));
    assert_eq!(sidecar["recordings"][0]["bytes"], body.len());
    assert_eq!(daemon.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_hashed_together_have_each_a_digest_of_its_own() {
    let world = World::in_parts().await;
    let files: Vec<_> = (0..24_u32)
        .map(|number| {
            let bytes = if number % 3 == 0 { PART + 300_000 } else { 700_000 + u64::from(number) };
            (id(number), SourceFile::new("a.wav", recording(number.into(), bytes)))
        })
        .collect();
    for (id, file) in &files {
        world.kore.session(id, Timeline::ready([file.clone()]));
    }
    let daemon = world.daemon().await;
    world.insert(&files.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>()).await;
    for (id, file) in &files {
        assert_eq!(world.end_of(id).await, "done/archived");
        let recorded = world.recorded(id, "a.wav").await;
        assert_eq!(recorded["sha256"].as_deref(), Some(file.body().sha256().as_str()), "{id}");
    }
    assert_eq!(daemon.stop().await, 0);
    world.assert_clean();
}
