//! Native FLAC (RFC 9639) with verbatim subframes: lossless, uncompressed, and whole bytes throughout.

use super::speech::{CHANNELS, SAMPLE_RATE};

const BLOCK: u16 = 4096;

/// Interleaved 8 kHz stereo samples as a FLAC file.
pub fn flac(samples: &[i16]) -> Vec<u8> {
    let mut file = b"fLaC".to_vec();
    // The last metadata block, of type STREAMINFO and 34 bytes.
    file.extend([0x80, 0, 0, 34]);
    file.extend(stream_info(samples.len() as u64 / u64::from(CHANNELS)));
    let frames = samples.chunks(usize::from(BLOCK) * usize::from(CHANNELS));
    for (number, block) in (0_u32..).zip(frames) {
        file.extend(frame(number, block));
    }
    file
}

fn stream_info(frames: u64) -> Vec<u8> {
    let mut info = Vec::new();
    info.extend(BLOCK.to_be_bytes());
    info.extend(BLOCK.to_be_bytes());
    // Smallest and largest frame: not known.
    info.extend([0; 6]);
    // 20 bits of rate, 3 of channels - 1, 5 of bits - 1, 36 of length.
    let packed = u64::from(SAMPLE_RATE) << 44 | u64::from(CHANNELS - 1) << 41 | 15 << 36 | frames;
    info.extend(packed.to_be_bytes());
    // MD5 of the samples: not computed.
    info.extend([0; 16]);
    info
}

fn frame(number: u32, block: &[i16]) -> Vec<u8> {
    let frames = u16::try_from(block.len() / usize::from(CHANNELS)).expect("a block is at most 4096");
    // Sync and fixed block size; a 16-bit block size follows and the rate is 8 kHz; stereo, 16 bits.
    let mut bytes = vec![0xff, 0xf8, 0x74, 0x18];
    let number = char::from_u32(number).expect("a sample has few frames, and their numbers are coded as UTF-8 is");
    bytes.extend(number.to_string().as_bytes());
    bytes.extend((frames - 1).to_be_bytes());
    bytes.push(crc8(&bytes));
    for channel in 0..usize::from(CHANNELS) {
        // A verbatim subframe without wasted bits.
        bytes.push(0x02);
        bytes.extend(block.iter().skip(channel).step_by(usize::from(CHANNELS)).flat_map(|sample| sample.to_be_bytes()));
    }
    bytes.extend(crc16(&bytes).to_be_bytes());
    bytes
}

fn crc8(bytes: &[u8]) -> u8 {
    let step = |crc: u8, _| if crc & 0x80 == 0 { crc << 1 } else { crc << 1 ^ 0x07 };
    bytes.iter().fold(0, |crc, byte| (0..8).fold(crc ^ byte, step))
}

fn crc16(bytes: &[u8]) -> u16 {
    let step = |crc: u16, _| if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x8005 };
    bytes.iter().fold(0, |crc, byte| (0..8).fold(crc ^ u16::from(*byte) << 8, step))
}
