//! What the store's refusals mean for the caller.
//!
//! [`refused`] is pure: a call, an HTTP status, the store's code and message go in, one [`StoreError`] comes out. The
//! code decides where there is one; HEAD answers have none, and then the status does. What is not known is `invalid`
//! when it is a 4xx (a person must look), and [`StoreError::Unavailable`] otherwise; or [`StoreError::Unanswered`], where a
//! completion had no answer of the store's.
//!
//! Texts name the call, the store's words, and what to do. They are bounded and have no control characters, and are made
//! of what the store said: requests, whose headers carry signatures and session tokens, are never printed, and what the
//! store repeats of them is hidden (`words`).

mod meaning;

use std::error::Error;
use std::fmt::Write;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStreamError;

use crate::archive::store::StoreError;
use crate::words::{Secrets, causes, plain, told};
use meaning::{Meaning, blamed, by_code, by_status};

/// The longest text of a [`StoreError`], in characters.
const LONGEST: usize = 500;
/// Of those, what the store's own words may take: the hint after them must survive.
const LONGEST_QUOTE: usize = 260;

/// The calls of this adapter, as S3 names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Head,
    Read,
    Put,
    Create,
    Part,
    Complete,
    Abort,
    Uploads,
    Bucket,
    Encryption,
    PublicAccess,
    Lifecycle,
}

impl Call {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Head => "HeadObject",
            Self::Read => "GetObject",
            Self::Put => "PutObject",
            Self::Create => "CreateMultipartUpload",
            Self::Part => "UploadPart",
            Self::Complete => "CompleteMultipartUpload",
            Self::Abort => "AbortMultipartUpload",
            Self::Uploads => "ListMultipartUploads",
            Self::Bucket => "HeadBucket",
            Self::Encryption => "GetBucketEncryption",
            Self::PublicAccess => "GetPublicAccessBlock",
            Self::Lifecycle => "GetBucketLifecycleConfiguration",
        }
    }

    /// What must be allowed for it.
    fn permission(self) -> &'static str {
        match self {
            Self::Head => "s3:GetObject, and s3:ListBucket (without it a missing object looks forbidden),",
            Self::Read => "s3:GetObject",
            Self::Put | Self::Create => "s3:PutObject (with bucket.tags s3:PutObjectTagging too)",
            Self::Part | Self::Complete => "s3:PutObject",
            Self::Abort => "s3:AbortMultipartUpload",
            Self::Uploads => "s3:ListBucketMultipartUploads",
            Self::Bucket => "s3:ListBucket",
            Self::Encryption => "s3:GetEncryptionConfiguration",
            Self::PublicAccess => "s3:GetBucketPublicAccessBlock",
            Self::Lifecycle => "s3:GetLifecycleConfiguration",
        }
    }

    fn writes(self) -> bool {
        matches!(self, Self::Put | Self::Create | Self::Part | Self::Complete)
    }
}

/// A call that failed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: StoreError,
    /// Asking for less may help.
    pub(super) may_be_refusal: bool,
}

impl From<StoreError> for Failure {
    /// One that teaches nothing.
    fn from(error: StoreError) -> Self {
        Self { error, may_be_refusal: false }
    }
}

/// What the store answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer<'a> {
    /// HTTP's. 200 when the error stood in the body of a complete.
    pub(super) status: u16,
    /// S3's; empty if there was none.
    pub(super) code: &'a str,
    /// S3's.
    pub(super) message: &'a str,
    /// `x-amz-bucket-region`.
    pub(super) region: Option<&'a str>,
}

/// Reads the SDK's error; `known` are the keys that the request may have been signed with.
pub(super) fn failure<E>(call: Call, error: &SdkError<E, HttpResponse>, known: &Secrets) -> Failure
where
    E: ProvideErrorMetadata + Error + 'static,
{
    match read(call, error, known) {
        Failure { error: StoreError::Unavailable(said), .. } if call == Call::Complete && !has_ended(error) => {
            StoreError::Unanswered(said).into()
        }
        failure => failure,
    }
}

/// Whether the store has done with the request, or nobody was there to take it. An answer may break off behind its 200,
/// which S3 sends before it completes; and a gateway may lose its patience.
fn has_ended<E: ProvideErrorMetadata + Error + 'static>(error: &SdkError<E, HttpResponse>) -> bool {
    use std::io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable};
    match error.raw_response() {
        Some(response) => {
            let is_stores =
                error.as_service_error().and_then(|error| error.code()).is_some_and(|code| !code.is_empty());
            is_stores || !matches!(response.status().as_u16(), 200..300 | 502 | 504)
        }
        None => cause::<std::io::Error>(error)
            .is_some_and(|error| matches!(error.kind(), ConnectionRefused | HostUnreachable | NetworkUnreachable)),
    }
}

fn read<E>(call: Call, error: &SdkError<E, HttpResponse>, known: &Secrets) -> Failure
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let Some(response) = error.raw_response() else {
        return unanswered(call, error, known).into();
    };
    let metadata = error.as_service_error().map(ProvideErrorMetadata::meta);
    let message = known.hide(metadata.and_then(ProvideErrorMetadata::message).unwrap_or_default());
    let answer = Answer {
        status: response.status().as_u16(),
        code: metadata.and_then(ProvideErrorMetadata::code).unwrap_or_default(),
        message: &message,
        region: response.headers().get("x-amz-bucket-region"),
    };
    if answer.code.is_empty() && (200..300).contains(&answer.status) {
        let why = quoted(&known.hide(&told(error)));
        let said = format!("{} succeeded, and what it was answered with cannot be read: {why}", call.name());
        return StoreError::Unavailable(bounded(&said)).into();
    }
    Failure { may_be_refusal: may_be_refusal(call, answer), ..refused(call, answer).into() }
}

/// Nobody answered: the network, a timeout, or credentials that could not be had.
fn unanswered<E: Error + 'static>(call: Call, error: &SdkError<E, HttpResponse>, known: &Secrets) -> StoreError {
    let (name, why) = (call.name(), quoted(&known.hide(&told(error))));
    if let Some(credentials) = cause::<CredentialsError>(error) {
        let message = no_credentials(name, credentials, known);
        return StoreError::Setup { reason: "credentials", message };
    }
    match error {
        SdkError::TimeoutError(_) => StoreError::Unavailable(format!("{name} was not answered within bucket.timeout")),
        SdkError::ConstructionFailure(_) => {
            StoreError::Setup { reason: "invalid", message: bounded(&format!("{name} could not be made: {why}")) }
        }
        _ => StoreError::Unavailable(bounded(&format!("{name} did not get through: {why}"))),
    }
}

/// A body that stopped coming while it was read back.
pub(super) fn broken_off(error: &ByteStreamError) -> StoreError {
    StoreError::Unavailable(bounded(&format!("GetObject broke off: {}", quoted(&told(error)))))
}

fn no_credentials(name: &str, error: &CredentialsError, known: &Secrets) -> String {
    let why = match error {
        CredentialsError::CredentialsNotLoaded(_) => {
            "no AWS credentials were found: give the service some, by its environment, a profile, a web identity, or a \
             role of the container or instance"
                .to_owned()
        }
        other => format!(
            "the AWS credentials could not be had ({}): check them, and bucket.assume_role_arn with its \
             sts:AssumeRole permission",
            quoted(&known.hide(&told(other)))
        ),
    };
    bounded(&format!("{name} was not sent, because {why}"))
}

/// Whether the store may know nothing of something that a write asks for: a condition, a checksum, a length. Stores say so
/// in any words, so it may be all that nobody's set-up is to blame for. Of a completion, whose bytes have been compared
/// part by part, it may also be that the store compares the whole with something else.
fn may_be_refusal(call: Call, answer: Answer<'_>) -> bool {
    match by_code(call, answer) {
        Some(Meaning::Corrupted) => call == Call::Complete && compares_the_whole(answer.code),
        Some(_) => false,
        None if call == Call::Complete && answer.status == 200 => DOUBTFUL.contains(&answer.code),
        None => call.writes() && matches!(answer.status, 400 | 501),
    }
}

/// How a completion says no after it has begun to say yes.
const DOUBTFUL: [&str; 3] = ["NotImplemented", "InvalidArgument", "InvalidRequest"];

/// Rather than the request itself, or the sizes of parts.
fn compares_the_whole(code: &str) -> bool {
    matches!(code, "BadDigest" | "InvalidDigest" | "XAmzContentChecksumMismatch" | "InvalidRequest")
}

/// What an answer that is an error means.
pub(super) fn refused(call: Call, answer: Answer<'_>) -> StoreError {
    let meaning = by_code(call, answer).unwrap_or_else(|| by_status(call, answer));
    let said = said(call, answer);
    match meaning {
        Meaning::Exists => StoreError::Exists(said),
        Meaning::UploadLost => StoreError::UploadLost(said),
        Meaning::Corrupted => StoreError::Corrupted(said),
        Meaning::Unreadable => StoreError::Unreadable(said),
        Meaning::Hollow => StoreError::Hollow(said),
        Meaning::Unavailable => StoreError::Unavailable(said),
        Meaning::Setup(reason) => {
            let message = bounded(&format!("{said}: {}", hint(reason, call, answer)));
            StoreError::Setup { reason, message }
        }
    }
}

fn hint(reason: &'static str, call: Call, answer: Answer<'_>) -> String {
    match reason {
        "access_denied" => {
            format!("allow {} to these credentials, and check bucket.expected_owner if it is set", call.permission())
        }
        "kms" if call.writes() => {
            "allow kms:GenerateDataKey and kms:Decrypt on the key, and check bucket.kms_key_id".to_owned()
        }
        "kms" => "allow kms:Decrypt on the key, and check that it is enabled".to_owned(),
        "credentials" => "check the AWS credentials of this service; new ones are taken without a restart".to_owned(),
        "clock" => "set this host's clock (NTP): it is more than 15 minutes off".to_owned(),
        "quota" => "ask whoever runs the store for room, or make some; it is tried again by itself".to_owned(),
        "no_such_bucket" => "check bucket.name, bucket.region and bucket.endpoint_url".to_owned(),
        "wrong_region" => match answer.region {
            Some(region) => format!("set bucket.region to {}", plain(region, 40)),
            None => "check bucket.region and bucket.endpoint_url".to_owned(),
        },
        _ if matches!(call, Call::Head | Call::Bucket) => {
            "often expired credentials or a wrong bucket.region: HEAD carries no reason".to_owned()
        }
        _ => {
            // A completion asks for nothing else that the settings name.
            let usual = if call == Call::Complete { "bucket.checksum" } else { "the [bucket] settings" };
            let setting = blamed(answer).unwrap_or(usual);
            format!("check {setting} against what the store supports")
        }
    }
}

fn said(call: Call, answer: Answer<'_>) -> String {
    let mut text = format!("{} was answered with {}", call.name(), answer.status);
    if !answer.code.is_empty() {
        let _ = write!(text, " {}", plain(answer.code, 60));
    }
    if !answer.message.is_empty() {
        let _ = write!(text, " ({})", quoted(answer.message));
    }
    text
}

/// The first cause of that type.
fn cause<'a, C: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a C> {
    causes(error).find_map(<dyn Error>::downcast_ref)
}

fn quoted(text: &str) -> String {
    plain(text, LONGEST_QUOTE)
}

pub(super) fn bounded(text: &str) -> String {
    plain(text, LONGEST)
}

#[cfg(test)]
mod tests;
