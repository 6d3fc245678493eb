//! Where bytes are: in memory as they came, or in files under a folder that people can look at.
//!
//! `ROOT/objects/<key>` holds the objects, `ROOT/incoming` what is not whole yet: a body becomes an object by a rename.
//! Keys that are no plain path (empty, `.`, `..` or over-long folders) are refused, where S3 would take them.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, Stream};
use s3s::dto::StreamingBlob;
use s3s::{S3Error, S3Result, s3_error};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt, BufWriter};

/// Bytes that are written to and read from a file at once.
const BLOCK: usize = 1024 * 1024;
/// What most file systems allow for one name.
const LONGEST_NAME: usize = 255;

/// Where new bodies go.
#[derive(Clone, Debug)]
pub enum Storage {
    /// Nothing touches the disk.
    Memory,
    /// Under this folder.
    Folder(PathBuf),
}

/// The bytes of an object or a part.
#[derive(Clone, Debug)]
pub enum Body {
    Memory(Arc<[Bytes]>),
    File(PathBuf),
}

static NEXT_FILE: AtomicU64 = AtomicU64::new(0);

impl Storage {
    pub fn prepare(&self) -> io::Result<()> {
        match self {
            Self::Memory => Ok(()),
            Self::Folder(root) => {
                fs::create_dir_all(root.join("objects"))?;
                fs::create_dir_all(root.join("incoming"))
            }
        }
    }

    /// Something to write a body to.
    pub async fn sink(&self) -> S3Result<Sink> {
        let Self::Folder(root) = self else { return Ok(Sink::Memory(Vec::new())) };
        let number = NEXT_FILE.fetch_add(1, Ordering::Relaxed);
        let path = root.join("incoming").join(number.to_string());
        let file = tokio::fs::File::create(&path).await.map_err(internal)?;
        Ok(Sink::File(BufWriter::with_capacity(BLOCK, file), path))
    }

    /// Whether the key can be stored.
    pub fn accepts(&self, key: &str) -> S3Result<()> {
        let plain = |name: &str| !matches!(name, "" | "." | "..") && name.len() <= LONGEST_NAME && !name.contains('\0');
        match self {
            Self::Folder(_) if !key.split('/').all(plain) => {
                Err(s3_error!(InvalidArgument, "This store keeps objects as files, and the key is no plain path."))
            }
            _ => Ok(()),
        }
    }

    /// Makes the body the object of that key, replacing what was there.
    pub fn publish(&self, key: &str, body: Body) -> S3Result<Body> {
        let (Self::Folder(root), Body::File(from)) = (self, &body) else { return Ok(body) };
        let to = root.join("objects").join(key);
        fs::create_dir_all(to.parent().expect("it is below objects")).map_err(internal)?;
        fs::rename(from, &to).map_err(internal)?;
        Ok(Body::File(to))
    }
}

/// A body being written.
pub enum Sink {
    Memory(Vec<Bytes>),
    File(BufWriter<tokio::fs::File>, PathBuf),
}

impl Sink {
    pub async fn write(&mut self, bytes: Bytes) -> S3Result<()> {
        match self {
            Self::Memory(all) => {
                all.push(bytes);
                Ok(())
            }
            Self::File(file, _) => file.write_all(&bytes).await.map_err(internal),
        }
    }

    pub async fn finish(self) -> S3Result<Body> {
        match self {
            Self::Memory(all) => Ok(Body::Memory(all.into())),
            Self::File(mut file, path) => {
                file.flush().await.map_err(internal)?;
                Ok(Body::File(path))
            }
        }
    }
}

impl Body {
    /// One body after the other. Files are appended to the first, by the kernel.
    pub fn joined(parts: Vec<Self>) -> S3Result<Self> {
        let mut segments = Vec::new();
        let mut files = Vec::new();
        for part in parts {
            match part {
                Self::Memory(part) => segments.extend_from_slice(&part),
                Self::File(path) => files.push(path),
            }
        }
        let Some((first, rest)) = files.split_first() else { return Ok(Self::Memory(segments.into())) };
        append(first, rest).map_err(internal)?;
        Ok(Self::File(first.clone()))
    }

    /// Frees a body that nobody needs.
    pub fn discard(&self) {
        if let Self::File(path) = self {
            let _ = fs::remove_file(path);
        }
    }

    /// Piece by piece, so that gigabytes can be looked at.
    pub fn each(&self, mut look: impl FnMut(&[u8])) {
        match self {
            Self::Memory(segments) => segments.iter().for_each(|segment| look(segment)),
            Self::File(path) => {
                let mut file = fs::File::open(path).expect("an object's file can be read");
                let mut block = vec![0; BLOCK];
                while let read @ 1.. = file.read(&mut block).expect("an object's file can be read") {
                    look(&block[..read]);
                }
            }
        }
    }

    /// All of it, in memory.
    pub fn bytes(&self) -> Bytes {
        match self {
            Self::Memory(segments) => segments.concat().into(),
            Self::File(path) => fs::read(path).expect("an object's file can be read").into(),
        }
    }

    /// `bytes` from `start` on, as a stream.
    pub async fn stream(&self, start: u64, bytes: u64) -> S3Result<StreamingBlob> {
        match self {
            Self::Memory(segments) => Ok(StreamingBlob::wrap(stream::iter(
                slices(segments, start, bytes).into_iter().map(Ok::<_, io::Error>),
            ))),
            Self::File(path) => {
                let mut file = tokio::fs::File::open(path).await.map_err(internal)?;
                file.seek(io::SeekFrom::Start(start)).await.map_err(internal)?;
                Ok(StreamingBlob::wrap(blocks(file, bytes)))
            }
        }
    }
}

fn append(first: &Path, rest: &[PathBuf]) -> io::Result<()> {
    let mut whole = fs::OpenOptions::new().append(true).open(first)?;
    for path in rest {
        io::copy(&mut fs::File::open(path)?, &mut whole)?;
        fs::remove_file(path)?;
    }
    Ok(())
}

fn slices(segments: &[Bytes], start: u64, bytes: u64) -> Vec<Bytes> {
    let (mut skip, mut left) =
        (usize::try_from(start).unwrap_or(usize::MAX), usize::try_from(bytes).unwrap_or(usize::MAX));
    let mut slices = Vec::new();
    for segment in segments {
        let from = skip.min(segment.len());
        let to = (from + left.min(segment.len() - from)).min(segment.len());
        slices.push(segment.slice(from..to));
        (skip, left) = (skip - from, left - (to - from));
    }
    slices
}

type Blocks = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send + Sync>>;

fn blocks(file: tokio::fs::File, bytes: u64) -> Blocks {
    let file = file.take(bytes);
    Box::pin(stream::try_unfold(file, |mut file| async move {
        let mut block = BytesMut::with_capacity(BLOCK);
        let read = file.read_buf(&mut block).await?;
        Ok((read > 0).then(|| (block.freeze(), file)))
    }))
}

/// The store's own trouble.
pub fn internal(error: io::Error) -> S3Error {
    S3Error::internal_error(error)
}
