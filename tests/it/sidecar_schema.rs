//! The sidecar against the JSON Schema that ships with the package: what the daemon writes is valid, down to the last
//! key, and what is no sidecar is not.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::audit::newest_sidecar;
use crate::support::kore::{SourceFile, Timeline};
use crate::support::media;
use crate::support::schema;
use crate::support::world::{World, id};

/// One sound file of each container and one that is none: everything that a sidecar can say.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_daemon_writes_is_valid_and_says_no_more_than_the_schema() {
    let world = World::new().await;
    let samples = media::one_of_each(7, Duration::from_secs(2));
    let mut files: Vec<_> = samples.into_iter().map(|sample| SourceFile::new(sample.file_name, sample.bytes)).collect();
    files.push(SourceFile::new("page.wav", Vec::from(*b"<html><body>Sign in</body></html>")));
    world.kore.session(&id(1), Timeline::ready(files));
    world.create_queue();
    let row = format!("INSERT INTO sessions (session_id, metadata) VALUES ('{}', '{{\"case\":\"A-17\"}}')", id(1));
    world.execute(&row).await.unwrap();
    world.run_until_empty().await;
    assert_eq!(world.end_of(&id(1)).await, "suspect/suspect_content");

    let sidecar: Value = serde_json::from_slice(&newest_sidecar(&world.s3, &id(1)).unwrap()).unwrap();
    let faults: Vec<_> = schema::validator().iter_errors(&sidecar).map(|error| error.to_string()).collect();
    assert!(faults.is_empty(), "{faults:#?}\n{sidecar:#}");

    let document = schema::document();
    assert_eq!(keys(&sidecar), keys(&document["properties"]));
    assert_eq!(sidecar["metadata"], json!({ "case": "A-17" }));
    let recordings = sidecar["recordings"].as_array().unwrap();
    let known = keys(&document["$defs"]["recording"]["properties"]);
    let said: BTreeSet<_> = recordings.iter().flat_map(keys).collect();
    assert_eq!(said, known, "every key of the schema is written by somebody, and no other");
    assert!(keys(recordings.last().unwrap()).contains("suspect"));
}

#[test]
fn what_is_no_sidecar_is_refused() {
    let good = json!({
        "schema": "kore-archiver/session/1", "session_id": "65e7133a3242653c58d70001", "bot": "default",
        "bot_id": "st-1", "session_started_at": "2024-03-05T12:42:34.000Z", "archived_at": "2024-03-05T12:52:34.125Z",
        "archiver_version": "0.1.0", "metadata": {},
        "recordings": [{ "file_name": "a.wav", "key": "a/a.wav", "bytes": 3, "sha256": "0".repeat(64),
                         "crc64nvme": "AAAAAAAAAAA=", "content_type": "audio/wav" }],
    });
    let validator = schema::validator();
    assert!(validator.is_valid(&good));
    for key in keys(&good) {
        let mut less = good.clone();
        less.as_object_mut().unwrap().remove(&key);
        assert!(!validator.is_valid(&less), "without {key}");
    }
    for key in keys(&good["recordings"][0]) {
        let mut less = good.clone();
        less["recordings"][0].as_object_mut().unwrap().remove(&key);
        assert!(!validator.is_valid(&less), "a recording without {key}");
    }
    for (pointer, bad) in [
        ("/schema", json!("kore-archiver/session/2")),
        ("/session_id", json!("../x")),
        ("/archived_at", json!("2024-03-05T12:52:34Z")),
        ("/metadata", json!([])),
        ("/recordings", json!([])),
        ("/recordings/0/bytes", json!(-1)),
        ("/recordings/0/sha256", json!("0")),
        ("/recordings/0/crc64nvme", json!("AAAA")),
    ] {
        let mut worse = good.clone();
        *worse.pointer_mut(pointer).unwrap() = bad;
        assert!(!validator.is_valid(&worse), "{pointer}");
    }
}

fn keys(value: &Value) -> BTreeSet<String> {
    value.as_object().expect("an object").keys().cloned().collect()
}

#[test]
fn the_schema_of_the_code_is_the_one_that_ships() {
    assert_eq!(schema::document()["$id"], kore_archiver::archive::sidecar::SCHEMA);
}
