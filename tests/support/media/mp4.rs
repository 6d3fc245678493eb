//! M4A (ISO/IEC 14496-12): silent AAC-LC frames, 16 kHz stereo, with `moov` before `mdat`.

use std::time::Duration;

use super::{Sample, frames};

const SAMPLE_RATE: u32 = 16_000;
const FRAME_SAMPLES: u32 = 1024;
/// A stereo frame of silence.
const SILENCE: [u8; 6] = [0x21, 0x10, 0x04, 0x60, 0x8c, 0x1c];
/// Scale 1, as a matrix of fixed-point numbers.
const UNITY: [u32; 9] = [0x0001_0000, 0, 0, 0, 0x0001_0000, 0, 0, 0, 0x4000_0000];

pub fn m4a(length: Duration) -> Sample {
    let (count, seconds) = frames(length, Duration::from_millis(64));
    let file_type = atom("ftyp", &[b"M4A \0\0\x02\0M4A mp42isom"]);
    // The chunk offset has the same length whatever it says, so the first try tells where the media begins.
    let moov_len = movie(count, 0).len();
    let media_at = u32_of(file_type.len() + moov_len + 8);
    let media = SILENCE.repeat(count as usize);
    let bytes = [file_type, movie(count, media_at), atom("mdat", &[&media])].concat();
    Sample { file_name: "speech.m4a", bytes, channels: 2, rate: SAMPLE_RATE, seconds }
}

fn movie(count: u32, media_at: u32) -> Vec<u8> {
    let duration = count * FRAME_SAMPLES;
    let mut header = numbers(&[0, 0, 0, SAMPLE_RATE, duration, 0x0001_0000, 0x0100_0000, 0, 0]);
    header.extend(numbers(&UNITY));
    header.extend(numbers(&[0, 0, 0, 0, 0, 0, 2]));
    atom("moov", &[&atom("mvhd", &[&header]), &track(count, media_at)])
}

fn track(count: u32, media_at: u32) -> Vec<u8> {
    let duration = count * FRAME_SAMPLES;
    // Enabled, in the movie and its preview; then times, track 1, duration, full volume.
    let mut header = numbers(&[7, 0, 0, 1, 0, duration, 0, 0, 0, 0x0100_0000]);
    header.extend(numbers(&UNITY));
    header.extend(numbers(&[0, 0]));
    let media_header = numbers(&[0, 0, 0, SAMPLE_RATE, duration, 0x55c4_0000]);
    let handler = [&numbers(&[0, 0])[..], b"soun", &[0; 12], b"sound\0"].concat();
    let locations = atom("dref", &[&numbers(&[0, 1]), &atom("url ", &[&numbers(&[1])])]);
    let information = atom(
        "minf",
        &[&atom("smhd", &[&numbers(&[0, 0])]), &atom("dinf", &[&locations]), &sample_table(count, media_at)],
    );
    let media = atom("mdia", &[&atom("mdhd", &[&media_header]), &atom("hdlr", &[&handler]), &information]);
    atom("trak", &[&atom("tkhd", &[&header]), &media])
}

/// One chunk that holds every frame, all of one size.
fn sample_table(count: u32, media_at: u32) -> Vec<u8> {
    let frame_len = u32_of(SILENCE.len());
    atom(
        "stbl",
        &[
            &atom("stsd", &[&numbers(&[0, 1]), &audio_entry()]),
            &atom("stts", &[&numbers(&[0, 1, count, FRAME_SAMPLES])]),
            &atom("stsc", &[&numbers(&[0, 1, 1, count, 1])]),
            &atom("stsz", &[&numbers(&[0, frame_len, count])]),
            &atom("stco", &[&numbers(&[0, 1, media_at])]),
        ],
    )
}

fn audio_entry() -> Vec<u8> {
    // Reserved, data reference 1, reserved, 2 channels of 16 bits, reserved, the rate in 16.16.
    let entry = numbers(&[0, 1, 0, 0, 0x0002_0010, 0, SAMPLE_RATE << 16]);
    // AudioSpecificConfig: AAC-LC, 16 kHz, stereo.
    let decoder_specific = descriptor(0x05, &[0x14, 0x10]);
    // AAC, an audio stream, no buffer, 750 bit/s at most and on average.
    let decoder = [&[0x40, 0x15, 0, 0, 0][..], &numbers(&[750, 750]), &decoder_specific].concat();
    let stream = [&[0, 1, 0][..], &descriptor(0x04, &decoder), &descriptor(0x06, &[0x02])].concat();
    atom("mp4a", &[&entry, &atom("esds", &[&numbers(&[0]), &descriptor(0x03, &stream)])])
}

fn atom(name: &str, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut atom = u32_of(content.len() + 8).to_be_bytes().to_vec();
    atom.extend(name.as_bytes());
    atom.extend(content);
    atom
}

fn descriptor(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut descriptor = vec![tag, u8::try_from(content.len()).expect("shorter than 128")];
    descriptor.extend(content);
    descriptor
}

fn numbers(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}

fn u32_of(len: usize) -> u32 {
    u32::try_from(len).expect("a sample is short")
}
