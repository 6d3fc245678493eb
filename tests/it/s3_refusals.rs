//! The strict server refuses what S3 refuses. A fake that accepts everything proves nothing, so each refusal that other
//! tests lean on is shown here, with a client that is not the adapter.

mod lesser;
mod parts;
mod puts;
mod requests;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region, RequestChecksumCalculation};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use crate::support::s3::{FakeS3, Options};

const MIB: usize = 1024 * 1024;

/// A client that does nothing by itself: no retries, no checksums.
fn client_as(s3: &FakeS3, access_key: &str, secret_key: &str, region: &str) -> Client {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new(region.to_owned()))
        .endpoint_url(s3.endpoint())
        .force_path_style(true)
        .credentials_provider(Credentials::new(access_key, secret_key, None, None, "test"))
        .retry_config(RetryConfig::disabled())
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .build();
    Client::from_conf(config)
}

fn client(s3: &FakeS3) -> Client {
    let (access_key, secret_key) = s3.credentials();
    client_as(s3, &access_key, &secret_key, s3.region())
}

async fn fixture() -> (FakeS3, Client) {
    let s3 = FakeS3::start(Options::default()).await;
    let client = client(&s3);
    (s3, client)
}

/// The answer's status and S3's code; `(200, "")` for a success.
fn answer<T, E>(result: Result<T, SdkError<E, HttpResponse>>) -> (u16, String)
where
    E: ProvideErrorMetadata + std::fmt::Debug,
{
    match result {
        Ok(_) => (200, String::new()),
        Err(error) => {
            let status = error.raw_response().map_or(0, |response| response.status().as_u16());
            let code = error.as_service_error().and_then(ProvideErrorMetadata::code).unwrap_or_default();
            (status, code.to_owned())
        }
    }
}

/// What a refusal looks like.
fn refusal(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}
