//! What stands in the bucket: objects that nobody may change any more, and uploads in progress.

use std::collections::BTreeMap;

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

impl Bucket {
    pub(crate) fn new(has_checksums: bool) -> Self {
        Self {
            has_checksums,
            objects: BTreeMap::new(),
            uploads: BTreeMap::new(),
            late: BTreeMap::new(),
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
