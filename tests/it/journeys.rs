//! From an inserted row to a proven copy: the daemon as a process, between a fake Kore and a strict S3.

use std::time::Duration;

use crate::support::kore::{SourceFile, Timeline};
use crate::support::media;
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
