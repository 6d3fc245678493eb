//! HTTP/1.1 by hand, because a library would keep the fake from breaking it.
//!
//! Requests are read strictly enough for a well-behaved client; replies are written exactly as their [`Reply`] says,
//! framing that contradicts itself included. A reply whose framing held leaves the connection open for the next
//! request, any other ends it.

use std::io::{Error, ErrorKind, Result};
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::clock::{Metronome, pause};
use super::quirk::Cut;
use super::reply::{Ending, Pace, Reply};

/// The head of a request; its body is read and dropped.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) method: String,
    /// Path and query, byte for byte.
    pub(super) target: String,
    headers: Vec<(String, String)>,
}

impl Request {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Whether the client wants the connection to end with this answer.
    pub(super) fn is_the_last(&self) -> bool {
        self.header("connection").is_some_and(|text| text.eq_ignore_ascii_case("close"))
    }

    pub(super) fn path(&self) -> &str {
        self.target.split_once('?').map_or(self.target.as_str(), |(path, _)| path)
    }

    pub(super) fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    /// The first value of that name in the query, decoded.
    pub(super) fn query_value(&self, name: &str) -> Option<String> {
        let pairs = url::form_urlencoded::parse(self.query().as_bytes());
        pairs.into_iter().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }

    fn parse(head: &str) -> Option<Self> {
        let mut lines = head.split("\r\n");
        let mut first = lines.next()?.split(' ');
        let (method, target, version) = (first.next()?, first.next()?, first.next()?);
        if !version.starts_with("HTTP/1.") || first.next().is_some() {
            return None;
        }
        let headers = lines
            .filter(|line| !line.is_empty())
            .map(|line| line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned())))
            .collect::<Option<_>>()?;
        Some(Self { method: method.to_owned(), target: target.to_owned(), headers })
    }
}

pub(super) struct Connection {
    stream: TcpStream,
    buffer: BytesMut,
}

/// No client sends a longer head; a signed URL has some hundred bytes.
const LONGEST_HEAD: usize = 64 * 1024;

impl Connection {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, buffer: BytesMut::new() }
    }

    /// The next request, or `None` if the client left between two.
    pub(super) async fn request(&mut self) -> Result<Option<Request>> {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = self.buffer.split_to(end + 4);
                let request = std::str::from_utf8(&head).ok().and_then(Request::parse);
                let request = request.ok_or_else(|| Error::new(ErrorKind::InvalidData, "not a request head"))?;
                self.skip_body(&request).await?;
                return Ok(Some(request));
            }
            if self.buffer.len() > LONGEST_HEAD {
                return Err(Error::new(ErrorKind::InvalidData, "a request head without an end"));
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }

    async fn skip_body(&mut self, request: &Request) -> Result<()> {
        let length: usize = request.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        while self.buffer.len() < length {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        self.buffer.advance(length);
        Ok(())
    }

    /// Writes the reply. Returns whether the connection can carry another.
    pub(super) async fn send(&mut self, reply: &Reply) -> Result<bool> {
        match reply.ending {
            Ending::Silence => return self.until_the_client_leaves().await.map(|()| false),
            Ending::Vanish(how) => return self.break_off(how).await.map(|()| false),
            Ending::Complete | Ending::Cut { .. } | Ending::Stall { .. } => {}
        }
        if let Some(bytes) = &reply.verbatim {
            self.stream.write_all(bytes).await?;
            return self.break_off(Cut::Fin).await.map(|()| false);
        }
        self.write_paced(reply.head().as_bytes(), reply.head_pace).await?;
        self.send_body(reply).await?;
        match reply.ending {
            Ending::Complete if reply.framing.marks_its_end() => return Ok(true),
            Ending::Complete => self.break_off(Cut::Fin).await?,
            Ending::Cut { how, .. } | Ending::Vanish(how) => self.break_off(how).await?,
            Ending::Stall { .. } | Ending::Silence => self.until_the_client_leaves().await?,
        }
        Ok(false)
    }

    #[expect(clippy::cast_precision_loss, reason = "a part of a piece")]
    async fn send_body(&mut self, reply: &Reply) -> Result<()> {
        let (largest, wait) = reply.pace.piece();
        let end = reply.ending.limit().map_or(reply.payload.len, |limit| limit.min(reply.payload.len));
        let mut metronome = Metronome::new();
        let mut at = 0;
        while at < end {
            let room = usize::try_from(end - at).unwrap_or(usize::MAX);
            let chunk = reply.payload.read(at, largest.min(room));
            self.write_framed(&chunk, reply.framing.is_chunked()).await?;
            at += chunk.len() as u64;
            reply.sent.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            if let Some(wait) = wait {
                // The last piece of a block is a short one.
                metronome.after(wait.mul_f64(chunk.len() as f64 / largest as f64)).await;
            }
        }
        let complete = matches!(reply.ending, Ending::Complete);
        if complete && reply.framing.is_chunked() {
            self.stream.write_all(b"0\r\n\r\n").await?;
        }
        Ok(())
    }

    async fn write_framed(&mut self, chunk: &[u8], chunked: bool) -> Result<()> {
        if !chunked {
            return self.stream.write_all(chunk).await;
        }
        self.stream.write_all(format!("{:x}\r\n", chunk.len()).as_bytes()).await?;
        self.stream.write_all(chunk).await?;
        self.stream.write_all(b"\r\n").await
    }

    async fn write_paced(&mut self, bytes: &[u8], pace: Pace) -> Result<()> {
        let (largest, wait) = pace.piece();
        for piece in bytes.chunks(largest) {
            self.stream.write_all(piece).await?;
            if let Some(wait) = wait {
                pause(wait).await;
            }
        }
        Ok(())
    }

    async fn break_off(&mut self, how: Cut) -> Result<()> {
        match how {
            Cut::Fin => self.stream.shutdown().await,
            Cut::Rst => {
                // A reset discards what the kernel has not sent yet: let it arrive.
                pause(Duration::from_millis(50)).await;
                self.stream.set_zero_linger()
            }
        }
    }

    /// Says nothing more, and frees the socket once the other side gives up.
    async fn until_the_client_leaves(&mut self) -> Result<()> {
        let mut ignored = [0; 4096];
        while self.stream.read(&mut ignored).await? > 0 {}
        Ok(())
    }
}
