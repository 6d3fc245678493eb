//! What the store's codes mean, and a status that has none.

use super::{Answer, Call};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    Exists,
    UploadLost,
    Corrupted,
    Unreadable,
    Hollow,
    Setup(&'static str),
    Unavailable,
}

pub(super) fn by_code(call: Call, answer: Answer<'_>) -> Option<Meaning> {
    let meaning = match answer.code {
        // S3: after this answer to a complete, the parts must be sent again in a new upload.
        "ConditionalRequestConflict" if call == Call::Complete => Meaning::UploadLost,
        "PreconditionFailed" => Meaning::Exists,
        // S3: somebody else writes or deletes there at this moment; look, and send it again.
        "ConditionalRequestConflict" => Meaning::Unavailable,
        // InvalidPart: a part is gone or is not what it was.
        "NoSuchUpload" | "InvalidPart" => Meaning::UploadLost,
        "BadDigest"
        | "InvalidDigest"
        | "XAmzContentChecksumMismatch"
        | "XAmzContentSHA256Mismatch"
        | "IncompleteBody"
        | "EntityTooSmall" => Meaning::Corrupted,
        // How S3 refuses x-amz-mp-object-size, with a code that means many things.
        "InvalidRequest" if call == Call::Complete && answer.message.contains("mp-object-size") => Meaning::Corrupted,
        "InvalidObjectState" if call == Call::Read => Meaning::Unreadable,
        code if is_passing(code) => Meaning::Unavailable,
        // As some stores say of an upload that is complete.
        "NoSuchKey" if call == Call::Abort => Meaning::UploadLost,
        // Swift: a manifest whose segments are gone; of those that cannot be reached it says 503.
        "NoSuchKey" | "BrokenMPU" if call == Call::Read => Meaning::Hollow,
        // It was there when it was looked at; the next look will tell.
        "NoSuchKey" => Meaning::Unavailable,
        code => Meaning::Setup(setup_reason(code, answer.message)?),
    };
    Some(meaning)
}

/// Throttling and other states that end by themselves, whatever their status.
fn is_passing(code: &str) -> bool {
    matches!(
        code,
        "SlowDown"
            | "SlowDownRead"
            | "SlowDownWrite"
            | "ServiceUnavailable"
            | "InternalError"
            | "InternalFailure"
            | "Busy"
            | "RequestTimeout"
            | "RequestTimeoutException"
            | "OperationAborted"
            | "Throttling"
            | "ThrottlingException"
            | "ThrottledException"
            | "TooManyRequests"
            | "TooManyRequestsException"
            | "RequestThrottled"
            | "RequestThrottledException"
            | "RequestLimitExceeded"
            | "BandwidthLimitExceeded"
            | "KMS.ThrottlingException"
            | "KMS.InternalException"
            | "KMS.KMSInternalException"
            | "KMS.DependencyTimeoutException"
            | "KMS.KeyUnavailableException"
    )
}

/// The word of [`StoreError::Setup`] for a code that a person must act on.
fn setup_reason(code: &str, message: &str) -> Option<&'static str> {
    let reason = match code {
        "AccessDenied" if message.contains("kms:") => "kms",
        "AccessDenied" | "AllAccessDisabled" | "AccountProblem" | "Forbidden" | "InvalidObjectState" => "access_denied",
        "InvalidAccessKeyId"
        | "NotSignedUp"
        | "SignatureDoesNotMatch"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "InvalidToken"
        | "TokenRefreshRequired"
        | "InvalidSecurity"
        | "UserSuspended"
        | "UnrecognizedClientException" => "credentials",
        "RequestTimeTooSkewed" | "RequestExpired" => "clock",
        "QuotaExceeded" | "XMinioAdminBucketQuotaExceeded" => "quota",
        "NoSuchBucket" | "InvalidBucketName" => "no_such_bucket",
        "PermanentRedirect"
        | "TemporaryRedirect"
        | "Redirect"
        | "AuthorizationHeaderMalformed"
        | "IllegalLocationConstraintException"
        | "IllegalLocationConstraint"
        | "IncorrectEndpoint" => "wrong_region",
        code if code.starts_with("KMS.") => "kms",
        _ => return None,
    };
    Some(reason)
}

/// The setting that a request is refused for, as far as the store's words tell.
pub(super) fn blamed(answer: Answer<'_>) -> Option<&'static str> {
    let words = format!("{} {}", answer.code, answer.message).to_ascii_lowercase();
    let settings = [
        (["storageclass", "storage class", "storage-class"], "bucket.storage_class"),
        (["encryption", "sse-", "kms"], "bucket.sse and bucket.kms_key_id"),
        (["invalidtag", "tagging", "tag key"], "bucket.tags"),
        (["checksum", "digest", "content-md5"], "bucket.checksum"),
        (["entitytoolarge", "exceeds the maximum", "too large"], "transfer.part_size"),
    ];
    let is_told = |signs: [&str; 3]| signs.iter().any(|sign| words.contains(sign));
    settings.into_iter().find(|(signs, _)| is_told(*signs)).map(|(_, setting)| setting)
}

/// What HEAD's bodiless answers and codes that nobody knows come to.
pub(super) fn by_status(call: Call, answer: Answer<'_>) -> Meaning {
    match answer.status {
        301 | 302 | 307 | 308 => Meaning::Setup("wrong_region"),
        401 => Meaning::Setup("credentials"),
        403 => Meaning::Setup("access_denied"),
        404 if matches!(call, Call::Part | Call::Complete | Call::Abort) => Meaning::UploadLost,
        404 if call == Call::Read => Meaning::Hollow,
        404 if call == Call::Head => Meaning::Unavailable,
        404 => Meaning::Setup("no_such_bucket"),
        409 if call == Call::Complete => Meaning::UploadLost,
        412 => Meaning::Exists,
        408 | 409 | 425 | 429 => Meaning::Unavailable,
        400..=499 | 501 => Meaning::Setup("invalid"),
        _ => Meaning::Unavailable,
    }
}
