//! What holds for every container: what valid files show, that no cut passes, and that nothing hostile does harm.

use super::samples::{
    self, chunk, element, format, found, live_wav, marked, mdat, moov, mp4, page, riff, track, unmarked,
};
use super::stride::LARGEST_WINDOW;
use super::*;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

fn is_truncated(doubt: Option<&Doubt>) -> bool {
    matches!(doubt, Some(Doubt::Truncated { .. }))
}

#[test]
fn a_sound_file_is_known_by_its_bytes_and_not_suspect() {
    for sample in samples::all() {
        let found = inspect(&sample.bytes, Some(sample.bytes.len() as u64), Ending::Marked);
        let (seconds, channels, sample_rate) = sample.says;
        assert_eq!(found.doubt, None, "{}", sample.name);
        assert_eq!(found.content_type, sample.content_type, "{}", sample.name);
        assert_eq!((found.channels, found.sample_rate), (Some(channels), Some(sample_rate)), "{}", sample.name);
        let off = (found.duration_seconds.expect(sample.name) - seconds).abs();
        assert!(off < 1e-6, "{}: {:?}", sample.name, found.duration_seconds);
    }
}

#[test]
fn an_unmarked_end_is_accepted_only_where_the_container_proves_its_own() {
    for sample in samples::all() {
        let expected = if sample.ends { None } else { Some(Doubt::Unproven) };
        assert_eq!(unmarked(&sample.bytes), expected, "{}", sample.name);
    }
}

#[test]
fn no_cut_passes_of_a_file_that_says_where_it_ends() {
    for sample in samples::all() {
        for length in 0..sample.bytes.len() {
            let cut = &sample.bytes[..length];
            assert_ne!(unmarked(cut), None, "{} cut to {length}", sample.name);
            if sample.ends {
                assert_ne!(marked(cut), None, "{} cut to {length}", sample.name);
            }
        }
    }
}

#[test]
fn what_follows_the_declared_end_is_harmless() {
    for sample in samples::all().into_iter().filter(|sample| sample.ends) {
        let id3v1 = [b"TAG".to_vec(), vec![b' '; 125]].concat();
        let ape = [&b"APETAGEX\xD0\x07\0\0\x20\0\0\0"[..], &[0; 16]].concat();
        for tag in [&id3v1, &ape] {
            assert_eq!(marked(&[&sample.bytes[..], tag].concat()), None, "{}", sample.name);
        }
    }
}

#[test]
fn a_header_that_contradicts_the_promised_length_is_told_before_the_body_came() {
    for (name, promised) in [("wav", 9_000), ("au", 9_000), ("mp3, ID3 and Xing", 2_000), ("webm", 400)] {
        let sample = samples::all().into_iter().find(|sample| sample.name == name).expect(name);
        let mut inspector = Inspector::new(Some(promised));
        inspector.feed(&sample.bytes[..sample.bytes.len().min(4096)]);
        assert!(is_truncated(inspector.doubt_so_far().as_ref()), "{name}: {:?}", inspector.doubt_so_far());
    }
}

#[test]
fn pages_and_noise_are_told_after_the_first_4_kib() {
    for (byte, doubt) in [(b'x', Doubt::Text), (0x80, Doubt::UnknownContainer)] {
        let mut inspector = Inspector::new(None);
        inspector.feed(&[byte; 4095]);
        assert_eq!(inspector.doubt_so_far(), None);
        inspector.feed(&[byte; 1]);
        assert_eq!(inspector.doubt_so_far(), Some(doubt));
    }
}

#[test]
fn nothing_and_a_bare_header_hold_no_audio() {
    assert_eq!(marked(b""), Some(Doubt::Empty));
    assert_eq!(marked(&live_wav(0, b"")), Some(Doubt::NoAudio));
    assert_eq!(marked(&live_wav(u32::MAX, b"")), Some(Doubt::NoAudio));
    assert_eq!(marked(&riff(&[format(1, 1, 2), chunk(b"data", b""), chunk(b"LIST", b"INFO")])), Some(Doubt::NoAudio));
    assert_eq!(marked(&riff(&[format(1, 1, 2)])), Some(Doubt::NoAudio));
    assert_eq!(marked(&riff(&[chunk(b"data", &[1; 9])])), Some(Doubt::NoAudio));
    assert_eq!(marked(&samples::flac(0, false)), Some(Doubt::NoAudio));
    assert_eq!(marked(&page(6, 0, &samples::opus_head())), Some(Doubt::NoAudio));
    assert_eq!(marked(&mp4(&[moov(false)])), Some(Doubt::NoAudio));
    assert_eq!(marked(&mp4(&[samples::boxed(b"moov", &track(b"vide")), mdat(9)])), Some(Doubt::NoAudio));
    assert_eq!(marked(b"#!AMR\n"), Some(Doubt::NoAudio));
    assert_eq!(marked(&samples::id3v2(100)), Some(Doubt::NoAudio));
}

#[test]
fn a_picture_makes_it_a_video() {
    let movie = samples::boxed(b"moov", &[track(b"vide"), track(b"soun")].concat());
    let found = found(&mp4(&[movie, mdat(9)]));
    assert_eq!((found.content_type, found.doubt), ("video/mp4", None));
}

#[test]
fn wav_sizes_are_believed_as_far_as_writers_deserve() {
    let sound = riff(&[format(1, 2, 4), chunk(b"data", &[7; 401])]);
    let riff_size = |by: i32| {
        let size = i32::try_from(sound.len()).expect("small") - 8 + by;
        [&sound[..4], &size.to_le_bytes(), &sound[8..]].concat()
    };
    assert_eq!(marked(&sound[..sound.len() - 1]), None, "the pad byte was not written");
    assert!(is_truncated(marked(&sound[..sound.len() - 2]).as_ref()));
    for by in [-8, -1, 1, 8] {
        assert_eq!(marked(&riff_size(by)), None, "RIFF size off by {by}");
    }
    assert!(is_truncated(marked(&riff_size(10)).as_ref()));
    assert_eq!(marked(&[&sound[..], &[0xEE; 1000]].concat()), None, "junk behind the RIFF");
    for audio in [&[0x80; 400][..], &(0..200).flat_map(|n: i16| (n * 157).to_le_bytes()).collect::<Vec<_>>()] {
        let mut less = riff(&[format(1, 2, 4), chunk(b"data", audio)]);
        let size_at = less.len() - audio.len() - 4;
        less[size_at..size_at + 4].copy_from_slice(&200_u32.to_le_bytes());
        assert_eq!(marked(&less), None, "a data size that says less than came");
    }
    let unpadded = [chunk(b"LIST", b"odd")[..11].to_vec(), chunk(b"data", &[7; 400])].concat();
    assert_eq!(marked(&riff(&[format(1, 2, 4), unpadded])), None, "the pad byte inside was not written");
    let extensible =
        [&b"fmt \x28\0\0\0\xFE\xFF\x01\0\x40\x1F\0\0\x80\x3E\0\0\x02\0\x10\0\x16\0"[..], &[0; 22]].concat();
    let found = inspect(&riff(&[extensible, chunk(b"data", &[7; 16_000])]), None, Ending::Unmarked);
    assert_eq!((found.duration_seconds, found.doubt), (Some(1.0), None));
}

#[test]
fn the_numbers_of_a_cut_are_told() {
    let sound = riff(&[format(1, 2, 4), chunk(b"data", &[7; 400])]);
    let expected = Doubt::Truncated { declared: 444, received: 100 };
    assert_eq!(marked(&sound[..100]), Some(expected.clone()));
    assert_eq!(expected.to_string(), "the container says that it has at least 444 bytes, and 100 came");
    let short = inspect(&sound, Some(1000), Ending::Marked).doubt.expect("it is");
    assert_eq!(short, Doubt::Short { promised: 1000, received: 444 });
    assert_eq!(short.to_string(), "HTTP promised 1000 bytes, and 444 came");
}

#[test]
fn other_riffs_other_ebml_and_lone_frames_are_unknown() {
    let avi = [&b"RIFF\x10\0\0\0AVI LIST"[..], &[0; 40]].concat();
    let other = element(&[0x1A, 0x45, 0xDF, 0xA3], &element(&[0x42, 0x82], b"other"));
    for bytes in [&avi, &other, &samples::mp3(1, false), &[0; 5000].to_vec()] {
        assert_eq!(marked(bytes), Some(Doubt::UnknownContainer), "{bytes:?}");
    }
}

#[test]
fn chained_ogg_adds_up_and_a_cut_link_is_seen() {
    let link = samples::opus(5, true);
    let chained = [link.clone(), link.clone()].concat();
    assert_eq!(inspect(&chained, None, Ending::Unmarked).duration_seconds, Some(2.0));
    assert!(is_truncated(marked(&chained[..chained.len() - 1]).as_ref()));
    assert_eq!(marked(&samples::opus(5, false)), Some(Doubt::Cut("its last page is missing: the stream has no end")));
}

/// Overwrites a place in a sample with something nasty, or cuts or repeats a piece of it.
#[derive(Clone, Debug)]
enum Mutation {
    Overwrite(usize, Vec<u8>),
    Remove(usize, usize),
    Repeat(usize, usize),
}

impl Mutation {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let place = |index: &usize, length: usize| {
            let start = index % (bytes.len() + 1);
            start..(start + length).min(bytes.len())
        };
        match self {
            Self::Overwrite(index, with) => {
                let place = place(index, with.len());
                bytes.splice(place, with.iter().copied());
            }
            Self::Remove(index, length) => drop(bytes.drain(place(index, *length))),
            Self::Repeat(index, length) => {
                let place = place(index, *length);
                bytes.splice(place.start..place.start, bytes[place].to_vec());
            }
        }
    }
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let nasty = [vec![0; 4], vec![0xFF; 4], vec![0xFF; 8], vec![0; 8], vec![0x7F; 4], vec![0, 0, 0, 1], vec![1]];
    let nasty = prop_oneof![select(nasty.to_vec()), vec(any::<u8>(), 1..9)];
    // Most of what decides stands in the first bytes.
    let place = || prop_oneof![0..128_usize, any::<usize>()];
    prop_oneof![
        4 => (place(), nasty).prop_map(|(at, with)| Mutation::Overwrite(at, with)),
        1 => (place(), 1..600_usize).prop_map(|(at, length)| Mutation::Remove(at, length)),
        1 => (place(), 1..600_usize).prop_map(|(at, length)| Mutation::Repeat(at, length)),
    ]
}

fn mutated() -> impl Strategy<Value = Vec<u8>> {
    (select(samples::all()), vec(mutation(), 0..4)).prop_map(|(sample, mutations)| {
        let mut bytes = sample.bytes;
        for mutation in mutations {
            mutation.apply(&mut bytes);
        }
        bytes
    })
}

#[test]
fn fuzz_recordings_that_are_kept() {
    for bytes in crate::corpus::kept("recordings") {
        for ending in [Ending::Marked, Ending::Unmarked] {
            let whole = inspect(&bytes, None, ending);
            let mut inspector = Inspector::new(None);
            for byte in &bytes {
                inspector.feed(&[*byte]);
            }
            assert_eq!(inspector.finish(ending), whole);
        }
    }
}

fn noise() -> impl Strategy<Value = Vec<u8>> {
    let magics: Vec<Vec<u8>> = samples::all().iter().map(|sample| sample.bytes[..12].to_vec()).collect();
    (prop_oneof![Just(Vec::new()), select(magics)], vec(any::<u8>(), 0..6000))
        .prop_map(|(magic, noise)| [magic, noise].concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases * 6, ..ProptestConfig::default() })]

    #[test]
    fn fuzz_recordings_nothing_depends_on_the_segmentation_and_no_doubt_is_lifted(
        bytes in prop_oneof![3 => mutated(), 1 => crate::corpus::bent("recordings"), 1 => noise()],
        segments in vec(1..5000_usize, 1..20),
        promised in prop_oneof![Just(None), (0..40_000_u64).prop_map(Some)],
        is_marked in any::<bool>(),
    ) {
        let ending = if is_marked { Ending::Marked } else { Ending::Unmarked };
        let mut inspector = Inspector::new(promised);
        let (mut rest, mut doubted) = (&bytes[..], None);
        for size in segments.iter().cycle() {
            let (segment, behind) = rest.split_at(rest.len().min(*size));
            inspector.feed(segment);
            let doubt = inspector.doubt_so_far();
            prop_assert!(doubted.is_none() || doubt.is_some(), "{doubted:?} was lifted");
            doubted = doubt;
            prop_assert!(inspector.stride.rest().len() <= LARGEST_WINDOW);
            rest = behind;
            if rest.is_empty() { break }
        }
        let found = inspector.finish(ending);
        prop_assert!(doubted.is_none() || found.doubt.is_some(), "{doubted:?} was lifted at the end");
        prop_assert!(found.duration_seconds.is_none_or(|seconds| seconds.is_finite() && seconds >= 0.0));
        prop_assert_eq!(found, inspect(&bytes, promised, ending));
    }

    #[test]
    fn a_long_body_is_passed_over_in_bounded_memory(start in mutated(), filler in any::<u8>()) {
        let mut inspector = Inspector::new(None);
        inspector.feed(&start);
        for _ in 0..40 {
            inspector.feed(&[filler; 8 * 1024]);
            prop_assert!(inspector.stride.rest().len() <= LARGEST_WINDOW);
        }
    }
}
