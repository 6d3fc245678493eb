//! Recordings, made by hand: no encoder, no files in the repository, the same bytes for the same seed.
//!
//! `speech` sounds like two people taking turns on a telephone; `wav` puts it under every header a WAV was ever seen
//! with; the others are small valid files of the containers that the contract lists, whose headers say channels,
//! rate and duration. Where a codec would be needed (MP3, AAC, Opus, AMR) the frames are valid and silent.

pub mod flac;
pub mod mp3;
pub mod mp4;
pub mod ogg;
pub mod speech;
pub mod telephony;
pub mod wav;
pub mod webm;

use std::time::Duration;

pub use speech::speech;
pub use wav::{WavShape, big_wav, wav};

/// A whole, sound file, and what its container says of it.
#[derive(Clone, Debug)]
pub struct Sample {
    pub file_name: &'static str,
    pub bytes: Vec<u8>,
    pub channels: u16,
    pub rate: u32,
    pub seconds: f64,
}

/// One of each container that recordings come in, of this length or the next whole frame after it.
pub fn one_of_each(seed: u64, length: Duration) -> Vec<Sample> {
    let samples = speech(seed, length);
    let pcm = |file_name, bytes| Sample {
        file_name,
        bytes,
        channels: speech::CHANNELS,
        rate: speech::SAMPLE_RATE,
        seconds: speech::seconds(&samples),
    };
    vec![
        pcm("speech.wav", wav(WavShape::Plain, &samples)),
        pcm("speech-rf64.wav", wav(WavShape::Rf64, &samples)),
        pcm("speech-mulaw.wav", wav(WavShape::MuLaw, &samples)),
        pcm("speech.flac", flac::flac(&samples)),
        pcm("speech.au", telephony::au(&samples)),
        ogg::opus(length),
        mp3::mp3(length),
        mp4::m4a(length),
        webm::webm(length),
        telephony::amr(length),
    ]
}

/// How many frames of this length cover a recording, and how long that is.
fn frames(length: Duration, frame: Duration) -> (u32, f64) {
    let count = length.as_nanos().div_ceil(frame.as_nanos()).max(1);
    let count = u32::try_from(count).expect("a sample is short");
    (count, frame.as_secs_f64() * f64::from(count))
}
