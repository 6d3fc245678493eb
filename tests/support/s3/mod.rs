//! A strict S3 on a real socket: one bucket, which refuses what the real one refuses.
//!
//! Signatures, clock, region, bucket, owner and permissions; checksums of every kind against the bytes; parts, their
//! sizes, tags and order; lengths and checksums of whole uploads; conditional writes. `tests/it/s3_refusals.rs` holds
//! each of these to its word. On top of that it can be made to fail in every way that a test needs ([`Fault`]).
//!
//! Layers, from the outside: [`server`] (socket, faults, log) → s3s (wire format, signatures) → [`gate`] (who may) →
//! [`backend`] (what is done) → [`bucket`] (state) and [`bodies`] (bytes).

#![allow(clippy::wildcard_imports, reason = "a call of S3 takes dozens of types")]
#![allow(dead_code, reason = "the tests and the demo each use a part of it")]
#![allow(missing_docs, unreachable_pub, reason = "it is a module of test binaries, not an interface")]

mod backend;
mod bodies;
mod bucket;
mod digests;
mod faults;
mod gate;
mod protections;
mod server;
mod uploads;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use kore_archiver::receipt::Tally;
use s3s::service::S3ServiceBuilder;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use self::bodies::Storage;
pub use self::digests::Algorithm;
pub use self::faults::{Asked, Fault, Lie, Op, Times};
pub use self::protections::Protections;
pub use self::server::Call;

use self::backend::Backend;
use self::bucket::Label;
use self::faults::Faults;
use self::gate::{Access, Gate, Keys};
use self::server::Server;

/// What the server is.
#[derive(Clone, Debug)]
pub struct Options {
    pub storage: Storage,
    pub bucket: String,
    pub region: String,
    /// The account that owns the bucket.
    pub owner: String,
    /// Whether every request must name it.
    pub demands_owner: bool,
    pub access_key: String,
    pub secret_key: String,
    /// Whether objects have version ids.
    pub versioned: bool,
    /// What a list holds at most; S3's is 1,000.
    pub page_size: usize,
    /// `127.0.0.1:0` for any port.
    pub listen: SocketAddr,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            storage: Storage::Memory,
            bucket: "recordings".to_owned(),
            region: "eu-central-1".to_owned(),
            owner: "111122223333".to_owned(),
            demands_owner: false,
            access_key: "AKIDEXAMPLE".to_owned(),
            secret_key: "a secret key that nobody may print".to_owned(),
            versioned: false,
            page_size: 1000,
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        }
    }
}

/// An object, for a test to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredObject {
    pub bytes: u64,
    /// In hex.
    pub sha256: String,
    pub etag: String,
    pub version_id: Option<String>,
    pub content_type: Option<String>,
    pub metadata: BTreeMap<String, String>,
    /// In base64, by algorithm.
    pub checksums: BTreeMap<Algorithm, String>,
    pub tags: Option<String>,
    pub storage_class: Option<String>,
    pub encryption: Option<String>,
    pub kms_key: Option<String>,
}

/// An upload in progress, for a test to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenUpload {
    pub id: String,
    pub key: String,
    pub parts: usize,
}

/// The running server. It ends with the handle, connections included.
pub struct FakeS3 {
    address: SocketAddr,
    backend: Backend,
    server: Arc<Server>,
    task: JoinHandle<()>,
}

impl Drop for FakeS3 {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FakeS3 {
    /// Listens when it returns.
    pub async fn start(options: Options) -> Self {
        options.storage.prepare().expect("the folder can be made");
        let gate = Arc::new(Gate {
            bucket: options.bucket,
            region: options.region,
            owner: options.owner,
            demands_owner: options.demands_owner,
            keys: Mutex::new((options.access_key, options.secret_key)),
            denied: Mutex::default(),
        });
        let Options { storage, versioned, page_size, .. } = options;
        let backend =
            Backend { gate, storage, versioned, page_size, bucket: Arc::default(), protections: Arc::default() };
        let mut s3 = S3ServiceBuilder::new(backend.clone());
        s3.set_auth(Keys(backend.gate.clone()));
        s3.set_access(Access(backend.gate.clone()));
        let server = Arc::new(Server { s3: s3.build(), faults: Faults::default(), calls: Mutex::default() });
        let listener = TcpListener::bind(options.listen).await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let task = tokio::spawn(server::serve(server.clone(), listener));
        Self { address, backend, server, task }
    }

    /// `http://127.0.0.1:PORT`; requests are path-style.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn bucket(&self) -> &str {
        &self.backend.gate.bucket
    }

    pub fn region(&self) -> &str {
        &self.backend.gate.region
    }

    pub fn owner(&self) -> &str {
        &self.backend.gate.owner
    }

    /// Access key and secret key.
    pub fn credentials(&self) -> (String, String) {
        self.backend.gate.keys.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on only these are right.
    pub fn rotate_credentials(&self, access_key: &str, secret_key: &str) {
        *self.backend.gate.keys.lock().unwrap_or_else(PoisonError::into_inner) =
            (access_key.to_owned(), secret_key.to_owned());
    }

    /// Lets the next calls of this kind fail.
    pub fn fail_next(&self, op: Op, times: Times, fault: Fault) {
        self.fail_after(op, 0, times, fault);
    }

    /// Lets calls of this kind fail once `skip` of them went well.
    pub fn fail_after(&self, op: Op, skip: usize, times: Times, fault: Fault) {
        self.server.faults.arm(op, skip, times, fault);
    }

    /// Disarms every fault and allows everything.
    pub fn heal(&self) {
        self.server.faults.heal();
        self.backend.gate.denied.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Takes a permission away, such as `s3:AbortMultipartUpload` or `kms:GenerateDataKey`.
    pub fn deny(&self, permission: &str) {
        self.backend.gate.denied.lock().unwrap_or_else(PoisonError::into_inner).insert(permission.to_owned());
    }

    /// Changes how the bucket is protected, as its owner would.
    pub fn protect(&self, change: impl FnOnce(&mut Protections)) {
        change(&mut self.backend.protections());
    }

    /// Puts an object there, as somebody else would have.
    pub async fn pre_put(&self, key: &str, bytes: impl Into<Bytes>, metadata: &[(&str, &str)]) {
        let bytes = bytes.into();
        let mut hasher = digests::Hasher::new(&[], false);
        hasher.update(&bytes);
        let (digests, _) = hasher.finish();
        let mut sink = self.backend.storage.sink().await.expect("there is room");
        let length = bytes.len() as u64;
        sink.write(bytes).await.expect("there is room");
        let body = sink.finish().await.expect("there is room");
        let metadata = metadata.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let etag = bucket::etag(&digests[&Algorithm::Crc64Nvme], length);
        let label = Label { metadata, ..Label::default() };
        let object = self.backend.object(body, length, etag, digests, "FULL_OBJECT", label);
        self.backend.lock().insert(&self.backend.storage, key, object).expect("the key can be stored");
    }

    /// Takes an object away, as a person might; it does not count as a delete.
    pub fn forget(&self, key: &str) {
        if let Some(object) = self.backend.lock().objects.remove(key) {
            object.body.discard();
        }
    }

    /// Everything that is there. Reads every body to hash it.
    pub fn objects(&self) -> BTreeMap<String, StoredObject> {
        self.backend.lock().objects.iter().map(|(key, object)| (key.clone(), shown(object))).collect()
    }

    pub fn keys(&self) -> Vec<String> {
        self.backend.lock().objects.keys().cloned().collect()
    }

    /// The bytes of an object.
    pub fn body(&self, key: &str) -> Option<Bytes> {
        self.backend.lock().objects.get(key).map(|object| object.body.bytes())
    }

    pub fn open_uploads(&self) -> Vec<OpenUpload> {
        let bucket = self.backend.lock();
        let uploads = bucket.uploads.iter();
        uploads
            .map(|(id, upload)| OpenUpload { id: id.clone(), key: upload.key.clone(), parts: upload.parts.len() })
            .collect()
    }

    /// Every request so far, in the order of their ends.
    pub fn calls(&self) -> Vec<Call> {
        self.server.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many requests of this kind there were.
    pub fn count(&self, op: Op) -> usize {
        self.calls().iter().filter(|call| call.op == op || op == Op::Any).count()
    }

    /// How many objects were replaced. The archiver never does.
    pub fn overwrites(&self) -> usize {
        self.backend.lock().overwrites
    }

    /// How many deletes there were. The archiver sends none.
    pub fn deletes(&self) -> usize {
        self.backend.lock().deletes
    }
}

fn shown(object: &bucket::Object) -> StoredObject {
    let mut tally = Tally::default();
    object.body.each(|bytes| tally.update(bytes));
    let label = object.label.clone();
    StoredObject {
        bytes: tally.bytes(),
        sha256: tally.receipt().sha256.to_string(),
        etag: object.etag.clone(),
        version_id: object.version_id.clone(),
        content_type: label.content_type,
        metadata: label.metadata.into_iter().collect(),
        checksums: object.digests.clone(),
        tags: label.tags,
        storage_class: label.storage_class,
        encryption: label.encryption,
        kms_key: label.kms_key,
    }
}
