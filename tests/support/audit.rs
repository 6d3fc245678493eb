//! The last word on a run: what the bucket holds, against what the source served.
//!
//! Four accounts of every file must agree: the source's own bytes, the bytes of the object as they are stored, the row
//! of the table `recordings`, and the entry in the newest sidecar. Each is read afresh, and hashed where there are bytes.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use serde_json::Value;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};

use super::kore::SourceFile;
use super::s3::{FakeS3, StoredObject};

/// What was served, by session.
pub type Sources = BTreeMap<String, Vec<SourceFile>>;

/// What came of one file.
#[derive(Clone, Debug)]
pub struct Checked {
    pub session: String,
    pub file_name: String,
    /// Of the source.
    pub bytes: u64,
    /// Of the source, in hex.
    pub sha256: String,
    pub key: Option<String>,
    /// Why it is suspect, if the archive says so.
    pub suspect: Option<String>,
    /// The first thing that is not as it must be.
    pub fault: Option<String>,
}

/// A row of `recordings`.
#[derive(sqlx::FromRow)]
struct Recorded {
    session_id: String,
    file_name: String,
    key: String,
    bytes: i64,
    sha256: String,
    suspect: Option<String>,
}

/// Compares every file of every session.
pub async fn audit(queue: &Path, s3: &FakeS3, sources: &Sources) -> Vec<Checked> {
    let recorded = recorded(queue).await;
    let objects = s3.objects();
    let mut checked = Vec::new();
    for (session, files) in sources {
        let sidecar = newest_sidecar(s3, session).and_then(|text| serde_json::from_slice(&text).ok());
        let of_session: Vec<_> = recorded.iter().filter(|row| row.session_id == *session).collect();
        for file in files {
            checked.push(check(session, file, &of_session, &objects, sidecar.as_ref()));
        }
    }
    checked
}

fn check(
    session: &str,
    file: &SourceFile,
    rows: &[&Recorded],
    objects: &BTreeMap<String, StoredObject>,
    sidecar: Option<&Value>,
) -> Checked {
    let (bytes, sha256) = (file.body().len(), file.body().sha256());
    let row = rows.iter().find(|row| row.file_name == file.name() && row.sha256 == sha256);
    let fault = match row {
        None => Some("no row of `recordings` has its name and SHA-256".to_owned()),
        Some(row) => fault(bytes, &sha256, row, objects.get(&row.key), sidecar),
    };
    Checked {
        session: session.to_owned(),
        file_name: file.name().to_owned(),
        bytes,
        sha256,
        key: row.map(|row| row.key.clone()),
        suspect: row.and_then(|row| row.suspect.clone()),
        fault,
    }
}

fn fault(
    bytes: u64,
    sha256: &str,
    row: &Recorded,
    object: Option<&StoredObject>,
    sidecar: Option<&Value>,
) -> Option<String> {
    let Some(object) = object else { return Some("there is no such object".to_owned()) };
    let listed = |entry: &&Value| entry["key"] == row.key && entry["sha256"] == sha256 && entry["bytes"] == bytes;
    let entries = sidecar.and_then(|sidecar| sidecar["recordings"].as_array());
    if object.bytes != bytes {
        Some(format!("the object has {} bytes", object.bytes))
    } else if object.sha256 != sha256 {
        Some(format!("the object's SHA-256 is {}", object.sha256))
    } else if u64::try_from(row.bytes) != Ok(bytes) {
        Some(format!("the table says {} bytes", row.bytes))
    } else if entries.is_none_or(|entries| !entries.iter().any(|entry| listed(&entry))) {
        Some("the sidecar does not list it".to_owned())
    } else {
        None
    }
}

async fn recorded(queue: &Path) -> Vec<Recorded> {
    let mut connection = SqliteConnectOptions::new().filename(queue).connect().await.expect("the queue can be opened");
    let sql = "SELECT session_id, file_name, key, bytes, sha256, suspect FROM recordings";
    let rows = sqlx::query_as(sql).fetch_all(&mut connection).await.expect("the table is the contract's");
    connection.close().await.expect("nothing is left to be written");
    rows
}

/// The sidecar that counts: `session-N.json` with the highest number, `session.json` being the first.
pub fn newest_sidecar(s3: &FakeS3, session: &str) -> Option<Bytes> {
    let (_, key) = s3.keys().into_iter().filter_map(|key| Some((number(&key, session)?, key))).max()?;
    s3.body(&key)
}

fn number(key: &str, session: &str) -> Option<u32> {
    let (folder, name) = key.rsplit_once('/')?;
    if folder.rsplit('/').next() != Some(session) {
        return None;
    }
    match name.strip_prefix("session")?.strip_suffix(".json")? {
        "" => Some(1),
        more => more.strip_prefix('-')?.parse().ok(),
    }
}
