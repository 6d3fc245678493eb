//! The world around the installed package: a fake Kore and an S3 server that stay up, for `tests/systemd/run.sh`.
//!
//! `world FOLDER` leaves there what an operator would be told: the variables that lead the daemon here (`environment`),
//! the bot's ids and secret. Any session that is asked for has one recording of about a second's download; ids that end
//! in `b16` have one that goes up in parts. `seen`, renewed all the time, says what the bucket holds.

use std::path::Path;
use std::time::Duration;

#[path = "../support"]
mod support {
    #![allow(dead_code, unused_imports, unreachable_pub, reason = "each target uses its own part of it")]
    pub mod kore;
    pub mod media;
    pub mod s3;
}

use support::kore::{Answer, FakeKore, Options, Quirk, SourceFile, Timeline};
use support::media::wav::big_wav;
use support::s3::{self, FakeS3};

/// Bytes of a recording, and of one that needs parts.
const SMALL: u64 = 200_000;
const LARGE: u64 = 40_000_000;
/// Sessions with a large recording.
const LARGE_ONES: u32 = 8;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let folder = std::env::args().nth(1).ok_or_else(|| anyhow::anyhow!("usage: world FOLDER"))?;
    let folder = Path::new(&folder);
    let kore = FakeKore::start(Options::default()).await;
    let s3 = FakeS3::start(s3::Options::default()).await;
    let small = SourceFile::new("call.wav", big_wav(1, SMALL)).always(Quirk::Throttle(SMALL));
    kore.serve(&small);
    kore.unknown_sessions_get(Answer::success([small]));
    for number in 0..LARGE_ONES {
        let name = format!("large-{number}.wav");
        let large = SourceFile::new(&name, big_wav(2, LARGE)).always(Quirk::Throttle(LARGE / 8));
        kore.session(&format!("65e7133a3242653c{number:05x}b16"), Timeline::new().finally(Answer::success([large])));
    }
    let ours = kore.options();
    std::fs::write(folder.join("bot_id"), &ours.bot_id)?;
    std::fs::write(folder.join("client_id"), &ours.client_id)?;
    std::fs::write(folder.join("secret"), &ours.client_secret)?;
    std::fs::write(folder.join("environment"), environment(&kore, &s3))?;
    loop {
        std::fs::write(folder.join("seen.new"), seen(&s3))?;
        std::fs::rename(folder.join("seen.new"), folder.join("seen"))?;
        wait(Duration::from_millis(100)).await;
    }
}

fn environment(kore: &FakeKore, s3: &FakeS3) -> String {
    let (access_key, secret_key) = s3.credentials();
    let (api, media, endpoint, bucket) = (kore.api_url(), kore.media_host(), s3.endpoint(), s3.bucket());
    format!(
        "AWS_ACCESS_KEY_ID={access_key}
AWS_SECRET_ACCESS_KEY=\"{secret_key}\"
AWS_EC2_METADATA_DISABLED=true
KORE_ARCHIVER__BOTS__DEFAULT__HOST={api}
KORE_ARCHIVER__BOTS__DEFAULT__MEDIA_HOSTS=[\"{media}\"]
KORE_ARCHIVER__BOTS__DEFAULT__ALLOW_INSECURE_HTTP=true
KORE_ARCHIVER__BOTS__DEFAULT__REQUESTS_PER_MINUTE=6000
KORE_ARCHIVER__BUCKET__NAME={bucket}
KORE_ARCHIVER__BUCKET__ENDPOINT_URL={endpoint}
KORE_ARCHIVER__BUCKET__FORCE_PATH_STYLE=true
"
    )
}

/// Shell assignments.
fn seen(s3: &FakeS3) -> String {
    let keys = s3.keys();
    let sidecars = keys.iter().filter(|key| key.ends_with("/session.json")).count();
    format!(
        "objects={} sidecars={sidecars} open_uploads={} overwrites={} deletes={}\n",
        keys.len(),
        s3.open_uploads().len(),
        s3.overwrites(),
        s3.deletes()
    )
}

#[expect(clippy::disallowed_methods, reason = "it waits for processes whose clock is the machine's")]
async fn wait(how_long: Duration) {
    tokio::time::sleep(how_long).await;
}
