//! What most scenarios about the bucket begin and end with.

use super::kore::{Body, SourceFile, Timeline};
use super::media;
use super::s3::Op;
use super::world::{World, until};

/// The smallest part that S3 takes, which makes every file above it go up in parts.
pub const PART: u64 = 5 * 1024 * 1024;

/// A sound recording of exactly this many bytes (45 at least): a WAV that leaves its sizes open, as recorders that
/// stream do.
pub fn recording(seed: u64, bytes: u64) -> Body {
    let header = media::wav(media::WavShape::SizesUnknown, &[]);
    let audio = Body::noise(seed, bytes - header.len() as u64);
    Body::chain([header.into(), audio])
}

/// One that is put, and one in parts.
pub fn small_and_large() -> [SourceFile; 2] {
    [("small.wav", 1, 3000), ("large.wav", 2, 2 * PART + 77)]
        .map(|(name, seed, bytes)| SourceFile::new(name, recording(seed, bytes)))
}

/// Where a file of a session made by [`super::world::id`] goes by default.
pub fn key(id: &str, name: &str) -> String {
    format!("default/year=2024/month=03/day=05/{id}/{name}")
}

impl World {
    /// A world whose bucket is sent parts of 5 MiB.
    pub async fn in_parts() -> Self {
        let mut world = Self::new().await;
        world.set("transfer.part_size", "\"5MiB\"");
        world
    }

    /// Kore has these files for the session, and somebody asks for them.
    pub async fn ready(&self, id: &str, files: impl IntoIterator<Item = SourceFile>) {
        self.kore.session(id, Timeline::ready(files));
        self.insert(&[id]).await;
    }

    /// A recording's row, by its file name.
    pub async fn recorded(&self, id: &str, file_name: &str) -> std::collections::BTreeMap<String, Option<String>> {
        let sql = format!("SELECT * FROM recordings WHERE session_id = '{id}' AND file_name = '{file_name}'");
        self.row(&sql).await.unwrap_or_else(|| panic!("no {file_name} in recordings"))
    }

    /// The object under this key has the file's bytes.
    pub fn assert_holds(&self, key: &str, file: &SourceFile) {
        let objects = self.s3.objects();
        let object = objects.get(key).unwrap_or_else(|| panic!("no {key} among {:?}", self.s3.keys()));
        assert_eq!((object.bytes, &object.sha256), (file.body().len(), &file.body().sha256()), "{key}");
    }

    /// The object under this key says whose it is: in one piece or in parts, suspect or not, in its place or beside it.
    pub fn assert_labelled(&self, key: &str, id: &str) {
        let objects = self.s3.objects();
        let label = |name: &str| objects[key].metadata.get(name).map(String::as_str);
        assert_eq!([label("session-id"), label("bot")], [Some(id), Some("default")], "{key}");
    }

    /// What holds at the end of a scenario that was played out: no upload is open, and nothing was done amiss.
    pub fn assert_clean(&self) {
        assert_eq!(self.s3.open_uploads(), []);
        self.assert_nothing_done_amiss();
    }

    /// What holds at every moment of every scenario: nothing in the bucket was overwritten or deleted, and the host of
    /// the files saw nothing that it must not see. Every world asks that when it goes.
    pub fn assert_nothing_done_amiss(&self) {
        assert_eq!((self.s3.overwrites(), self.s3.deletes()), (0, 0), "overwritten and deleted");
        assert_eq!(self.kore.violations(), [] as [&str; 0], "what the host of the files saw");
    }

    /// Waits until there was so much of a call, and says how much.
    pub async fn until_calls(&self, op: Op, at_least: usize) -> usize {
        let count = until(|| Some(self.s3.count(op)).filter(|count| *count >= at_least)).await;
        count.unwrap_or_else(|| panic!("{op:?} was called {} times: {}", self.s3.count(op), self.log()))
    }

    /// Waits for a line of the log that has this text.
    pub async fn until_logged(&self, text: &str) -> String {
        let found = until(|| self.log().lines().find(|line| line.contains(text)).map(ToOwned::to_owned)).await;
        found.unwrap_or_else(|| panic!("never logged {text:?}: {}", self.log()))
    }
}
