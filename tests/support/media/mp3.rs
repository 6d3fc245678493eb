//! MPEG-2 layer III, 16 kHz stereo at 32 kbit/s: silent frames after an `Info` frame that counts them.

use std::time::Duration;

use super::{Sample, frames};

/// 72 * 32,000 / 16,000.
const FRAME_BYTES: usize = 144;
/// MPEG-2, layer III, no CRC; 32 kbit/s, 16 kHz, no padding; stereo.
const HEADER: [u8; 4] = [0xff, 0xf3, 0x48, 0x00];
/// Where the `Info` tag stands: after the header and the side information of MPEG-2 stereo.
const INFO_AT: usize = 4 + 17;

pub fn mp3(length: Duration) -> Sample {
    // 576 samples a frame.
    let (count, seconds) = frames(length, Duration::from_millis(36));
    let mut bytes = info_frame(count);
    for _ in 0..count {
        bytes.extend(frame());
    }
    Sample { file_name: "speech.mp3", bytes, channels: 2, rate: 16_000, seconds }
}

/// Side information of zeros: no bits for any granule, so the frame decodes to silence.
fn frame() -> Vec<u8> {
    let mut frame = HEADER.to_vec();
    frame.resize(FRAME_BYTES, 0);
    frame
}

/// What encoders put first, and decoders skip: the number of frames and bytes in the file.
fn info_frame(count: u32) -> Vec<u8> {
    let total = (count + 1) * u32::try_from(FRAME_BYTES).expect("144");
    let mut frame = frame();
    frame[INFO_AT..INFO_AT + 4].copy_from_slice(b"Info");
    // The counts of frames and of bytes follow.
    frame[INFO_AT + 7] = 0x03;
    frame[INFO_AT + 8..INFO_AT + 12].copy_from_slice(&count.to_be_bytes());
    frame[INFO_AT + 12..INFO_AT + 16].copy_from_slice(&total.to_be_bytes());
    frame
}
