//! Ogg Opus (RFC 3533, RFC 7845): silent stereo packets of 20 ms, 50 a page.

use std::time::Duration;

use super::{Sample, frames};

const SERIAL: u32 = 0x6b6f_7265;
/// What the decoder drops at the start, in samples of 48 kHz: the encoder's usual lookahead.
const PRE_SKIP: u16 = 312;
const FRAME: u32 = 960;
const FIRST_PAGE: u8 = 0x02;
const LAST_PAGE: u8 = 0x04;
/// 20 ms of fullband stereo silence.
pub(super) const SILENCE: [u8; 3] = [0xfc, 0xff, 0xfe];

pub fn opus(length: Duration) -> Sample {
    let (count, seconds) = frames(length, Duration::from_millis(20));
    let mut file = page(FIRST_PAGE, 0, 0, &[&head()]);
    file.extend(page(0, 0, 1, &[b"OpusTags\x04\0\0\0kore\0\0\0\0"]));
    let mut done = 0;
    let mut number = 2;
    while done < count {
        let packets = (count - done).min(50);
        done += packets;
        let last = if done == count { LAST_PAGE } else { 0 };
        let granule = u64::from(done * FRAME) + if last == 0 { 0 } else { u64::from(PRE_SKIP) };
        file.extend(page(last, granule, number, &vec![&SILENCE[..]; packets as usize]));
        number += 1;
    }
    Sample { file_name: "speech.ogg", bytes: file, channels: 2, rate: 48_000, seconds }
}

/// The identification header, which `WebM` carries, too.
pub(super) fn head() -> Vec<u8> {
    let mut head = b"OpusHead\x01\x02".to_vec();
    head.extend(PRE_SKIP.to_le_bytes());
    head.extend(48_000_u32.to_le_bytes());
    // No gain, mapping family 0.
    head.extend([0, 0, 0]);
    head
}

fn page(flags: u8, granule: u64, number: u32, packets: &[&[u8]]) -> Vec<u8> {
    let mut page = b"OggS\0".to_vec();
    page.push(flags);
    page.extend(granule.to_le_bytes());
    page.extend(SERIAL.to_le_bytes());
    page.extend(number.to_le_bytes());
    page.extend([0; 4]);
    page.push(u8::try_from(packets.len()).expect("at most 50 packets a page"));
    page.extend(packets.iter().map(|packet| u8::try_from(packet.len()).expect("each is shorter than one segment")));
    page.extend(packets.concat());
    let crc = crc32(&page);
    page[22..26].copy_from_slice(&crc.to_le_bytes());
    page
}

/// Ogg's own CRC-32: not reflected, without inversion.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 0x8000_0000 == 0 { crc << 1 } else { crc << 1 ^ 0x04c1_1db7 };
    bytes.iter().fold(0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte) << 24, step))
}
