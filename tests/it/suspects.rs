//! Files that are not what a recording looks like: kept apart, never called done, never in the way of their siblings.

use crate::support::kore::{Body, Cut, Framing, Quirk, SourceFile, Timeline};
use crate::support::media::{WavShape, flac, speech, wav};
use crate::support::s3::Op;
use crate::support::scene::{PART, key, recording};
use crate::support::world::{World, id};
use std::time::Duration;

const PAGE: Quirk = Quirk::Page { content_type: "audio/wav", text: "<!DOCTYPE html><html>log in</html>" };
const JSON: Quirk = Quirk::Page { content_type: "audio/wav", text: "{\"errors\":[{\"msg\":\"gone\"}]}" };

fn suspect(id: &str, name: &str) -> String {
    format!("suspect/{}", key(id, name))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_a_whole_recording_goes_apart_and_its_siblings_where_they_belong() {
    let world = World::new().await;
    let samples = speech(1, Duration::from_secs(1));
    let odd = [
        ("unknown.bin", Body::noise(1, 1000), "unknown container"),
        (
            "short.wav",
            wav(WavShape::SaysMore(100), &samples).into(),
            "the container says that it has at least 32144 bytes, and 32044 came",
        ),
        ("bare.wav", wav(WavShape::Plain, &[]).into(), "no audio in it"),
    ];
    let sound = SourceFile::new("sound.wav", recording(1, 1000));
    let mut files: Vec<_> = odd.iter().map(|(name, body, _)| SourceFile::new(name, body.clone())).collect();
    files.push(sound.clone());
    world.ready(&id(1), files.clone()).await;
    let daemon = world.daemon().await;
    assert_eq!(world.end_of(&id(1)).await, "suspect/suspect_content");
    for ((name, _, why), file) in odd.iter().zip(&files) {
        world.assert_holds(&suspect(&id(1), name), file);
        world.assert_labelled(&suspect(&id(1), name), &id(1));
        let row = world.recorded(&id(1), name).await;
        assert_eq!((row["suspect"].as_deref(), row["key"].as_ref()), (Some(*why), Some(&suspect(&id(1), name))));
        assert_eq!(file.requests(), 1);
    }
    world.assert_holds(&key(&id(1), "sound.wav"), &sound);
    assert_eq!(daemon.metric("kore_archiver_recordings_archived_total{bot=\"default\"}").await, Some(1.0));
    assert_eq!(daemon.metric("kore_archiver_archived_bytes_total{bot=\"default\"}").await, Some(1000.0));
    let finished =
        "kore_archiver_sessions_finished_total{bot=\"default\",state=\"suspect\",reason=\"suspect_content\"}";
    assert_eq!(daemon.metric(finished).await, Some(1.0));
    let done = daemon.metric("kore_archiver_ready_to_archived_seconds_count").await;
    assert_eq!(done, Some(0.0), "it is not done");
    world.assert_clean();
    assert_eq!(daemon.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn they_go_where_the_settings_say() {
    let mut world = World::new().await;
    world.set("bucket.suspect_prefix", "\"to-be-heard/\"");
    world.ready(&id(1), [SourceFile::new("unknown.bin", Body::noise(1, 1000))]).await;
    assert_eq!(world.run_until_empty().await.code(), Some(3), "{}", world.log());
    let apart = format!("to-be-heard/{}", key(&id(1), "unknown.bin"));
    assert_eq!(world.s3.keys(), [key(&id(1), "session.json"), apart.clone()]);
    assert_eq!(world.recorded(&id(1), "unknown.bin").await["key"].as_ref(), Some(&apart));
    assert_eq!(world.sidecar(&key(&id(1), "session.json"))["recordings"][0]["key"], *apart);
}

#[tokio::test(flavor = "multi_thread")]
async fn text_or_nothing_is_believed_after_three_tries_and_not_before() {
    let world = World::new().await;
    for (number, quirk) in [(1, PAGE), (2, JSON), (3, Quirk::Empty)] {
        let file = SourceFile::new("a.wav", recording(1, 1000));
        world.ready(&id(number), [file.clone().always(quirk.clone())]).await;
        let file = SourceFile::new("a.wav", recording(1, 1000));
        world.ready(&id(10 + number), [file.clone().next(1, quirk)]).await;
    }
    let daemon = world.daemon().await;
    for number in 1..=3 {
        assert_eq!(world.end_of(&id(number)).await, "suspect/suspect_content");
        assert_eq!(world.kore.polls_of(&id(number)).len(), 3);
        assert!(world.s3.body(&suspect(&id(number), "a.wav")).is_some());
        assert_eq!(world.column(&id(number), "failures").await.as_deref(), Some("0"));
        assert_eq!(world.end_of(&id(10 + number)).await, "done/archived");
        assert!(world.s3.body(&key(&id(10 + number), "a.wav")).is_some());
        assert_eq!(world.kore.polls_of(&id(10 + number)).len(), 2);
    }
    world.assert_clean();
    assert_eq!(daemon.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspect_row_that_is_sent_back_is_fetched_again_and_may_turn_out_well() {
    let world = World::new().await;
    let file = SourceFile::new("a.wav", recording(1, 1000));
    let bad = file.clone().next(3, PAGE);
    world.ready(&id(1), [bad]).await;
    let daemon = world.daemon().await;
    assert_eq!(world.end_of(&id(1)).await, "suspect/suspect_content");
    world.execute("UPDATE sessions SET state = 'pending'").await.unwrap();
    assert_eq!(world.end_of(&id(1)).await, "done/archived");
    world.assert_holds(&key(&id(1), "a.wav"), &file);
    assert!(world.s3.body(&suspect(&id(1), "a.wav")).is_some(), "nothing is deleted");
    world.assert_clean();
    assert_eq!(daemon.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspect_row_that_is_sent_back_and_is_as_bad_as_before_is_adopted() {
    let world = World::new().await;
    let file = SourceFile::new("a.bin", Body::noise(1, 1000));
    world.ready(&id(1), [file.clone()]).await;
    let daemon = world.daemon().await;
    world.end_of(&id(1)).await;
    world.execute("UPDATE sessions SET state = 'pending'").await.unwrap();
    assert_eq!(world.end_of(&id(1)).await, "suspect/suspect_content");
    assert_eq!((file.requests(), world.s3.count(Op::PutObject)), (2, 2));
    world.assert_clean();
    assert_eq!(daemon.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_ends_with_its_connection_is_done_only_if_its_container_proves_it_whole() {
    let world = World::in_parts().await;
    let whole = wav(WavShape::Plain, &speech(1, Duration::from_secs(1)));
    let close = || Quirk::Framed(Framing::UntilClose);
    let proven = SourceFile::new("proven.wav", whole.clone()).always(close());
    // Cut at first, then whole: a cut is no reason to call it suspect.
    let cut = Quirk::Cut { after: 5000, how: Cut::Fin };
    let recovered = SourceFile::new("recovered.wav", whole).always(close()).next(1, cut);
    let open = SourceFile::new("open.wav", recording(1, 1000)).always(close());
    let large = SourceFile::new("large.wav", recording(2, 2 * PART + 9)).always(close());
    for (number, file) in [&proven, &recovered, &open, &large].into_iter().enumerate() {
        world.ready(&id(u32::try_from(number).unwrap()), [file.clone()]).await;
    }
    let daemon = world.daemon().await;
    for (number, (file, polls)) in [(&proven, 1), (&recovered, 2)].into_iter().enumerate() {
        let id = id(u32::try_from(number).unwrap());
        assert_eq!(world.end_of(&id).await, "done/archived", "{}", file.name());
        world.assert_holds(&key(&id, file.name()), file);
        assert_eq!(world.kore.polls_of(&id).len(), polls);
    }
    for (number, file) in [(2, &open), (3, &large)] {
        assert_eq!(world.end_of(&id(number)).await, "suspect/suspect_content", "{}", file.name());
        world.assert_holds(&suspect(&id(number), file.name()), file);
        assert_eq!(world.kore.polls_of(&id(number)).len(), 3);
    }
    assert_eq!(world.s3.keys().len(), 8);
    world.assert_clean();
    assert_eq!(daemon.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_whose_truncation_shows_only_at_its_end_leaves_nothing_under_the_sound_key() {
    let world = World::in_parts().await;
    // A FLAC that promises more samples than it has frames for, which only its last frame tells.
    let mut bytes = flac::flac(&speech(1, Duration::from_secs(700)));
    bytes.truncate(bytes.len() / 2);
    assert!(bytes.len() as u64 > 2 * PART, "{}", bytes.len());
    let file = SourceFile::new("a.flac", bytes).always(Quirk::Framed(Framing::Chunked));
    // A WAV that says so in its header, but of a length that HTTP tells only at the end.
    let samples = speech(2, Duration::from_secs(700));
    let said =
        SourceFile::new("b.wav", wav(WavShape::SaysMore(1000), &samples)).always(Quirk::Framed(Framing::Chunked));
    // The same with its length: known from the start, and fetched once.
    let early = SourceFile::new("c.wav", wav(WavShape::SaysMore(1000), &samples));
    world.ready(&id(1), [file.clone(), said.clone(), early.clone()]).await;
    let daemon = world.daemon().await;
    assert_eq!(world.end_of(&id(1)).await, "suspect/suspect_content");
    for (file, requests) in [(&file, 2), (&said, 2), (&early, 1)] {
        world.assert_holds(&suspect(&id(1), file.name()), file);
        world.assert_labelled(&suspect(&id(1), file.name()), &id(1));
        assert_eq!((world.s3.body(&key(&id(1), file.name())), file.requests()), (None, requests), "{}", file.name());
    }
    assert_eq!(world.s3.count(Op::CompleteUpload), 3);
    world.assert_clean();
    assert_eq!(daemon.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_shapes_of_a_sound_wav_are_done() {
    let world = World::new().await;
    let samples = speech(1, Duration::from_secs(1));
    let shapes = [
        WavShape::SizesZero,
        WavShape::SizesUnknown,
        WavShape::Rf64,
        WavShape::SaysLess(100),
        WavShape::ListChunks,
        WavShape::Extensible,
    ];
    let file = |shape| SourceFile::new(&format!("{shape:?}.wav"), wav(shape, &samples));
    world.kore.session(&id(1), Timeline::ready(shapes.map(file)));
    world.insert(&[&id(1)]).await;
    assert!(world.run_until_empty().await.success());
    assert_eq!(world.column(&id(1), "state").await.as_deref(), Some("done"));
    world.assert_clean();
}
