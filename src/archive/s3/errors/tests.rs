use super::*;

fn meaning(call: Call, status: u16, code: &str) -> String {
    match refused(call, Answer { status, code, message: "", region: None }) {
        StoreError::Exists(_) => "exists".to_owned(),
        StoreError::UploadLost(_) => "upload lost".to_owned(),
        StoreError::Corrupted(_) => "corrupted".to_owned(),
        StoreError::Unreadable(_) => "unreadable".to_owned(),
        StoreError::Hollow(_) => "hollow".to_owned(),
        StoreError::Setup { reason, .. } => reason.to_owned(),
        StoreError::Unavailable(_) => "unavailable".to_owned(),
        StoreError::Unanswered(_) => "unanswered".to_owned(),
    }
}

#[test]
fn every_code_that_s3_documents_has_its_meaning() {
    let table = [
        (Call::Put, 412, "PreconditionFailed", "exists"),
        (Call::Complete, 412, "PreconditionFailed", "exists"),
        (Call::Put, 409, "ConditionalRequestConflict", "unavailable"),
        (Call::Complete, 409, "ConditionalRequestConflict", "upload lost"),
        (Call::Put, 409, "OperationAborted", "unavailable"),
        (Call::Part, 404, "NoSuchUpload", "upload lost"),
        (Call::Complete, 400, "InvalidPart", "upload lost"),
        (Call::Complete, 400, "EntityTooSmall", "corrupted"),
        (Call::Put, 400, "BadDigest", "corrupted"),
        (Call::Part, 400, "InvalidDigest", "corrupted"),
        (Call::Put, 400, "XAmzContentChecksumMismatch", "corrupted"),
        (Call::Put, 400, "IncompleteBody", "corrupted"),
        (Call::Put, 403, "AccessDenied", "access_denied"),
        (Call::Put, 403, "AllAccessDisabled", "access_denied"),
        (Call::Put, 403, "InvalidAccessKeyId", "credentials"),
        (Call::Put, 403, "SignatureDoesNotMatch", "credentials"),
        (Call::Put, 400, "ExpiredToken", "credentials"),
        (Call::Put, 400, "InvalidToken", "credentials"),
        (Call::Put, 403, "RequestTimeTooSkewed", "clock"),
        (Call::Put, 404, "NoSuchBucket", "no_such_bucket"),
        (Call::Put, 301, "PermanentRedirect", "wrong_region"),
        (Call::Put, 400, "AuthorizationHeaderMalformed", "wrong_region"),
        (Call::Put, 400, "IllegalLocationConstraintException", "wrong_region"),
        (Call::Put, 400, "KMS.DisabledException", "kms"),
        (Call::Create, 400, "KMS.NotFoundException", "kms"),
        (Call::Put, 400, "KMS.ThrottlingException", "unavailable"),
        (Call::Put, 503, "SlowDown", "unavailable"),
        (Call::Put, 500, "InternalError", "unavailable"),
        (Call::Complete, 200, "InternalError", "unavailable"),
        (Call::Complete, 200, "SlowDown", "unavailable"),
        (Call::Put, 400, "RequestTimeout", "unavailable"),
        (Call::Read, 404, "NoSuchKey", "hollow"),
        (Call::Read, 409, "BrokenMPU", "hollow"),
        (Call::Abort, 404, "NoSuchKey", "upload lost"),
        (Call::Put, 403, "NotSignedUp", "credentials"),
        (Call::Put, 403, "UserSuspended", "credentials"),
        (Call::Put, 403, "QuotaExceeded", "quota"),
        (Call::Put, 400, "InvalidStorageClass", "invalid"),
        (Call::Put, 400, "EntityTooLarge", "invalid"),
        (Call::Put, 501, "NotImplemented", "invalid"),
    ];
    for (call, status, code, expected) in table {
        assert_eq!(meaning(call, status, code), expected, "{call:?} {status} {code}");
    }
}

#[test]
fn where_there_is_no_code_the_status_decides() {
    let table = [
        (Call::Head, 301, "wrong_region"),
        (Call::Head, 400, "invalid"),
        (Call::Head, 401, "credentials"),
        (Call::Head, 403, "access_denied"),
        (Call::Put, 404, "no_such_bucket"),
        (Call::Uploads, 404, "no_such_bucket"),
        (Call::Complete, 404, "upload lost"),
        (Call::Read, 404, "hollow"),
        (Call::Complete, 409, "upload lost"),
        (Call::Put, 409, "unavailable"),
        (Call::Put, 412, "exists"),
        (Call::Part, 408, "unavailable"),
        (Call::Part, 429, "unavailable"),
        (Call::Put, 413, "invalid"),
        (Call::Put, 500, "unavailable"),
        (Call::Put, 502, "unavailable"),
        (Call::Put, 507, "unavailable"),
        (Call::Complete, 200, "unavailable"),
    ];
    for (call, status, expected) in table {
        assert_eq!(meaning(call, status, ""), expected, "{call:?} {status}");
    }
}

#[test]
fn a_refused_length_on_complete_is_a_body_that_arrived_wrong() {
    let message = "The provided 'x-amz-mp-object-size' header value 7 does not match what was computed: 6";
    let answer = Answer { status: 400, code: "InvalidRequest", message, region: None };
    assert!(matches!(refused(Call::Complete, answer), StoreError::Corrupted(_)));
}

#[test]
fn messages_name_the_permission_the_region_and_the_key() {
    let told = |call, code, message, region| refused(call, Answer { status: 403, code, message, region }).to_string();
    for (call, permission) in [
        (Call::Put, "s3:PutObject"),
        (Call::Complete, "s3:PutObject"),
        (Call::Read, "s3:GetObject"),
        (Call::Head, "s3:ListBucket"),
        (Call::Abort, "s3:AbortMultipartUpload"),
        (Call::Uploads, "s3:ListBucketMultipartUploads"),
    ] {
        assert!(told(call, "AccessDenied", "", None).contains(permission), "{call:?}");
    }
    assert!(told(Call::Put, "PermanentRedirect", "", Some("eu-west-3")).contains("set bucket.region to eu-west-3"));
    let denied = "User: arn:aws:iam::1:user/a is not authorized to perform: kms:GenerateDataKey on resource: k";
    let kms = refused(Call::Put, Answer { status: 403, code: "AccessDenied", message: denied, region: None });
    assert!(
        matches!(&kms, StoreError::Setup { reason: "kms", message } if message.contains("allow kms:GenerateDataKey"))
    );
}

#[test]
fn a_request_that_the_store_does_not_take_names_the_setting_if_the_store_does() {
    for (code, message, setting) in [
        ("InvalidStorageClass", "The storage class you specified is not valid", "check bucket.storage_class"),
        ("InvalidArgument", "Server Side Encryption with KMS managed key requires HTTP header", "check bucket.sse"),
        ("InvalidTag", "The TagKey you have provided is invalid", "check bucket.tags"),
        ("InvalidRequest", "Content-MD5 OR x-amz-checksum- HTTP header is required", "check bucket.checksum"),
        ("EntityTooLarge", "Your proposed upload exceeds the maximum allowed object size", "check transfer.part_size"),
        ("NotImplemented", "A header that you provided implies something", "check the [bucket] settings"),
        ("QuotaExceeded", "", "room"),
    ] {
        let answer = Answer { status: 400, code, message, region: None };
        let told = refused(Call::Put, answer).to_string();
        assert!(told.contains(setting), "{told}");
    }
    let answer = Answer { status: 400, code: "MalformedXML", message: "", region: None };
    assert!(refused(Call::Complete, answer).to_string().contains("check bucket.checksum"));
}

#[test]
fn texts_are_bounded_and_keep_their_hint() {
    let message = "\u{1b}[2J\r\n".repeat(2_000);
    let text =
        refused(Call::Put, Answer { status: 403, code: "AccessDenied", message: &message, region: None }).to_string();
    assert!(text.chars().count() <= LONGEST, "{}", text.len());
    assert!(!text.chars().any(char::is_control), "{text}");
    assert!(text.contains("allow s3:PutObject"), "{text}");
}

#[test]
fn what_a_store_repeats_of_a_request_is_hidden_and_what_it_names_is_kept() {
    let told =
        |message| refused(Call::Put, Answer { status: 403, code: "AccessDenied", message, region: None }).to_string();
    for message in [
        "the key wJalrXUtnFEMIaK7MDENGabPxRfiCYCANARYKEYX is wrong",
        "signed by 5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924aCANARY0",
        "https://b.s3.amazonaws.com/k?X-Amz-Date=1&X-Amz-Signature=CANARY",
    ] {
        assert!(!told(message).contains("CANARY"), "{}", told(message));
        assert!(told(message).contains("[hidden]"), "{}", told(message));
    }
    let object = "\"arn:aws:s3:::b/default/year=2026/month=11/day=23/65e7133a3242653c58d70001/\
                  f-00000000-0000-0000-0000-000000000000-merged.wav\"";
    let denied =
        format!("User: arn:aws:sts::123456789012:assumed-role/kore-archiver/i-0123456789abcdef0 is not {object}");
    assert!(told(&denied).contains(&denied), "{}", told(&denied));
}

#[test]
fn whatever_no_set_up_is_to_blame_for_may_be_a_refusal_of_what_a_write_asks_for() {
    let doubtful = |call, status, code| may_be_refusal(call, Answer { status, code, message: "", region: None });
    assert!(doubtful(Call::Put, 400, "InvalidArgument"));
    assert!(doubtful(Call::Create, 501, "NotImplemented"));
    assert!(doubtful(Call::Part, 400, "InvalidRequest"));
    assert!(doubtful(Call::Part, 400, "BadRequest"));
    assert!(doubtful(Call::Put, 400, ""));
    for code in ["InvalidRequest", "BadDigest", "InvalidArgument", "MalformedXML"] {
        assert!(doubtful(Call::Complete, 400, code), "{code}");
    }
    assert!(doubtful(Call::Complete, 200, "NotImplemented"));
    for code in ["InternalError", "SlowDown", ""] {
        assert!(!doubtful(Call::Complete, 200, code), "{code}");
    }
    for code in ["BadDigest", "InvalidDigest", "ExpiredToken", "AuthorizationHeaderMalformed", "KMS.DisabledException"]
    {
        assert!(!doubtful(Call::Put, 400, code), "{code}");
    }
    for code in ["EntityTooSmall", "IncompleteBody", "InvalidPart", "ExpiredToken", "RequestTimeout"] {
        assert!(!doubtful(Call::Complete, 400, code), "{code}");
    }
    for (call, status, code) in
        [(Call::Put, 403, "AccessDenied"), (Call::Put, 412, ""), (Call::Complete, 500, ""), (Call::Head, 400, "")]
    {
        assert!(!doubtful(call, status, code), "{status} {code}");
    }
}
