//! `WebM` (RFC 9559): silent Opus in clusters of one second, every element of a known size.

use std::time::Duration;

use super::{Sample, frames, ogg};

/// Packets of 20 ms in one cluster.
const PACKETS_A_CLUSTER: u32 = 50;

pub fn webm(length: Duration) -> Sample {
    let (count, seconds) = frames(length, Duration::from_millis(20));
    let mut segment = information(seconds);
    segment.extend(tracks());
    let mut start = 0;
    while start < count {
        let packets = (count - start).min(PACKETS_A_CLUSTER);
        segment.extend(cluster(start, packets));
        start += packets;
    }
    let bytes = [header(), element(&[0x18, 0x53, 0x80, 0x67], &segment)].concat();
    Sample { file_name: "speech.webm", bytes, channels: 2, rate: 48_000, seconds }
}

fn header() -> Vec<u8> {
    let fields = [
        element(&[0x42, 0x86], &[1]),
        element(&[0x42, 0xf7], &[1]),
        element(&[0x42, 0xf2], &[4]),
        element(&[0x42, 0xf3], &[8]),
        element(&[0x42, 0x82], b"webm"),
        element(&[0x42, 0x87], &[4]),
        element(&[0x42, 0x85], &[2]),
    ];
    element(&[0x1a, 0x45, 0xdf, 0xa3], &fields.concat())
}

fn information(seconds: f64) -> Vec<u8> {
    let fields = [
        // A tick is a millisecond.
        element(&[0x2a, 0xd7, 0xb1], &1_000_000_u32.to_be_bytes()),
        element(&[0x44, 0x89], &(seconds * 1000.0).to_be_bytes()),
        element(&[0x4d, 0x80], b"kore"),
        element(&[0x57, 0x41], b"kore"),
    ];
    element(&[0x15, 0x49, 0xa9, 0x66], &fields.concat())
}

fn tracks() -> Vec<u8> {
    let audio = [element(&[0xb5], &48_000_f64.to_be_bytes()), element(&[0x9f], &[2])];
    let entry = [
        element(&[0xd7], &[1]),
        element(&[0x73, 0xc5], &[1]),
        // Audio.
        element(&[0x83], &[2]),
        element(&[0x86], b"A_OPUS"),
        element(&[0x63, 0xa2], &ogg::head()),
        element(&[0xe1], &audio.concat()),
    ];
    element(&[0x16, 0x54, 0xae, 0x6b], &element(&[0xae], &entry.concat()))
}

fn cluster(start: u32, packets: u32) -> Vec<u8> {
    let mut content = element(&[0xe7], &(start * 20).to_be_bytes());
    for packet in 0..packets {
        let offset = u16::try_from(packet * 20).expect("a cluster is a second");
        let [high, low] = offset.to_be_bytes();
        // Track 1, its time within the cluster, a key frame.
        let block = [&[0x81, high, low, 0x80], &ogg::SILENCE[..]].concat();
        content.extend(element(&[0xa3], &block));
    }
    element(&[0x1f, 0x43, 0xb6, 0x75], &content)
}

/// Id, a size of eight bytes, content.
fn element(id: &[u8], content: &[u8]) -> Vec<u8> {
    let size = content.len() as u64 | 1 << 56;
    [id, &size.to_be_bytes(), content].concat()
}
