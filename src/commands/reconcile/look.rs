//! One session: what the queue says of it, and what the bucket says to that.

use tokio::sync::OnceCell;

use crate::archive::audit::{Audit, Claim};
use crate::archive::store::StoreError;
use crate::archive::{Archive, CopyError};
use crate::clock::Timestamp;
use crate::key::{KeyParts, KeyTemplate, ObjectKey};
use crate::queue;
use crate::queue::desk::Record;
use crate::session::SessionId;

/// The name of the first sidecar; later ones stand beside it (CONTRACT section 4).
const SIDECAR: &str = "session.json";

/// A done row and its recordings.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: String,
    bot: String,
    enqueued_at: String,
    recordings: Vec<Record>,
}

/// The rows of a page, each once a recording, as sessions.
pub(super) fn sessions(page: &[Record]) -> Vec<Session> {
    let mut sessions: Vec<Session> = Vec::new();
    for record in page {
        let text = |column: &str| record[column].as_str().unwrap_or_default().to_owned();
        let id = text("session_id");
        if sessions.last().is_none_or(|session| session.id != id) {
            sessions.push(Session { id, bot: text("bot"), enqueued_at: text("enqueued_at"), recordings: Vec::new() });
        }
        if let Some(session) = sessions.last_mut().filter(|_| !record["key"].is_null()) {
            session.add(record);
        }
    }
    sessions
}

impl Session {
    /// A file that was archived again, because other bytes had taken its place, has an older line too: the newest counts.
    fn add(&mut self, record: &Record) {
        match self.recordings.iter_mut().find(|known| known["source"] == record["source"]) {
            Some(known) if known["archived_at"].as_str() < record["archived_at"].as_str() => {
                known.clone_from(record);
            }
            Some(_) => {}
            None => self.recordings.push(record.clone()),
        }
    }
}

/// An object that is there and cannot be read though the bucket answers: nobody knows what it is.
const NOT_READ: &str = "not_read";

/// What is wrong, and with which object.
#[derive(Debug)]
pub(super) struct Problem {
    /// Empty if it is the whole session's.
    pub(super) key: String,
    /// One word.
    pub(super) what: &'static str,
    pub(super) detail: String,
}

/// What a look at a session came to.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) problems: Vec<Problem>,
    /// Objects that were compared.
    pub(super) objects: u64,
    /// Recordings that are in another bucket than that of the settings, and were not looked at.
    pub(super) elsewhere: u64,
}

impl Found {
    /// Whether copying it again may mend it.
    pub(super) fn may_be_repaired(&self) -> bool {
        self.problems.iter().any(|problem| problem.what != NOT_READ)
    }

    fn add(&mut self, key: &str, what: &'static str, detail: impl Into<String>) {
        self.problems.push(Problem { key: key.to_owned(), what, detail: detail.into() });
    }
}

/// Compares sessions with the bucket.
#[derive(Debug)]
pub(super) struct Auditor {
    pub(super) archive: Archive,
    pub(super) bucket: String,
    pub(super) template: KeyTemplate,
    pub(super) read_back: bool,
    /// Once it is known that there is a bucket, in which something may be missing.
    pub(super) bucket_seen: OnceCell<()>,
}

impl Auditor {
    /// `is_last`: what cannot be read now is told instead of being tried again.
    pub(super) async fn look_at(&self, session: &Session, is_last: bool) -> Result<Found, CopyError> {
        let mut found = Found::default();
        let mut here = Vec::new();
        for record in &session.recordings {
            if record["bucket"].as_str() == Some(&self.bucket) {
                here.push(record);
            } else {
                found.elsewhere += 1;
            }
        }
        if session.recordings.is_empty() {
            found.add("", "no_recordings", "the session is done, and the queue lists no recording of it");
        }
        for record in &here {
            match self.compare(record, &mut found).await {
                Err(error) if is_last => self.give_up(record, error, &mut found).await?,
                compared => compared?,
            }
        }
        if !here.is_empty() && !self.archive.holds_any(&self.sidecars(session, &here)).await? {
            found.add("", "sidecar_missing", "session.json is not in the bucket");
        }
        Ok(found)
    }

    /// Where a look at an object fails again and again: its own fault, if the bucket answers otherwise.
    async fn give_up(&self, record: &Record, error: CopyError, found: &mut Found) -> Result<(), CopyError> {
        match (&error, claim(record)) {
            (CopyError::Store(StoreError::Unavailable(_)), Some(Claim { key, .. }))
                if self.archive.has_bucket(&key).await.is_ok() =>
            {
                found.add(key.as_str(), NOT_READ, error.to_string());
                Ok(())
            }
            _ => Err(error),
        }
    }

    async fn compare(&self, record: &Record, found: &mut Found) -> Result<(), CopyError> {
        let key = record["key"].as_str().unwrap_or_default();
        let Some(claim) = claim(record) else {
            found.add(key, "unreadable", "the queue's line for this recording cannot be read");
            return Ok(());
        };
        found.objects += 1;
        match self.archive.audit(&claim, self.read_back).await? {
            Audit::Whole => {}
            Audit::Missing => {
                self.bucket_seen.get_or_try_init(|| self.archive.has_bucket(&claim.key)).await?;
                found.add(key, "missing", "nothing is there");
            }
            Audit::Different(how) => found.add(key, "different", how),
        }
        Ok(())
    }

    /// Where the sidecar may be: where the template puts it now, and beside each recording, should the template have
    /// been another one when the session was archived.
    fn sidecars(&self, session: &Session, recordings: &[&Record]) -> Vec<ObjectKey> {
        let id = SessionId::parse(&session.id).ok();
        let by_template = id.as_ref().and_then(|id| {
            let enqueued = || Timestamp::parse(&session.enqueued_at).ok();
            let date = id.started_at().or_else(enqueued)?;
            self.template.key(KeyParts { bot: &session.bot, date, session_id: id }, SIDECAR).ok()
        });
        let beside = recordings.iter().filter_map(|record| {
            let (folder, _) = record["key"].as_str()?.rsplit_once('/')?;
            ObjectKey::parse(format!("{folder}/{SIDECAR}")).ok()
        });
        let mut keys: Vec<_> = by_template.into_iter().chain(beside).collect();
        keys.dedup();
        keys
    }
}

fn claim(record: &Record) -> Option<Claim> {
    let text = |column: &str| record[column].as_str().map(ToOwned::to_owned);
    let (key, receipt) = queue::proven(record)?;
    Some(Claim { key, receipt, etag: text("etag").unwrap_or_default(), version_id: text("version_id") })
}
