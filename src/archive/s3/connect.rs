//! From settings to a client.
//!
//! Credentials come from AWS's standard chain (environment, profile, web identity, container, instance), on top of it a
//! role if one is named. Profiles are read once by the SDK; so that rotated keys need no restart, the client is built
//! anew after the store or the chain has refused the credentials ([`Connector::distrust`]).
//!
//! Who repeats what: the SDK makes up to 3 attempts of each request, for throttling, 5xx and broken connections; but of
//! those that create something (`PutObject`, `CreateMultipartUpload`, `CompleteMultipartUpload`) one, because somebody must
//! look before the next: the archive does. In a long outage its token bucket (500, of which a repetition takes 5 or 10, and
//! a success gives 1) runs dry, and there is one attempt each. What it does not repeat (a digest that did not match, what
//! was refused) is repeated by [`super::negotiation`], and a part whose body stood still, which the SDK does not see, by
//! [`super::requests`]. Everything slower is the queue's.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryPartition;
use aws_sdk_s3::config::{Builder, RequestChecksumCalculation, ResponseChecksumValidation, SharedHttpClient};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

use super::keys::Keys;
use crate::config::BucketSettings;
use crate::words::Secrets;

/// Attempts of the SDK at one request; and at a part whose body stood still, which the SDK does not see.
pub(super) const ATTEMPTS: u32 = 3;
/// For a TCP connection and its TLS handshake: twice the SDK's own, for stores across an ocean.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(6);
/// How AWS's audit trail names the assumed role's sessions.
const ROLE_SESSION: &str = "kore-archiver";

/// What a client is built from.
struct Origin {
    settings: BucketSettings,
    http: SharedHttpClient,
    /// Instead of the standard chain.
    given: Option<Credentials>,
    /// What the chain, or a role, gave.
    keys: Keys,
}

/// The client in use, and how to build the next.
pub(super) struct Connector {
    origin: Origin,
    client: RwLock<Client>,
    distrusted: AtomicBool,
}

impl Connector {
    /// Builds the first client. Nothing is asked of the network yet: credentials are resolved by the first request.
    pub(super) async fn new(settings: &BucketSettings, given: Option<Credentials>) -> Self {
        // Without a proxy, whatever the environment says; http and https alike.
        let tls = Provider::Rustls(CryptoMode::AwsLc);
        let http = aws_smithy_http_client::Builder::new().tls_provider(tls).build_https();
        let origin = Origin { settings: settings.clone(), http, given, keys: Keys::default() };
        let client = RwLock::new(Box::pin(build(&origin)).await);
        Self { origin, client, distrusted: AtomicBool::new(false) }
    }

    /// The client to use for the next request.
    pub(super) async fn client(&self) -> Client {
        if self.distrusted.swap(false, Ordering::Relaxed) {
            let fresh = build(&self.origin).await;
            *self.client.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        }
        self.client.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What no text may repeat.
    pub(super) fn known(&self) -> Secrets {
        self.origin.keys.known()
    }

    /// The credentials were refused: read them again before the next request.
    pub(super) fn distrust(&self) {
        self.distrusted.store(true, Ordering::Relaxed);
    }
}

async fn build(origin: &Origin) -> Client {
    let settings = &origin.settings;
    let shared = shared_config(origin).await;
    let mut config = Builder::from(&shared)
        .force_path_style(settings.force_path_style)
        .retry_partition(RetryPartition::new(retry_partition(settings)))
        // Checksums are ours, in a header: the SDK's trailers cost more, and some stores refuse them.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    // Where recordings go is said by the settings alone, whatever AWS's variables and profiles name for S3.
    config.set_endpoint_url(settings.endpoint_url.as_ref().map(ToString::to_string));
    if let Some(role) = &settings.assume_role_arn {
        let provider = AssumeRoleProvider::builder(role)
            .session_name(ROLE_SESSION)
            .configure(&for_roles(&shared, settings))
            .build()
            .await;
        config = config.credentials_provider(origin.keys.of(SharedCredentialsProvider::new(provider)));
    }
    Client::from_conf(config.build())
}

/// Stores share no token bucket: one that is down takes no attempts from another.
fn retry_partition(settings: &BucketSettings) -> String {
    format!("{} at {:?}", settings.name, settings.endpoint_url.as_ref().map(url::Url::as_str))
}

async fn shared_config(origin: &Origin) -> SdkConfig {
    let settings = &origin.settings;
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT.min(settings.timeout))
        .operation_attempt_timeout(settings.timeout)
        .build();
    let loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .region(Region::new(settings.region.clone()))
        .http_client(origin.http.clone())
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
        .timeout_config(timeouts)
        // It would end a part whose link stalls for 5 s; `bucket.timeout` bounds every standstill already.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    let config = match &origin.given {
        Some(given) => loader.credentials_provider(given.clone()).load().await,
        None => loader.load().await,
    };
    let provider = config.credentials_provider().map(|provider| origin.keys.of(provider));
    let mut builder = config.into_builder();
    builder.set_credentials_provider(provider);
    builder.build()
}

/// The same without `AWS_ENDPOINT_URL` and its like in profiles: they are for some other store, and no role is assumed there.
fn for_roles(shared: &SdkConfig, settings: &BucketSettings) -> SdkConfig {
    let mut config =
        SdkConfig::builder().behavior_version(BehaviorVersion::v2026_01_12()).region(shared.region().cloned());
    config.set_http_client(shared.http_client());
    config.set_credentials_provider(shared.credentials_provider());
    config.set_retry_config(shared.retry_config().cloned());
    config.set_timeout_config(shared.timeout_config().cloned());
    config.set_sleep_impl(shared.sleep_impl());
    config.set_time_source(shared.time_source());
    config.set_use_fips(shared.use_fips());
    config.set_use_dual_stack(shared.use_dual_stack());
    config.set_endpoint_url(settings.role_endpoint.clone());
    config.build()
}

/// A body that is read back outlives the attempt's timeout; this ends one that stands still for as long.
pub(super) fn guarded_download(settings_timeout: Duration) -> Builder {
    let guard = StalledStreamProtectionConfig::enabled().upload_enabled(false).grace_period(settings_timeout).build();
    Builder::new().stalled_stream_protection(guard)
}

/// For what must not be repeated before somebody has looked.
pub(super) fn one_attempt() -> Builder {
    Builder::new().retry_config(RetryConfig::disabled())
}

/// For a body, which takes as long as it takes: its [`super::progress::Progress`] is watched instead.
pub(super) fn unhurried(attempts: Builder) -> Builder {
    attempts.timeout_config(TimeoutConfig::builder().disable_operation_attempt_timeout().build())
}

/// For a body that cannot be had again, and is followed by its checksum.
pub(super) fn one_flow() -> Builder {
    unhurried(one_attempt()).request_checksum_calculation(RequestChecksumCalculation::WhenSupported)
}
