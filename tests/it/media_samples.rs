//! The recordings that tests are fed with are what they claim to be, as a parser of somebody else's reads them.

use std::io::Cursor;
use std::time::Duration;

use kore_archiver::media::{Ending, Inspection, Inspector};
use lofty::file::AudioFile;
use lofty::probe::Probe;

use crate::support::kore::Body;
use crate::support::media::{self, Sample, WavShape, big_wav, speech, wav};

const LENGTH: Duration = Duration::from_millis(2500);

#[test]
fn every_container_that_lofty_reads_says_its_channels_rate_and_duration() {
    let unread = ["speech.au", "speech.amr", "speech.webm", "speech-rf64.wav", "speech-mulaw.wav"];
    let samples = media::one_of_each(1, LENGTH);
    for sample in samples.iter().filter(|sample| !unread.contains(&sample.file_name)) {
        assert_as_lofty_reads(sample);
    }
}

#[test]
fn speech_is_loud_in_turns_and_the_same_for_the_same_seed() {
    let samples = speech(7, Duration::from_secs(10));
    assert_eq!(samples, speech(7, Duration::from_secs(10)));
    assert_ne!(samples, speech(8, Duration::from_secs(10)));
    let windows = samples.chunks(1600).map(|window| window.iter().step_by(2).map(|s| s.unsigned_abs()).max());
    let loudest: Vec<u16> = windows.flatten().collect();
    assert!(loudest.iter().any(|peak| *peak > 8000), "somebody talks: {loudest:?}");
    assert!(loudest.iter().any(|peak| *peak < 100), "and pauses: {loudest:?}");
}

#[test]
fn a_plain_wav_has_44_bytes_of_header_that_tell_the_truth() {
    let file = wav(WavShape::Plain, &speech(1, LENGTH));
    let number = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap()) as usize;
    assert_eq!((&file[..4], &file[36..40]), (&b"RIFF"[..], &b"data"[..]));
    assert_eq!((number(4) + 8, number(40) + 44), (file.len(), file.len()));
}

#[test]
fn a_big_wav_has_the_size_that_was_asked_for_and_needs_no_memory() {
    for bytes in [44 + 4000, 2_000_000_044, 5_000_000_080] {
        let body = big_wav(3, bytes);
        assert_eq!(body.len(), bytes);
        assert_eq!(body.read(bytes - 5, 100).len(), 5);
    }
    assert_eq!(&big_wav(3, 5_000_000_080).read(0, 4)[..], b"RF64");
}

#[test]
fn noise_reads_the_same_at_any_offset_and_never_repeats_a_stretch() {
    let noise = Body::noise(9, 1_000_000);
    let whole = noise.to_vec();
    for (at, most) in [(0, 10), (4090, 20), (262_140, 8), (262_144, 70_000), (999_990, 100)] {
        let piece = noise.read(at, most);
        let at = usize::try_from(at).unwrap();
        assert_eq!(&piece[..], &whole[at..at + piece.len()]);
    }
    let mut stretches: Vec<&[u8]> = whole.chunks(4096).collect();
    stretches.sort_unstable();
    stretches.dedup();
    assert_eq!(stretches.len(), whole.len().div_ceil(4096));
}

#[test]
fn a_body_on_disk_is_the_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let bytes = wav(WavShape::Plain, &speech(1, LENGTH));
    std::fs::write(file.path(), &bytes).unwrap();
    let body = Body::disk(file.path()).unwrap();
    assert_eq!((body.to_vec(), body.sha256()), (bytes.clone(), Body::bytes(bytes).sha256()));
}

/// `tests/encoders.sh` makes them.
#[test]
fn files_of_real_encoders_are_sound_and_their_cuts_are_not() {
    let Some(folder) = std::env::var_os("KORE_ARCHIVER_TEST_ENCODED") else {
        return println!("SKIPPED: no encoders here, see tests/encoders.sh");
    };
    let (mut files, mut cuts) = (0, 0);
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let whole = inspect(&bytes, Some(bytes.len() as u64), Ending::Marked);
        assert_eq!((whole.doubt, whole.content_type.starts_with("audio/")), (None, true), "{}", path.display());
        files += 1;
        // One byte may be the padding of a WAV.
        for missing in [2, 17, 100, 1000, bytes.len() / 3, bytes.len() / 2] {
            let cut = inspect(&bytes[..bytes.len() - missing], None, Ending::Unmarked);
            assert!(cut.doubt.is_some(), "{} without its last {missing} bytes", path.display());
            cuts += 1;
        }
    }
    println!("{files} files are sound, {cuts} cuts are not");
    assert!(files > 90, "{files} files");
}

fn inspect(bytes: &[u8], promised: Option<u64>, ending: Ending) -> Inspection {
    let mut inspector = Inspector::new(promised);
    bytes.chunks(65_536).for_each(|piece| inspector.feed(piece));
    inspector.finish(ending)
}

fn assert_as_lofty_reads(sample: &Sample) {
    let probe = Probe::new(Cursor::new(&sample.bytes)).guess_file_type().unwrap();
    let file = probe.read().unwrap_or_else(|error| panic!("{}: {error}", sample.file_name));
    let properties = file.properties();
    assert_eq!(properties.channels(), Some(u8::try_from(sample.channels).unwrap()), "{}", sample.file_name);
    assert_eq!(properties.sample_rate(), Some(sample.rate), "{}", sample.file_name);
    let off = properties.duration().as_secs_f64() - sample.seconds;
    assert!(off.abs() < 0.05, "{}: {:?} is not {}", sample.file_name, properties.duration(), sample.seconds);
}

#[test]
fn our_own_inspector_finds_every_sample_sound_however_it_arrives() {
    use kore_archiver::media::{Ending, Inspector, inspect};
    for sample in media::one_of_each(1, LENGTH) {
        let length = Some(sample.bytes.len() as u64);
        for promised in [length, None] {
            let mut pieces = Inspector::new(promised);
            sample.bytes.chunks(1000).for_each(|piece| pieces.feed(piece));
            let found = inspect(&sample.bytes, promised, Ending::Marked);
            assert_eq!(found.doubt, None, "{} {promised:?}", sample.file_name);
            assert_eq!(pieces.finish(Ending::Marked), found);
            assert_eq!((found.channels, found.sample_rate), (Some(sample.channels), Some(sample.rate)));
        }
    }
}
