//! `check`: each finding provoked once, and its advice followed to a clean check.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use kore_archiver::clock::SystemClock;
use kore_archiver::queue::RunLock;
use serde_json::Value;

use crate::support::kore::Answer;
use crate::support::rows::eventually;
use crate::support::s3::{self, Fault, Lie, Op, Times};
use crate::support::world::World;

/// A world with a queue whose folder is as the package makes it.
async fn world() -> World {
    world_with(s3::Options::default()).await
}

async fn world_with(bucket: s3::Options) -> World {
    let world = World::with(bucket).await;
    chmod(world.folder.path(), 0o2770);
    world.create_queue();
    world
}

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("it is ours");
}

/// With the two files that SQLite may have left beside it.
fn chmod_queue(world: &World, mode: u32) {
    for name in ["queue.db", "queue.db-wal", "queue.db-shm"] {
        if world.path(name).exists() {
            chmod(&world.path(name), mode);
        }
    }
}

/// Runs it: exit code, and the findings that are no `ok`, as `outcome what: detail -> advice`.
fn check(world: &World, arguments: &[&str]) -> (i32, Vec<String>) {
    let all: Vec<&str> = ["check", "--json"].iter().chain(arguments).copied().collect();
    findings(world.run(&all))
}

fn findings(output: Output) -> (i32, Vec<String>) {
    let text = String::from_utf8(output.stdout).expect("it is text");
    assert!(!text.contains("a secret key"), "{text}");
    assert!(!text.contains("a fake secret"), "{text}");
    let document: Value = serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr)));
    let part = |finding: &Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
    let findings = document["checks"].as_array().expect("a list").iter();
    let findings = findings.filter(|finding| finding["outcome"] != "ok").map(|finding| {
        let [outcome, what, detail, advice] = ["outcome", "what", "detail", "advice"].map(|key| part(finding, key));
        format!("{outcome} {what}: {detail} -> {advice}")
    });
    (output.status.code().unwrap_or(-1), findings.collect())
}

fn faults(found: &[String]) -> Vec<&str> {
    found.iter().map(String::as_str).filter(|finding| finding.starts_with("fault")).collect()
}

#[track_caller]
fn one_fault(world: &World, arguments: &[&str], parts: &[&str]) {
    let (code, found) = check(world, arguments);
    let faults = faults(&found);
    assert_eq!((code, faults.len()), (3, 1), "{found:?}");
    for part in parts {
        assert!(faults[0].contains(part), "{part:?} in {faults:?}");
    }
}

#[track_caller]
fn clean(world: &World, arguments: &[&str]) {
    let (code, found) = check(world, arguments);
    assert_eq!((code, faults(&found).len()), (0, 0), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_set_up_is_proven_line_by_line_and_written_to_only_when_asked() {
    let world = world().await;
    let output = world.run(&["check"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.ends_with("all is well\n"), "{text}");
    assert!(text.contains("token and scope are good"), "{text}");
    assert!(!text.contains('\x1b'), "{text}");
    assert_eq!(world.kore.polls().len(), 1, "one request, and nothing is repeated");
    assert_eq!(world.s3.keys(), Vec::<String>::new());

    clean(&world, &["--write"]);
    assert_eq!(world.s3.keys(), ["kore-archiver-check.txt"]);
    clean(&world, &["--write"]);
    assert_eq!((world.s3.overwrites(), world.s3.deletes()), (0, 0), "the second one finds it");
    assert_eq!((world.s3.count(Op::UploadPart), world.s3.open_uploads().len()), (2, 0), "no upload is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_on_trial_whose_beginning_is_not_answered_is_left_no_more() {
    let world = world().await;
    world.s3.fail_next(Op::CreateUpload, Times::Forever, Fault::DropAfterApply);
    one_fault(&world, &["--write"], &["write in parts", "CreateMultipartUpload"]);
    assert!(world.s3.count(Op::CreateUpload) > 0);
    assert_eq!(world.s3.open_uploads().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn offline_asks_nobody_and_a_missing_queue_is_exit_74() {
    let world = World::new().await;
    chmod(world.folder.path(), 0o2770);
    let (code, found) = check(&world, &["--offline"]);
    assert_eq!(code, 74);
    assert!(faults(&found)[0].contains("both create it"), "{found:?}");
    assert!(!world.queue_path().exists(), "nothing is created");
    world.create_queue();
    let asked = world.kore.polls().len();
    clean(&world, &["--offline"]);
    assert_eq!((world.kore.polls().len(), world.s3.calls().len()), (asked, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_of_the_environment_alone_are_not_said_to_stand_in_a_file() {
    if Path::new(kore_archiver::config::DEFAULT_PATH).exists() {
        return println!("SKIPPED: this machine has a settings file");
    }
    let world = world().await;
    let output = Command::new(world.command(&[]).get_program())
        .args(["check", "--offline"])
        .env("KORE_ARCHIVER__QUEUE__PATH", world.queue_path())
        .env("KORE_ARCHIVER__BOTS__DEFAULT__HOST", "https://platform.kore.ai")
        .env("KORE_ARCHIVER__BOTS__DEFAULT__BOT_ID", "st-1")
        .env("KORE_ARCHIVER__BOTS__DEFAULT__CLIENT_ID", "cs-1")
        .env("KORE_ARCHIVER__BOTS__DEFAULT__CLIENT_SECRET", "a secret of the environment")
        .env("KORE_ARCHIVER__BUCKET__NAME", "recordings")
        .env("KORE_ARCHIVER__BUCKET__REGION", "eu-central-1")
        .output()
        .expect("the binary starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("the environment holds, and no settings file was read; bots: default"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_another_program_keeps_to_itself_is_a_fault_and_not_a_failure() {
    let world = world().await;
    let mut other = world.sql().await;
    let keep = "PRAGMA locking_mode = EXCLUSIVE; BEGIN IMMEDIATE; INSERT INTO sessions (session_id) VALUES ('a')";
    sqlx::raw_sql(keep).execute(&mut other).await.expect("nobody else has it open");
    one_fault(&world, &["--offline"], &["another program", "end that program's transaction"]);
    let daemon = RunLock::take(&world.queue_path(), &SystemClock::new()).await.expect("nobody works on it");
    let told = String::from_utf8_lossy(&world.run(&["check"]).stdout).into_owned();
    assert!(told.contains("what it has paused cannot be read; stop it to have Kore asked"), "{told}");
    assert_eq!(world.kore.polls().len(), 0, "the budget is the daemon's");
    drop((other, daemon));
    clean(&world, &["--offline"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_its_group_cannot_write_or_others_can_read_is_a_fault() {
    let world = world().await;
    let (folder, file) = (world.folder.path(), world.queue_path());
    chmod(folder, 0o2750);
    one_fault(&world, &["--offline"], &["queue folder", "cannot insert", "chmod 2770"]);
    chmod(folder, 0o2775);
    one_fault(&world, &["--offline"], &["queue folder", "others", "chmod 2770"]);
    chmod(folder, 0o770);
    one_fault(&world, &["--offline"], &["queue folder", "setgid", "chmod 2770"]);
    chmod(folder, 0o2770);
    for (mode, wrong) in [(0o640, "its group cannot insert"), (0o664, "everybody may use it")] {
        chmod_queue(&world, mode);
        let (code, found) = check(&world, &["--offline"]);
        let faults = faults(&found);
        assert!(code == 3 && !faults.is_empty(), "{found:?}");
        let told = |fault: &&str| fault.contains(wrong) && fault.contains("chmod 0660");
        assert!(faults.iter().all(told), "{faults:?}");
    }
    chmod_queue(&world, 0o660);
    clean(&world, &["--offline"]);
    std::fs::write(&file, "no database at all, but long enough to look like one").expect("it is ours");
    let (code, found) = check(&world, &["--offline"]);
    assert_eq!(code, 74, "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_refusal_of_kore_is_told_with_what_to_do() {
    let mut world = world().await;
    world.kore.publish_scope(false);
    one_fault(&world, &[], &["kore default", "SmartAssist Recordings", "Published"]);
    world.kore.publish_scope(true);
    clean(&world, &[]);

    let secret = world.kore.options().client_secret;
    world.kore.set_client_secret("rotated");
    one_fault(&world, &[], &["kore default", "HTTP 401", "client secret"]);
    world.kore.set_client_secret(&secret);

    let bot = format!("\"{}\"", world.kore.options().bot_id);
    world.set("bots.default.bot_id", "\"wrong\"");
    one_fault(&world, &[], &["kore default", "Invalid StreamId", "correct bots.default.bot_id"]);
    world.set("bots.default.bot_id", &bot);

    world.kore.unknown_sessions_get(Answer::page(404, "text/html", "<html>Not Found</html>"));
    one_fault(&world, &[], &["kore default", "check bots.default.host"]);
    world.kore.unknown_sessions_get(Answer::rate_limited());
    one_fault(&world, &[], &["kore default", "wait a minute"]);
    for good in [Answer::error(412, "Validation errors/ Invalid arguments"), "media_unavailable".into()] {
        world.kore.unknown_sessions_get(good);
        clean(&world, &[]);
    }
    world.kore.api_outage(crate::support::kore::Outage::Refused);
    one_fault(&world, &[], &["kore default", "check bots.default.host"]);
    world.kore.api_outage(None);
    clean(&world, &[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_off_is_told_by_kores_date() {
    let world = world().await;
    let answer = Answer::error(404, "Session not found").header("Date", "Tue, 05 Mar 2024 12:00:00 GMT");
    world.kore.unknown_sessions_get(answer);
    one_fault(&world, &[], &["clock, kore default", "ahead of Kore's", "timedatectl"]);
    let what_follows =
        || String::from_utf8_lossy(&world.run(&["check"]).stdout).contains("gives up no row for its age");
    assert!(what_follows());
    world.kore.unknown_sessions_get(Answer::error(404, "Session not found"));
    assert!(!what_follows());
    clean(&world, &[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_off_is_told_by_the_stores_date_and_blamed_for_its_refusals() {
    let world = world().await;
    for (seconds, told) in [(-300, "s ahead of the store's"), (7200, "s behind the store's")] {
        world.s3.fail_next(Op::Any, Times::Forever, Fault::ClockAhead(seconds));
        one_fault(&world, &[], &["clock, bucket", told, "timedatectl"]);
        world.s3.heal();
    }
    clean(&world, &[]);
}

/// `check --offline` with the queue on a disk of that size. `None` where nobody may mount one.
fn check_on_a_disk_of(world: &mut World, size: &str) -> Option<(i32, Vec<String>)> {
    const SCRIPT: &str = "mount -t tmpfs -o size=$0,mode=2770 tmpfs \"$1\" || exit 99
        shift; \"$1\" run --until-empty --config \"$2\" 2>/dev/null || exit 99
        exec \"$1\" check --offline --json --config \"$2\"";
    let disk = world.path("disk");
    std::fs::create_dir_all(&disk).expect("the folder is ours");
    world.set("queue.path", &format!("\"{}\"", disk.join("queue.db").display()));
    let mut apart = Command::new("unshare");
    apart.args(["--user", "--map-root-user", "--mount", "sh", "-c", SCRIPT, size]);
    let plain = world.command(&[]);
    let output = apart.arg(disk).arg(plain.get_program()).arg(world.config()).output().ok()?;
    let may_not = output.stdout.is_empty();
    if may_not {
        println!("SKIPPED: {}", String::from_utf8_lossy(&output.stderr));
    }
    (!may_not).then(|| findings(output))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_with_little_room_for_the_queue_is_a_fault_until_there_is_more() {
    let mut world = World::new().await;
    let Some((code, found)) = check_on_a_disk_of(&mut world, "64m") else { return };
    assert_eq!((code, faults(&found).len()), (3, 1), "{found:?}");
    assert!(found.iter().any(|fault| fault.contains("MiB are free") && fault.contains("make room")), "{found:?}");
    let (code, found) = check_on_a_disk_of(&mut world, "1g").expect("as before");
    assert_eq!((code, faults(&found).len()), (0, 0), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_may_not_be_used_is_told_also_when_the_object_is_there_from_before() {
    let mut world = world().await;
    world.set("bucket.sse", "\"aws:kms\"").set("bucket.kms_key_id", "\"arn:aws:kms:eu-central-1:1:key/2\"");
    clean(&world, &["--write"]);
    world.s3.deny("kms:GenerateDataKey");
    // Nothing says whether S3 looks at the key's name or at the encryption key first.
    world.s3.fail_next(Op::PutObject, Times::Forever, Fault::Status(412, "PreconditionFailed"));
    one_fault(&world, &["--write"], &["write in parts", "kms:GenerateDataKey", "bucket.kms_key_id"]);
    world.s3.heal();
    clean(&world, &["--write"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_media_host_without_an_address_is_named() {
    let mut world = world().await;
    world.set("bots.default.media_hosts", "[\"*.kore.ai\", \"media.invalid\"]");
    one_fault(&world, &[], &["media default", "media.invalid", "bots.default.media_hosts"]);
    world.set("bots.default.media_hosts", "[\"*.kore.ai\", \"127.0.0.1:9000\"]");
    clean(&world, &[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_elsewhere_or_of_another_name_is_told_with_the_setting() {
    let mut world = world().await;
    world.set("bucket.region", "\"us-east-1\"");
    one_fault(&world, &[], &["bucket", "eu-central-1", "set bucket.region to eu-central-1"]);
    world.set("bucket.region", "\"eu-central-1\"").set("bucket.name", "\"others\"");
    one_fault(&world, &[], &["bucket", "check bucket.name"]);
    world.set("bucket.name", "\"recordings\"").set("bucket.expected_owner", "\"999999999999\"");
    let (code, found) = check(&world, &[]);
    assert_eq!(code, 3);
    assert!(faults(&found)[0].contains("bucket.expected_owner"), "{found:?}");
    world.set("bucket.expected_owner", "\"111122223333\"");
    clean(&world, &["--write"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_are_not_there_or_not_known_are_told_with_where_they_may_come_from() {
    let world = world().await;
    let with = |variables: &[(&str, Option<&str>)]| {
        let mut command = world.command(&["check", "--json"]);
        // No profile of whoever runs the tests.
        command.env("HOME", world.folder.path());
        for (name, value) in variables {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        findings(command.output().expect("the binary starts"))
    };
    let (code, found) = with(&[("AWS_ACCESS_KEY_ID", None), ("AWS_SECRET_ACCESS_KEY", None)]);
    assert_eq!((code, faults(&found).len()), (3, 1), "{found:?}");
    assert!(
        found.iter().any(|fault| fault.contains("no AWS credentials were found -> give the service some")),
        "{found:?}"
    );
    let (code, found) = with(&[("AWS_ACCESS_KEY_ID", Some("AKIAUNKNOWN"))]);
    assert_eq!(code, 3, "{found:?}");
    let told = faults(&found);
    assert!(told.iter().any(|fault| fault.contains("check the AWS credentials")), "{found:?}");
    assert!(!told.iter().any(|fault| fault.contains("s3:ListBucket")), "permissions are not to blame: {found:?}");
    let (code, found) = with(&[]);
    assert_eq!((code, faults(&found).len()), (0, 0), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_missing_permission_is_named_and_granting_it_mends_it() {
    let world = world().await;
    for (denied, faulty) in [
        ("s3:ListBucket", vec!["s3:ListBucket", "s3:ListBucket"]),
        ("s3:GetObject", vec!["s3:GetObject"]),
        ("s3:ListBucketMultipartUploads", vec!["s3:ListBucketMultipartUploads"]),
        ("s3:PutObject", vec!["s3:PutObject", "s3:PutObject"]),
        ("s3:AbortMultipartUpload", vec!["s3:AbortMultipartUpload"]),
    ] {
        world.s3.deny(denied);
        let (code, found) = check(&world, &["--write"]);
        let faults = faults(&found);
        assert_eq!(code, 3);
        assert!(faults.len() >= faulty.len(), "{denied}: {faults:?}");
        for (fault, permission) in faults.iter().zip(faulty) {
            assert!(fault.contains(permission), "{fault}");
        }
        world.s3.heal();
    }
    clean(&world, &["--write"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_reports_other_bytes_than_it_was_given_is_named() {
    let world = world().await;
    world.s3.fail_next(Op::HeadObject, Times::Forever, Fault::LieOnHead(Lie::WrongChecksum));
    one_fault(&world, &["--write"], &["write", "does not keep what it is given"]);
    world.s3.heal();
    clean(&world, &["--write"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_that_is_forbidden_or_unknown_to_the_store_is_a_note() {
    let world = world().await;
    for permission in ["s3:GetEncryptionConfiguration", "s3:GetBucketPublicAccessBlock", "s3:GetLifecycleConfiguration"]
    {
        world.s3.deny(permission);
    }
    let (code, found) = check(&world, &[]);
    assert_eq!(code, 0, "{found:?}");
    assert_eq!(found.iter().filter(|finding| finding.contains("could not be looked at")).count(), 3, "{found:?}");
    world.s3.heal();
    // Some stores refuse the question, and some answer another one.
    for unknown in [Fault::Status(501, "NotImplemented"), Fault::Misunderstood] {
        for op in [Op::Encryption, Op::PublicAccess, Op::Lifecycle] {
            world.s3.fail_next(op, Times::Forever, unknown.clone());
        }
        clean(&world, &[]);
        world.s3.heal();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_else_put_under_the_checks_key_is_left_and_named() {
    let world = world().await;
    world.s3.fail_next(Op::Any, Times::Forever, Fault::IgnoreIfNoneMatch);
    world.s3.pre_put("kore-archiver-check.txt", "somebody else's", &[]).await;
    one_fault(&world, &["--write"], &["write", "something else stands under kore-archiver-check.txt", "move it away"]);
    assert_eq!(world.s3.body("kore-archiver-check.txt").unwrap(), "somebody else's");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_without_its_protections_is_a_fault_each_with_the_command_that_sets_it() {
    let mut world = world().await;
    world.s3.protect(|protections| protections.encryption = None);
    let command = format!("put-bucket-encryption --bucket {} --endpoint-url http://127.0.0.1:", world.s3.bucket());
    one_fault(&world, &[], &["encryption", "not encrypted by default", &command]);
    world.set("bucket.sse", "\"AES256\"");
    clean(&world, &[]);
    world.s3.protect(|protections| protections.encryption = Some("aws:kms"));
    world.s3.protect(|protections| protections.blocks_public_policy = None);
    one_fault(&world, &[], &["public access", "nothing blocks it", "put-public-access-block"]);
    world.s3.protect(|protections| protections.blocks_public_policy = Some(false));
    one_fault(&world, &[], &["public access", "BlockPublicPolicy is off"]);
    world.s3.protect(|protections| protections.blocks_public_policy = Some(true));
    for rule in [None, Some((7, "elsewhere/"))] {
        world.s3.protect(|protections| protections.aborts_uploads = rule);
        one_fault(&world, &[], &["lifecycle", "AbortIncompleteMultipartUpload"]);
    }
    world.s3.protect(|protections| protections.aborts_uploads = Some((3, "")));
    clean(&world, &[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_a_daemon_kore_is_not_asked_and_its_pauses_are_told() {
    let world = world().await;
    let daemon = world.daemon().await;
    let (code, found) = check(&world, &[]);
    assert_eq!(code, 0, "{found:?}");
    assert!(found.iter().any(|finding| finding.contains("stop it to have Kore asked")), "{found:?}");
    assert_eq!(world.kore.polls().len(), 0);

    world.kore.publish_scope(false);
    world.insert(&[&crate::support::world::id(1)]).await;
    eventually("the bot is paused", async || world.row("SELECT * FROM pauses").await.is_some()).await;
    one_fault(&world, &[], &["the daemon has paused this bot", "Published"]);

    world.kore.publish_scope(true);
    assert_eq!(daemon.stop().await, 0);
    clean(&world, &[]);
}
