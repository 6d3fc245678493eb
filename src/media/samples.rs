//! Small files of every container, built by their specifications, for the tests.

use super::flac::{crc8, crc16};
use super::{Doubt, Ending, Inspection, inspect};

/// A sound file, and what is to be found in it.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) name: &'static str,
    pub(super) bytes: Vec<u8>,
    pub(super) content_type: &'static str,
    /// Seconds, channels, Hz.
    pub(super) says: (f64, u16, u32),
    /// It says where it ends: no cut of it may pass.
    pub(super) ends: bool,
}

pub(super) fn found(bytes: &[u8]) -> Inspection {
    inspect(bytes, None, Ending::Marked)
}

pub(super) fn marked(bytes: &[u8]) -> Option<Doubt> {
    found(bytes).doubt
}

pub(super) fn unmarked(bytes: &[u8]) -> Option<Doubt> {
    inspect(bytes, None, Ending::Unmarked).doubt
}

/// All of them.
pub(super) fn all() -> Vec<Sample> {
    let sample = |name, content_type, says, ends, bytes| Sample { name, bytes, content_type, says, ends };
    let pcm = (0.5, 2, 8000);
    let audio = [7; 16_000];
    vec![
        sample("wav", "audio/wav", pcm, true, riff(&[format(1, 2, 4), chunk(b"data", &audio)])),
        sample("wav, tagged", "audio/wav", pcm, true, {
            riff(&[format(1, 2, 4), chunk(b"data", &audio), chunk(b"LIST", b"INFOISFT\x04\0\0\0Lavf")])
        }),
        sample("wav, live", "audio/wav", pcm, false, live_wav(u32::MAX, &audio)),
        sample("wav, unpatched", "audio/wav", pcm, false, live_wav(0, &audio)),
        sample("wav, mu-law", "audio/wav", (2.0, 1, 8000), true, {
            riff(&[format(7, 1, 1), chunk(b"fact", &16_000_u32.to_le_bytes()), chunk(b"data", &audio)])
        }),
        sample("wav, RF64", "audio/wav", pcm, true, rf64(&audio)),
        sample("flac", "audio/flac", (0.576, 2, 8000), true, flac(4, true)),
        sample("flac, piped", "audio/flac", (0.576, 2, 8000), false, flac(4, false)),
        sample("flac, ID3", "audio/flac", (0.576, 2, 8000), true, [id3v2(200), flac(4, true)].concat()),
        sample("opus", "audio/ogg", (1.0, 1, 8000), true, opus(5, true)),
        sample("mp3, ID3 and Xing", "audio/mpeg", (0.24, 2, 48_000), true, [id3v2(100), mp3(10, true)].concat()),
        sample("mp3, bare", "audio/mpeg", (0.24, 2, 48_000), false, mp3(10, false)),
        sample("mp4, moov first", "audio/mp4", (1.5, 1, 16_000), true, mp4(&[moov(false), mdat(99)])),
        sample("mp4, moov last", "audio/mp4", (1.5, 1, 16_000), true, mp4(&[mdat(99), moov(false)])),
        sample("mp4, fragments", "audio/mp4", (1.5, 1, 16_000), false, {
            mp4(&[moov(true), boxed(b"moof", &[0; 9]), mdat(99), boxed(b"moof", &[0; 9]), mdat(99)])
        }),
        sample("webm", "audio/webm", (1.5, 2, 48_000), true, webm(true)),
        sample("webm, live", "audio/webm", (1.5, 2, 48_000), false, webm(false)),
        sample("amr", "audio/amr", (0.2, 1, 8000), false, amr()),
        sample("au", "audio/basic", (2.0, 1, 8000), true, au(16_000)),
        sample("au, live", "audio/basic", (2.0, 1, 8000), false, au(u32::MAX)),
    ]
}

pub(super) fn chunk(id: &[u8], body: &[u8]) -> Vec<u8> {
    let size = u32::try_from(body.len()).expect("samples are small");
    let pad = &[0][..body.len() % 2];
    [id, &size.to_le_bytes()[..], body, pad].concat()
}

pub(super) fn riff(chunks: &[Vec<u8>]) -> Vec<u8> {
    let chunks = chunks.concat();
    let size = u32::try_from(chunks.len() + 4).expect("samples are small");
    [b"RIFF", &size.to_le_bytes()[..], b"WAVE", &chunks].concat()
}

/// `fmt ` at 8 kHz.
pub(super) fn format(codec: u16, channels: u16, block: u16) -> Vec<u8> {
    let rates = [8000_u32.to_le_bytes(), (8000 * u32::from(block)).to_le_bytes()].concat();
    let head = [codec.to_le_bytes(), channels.to_le_bytes()].concat();
    let tail = [block.to_le_bytes(), (block / channels * 8).to_le_bytes()].concat();
    chunk(b"fmt ", &[head, rates, tail].concat())
}

pub(super) fn live_wav(size: u32, audio: &[u8]) -> Vec<u8> {
    let size = size.to_le_bytes();
    [b"RIFF", &size[..], b"WAVE", &format(1, 2, 4), b"data", &size, audio].concat()
}

fn rf64(audio: &[u8]) -> Vec<u8> {
    let sizes = [audio.len() as u64 + 72, audio.len() as u64, audio.len() as u64 / 4];
    let ds64 = chunk(b"ds64", &[sizes.map(u64::to_le_bytes).concat(), vec![0; 4]].concat());
    let unknown = [0xFF; 4];
    [b"RF64", &unknown[..], b"WAVE", &ds64, &format(1, 2, 4), b"data", &unknown, audio].concat()
}

/// Frames of 1,152 samples, stereo, 16 bits, 8 kHz.
pub(super) fn flac(frames: u8, tells_total: bool) -> Vec<u8> {
    let total = if tells_total { u64::from(frames) * 1152 } else { 0 };
    let headers: Vec<_> = (0..frames).map(|number| vec![0xFF, 0xF8, 0x34, 0x18, number]).collect();
    flac_of(8000, 16, total, &headers)
}

/// A STREAMINFO of that rate, size and total, and a frame for each header, with noise in the place of subframes.
pub(super) fn flac_of(sample_rate: u64, sample_bits: u64, total: u64, headers: &[Vec<u8>]) -> Vec<u8> {
    let packed = sample_rate << 44 | 1 << 41 | (sample_bits - 1) << 36 | total;
    let info = [&[4, 128, 4, 128, 0, 0, 0, 0, 0, 0][..], &packed.to_be_bytes(), &[0; 16]].concat();
    let comment = [&[0x84, 0, 0, 8][..], &[0; 8]].concat();
    let frames = (0_u8..).zip(headers).flat_map(|(number, header)| {
        let mut frame = sealed(header);
        frame.extend((0..200_u8).map(|n| n.wrapping_mul(37) ^ number));
        let sum = crc16(&frame).to_be_bytes();
        [frame, sum.to_vec()].concat()
    });
    [&b"fLaC\0\0\0\x22"[..], &info, &comment, &frames.collect::<Vec<u8>>()].concat()
}

/// A header of FLAC with its checksum.
pub(super) fn sealed(header: &[u8]) -> Vec<u8> {
    [header, &[crc8(header)]].concat()
}

pub(super) fn id3v2(body: u8) -> Vec<u8> {
    [&[b'I', b'D', b'3', 4, 0, 0, 0, 0, body >> 7, body & 0x7F][..], &vec![0; usize::from(body)]].concat()
}

pub(super) fn page(flags: u8, position: u64, packet: &[u8]) -> Vec<u8> {
    let mut segments = vec![255; packet.len() / 255];
    segments.push(u8::try_from(packet.len() % 255).expect("a remainder"));
    let count = u8::try_from(segments.len()).expect("one page");
    let serial_to_sum = [1; 12];
    let header = [&[b'O', b'g', b'g', b'S', 0, flags][..], &position.to_le_bytes(), &serial_to_sum, &[count]].concat();
    [header, segments, packet.to_vec()].concat()
}

pub(super) fn opus_head() -> Vec<u8> {
    [&b"OpusHead\x01\x01"[..], &312_u16.to_le_bytes(), &8000_u32.to_le_bytes(), &[0; 3]].concat()
}

/// Pages of 0.2 s.
pub(super) fn opus(pages: u64, ends: bool) -> Vec<u8> {
    let mut file = [page(2, 0, &opus_head()), page(0, 0, b"OpusTags\0\0\0\0\0\0\0\0")].concat();
    for number in 1..=pages {
        let last = if ends && number == pages { 4 } else { 0 };
        file.extend(page(last, number * 9600 + 312, &[3; 700]));
    }
    file
}

/// MPEG 1, layer III, 64 kbit/s, 48 kHz, stereo: 192 bytes and 24 ms a frame.
pub(super) fn mp3(frames: u32, tells_total: bool) -> Vec<u8> {
    let mut frame = vec![0xFF, 0xFB, 0x54, 0x00];
    frame.resize(192, 0x11);
    let mut header = frame.clone();
    header[36..44].copy_from_slice(b"Xing\0\0\0\x03");
    header[44..48].copy_from_slice(&frames.to_be_bytes());
    header[48..52].copy_from_slice(&((frames + 1) * 192).to_be_bytes());
    let header = if tells_total { header } else { Vec::new() };
    [header, frame.repeat(frames as usize)].concat()
}

pub(super) fn boxed(kind: &[u8], body: &[u8]) -> Vec<u8> {
    let size = u32::try_from(body.len() + 8).expect("samples are small");
    [&size.to_be_bytes()[..], kind, body].concat()
}

pub(super) fn mp4(boxes: &[Vec<u8>]) -> Vec<u8> {
    [boxed(b"ftyp", b"M4A \0\0\0\0isom"), boxes.concat()].concat()
}

pub(super) fn mdat(length: usize) -> Vec<u8> {
    boxed(b"mdat", &vec![5; length])
}

fn clock(units: u32) -> Vec<u8> {
    [&[0; 12][..], &16_000_u32.to_be_bytes(), &units.to_be_bytes(), &[0; 4]].concat()
}

pub(super) fn track(handler: &[u8]) -> Vec<u8> {
    let media = boxed(b"hdlr", &[&[0; 8][..], handler, &[0; 13]].concat());
    let data = boxed(b"hdlr", &[&[0; 8][..], b"alis", &[0; 13]].concat());
    let entry =
        [&b"mp4a"[..], &[0; 6], &[0, 1], &[0; 8], &[0, 1, 0, 16, 0, 0, 0, 0], &[0x3E, 0x80, 0, 0], &[0; 20]].concat();
    let table = boxed(b"stbl", &boxed(b"stsd", &[&[0; 8][..], &[0, 0, 0, 60], &entry].concat()));
    let clock = boxed(b"mdhd", &clock(24_000));
    boxed(b"trak", &boxed(b"mdia", &[clock, media, boxed(b"minf", &[data, table].concat())].concat()))
}

pub(super) fn moov(is_fragmented: bool) -> Vec<u8> {
    let mvex = if is_fragmented { boxed(b"mvex", &[0; 8]) } else { Vec::new() };
    boxed(b"moov", &[boxed(b"mvhd", &clock(24_000)), track(b"soun"), mvex].concat())
}

pub(super) fn element(id: &[u8], body: &[u8]) -> Vec<u8> {
    let size = u16::try_from(body.len()).expect("samples are small") | 0x4000;
    [id, &size.to_be_bytes(), body].concat()
}

pub(super) fn webm_header() -> Vec<u8> {
    element(&[0x1A, 0x45, 0xDF, 0xA3], &element(&[0x42, 0x82], b"webm"))
}

pub(super) fn webm_tracks(kind: u8) -> Vec<u8> {
    let audio = [element(&[0xB5], &48_000_f32.to_be_bytes()), element(&[0x9F], &[2])].concat();
    let entry = [element(&[0x83], &[kind]), element(&[0xE1], &audio)].concat();
    element(&[0x16, 0x54, 0xAE, 0x6B], &element(&[0xAE], &entry))
}

/// Two clusters; all sizes known, or those of Segment and Clusters not.
pub(super) fn webm(knows_sizes: bool) -> Vec<u8> {
    let info = element(&[0x15, 0x49, 0xA9, 0x66], &element(&[0x44, 0x89], &1500_f64.to_be_bytes()));
    let blocks = [element(&[0xE7], &[0]), element(&[0xA3], &[9; 200])].concat();
    let sized = |id: &[u8], body: &[u8]| {
        if knows_sizes {
            element(id, body)
        } else {
            [id, &[0x01, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF], body].concat()
        }
    };
    let clusters = sized(&[0x1F, 0x43, 0xB6, 0x75], &blocks).repeat(2);
    [webm_header(), sized(&[0x18, 0x53, 0x80, 0x67], &[info, webm_tracks(2), clusters].concat())].concat()
}

pub(super) fn amr() -> Vec<u8> {
    // Ten frames of 12.2 kbit/s.
    [b"#!AMR\n".to_vec(), [&[0x3C][..], &[1; 31]].concat().repeat(10)].concat()
}

pub(super) fn au(size: u32) -> Vec<u8> {
    let header = [28, size, 1, 8000, 1, 0].map(u32::to_be_bytes).concat();
    [&b".snd"[..], &header, &[0x7F; 16_000]].concat()
}
