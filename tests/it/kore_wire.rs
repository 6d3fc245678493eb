//! The fake vendor misbehaves on the wire exactly as its quirks say, seen by a client that has no opinions on HTTP.

use std::io::Read;
use std::time::Duration;

use kore_archiver::clock::{Clock, SystemClock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::kore::{Answer, Body, Cut, FakeKore, Framing, Options, Outage, Quirk, Ranges, SourceFile, Target};

#[tokio::test]
async fn a_decent_file_has_length_validator_and_ranges_and_the_connection_stays() {
    let (kore, file) = serving(|file| file).await;
    let mut raw = Raw::connect(&kore).await;
    for _ in 0..2 {
        let head = raw.ask(&kore, &file, "").await;
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(head.contains("Content-Length: 10000\r\n") && head.contains("ETag: \""), "{head}");
        assert_eq!(raw.read_exactly(10_000).await, file.body().to_vec());
    }
    assert_eq!(kore.media_connections(), 1);
    assert_eq!(kore.files_served().iter().map(|served| served.bytes).sum::<u64>(), 20_000);
}

#[tokio::test]
async fn chunks_end_with_the_last_chunk_unless_they_are_cut() {
    let (kore, file) = serving(|file| file.always(Quirk::Framed(Framing::Chunked))).await;
    let (head, body) = fetch(&kore, &file, "Connection: close\r\n").await;
    assert!(head.contains("Transfer-Encoding: chunked\r\n") && !head.contains("Content-Length"), "{head}");
    assert!(body.starts_with(b"2710\r\n") && body.ends_with(b"\r\n0\r\n\r\n"));
    let file = file.always(Quirk::Cut { after: 5000, how: Cut::Fin });
    let (_, body) = fetch(&kore, &file, "").await;
    assert!(body.starts_with(b"1388\r\n") && !body.ends_with(b"0\r\n\r\n"));
}

#[tokio::test]
async fn a_body_without_length_ends_with_the_connection() {
    let (kore, file) = serving(|file| file.always(Quirk::Framed(Framing::UntilClose))).await;
    let (head, body) = fetch(&kore, &file, "").await;
    assert!(!head.contains("Content-Length") && !head.contains("Transfer-Encoding"), "{head}");
    assert_eq!(body, file.body().to_vec());
}

#[tokio::test]
async fn lengths_can_lie_in_every_way() {
    for (framing, expected) in [
        (Framing::LengthOff(500), "Content-Length: 10500\r\n"),
        (Framing::LengthOff(-500), "Content-Length: 9500\r\n"),
        (Framing::LengthText("18446744073709551615"), "Content-Length: 18446744073709551615\r\n"),
    ] {
        let (kore, file) = serving(|file| file.always(Quirk::Framed(framing))).await;
        let (head, body) = fetch(&kore, &file, "").await;
        assert!(head.contains(expected), "{head}");
        assert_eq!(body.len(), 10_000, "{framing:?}");
    }
    let (kore, file) = serving(|file| file.always(Quirk::Framed(Framing::LengthAndChunked))).await;
    let (head, body) = fetch(&kore, &file, "").await;
    assert!(head.contains("Content-Length: 10000\r\n") && head.contains("chunked"), "{head}");
    assert!(body.ends_with(b"0\r\n\r\n"));
}

#[tokio::test]
async fn a_cut_comes_after_so_many_bytes_by_fin_or_by_reset() {
    let (kore, file) = serving(|file| file.next(1, Quirk::Cut { after: 500, how: Cut::Fin })).await;
    assert_eq!(fetch(&kore, &file, "").await.1.len(), 500);
    let file = file.next(1, Quirk::Cut { after: 700, how: Cut::Rst });
    let mut raw = Raw::connect(&kore).await;
    raw.ask(&kore, &file, "").await;
    assert_eq!(raw.read_exactly(700).await.len(), 700);
    assert_eq!(raw.stream.read_u8().await.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    let (_, whole) = fetch(&kore, &file, "Connection: close\r\n").await;
    assert_eq!(whole.len(), 10_000, "both rules are spent");
    assert_eq!(kore.files_served().iter().map(|served| served.bytes).collect::<Vec<_>>(), [500, 700, 10_000]);
}

#[tokio::test]
async fn rules_compose_and_each_counts_its_own_requests() {
    let chunked = Quirk::Framed(Framing::Chunked);
    let (kore, file) = serving(|file| {
        file.always(chunked).nth(1, Quirk::Code(503)).nth(1, Quirk::Header("Retry-After", "7".to_owned()))
    })
    .await;
    let mut heads = Vec::new();
    for _ in 0..3 {
        heads.push(fetch(&kore, &file, "Connection: close\r\n").await.0);
    }
    assert!(heads.iter().all(|head| header(head, "Transfer-Encoding") == Some("chunked")), "{heads:?}");
    assert_eq!(heads.iter().map(|head| &head[9..12]).collect::<Vec<_>>(), ["200", "503", "200"]);
    assert_eq!(header(&heads[1], "Retry-After"), Some("7"));
}

#[tokio::test]
async fn a_stall_sends_so_much_and_holds_the_connection() {
    let (kore, file) = serving(|file| file.always(Quirk::Stall { after: 300 })).await;
    let mut raw = Raw::connect(&kore).await;
    raw.ask(&kore, &file, "").await;
    raw.read_exactly(300).await;
    let more = tokio::time::timeout(Duration::from_millis(150), raw.stream.read_u8()).await;
    assert!(more.is_err(), "nothing comes, and nothing ends");
}

#[tokio::test]
async fn bytes_drip_and_streams_are_throttled() {
    let clock = SystemClock::new();
    let (kore, file) = serving(|file| file.next(1, Quirk::Drip(Duration::from_millis(20)))).await;
    let mut raw = Raw::connect(&kore).await;
    raw.ask(&kore, &file, "").await;
    raw.read_exactly(10).await;
    assert!(clock.elapsed() >= Duration::from_millis(150), "{:?}", clock.elapsed());

    let file = file.next(1, Quirk::Throttle(40_000));
    let before = clock.elapsed();
    fetch(&kore, &file, "Connection: close\r\n").await;
    let took = clock.elapsed().saturating_sub(before);
    assert!((200..1000).contains(&took.as_millis()), "10,000 bytes at 40,000 a second took {took:?}");
}

#[tokio::test]
async fn a_head_can_drip_or_never_come() {
    let (kore, file) = serving(|file| file.next(1, Quirk::DripHead(Duration::from_millis(20)))).await;
    let mut raw = Raw::send(&kore, &file, "").await;
    assert_eq!(raw.read_exactly(5).await, b"HTTP/");
    let file = file.always(Quirk::Silent);
    let mut raw = Raw::send(&kore, &file, "").await;
    assert!(tokio::time::timeout(Duration::from_millis(100), raw.stream.read_u8()).await.is_err());
}

#[tokio::test]
async fn a_range_is_cut_out_and_one_past_the_end_is_416() {
    let (kore, file) = serving(|file| file).await;
    let (head, body) = fetch(&kore, &file, "Range: bytes=9000-\r\nConnection: close\r\n").await;
    assert!(head.starts_with("HTTP/1.1 206 ") && head.contains("Content-Range: bytes 9000-9999/10000\r\n"), "{head}");
    assert_eq!(body, file.body().to_vec()[9000..]);
    let (head, body) = fetch(&kore, &file, "Range: bytes=10-19\r\nConnection: close\r\n").await;
    assert!(head.contains("Content-Range: bytes 10-19/10000\r\n") && body.len() == 10, "{head}");
    let (head, _) = fetch(&kore, &file, "Range: bytes=10000-\r\nConnection: close\r\n").await;
    assert!(head.starts_with("HTTP/1.1 416 ") && head.contains("Content-Range: bytes */10000\r\n"), "{head}");
    assert_eq!(kore.files_served()[1].range.as_deref(), Some("bytes=10-19"));
}

#[tokio::test]
async fn if_range_gets_everything_once_the_validator_has_changed_or_is_weak() {
    let (kore, file) = serving(|file| file.always(Quirk::ETag("\"one\""))).await;
    let ask = |tag: &str| format!("Range: bytes=100-\r\nIf-Range: {tag}\r\nConnection: close\r\n");
    assert!(fetch(&kore, &file, &ask("\"one\"")).await.0.starts_with("HTTP/1.1 206 "));
    assert!(fetch(&kore, &file, &ask("\"two\"")).await.0.starts_with("HTTP/1.1 200 "));
    let file = file.always(Quirk::ETag("W/\"one\""));
    assert!(fetch(&kore, &file, &ask("W/\"one\"")).await.0.starts_with("HTTP/1.1 200 "));
    let file = file.always(Quirk::NoETag);
    let (head, _) = fetch(&kore, &file, &ask("\"one\"")).await;
    assert!(head.starts_with("HTTP/1.1 200 ") && !head.contains("ETag"), "{head}");
}

#[tokio::test]
async fn ranges_are_mishandled_in_every_way() {
    for (ranges, code, content_range, bytes) in [
        (Ranges::Ignored, "200", None, 10_000),
        (Ranges::Blindly, "206", Some("bytes 9000-9999/10000"), 1000),
        (Ranges::Shifted, "206", Some("bytes 0-9999/10000"), 10_000),
        (Ranges::Misnamed, "206", Some("bytes 9001-10000/10000"), 1000),
        (Ranges::Unsatisfiable, "416", Some("bytes */10000"), 0),
    ] {
        let (kore, file) = serving(|file| file.always(Quirk::Ranges(ranges))).await;
        let asked = "Range: bytes=9000-\r\nIf-Range: \"old\"\r\nConnection: close\r\n";
        let (head, body) = fetch(&kore, &file, asked).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {code} ")), "{ranges:?}: {head}");
        assert_eq!(header(&head, "Content-Range"), content_range, "{ranges:?}");
        assert_eq!(body.len(), bytes, "{ranges:?}");
    }
    let (kore, file) = serving(|file| file.always(Quirk::Ranges(Ranges::Unasked))).await;
    let (head, body) = fetch(&kore, &file, "Connection: close\r\n").await;
    assert!(head.starts_with("HTTP/1.1 206 ") && body.len() == 5000, "{head}");
}

#[tokio::test]
async fn pages_codes_and_nothing_take_the_place_of_the_file() {
    let page = Quirk::Page { content_type: "text/html", text: "<html>sign in</html>" };
    for (quirk, code, bytes) in
        [(page, "200", 20), (Quirk::Code(503), "503", 55), (Quirk::NoContent, "204", 0), (Quirk::Empty, "200", 0)]
    {
        let (kore, file) = serving(|file| file.always(quirk.clone())).await;
        let (head, body) = fetch(&kore, &file, "Connection: close\r\n").await;
        assert!(head.starts_with(&format!("HTTP/1.1 {code} ")), "{quirk:?}: {head}");
        assert_eq!(body.len(), bytes, "{quirk:?}: {head}");
        assert_eq!(header(&head, "Content-Length").is_some(), code != "204", "{quirk:?}");
    }
}

#[tokio::test]
async fn redirects_lead_where_they_are_told() {
    let other = SourceFile::new("b.wav", "the other");
    for (target, expected) in [
        (Target::To("http://169.254.169.254/latest/meta-data".to_owned()), "http://169.254.169.254/latest/meta-data"),
        (Target::Itself, "/api/getMediaStream/"),
        (Target::File(other.clone()), "http://127.0.0.1:"),
    ] {
        let (kore, file) = serving(|file| file.always(Quirk::Redirect(target))).await;
        let (head, _) = fetch(&kore, &file, "Connection: close\r\n").await;
        assert!(head.starts_with("HTTP/1.1 302 "), "{head}");
        assert!(header(&head, "Location").unwrap().starts_with(expected), "{head}");
    }
}

#[tokio::test]
async fn gzip_is_applied_though_nobody_asked() {
    let (kore, file) = serving(|file| file.always(Quirk::Gzip)).await;
    let (head, body) = fetch(&kore, &file, "Accept-Encoding: identity\r\nConnection: close\r\n").await;
    assert_eq!(header(&head, "Content-Encoding"), Some("gzip"));
    assert_eq!(gunzip(&body), file.body().to_vec());
}

#[tokio::test]
async fn a_bomb_is_small_on_the_wire_and_a_gibibyte_inside() {
    let kore = FakeKore::start(Options::default()).await;
    kore.api_outage(Outage::Says(Answer::gzip_bomb()));
    let (head, body) = get(&kore.api_url(), "/", "Connection: close\r\n").await;
    assert_eq!(header(&head, "Content-Encoding"), Some("gzip"));
    assert!(body.len() < 2 << 20, "{}", body.len());
    assert_eq!(gunzip(&body[..body.len() / 1024 * 4]).len(), 4 << 20, "the first 4 of 1024 members");
}

#[tokio::test]
async fn an_endless_answer_goes_on_and_verbatim_bytes_are_sent_as_they_are() {
    let kore = FakeKore::start(Options::default()).await;
    kore.api_outage(Outage::Says(Answer::endless(10 << 30)));
    let (_, mut raw) = Raw::open(&kore.api_url(), "/", "").await;
    raw.read_exactly(64 << 20).await;
    kore.api_outage(Outage::Says(Answer::verbatim("not HTTP at all")));
    let mut raw = Raw::to(&kore.api_url()).await;
    raw.write("/", "").await;
    assert_eq!(raw.read_exactly(15).await, b"not HTTP at all");
}

#[tokio::test]
async fn the_file_host_can_be_reset_as_a_whole() {
    let (kore, file) = serving(|file| file).await;
    kore.media_outage(Outage::Reset);
    let mut raw = Raw::send(&kore, &file, "").await;
    assert_eq!(raw.stream.read_u8().await.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
}

async fn serving(bend: impl FnOnce(SourceFile) -> SourceFile) -> (FakeKore, SourceFile) {
    let kore = FakeKore::start(Options::default()).await;
    let file = bend(SourceFile::new("a.wav", Body::noise(5, 10_000)));
    kore.serve(&file);
    (kore, file)
}

/// Head and everything after it, to the end of the connection.
async fn fetch(kore: &FakeKore, file: &SourceFile, headers: &str) -> (String, Vec<u8>) {
    let url = kore.signed_url(file);
    let (base, target) = url.split_at(url.find("/api/").unwrap());
    get(base, target, headers).await
}

async fn get(base: &str, target: &str, headers: &str) -> (String, Vec<u8>) {
    let (head, mut raw) = Raw::open(base, target, headers).await;
    let mut body = Vec::new();
    raw.stream.read_to_end(&mut body).await.unwrap();
    (head, body)
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut plain).unwrap();
    plain
}

/// A connection on which requests and answers are just bytes.
struct Raw {
    stream: TcpStream,
}

impl Raw {
    async fn to(base: &str) -> Self {
        Self { stream: TcpStream::connect(base.strip_prefix("http://").unwrap()).await.unwrap() }
    }

    async fn connect(kore: &FakeKore) -> Self {
        Self::to(&format!("http://{}", kore.media_host())).await
    }

    async fn open(base: &str, target: &str, headers: &str) -> (String, Self) {
        let mut raw = Self::to(base).await;
        raw.write(target, headers).await;
        (raw.head().await, raw)
    }

    async fn send(kore: &FakeKore, file: &SourceFile, headers: &str) -> Self {
        let mut raw = Self::connect(kore).await;
        let url = kore.signed_url(file);
        raw.write(&url[url.find("/api/").unwrap()..], headers).await;
        raw
    }

    /// Asks for the file and returns the head of the answer.
    async fn ask(&mut self, kore: &FakeKore, file: &SourceFile, headers: &str) -> String {
        let url = kore.signed_url(file);
        self.write(&url[url.find("/api/").unwrap()..], headers).await;
        self.head().await
    }

    async fn write(&mut self, target: &str, headers: &str) {
        let request = format!("GET {target} HTTP/1.1\r\nHost: kore\r\n{headers}\r\n");
        self.stream.write_all(request.as_bytes()).await.unwrap();
    }

    async fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.stream.read_u8().await.unwrap());
        }
        String::from_utf8(head).unwrap()
    }

    async fn read_exactly(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.stream.read_exact(&mut bytes).await.unwrap();
        bytes
    }
}
