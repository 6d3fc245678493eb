//! The policies in `deploy/aws` against the calls that are really made: each is allowed, and nothing else is.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::support::kore::SourceFile;
use crate::support::rows::rest;
use crate::support::s3::{Call, Fault, Op, Options, Times};
use crate::support::scene::{PART, recording};
use crate::support::world::{World, id, until};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/aws")
}

fn json(name: &str) -> Value {
    let text = std::fs::read_to_string(folder().join(name)).expect("the file is there");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// What a policy allows, as `action on object` or `action on bucket` (or whatever else its resource is).
fn allowed(name: &str) -> BTreeSet<String> {
    let policy = json(name);
    let statements = policy["Statement"].as_array().expect("a list").iter();
    let each = statements.flat_map(|statement| {
        assert_eq!(statement["Effect"], "Allow", "{name}");
        let resource = statement["Resource"].as_str().expect("one resource");
        let on = match resource.strip_prefix("arn:aws:s3:::") {
            Some(path) if path.ends_with("/*") => "objects",
            Some(_) => "the bucket",
            None => resource.split(':').nth(2).expect("an ARN"),
        };
        let actions = statement["Action"].as_array().expect("a list").iter();
        actions.map(move |action| format!("{} on {on}", action.as_str().expect("a text")))
    });
    each.collect()
}

/// What S3 asks for a call (Amazon S3 User Guide, "Required permissions for Amazon S3 API operations").
fn needed(op: Op) -> &'static [&'static str] {
    match op {
        Op::PutObject | Op::CreateUpload | Op::UploadPart | Op::CompleteUpload => &["s3:PutObject on objects"],
        Op::GetObject => &["s3:GetObject on objects"],
        // Without the second, a key that is not there answers 403 instead of 404.
        Op::HeadObject => &["s3:GetObject on objects", "s3:ListBucket on the bucket"],
        Op::AbortUpload => &["s3:AbortMultipartUpload on objects"],
        Op::ListUploads => &["s3:ListBucketMultipartUploads on the bucket"],
        Op::ListParts => &["s3:ListMultipartUploadParts on objects"],
        Op::ListObjects | Op::HeadBucket => &["s3:ListBucket on the bucket"],
        Op::BucketLocation => &["s3:GetBucketLocation on the bucket"],
        Op::Encryption => &["s3:GetEncryptionConfiguration on the bucket"],
        Op::PublicAccess => &["s3:GetBucketPublicAccessBlock on the bucket"],
        Op::Lifecycle => &["s3:GetLifecycleConfiguration on the bucket"],
        Op::DeleteObject | Op::Any | Op::Unknown => panic!("{op:?} is nothing that may be asked for"),
    }
}

/// The calls that named no owner, or had no permission.
fn refused(world: &World) -> Vec<Call> {
    world.s3.calls().into_iter().filter(|call| call.status == Some(403)).collect()
}

fn needed_so_far(world: &World) -> BTreeSet<String> {
    world.s3.calls().iter().flat_map(|call| needed(call.op)).map(|&permission| permission.to_owned()).collect()
}

/// A bucket that takes nothing from whoever does not name its owner, and settings that do.
async fn owned() -> World {
    let mut world = World::with(Options { demands_owner: true, ..Options::default() }).await;
    let owner = format!("\"{}\"", world.s3.owner());
    world.set("bucket.expected_owner", &owner);
    world
}

/// Everything that a daemon does: small and large files, a crash around the creation of an upload, reading back,
/// `reconcile`. Returns the world with its calls.
async fn a_life() -> World {
    let mut world = owned().await;
    world
        .set("transfer.part_size", "\"5MiB\"")
        .set("bucket.tags", "{ kept = \"7y\" }")
        .set("bucket.sse", "\"aws:kms\"")
        .set("bucket.kms_key_id", "\"a-key\"");
    world.s3.fail_next(Op::CreateUpload, Times::Next(1), Fault::DropAfterApply);
    world.s3.fail_next(Op::ListUploads, Times::Forever, Fault::Hang(Duration::from_mins(5)));
    world.ready(&id(1), [SourceFile::new("large.wav", recording(1, 2 * PART + 1))]).await;
    let daemon = world.daemon().await;
    until(|| (!world.s3.open_uploads().is_empty()).then_some(())).await.expect("it is begun");
    rest(300).await;
    daemon.kill().await;
    world.s3.heal();
    let daemon = world.daemon().await;
    assert_eq!(world.end_of(&id(1)).await, "done/archived");
    until(|| world.s3.open_uploads().is_empty().then_some(())).await.expect("what was left is aborted");
    assert_eq!(daemon.stop().await, 0);
    world.set("bucket.checksum", "\"read_back\"");
    world.ready(&id(2), [SourceFile::new("small.wav", recording(2, 2000))]).await;
    assert!(world.run_until_empty().await.success(), "{}", world.log());
    assert!(world.run(&["reconcile", "--read-back"]).status.success());
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemons_policies_allow_what_it_does_and_nothing_else() {
    let world = a_life().await;
    let mut asked = needed_so_far(&world);
    let mut granted = allowed("iam-policy.json");
    assert_eq!(asked, granted);
    assert_eq!(refused(&world), []);
    let objects = world.s3.objects();
    if objects.values().any(|object| object.tags.is_some()) {
        asked.insert("s3:PutObjectTagging on objects".into());
    }
    if objects.values().any(|object| object.encryption.as_deref() == Some("aws:kms")) {
        // To encrypt; and to put parts together, and to read what is encrypted.
        asked.extend(["kms:GenerateDataKey on kms".into(), "kms:Decrypt on kms".into()]);
    }
    granted.extend(allowed("iam-policy-tags.json"));
    granted.extend(allowed("iam-policy-kms.json"));
    assert_eq!(asked, granted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_asks_for_no_more_than_its_policy_adds() {
    let world = owned().await;
    world.create_queue();
    world.run(&["check", "--write"]);
    assert_eq!(refused(&world), []);
    let asked = needed_so_far(&world);
    let (daemon, check) = (allowed("iam-policy.json"), allowed("iam-policy-check.json"));
    assert_eq!(asked.difference(&daemon).cloned().collect::<BTreeSet<_>>(), check);
}

#[test]
fn every_file_is_json_and_nothing_allows_a_delete() {
    let mut seen = 0;
    for entry in std::fs::read_dir(folder()).expect("the folder is there") {
        let name = entry.expect("it can be read").file_name().into_string().expect("it is text");
        if name.rsplit('.').next() == Some("json") {
            let is_policy = name.contains("iam-policy");
            json(&name);
            assert!(!is_policy || allowed(&name).iter().all(|action| !action.contains("Delete")), "{name}");
            seen += 1;
        }
    }
    assert!(seen >= 8, "{seen}");
}
