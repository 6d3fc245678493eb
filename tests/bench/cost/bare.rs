//! The bare work, by the libraries of the daemon: each file got, hashed, and put in one piece. Nothing is asked about
//! before or after, noted, bounded or proven. What the daemon needs beyond this is the price of all that.

use std::net::SocketAddr;
use std::process::Command;

use aws_sdk_s3::config::{BehaviorVersion, Builder, Region, RequestChecksumCalculation};
use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body_util::StreamBody;
use hyper::body::Frame;
use kore_archiver::receipt::Tally;

use crate::peers::with_keys;
use crate::support::kore::SourceFile;
use crate::support::s3::FakeS3;

/// What this program is told to be it.
pub const WORD: &str = "bare-copy";

/// Itself, as another process.
pub fn command(source: SocketAddr, bucket: &FakeS3, files: &[SourceFile], at_once: usize) -> Command {
    let program = std::env::current_exe().expect("it runs from a file");
    let mut command = with_keys(program.to_str().expect("this path is text"), bucket);
    command
        .args([WORD, &format!("http://{source}"), &bucket.endpoint(), bucket.region(), bucket.bucket()])
        .arg(at_once.to_string())
        .args(files.iter().map(SourceFile::name));
    command
}

/// Copies what the words name.
pub async fn run(words: &[String]) {
    let [source, endpoint, region, bucket, at_once, names @ ..] = words else { panic!("too few words: {words:?}") };
    let config = aws_config::defaults(BehaviorVersion::latest()).region(Region::new(region.clone())).load().await;
    let config = Builder::from(&config)
        .endpoint_url(endpoint)
        .force_path_style(true)
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .build();
    let (s3, http) = (aws_sdk_s3::Client::from_conf(config), reqwest::Client::new());
    let copy = |name: &String| {
        let (url, key, bucket) = (format!("{source}/{name}"), format!("bare/{name}"), bucket.clone());
        let (s3, http) = (s3.clone(), http.clone());
        // Each on whichever processor is free, as in the daemon.
        tokio::spawn(async move {
            let mut body = http.get(url).send().await.expect("the source is there").bytes_stream();
            let (mut tally, mut pieces) = (Tally::default(), Vec::new());
            while let Some(piece) = body.next().await {
                let piece = piece.expect("the source sends all of it");
                tally.update(&piece);
                pieces.push(piece);
            }
            let receipt = tally.receipt();
            let request = s3.put_object().bucket(bucket).key(key).body(body_of(pieces));
            let request = request
                .content_length(receipt.bytes.try_into().expect("it is short"))
                .checksum_crc64_nvme(receipt.crc64nvme.to_string());
            request.customize().disable_payload_signing().send().await.expect("the bucket takes it");
        })
    };
    let at_once = at_once.parse().expect("a number");
    let copied = stream::iter(names).map(copy).buffer_unordered(at_once).collect::<Vec<_>>().await;
    assert!(copied.iter().all(Result::is_ok), "each is copied");
}

fn body_of(pieces: Vec<Bytes>) -> ByteStream {
    let frames = pieces.into_iter().map(|piece| Ok::<_, std::io::Error>(Frame::data(piece)));
    ByteStream::new(SdkBody::from_body_1_x(StreamBody::new(stream::iter(frames))))
}
