//! What stands in the bucket: objects that nobody may change any more, and uploads in progress.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use kore_archiver::archive::store::ObjectHead;
use kore_archiver::receipt::{Checksums, Sha256};

#[derive(Debug)]
pub(crate) struct Bucket {
    /// Whether it holds full-object checksums.
    pub(crate) has_checksums: bool,
    pub(crate) objects: BTreeMap<String, Bytes>,
    pub(crate) uploads: BTreeMap<String, Upload>,
    /// Created, as far as the store knows, a moment later.
    late: BTreeMap<String, Upload>,
    /// Completions that nobody was answered.
    hung: Vec<Hung>,
    /// Whether there ever was one.
    pub(crate) has_hung: bool,
    /// Uploads that are listed though their object is there, made of their parts.
    half_done: BTreeMap<String, String>,
    /// Two processes work at once, of which neither knows what the other waits for: nothing hangs any more.
    pub(crate) is_shared: bool,
    next: u64,
    /// Objects and uploads of other people: neither may be touched.
    pub(crate) foreign_objects: BTreeMap<String, Bytes>,
    pub(crate) foreign_uploads: Vec<String>,
    pub(crate) puts: u64,
}

#[derive(Debug)]
pub(crate) struct Upload {
    pub(crate) key: String,
    pub(crate) parts: BTreeMap<u32, Bytes>,
}

/// A completion that the store is still at.
#[derive(Debug)]
struct Hung {
    key: String,
    upload: String,
    body: Bytes,
    /// By when it has come to its end, by the monotonic clock: it may be as long as no write comes through.
    by: Option<Duration>,
    is_aborted: bool,
}

/// How long a completion goes on at most when a write that came after it is through: one on its key, one elsewhere.
const BEHIND_ON_KEY: Duration = Duration::from_secs(30);
const BEHIND_ELSEWHERE: Duration = Duration::from_mins(20);

impl Bucket {
    pub(crate) fn new(has_checksums: bool) -> Self {
        Self {
            has_checksums,
            objects: BTreeMap::new(),
            uploads: BTreeMap::new(),
            late: BTreeMap::new(),
            hung: Vec::new(),
            has_hung: false,
            half_done: BTreeMap::new(),
            is_shared: false,
            next: 0,
            foreign_objects: BTreeMap::new(),
            foreign_uploads: Vec::new(),
            puts: 0,
        }
    }

    pub(crate) fn begin(&mut self, key: &str) -> String {
        self.next += 1;
        let name = format!("upload-{}", self.next);
        self.uploads.insert(name.clone(), Upload { key: key.to_owned(), parts: BTreeMap::new() });
        name
    }

    /// A creation that nobody was told of is, every other time, still on its way.
    pub(crate) fn postpone(&mut self, name: &str) {
        if self.next % 2 == 1
            && let Some(upload) = self.uploads.remove(name)
        {
            self.late.insert(name.to_owned(), upload);
        }
    }

    /// Time has passed: it is there.
    pub(crate) fn arrive(&mut self) {
        self.uploads.append(&mut self.late);
    }

    /// A completion is at work for longer than anybody waits for it.
    pub(crate) fn hang(&mut self, key: &str, upload: &str, body: Bytes) {
        let (key, upload) = (key.to_owned(), upload.to_owned());
        self.hung.push(Hung { key, upload, body, by: None, is_aborted: false });
        self.has_hung = true;
    }

    /// A write on this key came through: what hangs is at its last.
    pub(crate) fn wrote(&mut self, key: &str, now: Duration) {
        for hung in &mut self.hung {
            let by = now + if hung.key == key { BEHIND_ON_KEY } else { BEHIND_ELSEWHERE };
            hung.by = Some(hung.by.map_or(by, |known| known.min(by)));
        }
    }

    /// A completion that failed in its last step.
    pub(crate) fn leave_half_done(&mut self, key: &str, upload: &str) {
        self.half_done.insert(upload.to_owned(), key.to_owned());
        self.has_hung = true;
    }

    /// An upload is no more, by who began it. Gives the key of an object that has lost its bytes by that.
    pub(crate) fn abort(&mut self, upload: &str) -> Option<String> {
        let open = self.uploads.remove(upload);
        self.hung.iter_mut().filter(|hung| hung.upload == upload).for_each(|hung| hung.is_aborted = true);
        self.half_done.remove(upload).filter(|_| open.is_some())
    }

    /// Completions come to their end: those whose time has come, and others, by their upload. Gives the keys whose objects have
    /// lost their bytes, because the upload was aborted meanwhile.
    pub(crate) fn go_on(&mut self, now: Duration, mut may_end: impl FnMut(&str) -> bool) -> Vec<String> {
        let is_due = |hung: &mut Hung| hung.by.is_some_and(|by| by <= now) || may_end(&hung.upload);
        let mut lost = Vec::new();
        for hung in self.hung.extract_if(.., is_due).collect::<Vec<_>>() {
            let is_open = self.uploads.contains_key(&hung.upload);
            if self.objects.contains_key(&hung.key) || !(is_open || hung.is_aborted) {
                continue;
            }
            if hung.is_aborted {
                lost.push(hung.key.clone());
            }
            self.uploads.remove(&hung.upload);
            self.store(&hung.key, hung.body);
        }
        lost
    }

    /// Somebody else's object, unless the key is taken.
    pub(crate) fn plant(&mut self, key: String, body: Bytes) {
        if !self.objects.contains_key(&key) {
            self.objects.insert(key.clone(), body.clone());
            self.foreign_objects.insert(key, body);
        }
    }

    /// Somebody else's upload, on a key that is none of ours.
    pub(crate) fn plant_upload(&mut self) {
        let name = self.begin("somebody/else.bin");
        self.foreign_uploads.push(name);
    }

    pub(crate) fn head(&self, key: &str) -> Option<ObjectHead> {
        let body = self.objects.get(key)?;
        let sums = Checksums::of([&body[..]]);
        Some(ObjectHead {
            bytes: body.len() as u64,
            etag: etag(body),
            version_id: None,
            crc64nvme: self.has_checksums.then_some(sums.crc64nvme),
            crc32: None,
        })
    }

    /// The caller has seen that the key is free.
    pub(crate) fn store(&mut self, key: &str, body: Bytes) {
        self.puts += 1;
        self.objects.insert(key.to_owned(), body);
    }
}

pub(crate) fn etag(body: &[u8]) -> String {
    Sha256::of(body).short()
}
