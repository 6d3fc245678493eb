//! What a put declares of its bytes, and its condition.

use aws_sdk_s3::Config;
use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::ChecksumAlgorithm;
use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::stream::pending;
use http_body_util::StreamBody;
use hyper::body::Frame;

use super::*;
use crate::support::s3::{Algorithm, Storage};

fn put(s3: &FakeS3, client: &Client) -> PutObjectFluentBuilder {
    client.put_object().bucket(s3.bucket()).key("k").body(ByteStream::from_static(b"123456789"))
}

/// Of "123456789" (the check values of the CRC catalogue), and of nothing.
const CHECKSUMS: [(&str, &str, &str); 5] = [
    ("crc32", "y/Q5Jg==", "AAAAAA=="),
    ("crc32c", "4waSgw==", "AAAAAA=="),
    ("crc64nvme", "rosUhgp5mIg=", "AAAAAAAAAAA="),
    ("sha1", "98O8HYCOBHMq32eZZczDTKeuNEE=", "2jmj7l5rSw0yVb/vlWAYkK/YBwk="),
    ("sha256", "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="),
];

async fn put_with(s3: &FakeS3, client: &Client, algorithm: &str, digest: &str) -> (u16, String) {
    let header = format!("x-amz-checksum-{algorithm}");
    let digest = digest.to_owned();
    let request = put(s3, client).customize().mutate_request(move |request| {
        request.headers_mut().insert(header.clone(), digest.clone());
    });
    answer(request.send().await)
}

#[tokio::test]
async fn a_checksum_of_each_algorithm_is_compared_with_the_bytes() {
    let (s3, client) = fixture().await;
    for (algorithm, right, wrong) in CHECKSUMS {
        assert_eq!(put_with(&s3, &client, algorithm, wrong).await, refusal(400, "BadDigest"), "{algorithm}");
        assert!(s3.keys().is_empty());
        assert_eq!(put_with(&s3, &client, algorithm, right).await, refusal(200, ""), "{algorithm}");
        assert_eq!(s3.objects()["k"].checksums, [(Algorithm::parse(algorithm).unwrap(), right.to_owned())].into());
        s3.forget("k");
    }
}

#[tokio::test]
async fn a_content_md5_is_compared_with_the_bytes() {
    let (s3, client) = fixture().await;
    let wrong = put(&s3, &client).content_md5("1B2M2Y8AsgTpgAmY7PhCfg==");
    assert_eq!(answer(wrong.send().await), refusal(400, "BadDigest"));
    let right = put(&s3, &client).content_md5("JfnnlDI7RTiF9RgfG2JNCw==");
    assert_eq!(answer(right.send().await), refusal(200, ""));
}

#[tokio::test]
async fn a_signed_payload_is_compared_with_the_bytes() {
    let (s3, client) = fixture().await;
    let request = put(&s3, &client).customize().interceptor(SwapBody);
    assert_eq!(answer(request.send().await), refusal(400, "XAmzContentSHA256Mismatch"));
    assert!(s3.keys().is_empty());
}

/// Sends other bytes than were signed.
#[derive(Debug)]
struct SwapBody;

impl aws_sdk_s3::config::Intercept for SwapBody {
    fn name(&self) -> &'static str {
        "SwapBody"
    }

    fn modify_before_transmit(
        &self,
        context: &mut aws_sdk_s3::config::interceptors::BeforeTransmitInterceptorContextMut<'_>,
        _: &aws_sdk_s3::config::RuntimeComponents,
        _: &mut aws_sdk_s3::config::ConfigBag,
    ) -> Result<(), aws_sdk_s3::error::BoxError> {
        *context.request_mut().body_mut() = "987654321".into();
        Ok(())
    }
}

#[tokio::test]
async fn a_checksum_in_a_trailer_is_taken_and_kept() {
    let (s3, client) = fixture().await;
    let trailers = Config::builder().request_checksum_calculation(RequestChecksumCalculation::WhenSupported);
    let request = put(&s3, &client).checksum_algorithm(ChecksumAlgorithm::Crc32).customize().config_override(trailers);
    assert_eq!(answer(request.send().await), refusal(200, ""));
    assert_eq!(s3.objects()["k"].checksums, [(Algorithm::Crc32, "y/Q5Jg==".to_owned())].into());
}

#[tokio::test]
async fn of_many_conditional_puts_at_once_one_wins() {
    let folder = tempfile::tempdir().unwrap();
    for storage in [Storage::Memory, Storage::Folder(folder.path().to_owned())] {
        let s3 = FakeS3::start(Options { storage, ..Options::default() }).await;
        let client = client(&s3);
        let puts = (0..8).map(|_| put(&s3, &client).if_none_match("*").send());
        let mut answers: Vec<_> = join_all(puts).await.into_iter().map(answer).collect();
        answers.sort();
        assert_eq!(answers[0], refusal(200, ""));
        assert!(answers[1..].iter().all(|answer| *answer == refusal(412, "PreconditionFailed")), "{answers:?}");
        assert_eq!(s3.overwrites(), 0);
    }
}

#[tokio::test]
async fn an_unconditional_put_overwrites_and_is_counted() {
    let (s3, client) = fixture().await;
    s3.pre_put("k", "old", &[]).await;
    assert_eq!(answer(put(&s3, &client).send().await), refusal(200, ""));
    assert_eq!(s3.overwrites(), 1);
}

#[tokio::test]
async fn more_than_five_gib_are_refused_before_they_are_read() {
    let (s3, client) = fixture().await;
    // Nothing of it comes: what ends early would end the request before it is answered.
    let body = StreamBody::new(pending::<Result<Frame<Bytes>, std::io::Error>>());
    let request = put(&s3, &client).body(ByteStream::from_body_1_x(body));
    let request = request.customize().disable_payload_signing().interceptor(ClaimLength);
    assert_eq!(answer(request.send().await), refusal(400, "EntityTooLarge"));
    assert!(s3.keys().is_empty());
}

/// Says that there are 5 GiB and a byte to come.
#[derive(Debug)]
struct ClaimLength;

impl aws_sdk_s3::config::Intercept for ClaimLength {
    fn name(&self) -> &'static str {
        "ClaimLength"
    }

    fn modify_before_signing(
        &self,
        context: &mut aws_sdk_s3::config::interceptors::BeforeTransmitInterceptorContextMut<'_>,
        _: &aws_sdk_s3::config::RuntimeComponents,
        _: &mut aws_sdk_s3::config::ConfigBag,
    ) -> Result<(), aws_sdk_s3::error::BoxError> {
        context.request_mut().headers_mut().insert("content-length", "5368709121");
        Ok(())
    }
}

#[tokio::test]
async fn a_key_that_would_leave_the_folder_is_refused_there() {
    let folder = tempfile::tempdir().unwrap();
    let s3 = FakeS3::start(Options { storage: Storage::Folder(folder.path().to_owned()), ..Options::default() }).await;
    let client = client(&s3);
    for key in ["../escaped", "a/../../escaped", "a//b", "a/./b", "a/"] {
        let put = client.put_object().bucket(s3.bucket()).key(key);
        let (status, _) = answer(put.send().await);
        assert!((400..500).contains(&status), "{key}: {status}");
    }
    assert!(s3.keys().is_empty());
    assert!(!folder.path().join("escaped").exists());
}
