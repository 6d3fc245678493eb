//! What a person must put right, how it is named, and that no secret is in the words (FAULTS S7 to S11, L1, L2).

use std::fs;
use std::process::Command;

use super::*;
use crate::support::s3::{Fault, Op, Times};

/// The error of a put under other settings than the right ones.
async fn refused(change: impl FnOnce(&mut BucketSettings)) -> StoreError {
    let s3 = FakeS3::start(Options::default()).await;
    let mut settings = settings(&s3);
    change(&mut settings);
    let store = connected(&s3, &settings).await;
    put(&store, &noise(9)).await.unwrap_err()
}

#[tokio::test]
async fn the_wrong_region_is_named_with_the_right_one() {
    let error = refused(|settings| settings.region = "us-east-1".to_owned()).await;
    assert!(error.to_string().contains("set bucket.region to eu-central-1"), "{error}");
    assert_eq!(kind::<()>(Err(error)), "wrong_region");
}

#[tokio::test]
async fn the_wrong_owner_and_the_wrong_bucket_are_told_apart() {
    let owner = refused(|settings| settings.expected_owner = Some("999999999999".to_owned())).await;
    assert!(owner.to_string().contains("bucket.expected_owner"), "{owner}");
    assert_eq!(kind::<()>(Err(owner)), "access_denied");
    let bucket = refused(|settings| settings.name = "another-bucket".to_owned()).await;
    assert!(bucket.to_string().contains("bucket.name"), "{bucket}");
    assert_eq!(kind::<()>(Err(bucket)), "no_such_bucket");
}

#[tokio::test]
async fn wrong_keys_are_credentials_and_appear_nowhere() {
    let s3 = FakeS3::start(Options::default()).await;
    let (access_key, secret_key) = s3.credentials();
    for (access_key, secret_key) in [(access_key.as_str(), "canary-secret"), ("AKIDCANARY", secret_key.as_str())] {
        let store = S3Store::connect_as(&settings(&s3), clock(), access_key, secret_key).await;
        let error = put(&store, &noise(9)).await.unwrap_err();
        for text in [format!("{error}"), format!("{error:?}"), format!("{store:?}")] {
            for secret in [secret_key, "Signature=", "AWS4-HMAC", "x-amz-security-token"] {
                assert!(!text.contains(secret), "{text}");
            }
        }
        assert_eq!(kind::<()>(Err(error)), "credentials");
    }
}

#[tokio::test]
async fn a_store_that_repeats_the_secret_key_in_its_message_is_not_quoted_so_far() {
    // Keys may hold slashes, between which no run is long.
    let secret_key = "CANARY/short/runs/are/no/key+by/their/looks";
    let s3 = FakeS3::start(Options { secret_key: secret_key.to_owned(), ..Options::default() }).await;
    let store = connected(&s3, &settings(&s3)).await;
    for (status, code) in [(403, "AccessDenied"), (400, "InvalidToken"), (503, "SlowDown")] {
        let message = format!("{}the key {secret_key} is no good", "so ".repeat(70));
        s3.fail_next(Op::PutObject, Times::Forever, Fault::Says(status, code, message));
        let error = put(&store, &noise(9)).await.unwrap_err().to_string();
        assert!(error.contains("the key [hidden] is no good") && !error.contains("CANARY"), "{error}");
        s3.heal();
    }
}

#[tokio::test]
async fn each_missing_permission_is_named() {
    let (s3, store) = fixture().await;
    let (upload, parts) = send_parts(&store, &noise(9), MIB).await.unwrap();
    for permission in ["s3:PutObject", "s3:GetObject", "s3:AbortMultipartUpload", "s3:ListBucketMultipartUploads"] {
        s3.deny(permission);
    }
    let whole = receipt(&noise(9));
    let errors = [
        ("s3:PutObject", put(&store, &noise(9)).await),
        ("s3:PutObject", store.create_upload(&key(), &label()).await.map(drop)),
        (
            "s3:PutObject",
            store.put_part(&key(), &upload, 2, segments(&noise(9)), &Checksums::of([&noise(9)[..]])).await.map(drop),
        ),
        ("s3:PutObject", store.complete(&key(), &upload, &parts, &whole).await),
        ("s3:GetObject", store.head(&key()).await.map(drop)),
        ("s3:GetObject", read_back(&store).await.map(drop)),
        ("s3:AbortMultipartUpload", store.abort(&key(), &upload).await),
        ("s3:ListBucketMultipartUploads", store.uploads(&key()).await.map(drop)),
    ];
    for (permission, error) in errors {
        let error = error.unwrap_err();
        assert!(error.to_string().contains(&format!("allow {permission}")), "{error}");
        assert_eq!(kind::<()>(Err(error)), "access_denied");
    }
    s3.heal();
    put(&store, &noise(9)).await.unwrap();
}

#[tokio::test]
async fn a_missing_object_that_may_not_be_listed_is_forbidden_not_missing() {
    let (s3, store) = fixture().await;
    s3.deny("s3:ListBucket");
    let error = store.head(&key()).await.unwrap_err();
    assert!(error.to_string().contains("s3:ListBucket"), "{error}");
    put(&store, &noise(9)).await.unwrap();
    assert!(store.head(&key()).await.unwrap().is_some());
}

#[tokio::test]
async fn a_key_that_may_not_be_used_is_kms() {
    let s3 = FakeS3::start(Options::default()).await;
    s3.deny("kms:GenerateDataKey");
    let store = connected(&s3, &BucketSettings { sse: Sse::Kms(None), ..settings(&s3) }).await;
    let error = put(&store, &noise(9)).await.unwrap_err();
    assert!(error.to_string().contains("allow kms:GenerateDataKey"), "{error}");
    assert_eq!(kind::<()>(Err(error)), "kms");
}

#[tokio::test]
async fn what_a_person_must_act_on_is_setup_and_goes_on_by_itself_afterwards() {
    let (s3, store) = fixture().await;
    let table = [
        (400, "ExpiredToken", "credentials"),
        (400, "InvalidToken", "credentials"),
        (403, "RequestTimeTooSkewed", "clock"),
        (403, "AllAccessDisabled", "access_denied"),
        (400, "KMS.DisabledException", "kms"),
        (301, "PermanentRedirect", "wrong_region"),
        (400, "InvalidStorageClass", "invalid"),
    ];
    for (status, code, expected) in table {
        s3.fail_next(Op::PutObject, Times::Forever, Fault::Status(status, code));
        assert_eq!(kind(put(&store, &noise(9)).await), expected, "{code}");
        s3.heal();
    }
    put(&store, &noise(9)).await.unwrap();
}

/// In a process of its own, whose environment is set.
#[test]
fn the_standard_chain_is_followed_through_a_rotation_and_proxies_in_the_environment_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let child = "s3_adapter::refusals::with_the_environment_of_its_parent";
    let output = Command::new(std::env::current_exe().unwrap())
        .args([child, "--exact", "--ignored"])
        .env("AWS_SHARED_CREDENTIALS_FILE", folder.path().join("credentials"))
        .env("AWS_CONFIG_FILE", folder.path().join("config"))
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env_remove("AWS_ACCESS_KEY_ID")
        .env("HTTP_PROXY", "http://127.0.0.1:1")
        .env("http_proxy", "http://127.0.0.1:1")
        .env_remove("NO_PROXY")
        .env_remove("no_proxy")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[tokio::test]
#[ignore = "run by the test above"]
async fn with_the_environment_of_its_parent() {
    let profile = std::env::var("AWS_SHARED_CREDENTIALS_FILE").unwrap();
    let write = |access_key: &str, secret_key: &str| {
        let text = format!("[default]\naws_access_key_id={access_key}\naws_secret_access_key={secret_key}\n");
        fs::write(&profile, text).unwrap();
    };
    let s3 = FakeS3::start(Options { secret_key: "first".to_owned(), ..Options::default() }).await;
    let store = S3Store::connect(&settings(&s3), clock()).await;
    let error = put(&store, &noise(9)).await.unwrap_err();
    assert!(error.to_string().contains("no AWS credentials were found"), "{error}");
    write("AKIDEXAMPLE", "first");
    put(&store, &noise(9)).await.unwrap();
    s3.rotate_credentials("AKIDROTATED", "second");
    assert_eq!(kind(store.head(&key()).await), "credentials", "HEAD carries no code, what is asked after it does");
    write("AKIDROTATED", "second");
    assert!(store.head(&key()).await.unwrap().is_some());
    // Keys that are right, of a user who may not: then somebody writes another's.
    for code in ["AccessDenied", "NotSignedUp"] {
        s3.fail_next(Op::PutObject, Times::Next(1), Fault::Status(403, code));
        assert!(put(&store, &noise(8)).await.is_err());
        let (access_key, secret_key) = (format!("AKID{code}"), format!("the one after {code}"));
        s3.rotate_credentials(&access_key, &secret_key);
        write(&access_key, &secret_key);
        assert!(store.head(&key()).await.unwrap().is_some(), "{code}");
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_is_told_with_what_is_wrong_with_it() {
    let (s3, store) = fixture().await;
    s3.fail_next(Op::CreateUpload, Times::Next(1), Fault::Misunderstood);
    let error = store.create_upload(&key(), &label()).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    let said = error.to_string();
    assert!(
        said.contains("CreateMultipartUpload succeeded") && said.contains("InitiateMultipartUploadResult"),
        "{said}"
    );
}
