//! `session.json`: what it says, and when.

use crate::support::kore::{Body, Quirk, SourceFile, Timeline};
use crate::support::media::{WavShape, speech, wav};
use crate::support::s3::Op;
use crate::support::scene::{key, recording};
use crate::support::world::{World, id, until};
use serde_json::json;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_says_what_the_contract_says_and_is_written_last() {
    let world = World::new().await;
    let sound = SourceFile::new("Ünï.wav", wav(WavShape::Plain, &speech(1, Duration::from_secs(2))));
    let unknown = SourceFile::new("noise.bin", Body::noise(3, 1000));
    world.kore.session(&id(1), Timeline::ready([sound.clone(), unknown.clone()]));
    world.create_queue();
    let metadata = r#"{"agent": 7, "tags": ["a", null], "text": "ü\u0000"}"#;
    let insert = format!("INSERT INTO sessions (session_id, metadata) VALUES ('{}', '{metadata}')", id(1));
    world.execute(&insert).await.unwrap();
    let daemon = world.daemon().await;
    assert_eq!(world.end_of(&id(1)).await, "suspect/suspect_content");
    let mut sidecar = world.sidecar(&key(&id(1), "session.json"));
    let archived_at = sidecar["archived_at"].take();
    assert!(archived_at.as_str().is_some_and(|at| at.len() == 24 && at.ends_with('Z')), "{archived_at}");
    let (one, other) = (world.recorded(&id(1), "Ünï.wav").await, world.recorded(&id(1), "noise.bin").await);
    assert_eq!(
        sidecar,
        json!({
            "schema": "kore-archiver/session/1",
            "session_id": id(1), "bot": "default", "bot_id": world.kore.options().bot_id,
            "session_started_at": "2024-03-05T12:42:34.000Z", "archived_at": null,
            "archiver_version": env!("CARGO_PKG_VERSION"),
            "metadata": { "agent": 7, "tags": ["a", null], "text": "ü\u{0}" },
            "recordings": [
                { "file_name": "Ünï.wav", "key": key(&id(1), "_n_.wav"), "bytes": sound.body().len(),
                  "sha256": sound.body().sha256(), "crc64nvme": one["crc64nvme"], "content_type": "audio/wav",
                  "duration_seconds": 2.0, "channels": 2, "sample_rate": 8000 },
                { "file_name": "noise.bin", "key": format!("suspect/{}", key(&id(1), "noise.bin")), "bytes": 1000,
                  "sha256": unknown.body().sha256(), "crc64nvme": other["crc64nvme"],
                  "content_type": "application/octet-stream", "suspect": "unknown container" },
            ],
        })
    );
    let object = world.s3.objects().remove(&key(&id(1), "session.json")).unwrap();
    assert_eq!(object.content_type.as_deref(), Some("application/json"));
    assert_eq!(object.metadata["session-id"], id(1));
    let puts: Vec<_> = world.s3.calls().into_iter().filter(|call| call.op == Op::PutObject).collect();
    assert_eq!((puts.len(), puts.last().unwrap().key.as_str()), (3, key(&id(1), "session.json").as_str()));
    world.assert_clean();
    assert_eq!(daemon.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_that_lists_the_same_stays_and_a_longer_list_gets_the_next_number() {
    let world = World::new().await;
    let files: Vec<_> = (1..=3).map(|n| SourceFile::new(&format!("{n}.wav"), recording(n, 1000))).collect();
    let daemon = {
        world.insert(&[&id(1)]).await;
        world.kore.session(&id(1), Timeline::ready(files[..1].to_vec()));
        world.daemon().await
    };
    world.end_of(&id(1)).await;
    for length in [1, 2, 2, 3, 3] {
        // In another order it is the same list.
        world.kore.session(&id(1), Timeline::ready(files[..length].iter().rev().cloned()));
        world.execute("UPDATE sessions SET state = 'pending'").await.unwrap();
        assert_eq!(world.end_of(&id(1)).await, "done/archived");
    }
    let mut sidecars = world.s3.keys();
    sidecars.retain(|key| key.contains("/session"));
    assert_eq!(sidecars, ["session-2.json", "session-3.json", "session.json"].map(|name| key(&id(1), name)));
    for (name, length) in [("session.json", 1), ("session-2.json", 2), ("session-3.json", 3)] {
        assert_eq!(world.sidecar(&key(&id(1), name))["recordings"].as_array().unwrap().len(), length);
    }
    world.assert_clean();
    assert_eq!(daemon.stop().await, 0);
}

/// The highest number counts, and the first says that there is one, also when somebody took that away.
#[tokio::test(flavor = "multi_thread")]
async fn a_first_sidecar_that_was_taken_away_comes_again_and_the_newest_lists_all() {
    let world = World::new().await;
    let files: Vec<_> = (1..=3).map(|n| SourceFile::new(&format!("{n}.wav"), recording(n, 1000))).collect();
    world.insert(&[&id(1)]).await;
    let daemon = world.daemon().await;
    for length in 1..=3 {
        world.kore.session(&id(1), Timeline::ready(files[..length].to_vec()));
        world.execute("UPDATE sessions SET state = 'pending'").await.unwrap();
        assert_eq!(world.end_of(&id(1)).await, "done/archived");
        if length == 2 {
            world.s3.forget(&key(&id(1), "session.json"));
        }
    }
    let mut sidecars = world.s3.keys();
    sidecars.retain(|key| key.contains("/session"));
    assert_eq!(sidecars, ["session-2.json", "session-3.json", "session.json"].map(|name| key(&id(1), name)));
    for (name, length) in [("session.json", 3), ("session-2.json", 2), ("session-3.json", 3)] {
        assert_eq!(world.sidecar(&key(&id(1), name))["recordings"].as_array().unwrap().len(), length);
    }
    assert_eq!(daemon.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_else_put_under_the_sidecars_name_is_not_touched() {
    let world = World::new().await;
    let of_another = br#"{"schema":"kore-archiver/session/1","session_id":"x","recordings":[]}"#;
    let foreign = ["not json".as_bytes(), of_another, b"not json either"];
    // The highest number counts, though one in the middle is free.
    for (bytes, name) in foreign.into_iter().zip(["session.json", "session-2.json", "session-4.json"]) {
        world.s3.pre_put(&key(&id(1), name), bytes.to_vec(), &[]).await;
    }
    world.ready(&id(1), [SourceFile::new("a.wav", recording(1, 1000))]).await;
    assert!(world.run_until_empty().await.success());
    assert_eq!(world.s3.body(&key(&id(1), "session.json")).unwrap(), "not json");
    assert_eq!(world.sidecar(&key(&id(1), "session-5.json"))["session_id"], id(1));
    world.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_that_vanished_is_put_back_though_no_file_is_fetched() {
    let world = World::new().await;
    let file = SourceFile::new("a.wav", recording(1, 1000));
    world.ready(&id(1), [file.clone()]).await;
    assert!(world.run_until_empty().await.success());
    world.s3.forget(&key(&id(1), "session.json"));
    world.execute("UPDATE sessions SET state = 'pending'").await.unwrap();
    assert!(world.run_until_empty().await.success());
    assert_eq!(world.sidecar(&key(&id(1), "session.json"))["recordings"][0]["bytes"], 1000);
    assert_eq!(file.requests(), 1);
    world.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_is_copied_as_it_was_written() {
    let world = World::new().await;
    let nested = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let metadata =
        format!(r#"{{"z": 12345678901234567890123456789, "a": -0, "big": 1e400, "half": "\ud800", "deep": {nested}}}"#);
    world.kore.session(&id(1), Timeline::ready([SourceFile::new("a.wav", recording(1, 1000))]));
    world.create_queue();
    let insert = format!("INSERT INTO sessions (session_id, metadata) VALUES ('{}', '{metadata}')", id(1));
    world.execute(&insert).await.unwrap();
    assert!(world.run_until_empty().await.success(), "{}", world.log());
    let body = world.s3.body(&key(&id(1), "session.json")).unwrap();
    assert!(String::from_utf8_lossy(&body).contains(&metadata), "{}", String::from_utf8_lossy(&body));
}

/// Whoever replaced a row, or deleted it, has not asked for the sidecar of the one that was.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_replaced_or_deleted_while_its_files_come_gets_no_sidecar_of_before() {
    let mut world = World::new().await;
    world.set("transfer.min_throughput", "\"100B/s\"");
    world.create_queue();
    for number in 1..=2 {
        let file = SourceFile::new("a.wav", recording(number.into(), 8000)).always(Quirk::Throttle(4000));
        world.ready(&id(number), [file]).await;
    }
    let daemon = world.daemon().await;
    until(|| (world.kore.files_served().len() >= 2).then_some(())).await.expect("both are in work");
    let again = format!("INSERT OR REPLACE INTO sessions (session_id, metadata) VALUES ('{}', '{{\"of\":2}}')", id(1));
    world.execute(&format!("{again}; DELETE FROM sessions WHERE session_id = '{}'", id(2))).await.unwrap();
    assert_eq!(world.end_of(&id(1)).await, "done/archived");
    assert_eq!(world.sidecar(&key(&id(1), "session.json"))["metadata"], json!({ "of": 2 }));
    world.until_logged(&format!("\"session.id\":\"{}\"", id(2))).await;
    until(|| world.s3.body(&key(&id(2), "a.wav")).map(|_| ())).await.expect("its file was under way");
    assert_eq!(daemon.stop().await, 0);
    assert!(world.s3.body(&key(&id(2), "session.json")).is_none(), "{:?}", world.s3.keys());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_stays_beside_its_files_when_the_row_comes_again_on_another_day_and_when_the_list_shrinks() {
    let world = World::new().await;
    let files = [1, 2].map(|n| SourceFile::new(&format!("{n}.wav"), recording(n, 1000)));
    world.kore.session("of-no-date", Timeline::ready(files.clone()));
    world.create_queue();
    let insert = |day: u32| {
        format!(
            "INSERT OR REPLACE INTO sessions (session_id, enqueued_at) \
             VALUES ('of-no-date', '2026-11-{day:02}T08:00:00.000Z')"
        )
    };
    for (day, listed) in [(20, 2), (21, 2), (22, 1)] {
        world.kore.session("of-no-date", Timeline::ready(files[..listed].to_vec()));
        world.execute(&insert(day)).await.unwrap();
        assert!(world.run_until_empty().await.success(), "{}", world.log());
    }
    let folder = "default/year=2026/month=11/day=20/of-no-date";
    assert_eq!(world.s3.keys(), ["1.wav", "2.wav", "session.json"].map(|name| format!("{folder}/{name}")));
    assert_eq!(world.sidecar(&format!("{folder}/session.json"))["recordings"].as_array().unwrap().len(), 2);
    world.assert_clean();
}

/// What is in an archive cannot be read without being restored first; the sidecar will be.
#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_is_kept_out_of_an_archive_and_found_again() {
    let mut world = World::new().await;
    world.set("bucket.storage_class", "\"DEEP_ARCHIVE\"");
    world.ready(&id(1), [SourceFile::new("1.wav", recording(1, 1000))]).await;
    let daemon = world.daemon().await;
    assert_eq!(world.end_of(&id(1)).await, "done/archived");
    let class = |name: &str| world.s3.objects()[&key(&id(1), name)].storage_class.clone();
    assert_eq!((class("1.wav").as_deref(), class("session.json")), (Some("DEEP_ARCHIVE"), None));
    world.execute("UPDATE sessions SET state = 'pending'").await.unwrap();
    assert_eq!(world.end_of(&id(1)).await, "done/archived");
    assert_eq!(world.s3.keys().len(), 2);
    world.assert_clean();
    assert_eq!(daemon.stop().await, 0);
}
