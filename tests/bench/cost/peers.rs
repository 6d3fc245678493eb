//! Others that move files from HTTP to S3: `rclone copy`, and requests with boto3. `run.sh` installs them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::Frame;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::support::kore::SourceFile;
use crate::support::s3::FakeS3;

/// A plain file server, because rclone knows no signed URLs: it asks for `/NAME`.
pub async fn serve(files: Vec<SourceFile>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has ports");
    let address = listener.local_addr().expect("it is bound");
    let files = Arc::new(files);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let files = Arc::clone(&files);
            let service =
                service_fn(move |request| std::future::ready(Ok::<_, std::io::Error>(answer(&files, &request))));
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service));
        }
    });
    address
}

type Reply = Response<BoxBody<Bytes, std::io::Error>>;

fn nothing() -> BoxBody<Bytes, std::io::Error> {
    Empty::new().map_err(|never| match never {}).boxed()
}

fn answer(files: &[SourceFile], request: &Request<hyper::body::Incoming>) -> Reply {
    let name = request.uri().path().trim_start_matches('/');
    let Some(file) = files.iter().find(|file| file.name() == name) else {
        return Response::builder().status(404).body(nothing()).expect("it is a good head");
    };
    let head = Response::builder().header("Content-Length", file.body().len()).header("Content-Type", "audio/wav");
    if request.method() == Method::HEAD {
        return head.body(nothing()).expect("it is a good head");
    }
    let pieces = stream::unfold((file.body().clone(), 0), |(body, at)| async move {
        let piece = body.read(at, usize::MAX);
        let next = at + piece.len() as u64;
        (!piece.is_empty()).then(|| (Ok(Frame::data(piece)), (body, next)))
    });
    head.body(BodyExt::boxed(StreamBody::new(pieces))).expect("it is a good head")
}

/// `rclone copy` of all files, if it is there.
pub fn rclone(source: SocketAddr, bucket: &FakeS3, files: &[SourceFile], at_once: usize) -> Option<Command> {
    let names: Vec<&str> = files.iter().map(SourceFile::name).collect();
    let list = std::env::temp_dir().join(format!("kore-archiver-bench-{}", std::process::id()));
    std::fs::write(&list, names.join("\n")).expect("there is room for a list of names");
    Command::new("rclone").arg("version").stdout(Stdio::null()).stderr(Stdio::null()).status().ok()?;
    let mut command = with_keys("rclone", bucket);
    command
        .args(["copy", "--no-traverse", "--no-check-dest", "--retries", "1", "--config", "/dev/null"])
        .args(["--transfers", &at_once.to_string()])
        .arg("--files-from")
        .arg(list)
        .args(["--http-url", &format!("http://{source}"), ":http:"])
        .args(["--s3-provider", "Other", "--s3-env-auth", "--s3-endpoint", &bucket.endpoint()])
        .args(["--s3-region", bucket.region(), "--s3-no-check-bucket"])
        .arg(format!(":s3:{}/rclone", bucket.bucket()));
    Some(command)
}

/// requests and boto3 as one would write them, if they are there.
pub fn boto(source: SocketAddr, bucket: &FakeS3, files: &[SourceFile], at_once: usize) -> Option<Command> {
    let python = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/peers/bin/python");
    if !python.exists() {
        return None;
    }
    let mut command = with_keys(python.to_str().expect("this path is text"), bucket);
    command
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bench/cost/peer.py"))
        .args([&format!("http://{source}"), &bucket.endpoint(), bucket.region(), bucket.bucket()])
        .arg(at_once.to_string())
        .args(files.iter().map(SourceFile::name));
    Some(command)
}

pub fn with_keys(program: &str, bucket: &FakeS3) -> Command {
    let (access_key, secret_key) = bucket.credentials();
    let mut command = Command::new(program);
    command
        .env("AWS_ACCESS_KEY_ID", access_key)
        .env("AWS_SECRET_ACCESS_KEY", secret_key)
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("NO_PROXY", "127.0.0.1")
        .env_remove("AWS_CA_BUNDLE")
        .stdin(Stdio::null());
    command
}
