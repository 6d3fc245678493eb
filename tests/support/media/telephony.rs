//! The telephone's own: AMR (RFC 4867) and Sun's AU.

use std::time::Duration;

use super::speech::{CHANNELS, SAMPLE_RATE};
use super::{Sample, frames};

/// Frames of 12.2 kbit/s: 32 bytes each 20 ms, mono.
pub fn amr(length: Duration) -> Sample {
    let (count, seconds) = frames(length, Duration::from_millis(20));
    let mut frame = [0; 32];
    // Frame type 7, good quality.
    frame[0] = 0x3c;
    let bytes = [b"#!AMR\n".to_vec(), frame.repeat(count as usize)].concat();
    Sample { file_name: "speech.amr", bytes, channels: 1, rate: SAMPLE_RATE, seconds }
}

/// Interleaved 8 kHz stereo samples as 16-bit PCM in AU.
pub fn au(samples: &[i16]) -> Vec<u8> {
    /// Linear PCM of 16 bits.
    const ENCODING: u32 = 3;
    let data: Vec<u8> = samples.iter().flat_map(|sample| sample.to_be_bytes()).collect();
    let size = u32::try_from(data.len()).expect("a sample is short");
    let header = [24, size, ENCODING, SAMPLE_RATE, u32::from(CHANNELS)];
    let mut bytes = b".snd".to_vec();
    bytes.extend(header.iter().flat_map(|number| number.to_be_bytes()));
    bytes.extend(data);
    bytes
}
