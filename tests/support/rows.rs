//! What scenarios over rows have in common: a file worth archiving, more bots, and patience.

use std::time::Duration;

use super::kore::{FakeKore, SourceFile, Timeline};
use super::media;
pub use super::patience::{eventually, rest};
use super::world::World;

/// The recording of a call that took a second.
pub fn call(seed: u64) -> SourceFile {
    let speech = media::speech(seed, Duration::from_secs(1));
    SourceFile::new("call-merged.wav", media::wav(media::WavShape::Plain, &speech))
}

/// A session that is ready at the first look.
pub fn ready(seed: u64) -> Timeline {
    Timeline::ready([call(seed)])
}

/// An id whose session began `ago` before now.
pub fn id_of_a_call(ago: Duration, number: u32) -> String {
    format!("{:08x}3242653c{number:08x}", unix_now() - ago.as_secs())
}

#[expect(clippy::disallowed_methods, reason = "an id tells the wall clock's second")]
fn unix_now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.expect("it is later than 1970").as_secs()
}

impl World {
    /// One more bot, of this account, at this Kore, or else at the world's own.
    pub fn add_bot<'a>(&mut self, name: &str, account: &str, kore: impl Into<Option<&'a FakeKore>>) {
        let kore = kore.into().unwrap_or(&self.kore);
        let ours = kore.options();
        let secret = self.path("client-secret").display().to_string();
        let quoted = |text: &str| format!("\"{text}\"");
        let settings = [
            ("host", quoted(&kore.api_url())),
            ("bot_id", quoted(&ours.bot_id)),
            ("client_id", quoted(&ours.client_id)),
            ("client_secret_file", quoted(&secret)),
            ("media_hosts", format!("[{}]", quoted(&kore.media_host()))),
            ("allow_insecure_http", "true".to_owned()),
            ("account", quoted(account)),
            ("requests_per_minute", "60000".to_owned()),
        ];
        for (key, value) in settings {
            self.set(&format!("bots.{name}.{key}"), &value);
        }
    }

    /// Inserts a row for this bot.
    pub async fn insert_for(&self, bot: &str, id: &str) {
        let sql = format!("INSERT INTO sessions (session_id, bot) VALUES ('{id}', '{bot}')");
        self.execute(&sql).await.expect("it is a good row");
    }

    /// A whole number of a session's row.
    pub async fn number(&self, id: &str, column: &str) -> i64 {
        self.column(id, column).await.and_then(|text| text.parse().ok()).expect("it is a number")
    }

    /// How many events of this kind a row has.
    pub async fn events(&self, id: &str, kind: &str) -> usize {
        let sql = format!("SELECT detail FROM events WHERE session_id = '{id}' AND kind = '{kind}'");
        self.rows(&sql).await.len()
    }

    /// How many objects were put, and how many files were asked for, of this session.
    pub fn copies(&self, id: &str, file: &SourceFile) -> (usize, usize) {
        let calls = self.s3.calls();
        let puts = calls.iter().filter(|call| call.op == super::s3::Op::PutObject);
        let puts = puts.filter(|call| call.key.contains(id) && !call.key.contains("/session")).count();
        let served = self.kore.files_served().iter().filter(|served| served.path == file.path()).count();
        (puts, served)
    }

    /// The lines of the log with this text.
    pub fn log_lines(&self, text: &str) -> Vec<String> {
        self.log().lines().filter(|line| line.contains(text)).map(ToOwned::to_owned).collect()
    }
}
