//! Odd files, container by container: what writers really do, and what only an attacker or a broken disk would.

use super::Doubt;
use super::samples::{self, boxed, chunk, element, format, found, marked, mdat, moov, mp4, page, riff, unmarked};

fn is_cut(bytes: &[u8]) -> bool {
    matches!(marked(bytes), Some(Doubt::Truncated { .. } | Doubt::Cut(_)))
}

/// What a cut file lacks, where that is told in words.
fn missing(bytes: &[u8]) -> Option<&'static str> {
    match marked(bytes) {
        Some(Doubt::Cut(missing)) => Some(missing),
        _ => None,
    }
}

fn patched(bytes: &[u8], at: usize, with: &[u8]) -> Vec<u8> {
    [&bytes[..at], with, &bytes[at + with.len()..]].concat()
}

#[test]
fn wav_a_chunk_header_that_is_cut_behind_the_data_is_seen() {
    let sound = riff(&[format(1, 1, 2), chunk(b"data", &[7; 40]), chunk(b"LIST", b"")]);
    assert_eq!(marked(&sound), None);
    assert_eq!(missing(&sound[..sound.len() - 4]), Some("it ends within a chunk"));
}

#[test]
fn wav_durations_come_from_blocks_from_fact_or_from_the_byte_rate_in_that_order() {
    let wrong_rate = patched(&format(6, 1, 1), 16, &[0; 4]);
    assert_eq!(found(&riff(&[wrong_rate, chunk(b"data", &[7; 8000])])).duration_seconds, Some(1.0));
    let fact = chunk(b"fact", &4000_u32.to_le_bytes());
    let compressed = |fact| found(&riff(&[format(0x55, 1, 1), fact, chunk(b"data", &[7; 8000])])).duration_seconds;
    assert_eq!(compressed(fact), Some(0.5));
    assert_eq!(compressed(chunk(b"fact", &[0xFF; 4])), Some(1.0));
}

#[test]
fn wav_the_first_data_chunk_is_the_audio() {
    let sound = riff(&[format(1, 1, 2), chunk(b"data", &[7; 16_000]), chunk(b"data", &[7; 4])]);
    assert_eq!(found(&sound).duration_seconds, Some(1.0));
}

#[test]
fn wav_may_be_big_endian() {
    let format = [&b"fmt \0\0\0\x10\0\x01\0\x01\0\0\x1F\x40\0\0\x3E\x80\0\x02\0\x10"[..]].concat();
    let sound = [&b"RIFX\0\0\0\x28WAVE"[..], &format, b"data\0\0\0\x04", &[7; 4]].concat();
    assert_eq!((found(&sound).sample_rate, marked(&sound)), (Some(8000), None));
    assert!(is_cut(&sound[..sound.len() - 1]));
}

#[test]
fn wav_hostile_sizes_are_cuts_not_crashes() {
    for size in [u32::MAX - 1, 0x8000_0000, 0x7FFF_FFFF] {
        let sound = riff(&[format(1, 1, 2), [&b"LIST"[..], &size.to_le_bytes(), &[0; 99]].concat()]);
        assert!(is_cut(&sound), "{size}");
    }
}

/// Of the last frame of `samples::flac`.
const FLAC_FRAME: usize = 6 + 200 + 2;

/// A FLAC whose last frame holds these bytes so many times, and is sound.
fn flac_holding(fake: &[u8], times: usize, tells_total: bool) -> Vec<u8> {
    let sound = samples::flac(4, tells_total);
    let held = patched(&sound, sound.len() - FLAC_FRAME + 10, &fake.repeat(times));
    let sum = super::flac::crc16(&held[held.len() - FLAC_FRAME..held.len() - 2]);
    patched(&held, held.len() - 2, &sum.to_be_bytes())
}

#[test]
fn flac_eight_places_that_may_be_the_last_frame_are_tried_and_no_more() {
    let fake = samples::sealed(&[0xFF, 0xF8, 0x34, 0x18, 3]);
    for times in 0..8 {
        assert_eq!(unmarked(&flac_holding(&fake, times, true)), None, "{times} false headers");
    }
    for times in [8, 9, 30] {
        assert!(is_cut(&flac_holding(&fake, times, true)), "{times} false headers");
    }
}

#[test]
fn flac_what_the_frames_of_the_stream_do_not_say_is_no_header() {
    let headers: [(&str, &[u8]); 18] = [
        ("counts samples", &[0xFF, 0xF9, 0x34, 0x18, 3]),
        ("a block size that is reserved", &[0xFF, 0xF8, 0x04, 0x18, 3]),
        ("longer blocks than there are", &[0xFF, 0xF8, 0x44, 0x18, 0]),
        ("16 kHz", &[0xFF, 0xF8, 0x35, 0x18, 3]),
        ("96 kHz", &[0xFF, 0xF8, 0x3B, 0x18, 3]),
        ("9 kHz", &[0xFF, 0xF8, 0x3C, 0x18, 3, 9]),
        ("8,001 Hz", &[0xFF, 0xF8, 0x3D, 0x18, 3, 0x1F, 0x41]),
        ("8,010 Hz", &[0xFF, 0xF8, 0x3E, 0x18, 3, 0x03, 0x21]),
        ("a rate that is forbidden", &[0xFF, 0xF8, 0x3F, 0x18, 3]),
        ("mono", &[0xFF, 0xF8, 0x34, 0x08, 3]),
        ("channels that are reserved", &[0xFF, 0xF8, 0x34, 0xB8, 3]),
        ("8 bits", &[0xFF, 0xF8, 0x34, 0x12, 3]),
        ("24 bits", &[0xFF, 0xF8, 0x34, 0x1C, 3]),
        ("a sample size that is reserved", &[0xFF, 0xF8, 0x34, 0x16, 3]),
        ("a bit that is reserved", &[0xFF, 0xF8, 0x34, 0x19, 3]),
        ("a number that is none", &[0xFF, 0xF8, 0x34, 0x18, 0x83]),
        ("a number that does not go on", &[0xFF, 0xF8, 0x34, 0x18, 0xC0, 3]),
        ("a frame behind the last sample", &[0xFF, 0xF8, 0x34, 0x18, 4]),
    ];
    for (what, header) in headers {
        // As many as would use up all tries.
        assert_eq!(unmarked(&flac_holding(&samples::sealed(header), 8, true)), None, "{what}");
    }
    let mut unsealed = samples::sealed(&[0xFF, 0xF8, 0x34, 0x18, 3]);
    unsealed[5] ^= 1;
    assert_eq!(unmarked(&flac_holding(&unsealed, 8, true)), None, "a wrong checksum");
    // A first frame that is none says nothing.
    let sound = samples::flac(4, true);
    assert_eq!(unmarked(&patched(&sound, sound.len() - 4 * FLAC_FRAME, &[0; 2])), None);
}

#[test]
fn flac_a_header_may_say_things_in_many_ways() {
    let rates = [88_200, 176_400, 192_000, 8000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000]
        .into_iter()
        .zip(0x31..);
    let rates = rates.map(|(rate, code)| (rate, 16, vec![0xFF, 0xF8, code, 0x18, 0]));
    let sizes = [(8, 0x12), (12, 0x14), (16, 0x18), (20, 0x1A), (24, 0x1C), (32, 0x1E), (24, 0x10), (13, 0x10)];
    let sizes = sizes.map(|(bits, layout)| (8000, bits, vec![0xFF, 0xF8, 0x34, layout, 0]));
    let others = [
        (11_025, 16, vec![0xFF, 0xF8, 0x30, 0x18, 0]),
        (255_000, 16, vec![0xFF, 0xF8, 0x3C, 0x18, 0, 255]),
        (8001, 16, vec![0xFF, 0xF8, 0x3D, 0x18, 0, 0x1F, 0x41]),
        (8010, 16, vec![0xFF, 0xF8, 0x3E, 0x18, 0, 0x03, 0x21]),
        // What STREAMINFO leaves open.
        (0, 16, vec![0xFF, 0xF8, 0x34, 0x18, 0]),
        (8000, 16, vec![0xFF, 0xF8, 0x34, 0x88, 0]),
        (8000, 16, vec![0xFF, 0xF8, 0x34, 0xA8, 0]),
        (8000, 16, vec![0xFF, 0xF9, 0x34, 0x18, 0]),
    ];
    for (rate, bits, header) in rates.chain(sizes).chain(others) {
        let sound = samples::flac_of(rate, bits, 1152, std::slice::from_ref(&header));
        assert_eq!(unmarked(&sound), None, "{rate} Hz, {bits} bits, {header:X?}");
        assert!(is_cut(&sound[..sound.len() - 1]), "{rate} Hz, {bits} bits, {header:X?}");
    }
    let counted = [0_u32, 1152, 2304].map(|first| {
        let number = char::from_u32(first).expect("a sample's number is coded as UTF-8 is").to_string();
        [&[0xFF, 0xF9, 0x34, 0x18][..], number.as_bytes()].concat()
    });
    assert_eq!(unmarked(&samples::flac_of(8000, 16, 3 * 1152, &counted)), None, "samples are counted");
    let short = samples::flac_of(8000, 16, 3 * 1152, &counted[..2]);
    assert_eq!(missing(&short), Some("its last frames are missing"));
}

#[test]
fn flac_a_cut_in_the_last_frame_is_seen_whatever_that_frame_holds() {
    let fake = samples::sealed(&[0xFF, 0xF8, 0x34, 0x18, 3]);
    for (times, tells_total) in [(0, true), (0, false), (1, true), (1, false), (7, true), (30, false)] {
        let sound = flac_holding(&fake, times, tells_total);
        for length in sound.len() - FLAC_FRAME + 1..sound.len() {
            assert!(is_cut(&sound[..length]), "{times} false headers, cut to {length}");
        }
    }
}

#[test]
fn flac_a_damaged_last_frame_is_a_cut_and_so_is_a_header_alone() {
    let sound = samples::flac(4, false);
    let damaged = patched(&sound, sound.len() - 20, &[0x55, 0x55]);
    assert_eq!(missing(&damaged), Some("its last frame is cut or damaged"));
    assert_eq!(missing(&sound[..4 + 4 + 34]), Some("its header is not whole"));
}

#[test]
fn ogg_of_streams_side_by_side_the_first_speaks() {
    let other = |page: Vec<u8>| patched(&page, 14, &[2; 4]);
    let file = [
        page(2, 0, &samples::opus_head()),
        other(page(2, 0, b"\x01vorbis\0\0\0\0\x02\x44\xAC\0\0")),
        other(page(4, 999_999, &[1; 9])),
        page(0, u64::MAX, &[1; 9]),
        page(0, 48_312, &[1; 9]),
    ];
    assert!(is_cut(&file.concat()), "the other stream's end is not this one's");
    let whole = [file.concat(), page(4, u64::MAX, &[1; 9])].concat();
    assert_eq!((found(&whole).duration_seconds, found(&whole).sample_rate), (Some(1.0), Some(8000)));
    assert_eq!(unmarked(&whole), None);
}

#[test]
fn mp3_two_frames_of_one_kind_make_a_stream_and_one_does_not() {
    let other = [0xFF, 0xFB, 0x50, 0x00];
    assert_eq!(marked(&patched(&samples::mp3(2, false), 192, &other)), Some(Doubt::UnknownContainer));
    let shifted = [&[0; 50][..], &samples::mp3(5, true)].concat();
    assert_eq!(marked(&shifted), Some(Doubt::UnknownContainer), "junk in front");
    assert_eq!(unmarked(&[samples::id3v2(9), shifted].concat()), None, "padding behind a tag");
}

#[test]
fn mp3_a_tag_may_have_a_footer() {
    let tag = patched(&samples::id3v2(9), 5, &[0x10]);
    // What stands there is no padding but text: it must be passed over, not searched.
    assert_eq!(unmarked(&[&tag[..], b"3DI\x04\0\x10\0\0\0\x09", &samples::flac(2, true)].concat()), None);
}

#[test]
fn mp3_counts_of_frames_alone_and_of_vbri_are_believed() {
    let counted = patched(&samples::mp3(10, true), 40, &[0, 0, 0, 1]);
    assert_eq!(unmarked(&counted), None);
    assert_eq!(missing(&counted[..counted.len() - 192]), Some("its last frames are missing"));
    let header = [&b"VBRI\0\x01\0\0\0\0"[..], &(11_u32 * 192).to_be_bytes(), &10_u32.to_be_bytes()].concat();
    let vbri = patched(&samples::mp3(10, true), 36, &header);
    assert_eq!((unmarked(&vbri), found(&vbri).duration_seconds), (None, Some(0.24)));
    assert!(is_cut(&vbri[..vbri.len() - 192]));
}

#[test]
fn mp3_the_start_of_a_frame_that_is_not_there_is_a_cut_and_junk_hides_the_duration() {
    let bare = samples::mp3(10, false);
    assert_eq!(missing(&bare[..192 * 5 + 2]), Some("it ends within a frame"));
    let holed = patched(&bare, 192 * 5, b"junk");
    assert_eq!((marked(&holed), found(&holed).duration_seconds), (None, None));
}

#[test]
fn mp4_media_of_no_size_runs_to_the_end() {
    let sound = mp4(&[moov(false), [&[0; 4][..], b"mdat", &[1; 50]].concat()]);
    assert_eq!((marked(&sound), unmarked(&sound)), (None, Some(Doubt::Unproven)));
    let no_moov = mp4(&[[&[0; 4][..], b"mdat", &[1; 50]].concat(), moov(false)]);
    assert_eq!(missing(&no_moov), Some("its index (moov) is missing"));
}

#[test]
fn mp4_sizes_of_64_bits_are_read() {
    let large = |size: u64| [&[0, 0, 0, 1][..], b"mdat", &size.to_be_bytes(), &[1; 50]].concat();
    assert_eq!(unmarked(&mp4(&[moov(false), large(66)])), None);
    assert!(is_cut(&mp4(&[moov(false), large(67)])));
    assert!(is_cut(&mp4(&[moov(false), large(u64::MAX)])));
}

#[test]
fn mp4_fragments_end_with_their_index_and_not_within_a_header() {
    let fragments = mp4(&[moov(true), boxed(b"moof", &[0; 9]), mdat(99)]);
    assert_eq!(unmarked(&[&fragments[..], &boxed(b"mfra", &[0; 9])].concat()), None);
    assert_eq!(missing(&[&fragments[..], &[0, 0, 0]].concat()), Some("it ends within a box"));
}

#[test]
fn mp4_boxes_of_64_bit_times_are_read_and_broken_ones_end_with_moov() {
    let clock = [&[1][..], &[0; 19], &8000_u32.to_be_bytes(), &16_000_u64.to_be_bytes()].concat();
    let track = patched(&samples::track(b"soun"), 20, b"free");
    let movie = boxed(b"moov", &[boxed(b"mvhd", &clock), track.clone()].concat());
    assert_eq!(found(&mp4(&[movie, mdat(9)])).duration_seconds, Some(2.0));
    for size in [0_u32, 7, 1 << 20, u32::MAX] {
        let broken = boxed(b"moov", &[&track[..], &size.to_be_bytes(), b"udta"].concat());
        assert_eq!(marked(&mp4(&[broken, mdat(9)])), None, "{size}");
    }
}

#[test]
fn webm_what_follows_the_segment_is_harmless_and_what_leaves_its_parent_ends_with_it() {
    assert_eq!(unmarked(&[samples::webm(true), vec![0xA3, 0x88, 1]].concat()), None);
    assert_eq!(unmarked(&[samples::webm(true), samples::webm(true)[..100].to_vec()].concat()), None);
    let tracks = samples::webm_tracks(2);
    let overlong = [&[0xEC, 0x5F, 0xFF][..], &[0; 20]].concat();
    let group = [&tracks[6..], &overlong].concat();
    let cluster = element(&[0x1F, 0x43, 0xB6, 0x75], &[0xEC, 0x80]);
    let body = [element(&[0x16, 0x54, 0xAE, 0x6B], &group), cluster].concat();
    let sound = [samples::webm_header(), element(&[0x18, 0x53, 0x80, 0x67], &body)].concat();
    assert_eq!(unmarked(&sound), None);
}

#[test]
fn webm_a_live_recording_cut_within_a_header_is_seen() {
    let live = samples::webm(false);
    assert_eq!(missing(&[&live[..], &[0xA3]].concat()), Some("it ends within an element"));
    assert_eq!(missing(&[&live[..], &[0x1F, 0x43]].concat()), Some("it ends within an element"));
    assert_eq!(missing(&samples::webm_header()), Some("its segment is missing"));
}

#[test]
fn webm_durations_count_in_the_scale_of_the_file() {
    let scale = element(&[0x2A, 0xD7, 0xB1], &[0x1E, 0x84, 0x80]);
    for (duration, seconds) in [(1500.0_f64, Some(3.0)), (f64::NAN, None), (-1.0, None), (f64::INFINITY, None)] {
        let info = [scale.clone(), element(&[0x44, 0x89], &duration.to_be_bytes())].concat();
        let body = element(&[0x15, 0x49, 0xA9, 0x66], &info);
        let file = [samples::webm_header(), element(&[0x18, 0x53, 0x80, 0x67], &body)].concat();
        assert_eq!(found(&file).duration_seconds, seconds, "{duration}");
    }
}

#[test]
fn amr_frames_are_as_long_as_their_kind_says() {
    let wide = [b"#!AMR-WB\n".to_vec(), [&[0x04][..], &[1; 17]].concat().repeat(50)].concat();
    let wide_found = found(&[&wide[..wide.len() - 900], &[[0x0C].as_slice(), &[1; 23]].concat().repeat(50)].concat());
    assert_eq!((wide_found.duration_seconds, wide_found.sample_rate), (Some(1.0), Some(16_000)));
    assert_eq!(wide_found.content_type, "audio/amr-wb");
    assert!(is_cut(&[samples::amr(), vec![0x3C]].concat()));
    // A frame's header has padding bits, which are 0.
    assert_eq!(marked(&[samples::amr(), vec![0x3D]].concat()), None);
    let stereo = [&b"#!AMR_MC1.0\n\0\0\0\x02"[..], &samples::amr()[6..]].concat();
    assert_eq!((found(&stereo).duration_seconds, found(&stereo).channels), (Some(0.1), Some(2)));
}

#[test]
fn au_of_size_0_is_read_to_the_end() {
    let sound = samples::au(0);
    assert_eq!((found(&sound).duration_seconds, marked(&sound)), (Some(2.0), None));
    assert_eq!(unmarked(&sound), Some(Doubt::Unproven));
}
