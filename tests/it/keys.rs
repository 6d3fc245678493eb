//! What files are called in the bucket, whatever Kore calls them.

use crate::support::kore::{Answer, SourceFile, Timeline};
use crate::support::s3::Op;
use crate::support::scene::{key, recording};
use crate::support::world::{World, id};
use kore_archiver::receipt::Sha256;

fn short(file: &SourceFile) -> String {
    Sha256::of(file.path().as_bytes()).short()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_files_of_one_name_are_told_apart_by_their_path_in_whatever_order_they_are_listed() {
    let world = World::new().await;
    let (one, other) = (SourceFile::new("a.wav", recording(1, 1000)), SourceFile::new("a.wav", recording(2, 2000)));
    let timeline = Timeline::new().polls(1, Answer::success([one.clone(), other.clone()]));
    world.kore.session(&id(1), timeline.finally(Answer::success([other.clone(), one.clone()])));
    // The first attempt gets one of them only.
    let broken = one.clone().next(1, crate::support::kore::Quirk::Code(500));
    world.insert(&[&id(1)]).await;
    let daemon = world.daemon().await;
    assert_eq!(world.end_of(&id(1)).await, "done/archived");
    assert!(broken.requests() >= 2);
    for file in [&one, &other] {
        world.assert_holds(&key(&id(1), &format!("a-{}.wav", short(file))), file);
    }
    assert_eq!((world.s3.keys().len(), world.s3.count(Op::PutObject)), (3, 3));
    world.assert_clean();
    assert_eq!(daemon.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_archived_keeps_its_key_when_the_list_grows_by_one_of_its_name() {
    let world = World::new().await;
    let (one, other) = (SourceFile::new("a.wav", recording(1, 1000)), SourceFile::new("a.wav", recording(2, 2000)));
    world.ready(&id(1), [one.clone()]).await;
    let daemon = world.daemon().await;
    world.end_of(&id(1)).await;
    world.kore.session(&id(1), Timeline::ready([other.clone(), one.clone()]));
    world.execute("UPDATE sessions SET state = 'pending'").await.unwrap();
    assert_eq!(world.end_of(&id(1)).await, "done/archived");
    world.assert_holds(&key(&id(1), "a.wav"), &one);
    world.assert_holds(&key(&id(1), &format!("a-{}.wav", short(&other))), &other);
    assert_eq!(one.requests(), 1);
    let newest = world.sidecar(&key(&id(1), "session-2.json"));
    assert_eq!(newest["recordings"].as_array().unwrap().len(), 2);
    assert_eq!(world.sidecar(&key(&id(1), "session.json"))["recordings"].as_array().unwrap().len(), 1);
    world.assert_clean();
    assert_eq!(daemon.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_is_listed_twice_is_one_file() {
    let world = World::new().await;
    let file = SourceFile::new("a.wav", recording(1, 1000));
    let same = SourceFile::at(file.path(), "b.wav", recording(1, 1000));
    world.ready(&id(1), [file.clone(), same, file.clone()]).await;
    assert!(world.run_until_empty().await.success());
    assert_eq!(world.s3.keys(), [key(&id(1), "a.wav"), key(&id(1), "session.json")]);
    world.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn strange_names_become_safe_ones_and_every_file_is_archived() {
    let world = World::new().await;
    let long = format!("{}.wav", "x".repeat(5000));
    let names = [
        "../../etc/passwd",
        "a\0b.wav",
        "a\r\nX-Evil: 1.wav",
        "\u{202e}vaw.gpj",
        "\u{1b}[31mred.wav",
        "",
        ".hidden",
        "session.json",
        "session-7.json",
        "Ünï cödé.wav",
        "a/b\\c%2Fd.wav",
        "..",
        long.as_str(),
    ];
    let files: Vec<_> =
        names.iter().zip(1..).map(|(name, seed)| SourceFile::new(name, recording(seed, 1000 + seed))).collect();
    world.ready(&id(1), files.clone()).await;
    let daemon = world.daemon().await;
    assert_eq!(world.end_of(&id(1)).await, "done/archived");
    let folder = key(&id(1), "");
    let stored = world.s3.keys();
    assert_eq!(stored.len(), names.len() + 1);
    for key in &stored {
        let name = key.strip_prefix(&folder).expect("in the session's folder");
        assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)), "{name:?}");
        assert!((1..=128).contains(&name.len()) && !name.starts_with('.'), "{name:?}");
    }
    let is_there = |name: &str| stored.contains(&key(&id(1), name));
    assert!(
        is_there("recording-session.json") && is_there("recording-session-7.json") && is_there("_hidden"),
        "{stored:?}"
    );
    assert!(is_there(&format!("{}.wav", "x".repeat(124))));
    // The table has them as Kore named them, up to a length.
    assert_eq!(world.recorded(&id(1), "../../etc/passwd").await["key"], Some(key(&id(1), "_._.._etc_passwd")));
    assert!(!world.log().contains('\u{1b}') && !world.log().contains('\u{202e}'));
    world.assert_clean();
    assert_eq!(daemon.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_500_recordings_is_archived_whole() {
    let world = World::new().await;
    let files: Vec<_> =
        (0..500).map(|n| SourceFile::new(&format!("part-{n:03}.wav"), recording(n, 1000 + n))).collect();
    world.ready(&id(1), files.clone()).await;
    assert!(world.run_until_empty().await.success());
    assert_eq!(world.s3.keys().len(), 501);
    for file in &files {
        assert_eq!(world.s3.body(&key(&id(1), file.name())).unwrap().len() as u64, file.body().len());
    }
    let listed = world.sidecar(&key(&id(1), "session.json"));
    let listed: Vec<_> = listed["recordings"].as_array().unwrap().iter().map(|r| r["file_name"].clone()).collect();
    assert_eq!(listed, files.iter().map(|file| file.name().to_owned()).collect::<Vec<_>>(), "in Kore's order");
    world.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn dates_come_from_the_id_or_else_from_the_queue_and_templates_are_followed() {
    let mut world = World::new().await;
    world.set("bucket.key_template", "\"calls/{yyyy}{mm}{dd}/{bot}.{session_id}.{file_name}\"");
    let (plain, dots) = ("call_2026-1", "..");
    for (session, seed) in [(id(1).as_str(), 1), (plain, 2), (dots, 3)] {
        world.ready(session, [SourceFile::new("a.wav", recording(seed, 1000))]).await;
    }
    world.execute("UPDATE sessions SET enqueued_at = '2025-12-31T23:59:59.999Z'").await.unwrap();
    assert!(world.run_until_empty().await.success());
    let mut keys = world.s3.keys();
    keys.retain(|key| key.ends_with("a.wav"));
    assert_eq!(
        keys,
        [
            format!("calls/20240305/default.{}.a.wav", id(1)),
            "calls/20251231/default....a.wav".to_owned(),
            format!("calls/20251231/default.{plain}.a.wav"),
        ]
    );
    world.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_that_are_dots_are_no_folders() {
    let world = World::new().await;
    for (session, seed) in [(".", 1), ("..", 2)] {
        world.ready(session, [SourceFile::new("a.wav", recording(seed, 1000))]).await;
    }
    world.execute("UPDATE sessions SET enqueued_at = '2025-12-31T23:59:59.999Z'").await.unwrap();
    assert!(world.run_until_empty().await.success());
    for (folder, seed) in [("(.)", 1), ("(..)", 2)] {
        let key = format!("default/year=2025/month=12/day=31/{folder}/a.wav");
        assert_eq!(world.s3.body(&key).unwrap(), recording(seed, 1000).to_vec());
    }
    world.assert_clean();
}
