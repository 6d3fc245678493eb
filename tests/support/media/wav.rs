//! WAV under every header that recordings were seen with, odd and wrong ones included.

use super::super::kore::Body;
use super::speech::{CHANNELS, SAMPLE_RATE};

/// What the header looks like, and whether it tells the truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WavShape {
    /// 44 bytes: RIFF, `fmt `, `data`.
    Plain,
    /// A LIST chunk of odd length, padded, before `data`, and another after it.
    ListChunks,
    /// Sizes of 0, as a recorder leaves them that streams.
    SizesZero,
    /// Sizes of 0xFFFFFFFF, as ffmpeg leaves them on a pipe.
    SizesUnknown,
    /// RF64: 64-bit sizes in a `ds64` chunk.
    Rf64,
    /// `WAVE_FORMAT_EXTENSIBLE`.
    Extensible,
    /// G.711 mu-law, one byte a sample.
    MuLaw,
    /// The header says that many bytes more than there are.
    SaysMore(u32),
    /// The header says that many bytes fewer than there are.
    SaysLess(u32),
}

/// Interleaved 8 kHz stereo samples under such a header.
pub fn wav(shape: WavShape, samples: &[i16]) -> Vec<u8> {
    let data: Vec<u8> = match shape {
        WavShape::MuLaw => samples.iter().map(|sample| mu_law(*sample)).collect(),
        _ => samples.iter().flat_map(|sample| sample.to_le_bytes()).collect(),
    };
    let mut chunks = chunk("fmt ", &format(shape));
    if shape == WavShape::ListChunks {
        chunks.extend(chunk("LIST", b"INFOISFT\x03\0\0\0ab\0"));
    }
    let before_data = chunks.len();
    chunks.extend(chunk("data", &data));
    if shape == WavShape::ListChunks {
        chunks.extend(chunk("LIST", b"INFOICMT\x02\0\0\0x\0"));
    }
    let mut file = if shape == WavShape::Rf64 {
        rf64_head(chunks.len(), data.len(), samples.len())
    } else {
        riff_head(chunks.len())
    };
    let data_size_at = file.len() + before_data + 4;
    file.extend(chunks);
    falsify(&mut file, shape, data_size_at, u32_of(data.len()));
    file
}

/// A plain WAV of this many bytes in all whose samples are noise: gigabytes without memory. Its header is RF64 from
/// 4 GiB on.
pub fn big_wav(seed: u64, bytes: u64) -> Body {
    let mut header = wav(WavShape::Plain, &[]);
    let data = bytes.saturating_sub(header.len() as u64) & !3;
    if let Ok(size) = u32::try_from(data + 36) {
        header[4..8].copy_from_slice(&size.to_le_bytes());
        header[40..44].copy_from_slice(&(size - 36).to_le_bytes());
        return Body::chain([header.into(), Body::noise(seed, data)]);
    }
    let mut header = wav(WavShape::Rf64, &[]);
    let data = (bytes - header.len() as u64) & !3;
    let riff = data + header.len() as u64 - 8;
    header[20..28].copy_from_slice(&riff.to_le_bytes());
    header[28..36].copy_from_slice(&data.to_le_bytes());
    header[36..44].copy_from_slice(&(data / 4).to_le_bytes());
    Body::chain([header.into(), Body::noise(seed, data)])
}

fn format(shape: WavShape) -> Vec<u8> {
    let (tag, sample_bytes) = match shape {
        WavShape::MuLaw => (7_u16, 1_u16),
        WavShape::Extensible => (0xfffe, 2),
        _ => (1, 2),
    };
    let frame = CHANNELS * sample_bytes;
    let mut format = Vec::new();
    format.extend(tag.to_le_bytes());
    format.extend(CHANNELS.to_le_bytes());
    format.extend(SAMPLE_RATE.to_le_bytes());
    format.extend((SAMPLE_RATE * u32::from(frame)).to_le_bytes());
    format.extend(frame.to_le_bytes());
    format.extend((sample_bytes * 8).to_le_bytes());
    match shape {
        // cbSize 22, valid bits, front left and right, and the GUID of PCM.
        WavShape::Extensible => {
            format.extend(b"\x16\0\x10\0\x03\0\0\0\x01\0\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71");
        }
        WavShape::MuLaw => format.extend([0, 0]),
        _ => {}
    }
    format
}

fn chunk(name: &str, content: &[u8]) -> Vec<u8> {
    let mut chunk = name.as_bytes().to_vec();
    chunk.extend(u32_of(content.len()).to_le_bytes());
    chunk.extend(content);
    if content.len() % 2 == 1 {
        chunk.push(0);
    }
    chunk
}

fn riff_head(chunks: usize) -> Vec<u8> {
    let mut head = b"RIFF".to_vec();
    head.extend(u32_of(chunks + 4).to_le_bytes());
    head.extend(b"WAVE");
    head
}

fn rf64_head(chunks: usize, data: usize, samples: usize) -> Vec<u8> {
    let mut sizes = Vec::new();
    sizes.extend((chunks as u64 + 4 + 36).to_le_bytes());
    sizes.extend((data as u64).to_le_bytes());
    sizes.extend((samples as u64 / u64::from(CHANNELS)).to_le_bytes());
    sizes.extend(0_u32.to_le_bytes());
    let mut head = b"RF64\xff\xff\xff\xffWAVE".to_vec();
    head.extend(chunk("ds64", &sizes));
    head
}

/// Writes the sizes that the shape claims over the true ones.
fn falsify(file: &mut [u8], shape: WavShape, data_size_at: usize, data: u32) {
    let mut claim = |riff: u32, data: u32| {
        file[4..8].copy_from_slice(&riff.to_le_bytes());
        file[data_size_at..data_size_at + 4].copy_from_slice(&data.to_le_bytes());
    };
    match shape {
        WavShape::SizesZero => claim(0, 0),
        WavShape::SizesUnknown | WavShape::Rf64 => claim(u32::MAX, u32::MAX),
        WavShape::SaysMore(more) => claim(data + 36 + more, data + more),
        WavShape::SaysLess(less) => claim(data + 36 - less, data - less),
        WavShape::Plain | WavShape::ListChunks | WavShape::Extensible | WavShape::MuLaw => {}
    }
}

/// G.711: sign, a 3-bit exponent, a 4-bit mantissa, all inverted.
pub(super) fn mu_law(sample: i16) -> u8 {
    let sign = if sample < 0 { 0x80 } else { 0 };
    let magnitude = sample.unsigned_abs().min(32635) + 132;
    let exponent = magnitude.ilog2() - 7;
    let mantissa = (magnitude >> (exponent + 3)) & 0x0f;
    let [_, low] = mantissa.to_be_bytes();
    let exponent = u8::try_from(exponent).expect("0 to 7");
    !(sign | (exponent << 4) | low)
}

fn u32_of(len: usize) -> u32 {
    u32::try_from(len).expect("a sample is short")
}
