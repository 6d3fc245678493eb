//! The adapter against the strict server: every call, every size at a border, every fault once and for ever
//! (FAULTS S1 to S3, S5 to S8, S10, S11, S15, S16).

mod calls;
mod checksums;
mod faults;
mod flows;
mod lesser;
mod refusals;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use kore_archiver::archive::s3::S3Store;
use kore_archiver::archive::store::{Label, ObjectStore, Part, StoreError, UploadId};
use kore_archiver::clock::{Clock, SystemClock};
use kore_archiver::config::{BucketSettings, ChecksumChoice, Sse};
use kore_archiver::key::{KeyTemplate, ObjectKey};
use kore_archiver::receipt::{Checksums, Receipt, Tally};
use kore_archiver::transfer::Segments;

use crate::support::s3::{FakeS3, Options};

const MIB: usize = 1024 * 1024;
const KEY: &str = "default/year=2026/month=11/day=23/65e7133a3242653c58d70001/call one+two.wav";

/// Settings that lead to the server.
fn settings(s3: &FakeS3) -> BucketSettings {
    BucketSettings {
        name: s3.bucket().to_owned(),
        region: s3.region().to_owned(),
        endpoint_url: Some(s3.endpoint().parse().unwrap()),
        force_path_style: true,
        key_template: KeyTemplate::parse("{session_id}/{file_name}").unwrap(),
        suspect_prefix: "suspect/".to_owned(),
        expected_owner: Some(s3.owner().to_owned()),
        storage_class: None,
        sse: Sse::Default,
        tags: BTreeMap::new(),
        assume_role_arn: None,
        role_endpoint: None,
        timeout: Duration::from_secs(5),
        checksum: ChecksumChoice::Auto,
    }
}

async fn connected(s3: &FakeS3, settings: &BucketSettings) -> S3Store {
    let (access_key, secret_key) = s3.credentials();
    S3Store::connect_as(settings, clock(), &access_key, &secret_key).await
}

/// A server that takes nothing without the owner, whom the settings name.
async fn fixture() -> (FakeS3, S3Store) {
    let s3 = FakeS3::start(Options { demands_owner: true, ..Options::default() }).await;
    let store = connected(&s3, &settings(&s3)).await;
    (s3, store)
}

fn key() -> ObjectKey {
    ObjectKey::parse(KEY).unwrap()
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::new())
}

fn label() -> Label {
    Label::new("65e7133a3242653c58d70001", "default", "audio/wav", None)
}

/// Bytes that differ from place to place.
fn noise(length: usize) -> Bytes {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes: Vec<u8> = (0..length.div_ceil(8)).flat_map(|_| next()).collect();
    bytes.truncate(length);
    bytes.into()
}

fn receipt(bytes: &[u8]) -> Receipt {
    let mut tally = Tally::default();
    tally.update(bytes);
    tally.receipt()
}

/// As a network would have delivered it.
fn segments(bytes: &Bytes) -> Segments {
    let mut segments = Segments::default();
    let mut rest = bytes.clone();
    while !rest.is_empty() {
        segments.push(rest.split_to(rest.len().min(60_001)));
    }
    segments
}

async fn put(store: &S3Store, bytes: &Bytes) -> Result<(), StoreError> {
    store.put(&key(), &label(), segments(bytes), &receipt(bytes)).await
}

/// Sends the bytes in parts of this size, without completing.
async fn send_parts(store: &S3Store, bytes: &Bytes, part_size: usize) -> Result<(UploadId, Vec<Part>), StoreError> {
    let upload = store.create_upload(&key(), &label()).await?;
    let mut parts = Vec::new();
    for (number, start) in (1..).zip((0..bytes.len()).step_by(part_size)) {
        let part = bytes.slice(start..bytes.len().min(start + part_size));
        let checksums = Checksums::of([&part[..]]);
        let etag = store.put_part(&key(), &upload, number, segments(&part), &checksums).await?;
        parts.push(Part { number, etag, checksums });
    }
    Ok((upload, parts))
}

async fn put_in_parts(store: &S3Store, bytes: &Bytes, part_size: usize) -> Result<(), StoreError> {
    let (upload, parts) = send_parts(store, bytes, part_size).await?;
    store.complete(&key(), &upload, &parts, &receipt(bytes)).await
}

async fn read_back(store: &S3Store) -> Result<Vec<u8>, StoreError> {
    let mut body = store.read(&key()).await?;
    let mut bytes = Vec::new();
    while let Some(chunk) = body.next().await {
        bytes.extend_from_slice(&chunk?);
    }
    Ok(bytes)
}

/// The variant, for tables of expectations.
#[expect(clippy::needless_pass_by_value, reason = "it is asked about what was just returned")]
fn kind<T>(result: Result<T, StoreError>) -> &'static str {
    match result {
        Ok(_) => "ok",
        Err(StoreError::Exists(_)) => "exists",
        Err(StoreError::UploadLost(_)) => "upload lost",
        Err(StoreError::Corrupted(_)) => "corrupted",
        Err(StoreError::Unreadable(_)) => "unreadable",
        Err(StoreError::Hollow(_)) => "hollow",
        Err(StoreError::Unavailable(_)) => "unavailable",
        Err(StoreError::Unanswered(_)) => "unanswered",
        Err(StoreError::Setup { reason, .. }) => reason,
    }
}
