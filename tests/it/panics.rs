//! A row whose processing panics (FAULTS X9): the daemon within this process, on a store that panics.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use kore_archiver::app::App;
use kore_archiver::archive::s3::S3Store;
use kore_archiver::archive::store::{Label, ObjectBody, ObjectHead, ObjectStore, Part, StoreError, UploadId};
use kore_archiver::clock::SystemClock;
use kore_archiver::config::{self, Environment};
use kore_archiver::key::ObjectKey;
use kore_archiver::receipt::{Checksums, Receipt};
use kore_archiver::shutdown::Shutdown;
use kore_archiver::transfer::{Flow, Segments};

use crate::support::rows::{eventually, ready};
use crate::support::world::{World, id};

/// The bucket, but for keys of one session.
#[derive(Debug)]
struct Panics {
    bucket: S3Store,
    session: String,
    is_healed: AtomicBool,
}

impl Panics {
    fn of(&self, key: &ObjectKey) -> &S3Store {
        let panics = key.as_str().contains(&self.session) && !self.is_healed.load(Ordering::Relaxed);
        assert!(!panics, "on purpose");
        &self.bucket
    }
}

#[async_trait]
impl ObjectStore for Panics {
    async fn head(&self, key: &ObjectKey) -> Result<Option<ObjectHead>, StoreError> {
        self.of(key).head(key).await
    }

    async fn read(&self, key: &ObjectKey) -> Result<ObjectBody, StoreError> {
        self.of(key).read(key).await
    }

    async fn put(&self, key: &ObjectKey, label: &Label, body: Segments, receipt: &Receipt) -> Result<(), StoreError> {
        self.of(key).put(key, label, body, receipt).await
    }

    async fn create_upload(&self, key: &ObjectKey, label: &Label) -> Result<UploadId, StoreError> {
        self.of(key).create_upload(key, label).await
    }

    async fn put_part(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        number: u32,
        body: Segments,
        checksums: &Checksums,
    ) -> Result<String, StoreError> {
        self.of(key).put_part(key, upload, number, body, checksums).await
    }

    async fn flow_part(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        number: u32,
        body: Flow,
    ) -> Result<String, StoreError> {
        self.of(key).flow_part(key, upload, number, body).await
    }

    fn takes_flows(&self) -> bool {
        self.bucket.takes_flows()
    }

    fn distrust_flows(&self, why: &str) {
        self.bucket.distrust_flows(why);
    }

    async fn complete(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        parts: &[Part],
        whole: &Receipt,
    ) -> Result<(), StoreError> {
        self.of(key).complete(key, upload, parts, whole).await
    }

    async fn abort(&self, key: &ObjectKey, upload: &UploadId) -> Result<(), StoreError> {
        self.of(key).abort(key, upload).await
    }

    async fn uploads(&self, key: &ObjectKey) -> Result<Vec<UploadId>, StoreError> {
        self.of(key).uploads(key).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_panics_backs_off_and_is_done_once_healed_while_the_others_go_on_x9() {
    let world = World::new().await;
    world.kore.session(&id(1), ready(1));
    world.kore.session(&id(2), ready(2));
    world.insert(&[&id(1)]).await;
    let settings = config::read(Some(&world.config()), &Environment::default()).unwrap();
    let (access_key, secret_key) = world.s3.credentials();
    let bucket = S3Store::connect_as(&settings.bucket, Arc::new(SystemClock::new()), &access_key, &secret_key).await;
    let store = Arc::new(Panics { bucket, session: id(1), is_healed: AtomicBool::new(false) });
    let shutdown = Shutdown::default();
    let built = App::build_on(Arc::clone(&store) as _, &settings, shutdown.clone(), false).await.unwrap();
    let app = built.expect("nobody stops it");

    let scenario = async {
        eventually("it was tried again and again", async || world.number(&id(1), "failures").await >= 3).await;
        world.insert(&[&id(2)]).await;
        assert_eq!(world.end_of(&id(2)).await, "done/archived");
        assert_eq!(world.column(&id(1), "state").await.as_deref(), Some("pending"));
        assert!(world.events(&id(1), "error").await >= 3);
        let said = world.column(&id(1), "last_error").await.unwrap();
        assert!(said.contains("failed inside the daemon; please report it with its log"), "{said}");

        store.is_healed.store(true, Ordering::Relaxed);
        assert_eq!(world.end_of(&id(1)).await, "done/archived");
        shutdown.soft.cancel();
    };
    let (ended, ()) = tokio::join!(app.run(), scenario);
    ended.unwrap();
}
