//! The bucket: is it there, in that region, may we do what the daemon does, and is it safe to keep recordings in.
//!
//! Each permission is proven by using it, on keys that belong to nobody. What cannot be proven without writing is proven
//! with `--write` only, and then by the daemon's own two ways of writing: a conditional put under a checksum, compared
//! with what the bucket reports afterwards, and an upload in parts, which is aborted. The object stays, because this
//! program deletes nothing; the next time it is found and compared again.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::kore::of_clock;
use super::report::Report;
use crate::archive::s3::S3Store;
use crate::archive::s3::survey::{Introduction, Look};
use crate::archive::store::{ObjectStore, StoreError};
use crate::archive::{Archive, CopyError, NoLedger};
use crate::clock::{Clock, SystemClock};
use crate::config::{BucketSettings, Settings, Sse};
use crate::key::ObjectKey;

/// S3 refuses what is signed by a clock that is further off.
const REFUSED_SKEW_SECONDS: u64 = 15 * 60;

pub(super) async fn check(report: &mut Report, settings: &Settings, write: bool) {
    let store = Arc::new(S3Store::connect(&settings.bucket, Arc::new(SystemClock::new())).await);
    let introduction = store.introduce().await;
    let now = SystemClock::new().now();
    if let Some(theirs) = introduction.their_time {
        let ahead = (now.as_millis() - theirs.as_millis()) / 1000;
        of_clock(report, "clock, bucket", "the store's", ahead);
        if introduction.answer.is_err() && ahead.unsigned_abs() > REFUSED_SKEW_SECONDS {
            // The refusal says nothing about permissions: HEAD carries no reason, and S3 refuses everybody then.
            return report.note("bucket", "it refuses every request for the clock's sake; the rest was not tried");
        }
    }
    if !is_there(report, &settings.bucket, introduction) {
        return;
    }
    may_look(report, &store).await;
    if write {
        may_write(report, settings, Arc::clone(&store)).await;
    } else {
        report.note("write", "not tried; --write puts one small object and leaves it, and tries an upload in parts");
    }
    is_safe(report, &settings.bucket, &store).await;
}

/// Everything after this needs a bucket that answers.
fn is_there(report: &mut Report, settings: &BucketSettings, introduction: Introduction) -> bool {
    let (what, name) = ("bucket", &settings.name);
    // Stores of other makers name any region; there only a refusal counts.
    let counts = introduction.answer.is_err() || settings.endpoint_url.is_none();
    match introduction.region.filter(|region| counts && *region != settings.region) {
        Some(region) => {
            let detail = format!("{name} is in the region {region}, not in {}", settings.region);
            report.fault(what, &detail, &format!("set bucket.region to {region}"));
            return false;
        }
        None => match introduction.answer {
            Ok(()) => report.ok(what, &format!("{name} is there, and may be listed")),
            Err(error) => {
                report.store_fault(what, &error);
                // Without this permission the rest can be tried all the same.
                return matches!(error, StoreError::Setup { reason: "access_denied", .. });
            }
        },
    }
    true
}

async fn may_look(report: &mut Report, store: &S3Store) {
    let nobodys = ObjectKey::parse(format!("kore-archiver-check-{:032x}", rand::random::<u128>()));
    match store.head(&nobodys.expect("it is short and plain")).await {
        Ok(_) => report.ok("missing objects", "a key that is not there is told from one that is forbidden"),
        Err(error) => report.store_fault("missing objects", &error),
    }
    match store.lists_uploads().await {
        Ok(()) => report.ok("uploads", "uploads that a crash left can be found"),
        Err(error) => report.store_fault("uploads", &error),
    }
}

async fn may_write(report: &mut Report, settings: &Settings, store: Arc<S3Store>) {
    let stop = CancellationToken::new();
    let clock = Arc::new(SystemClock::new());
    let archive = Archive::new(store, Arc::new(NoLedger), &settings.bucket, &settings.transfer, clock, stop);
    match archive.trial().await {
        Ok((key, how)) => report.ok("write", &format!("{key} {how}, and the bucket holds what was sent")),
        Err(error) => of_writing(report, "write", &error),
    }
    match archive.trial_of_parts().await {
        Ok(()) => report.ok("write in parts", "an upload was begun, given a part, and aborted"),
        Err(error) => of_writing(report, "write in parts", &error),
    }
}

fn of_writing(report: &mut Report, what: &str, error: &CopyError) {
    match error {
        CopyError::Store(error) => report.store_fault(what, error),
        CopyError::Taken(key) => {
            report.fault(what, &format!("something else stands under {key}"), "move it away, or do without --write");
        }
        other => {
            let advice = "this store does not keep what it is given: use another, or ask its maker";
            report.fault(what, &other.to_string(), advice);
        }
    }
}

async fn is_safe(report: &mut Report, settings: &BucketSettings, store: &S3Store) {
    let endpoint = settings.endpoint_url.as_ref().map(|url| format!(" --endpoint-url {url}")).unwrap_or_default();
    let name = format!("{}{endpoint}", settings.name);
    let advice = format!(
        "aws s3api put-bucket-encryption --bucket {name} --server-side-encryption-configuration \
        '{{\"Rules\":[{{\"ApplyServerSideEncryptionByDefault\":{{\"SSEAlgorithm\":\"AES256\"}}}}]}}'"
    );
    let encryption = store.default_encryption().await;
    // Objects that name their encryption need no default.
    let is_named = settings.sse != Sse::Default;
    look(report, "encryption", encryption, |found| match found {
        Some(algorithm) => Ok(format!("{algorithm} by default")),
        None if is_named => Ok("none by default; bucket.sse asks for it with every object".to_owned()),
        None => Err(("objects are not encrypted by default".to_owned(), advice)),
    });
    let advice = format!(
        "aws s3api put-public-access-block --bucket {name} --public-access-block-configuration \
        BlockPublicAcls=true,IgnorePublicAcls=true,BlockPublicPolicy=true,RestrictPublicBuckets=true"
    );
    look(report, "public access", store.public_access().await, |found| match found {
        Some(open) if open.is_empty() => Ok("all of it is blocked".to_owned()),
        Some(open) => Err((format!("not blocked: {} is off", open.join(", ")), advice)),
        None => Err(("nothing blocks it".to_owned(), advice)),
    });
    let advice = format!(
        "aws s3api put-bucket-lifecycle-configuration --bucket {name} \
        --lifecycle-configuration file:///usr/share/kore-archiver/aws/lifecycle.json; it replaces the rules that are \
        there: put its AbortIncompleteMultipartUpload beside them if there are any"
    );
    look(report, "lifecycle", store.aborts_uploads_after().await, |found| match found {
        Some(days) => Ok(format!("incomplete uploads go after {days} days")),
        None => Err(("no rule aborts incomplete uploads, whose parts would be paid for for ever".to_owned(), advice)),
    });
}

fn look<T>(
    report: &mut Report,
    what: &str,
    look: Look<T>,
    judge: impl FnOnce(Option<T>) -> Result<String, (String, String)>,
) {
    match look {
        Look::Seen(found) => match judge(found) {
            Ok(detail) => report.ok(what, &detail),
            Err((detail, advice)) => report.fault(what, &detail, &advice),
        },
        Look::Hidden(error) => report.note(what, &format!("could not be looked at: {error}")),
        Look::Failed(error) => report.store_fault(what, &error),
    }
}
