//! What each call does when nothing goes wrong.

use kore_archiver::config::Sse;

use super::*;
use crate::support::s3::{Algorithm, Fault, Lie, Op, Storage, Times};

const SIZES: [usize; 7] = [0, 1, 5 * MIB - 1, 5 * MIB, 5 * MIB + 1, 10 * MIB, 15 * MIB];

#[tokio::test]
async fn a_put_of_any_size_is_there_whole_with_its_checksum_and_metadata() {
    let (s3, store) = fixture().await;
    for (number, bytes) in SIZES.map(noise).into_iter().enumerate() {
        let key = ObjectKey::parse(format!("put/{number}")).unwrap();
        let receipt = receipt(&bytes);
        store.put(&key, &label(), segments(&bytes), &receipt).await.unwrap();
        let head = store.head(&key).await.unwrap().expect("it was put");
        assert_eq!((head.bytes, head.crc64nvme), (receipt.bytes, Some(receipt.crc64nvme)));
        assert_eq!(s3.body(key.as_str()).unwrap(), bytes);
    }
    let object = &s3.objects()["put/1"];
    assert_eq!(object.content_type.as_deref(), Some("audio/wav"));
    assert_eq!(object.metadata["session-id"], "65e7133a3242653c58d70001");
}

#[tokio::test]
async fn an_upload_in_parts_of_any_size_is_there_whole_with_a_checksum_of_all_of_it() {
    let (s3, store) = fixture().await;
    for length in [5 * MIB, 5 * MIB + 1, 10 * MIB, 10 * MIB + 7] {
        let bytes = noise(length);
        put_in_parts(&store, &bytes, 5 * MIB).await.unwrap();
        let head = store.head(&key()).await.unwrap().expect("it was completed");
        assert_eq!((head.bytes, head.crc64nvme), (length as u64, Some(receipt(&bytes).crc64nvme)));
        assert_eq!(s3.objects()[KEY].sha256, receipt(&bytes).sha256.to_string());
        assert!(s3.open_uploads().is_empty());
        let read = read_back(&store).await.unwrap();
        assert!(read == bytes, "what is read back is what was sent");
        s3.forget(KEY);
    }
}

#[tokio::test]
async fn an_upload_of_one_short_part_is_complete() {
    let (s3, store) = fixture().await;
    put_in_parts(&store, &noise(17), 5 * MIB).await.unwrap();
    assert_eq!(s3.objects()[KEY].bytes, 17);
}

#[tokio::test]
async fn a_bucket_in_a_folder_holds_the_same_objects_as_files() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { storage: Storage::Folder(folder.path().to_owned()), ..Options::default() };
    let s3 = FakeS3::start(options).await;
    let store = connected(&s3, &settings(&s3)).await;
    let bytes = noise(11 * MIB);
    put_in_parts(&store, &bytes, 5 * MIB).await.unwrap();
    assert!(std::fs::read(folder.path().join("objects").join(KEY)).unwrap() == bytes);
    assert!(read_back(&store).await.unwrap() == bytes);
    assert_eq!(std::fs::read_dir(folder.path().join("incoming")).unwrap().count(), 0);
}

#[tokio::test]
async fn nothing_and_a_delete_marker_are_none() {
    let (s3, store) = fixture().await;
    assert_eq!(store.head(&key()).await.unwrap(), None);
    put(&store, &noise(3)).await.unwrap();
    let marker = Fault::LieOnHead(Lie::DeleteMarker);
    s3.fail_next(Op::HeadObject, Times::Next(1), marker);
    assert_eq!(store.head(&key()).await.unwrap(), None);
    assert!(store.head(&key()).await.unwrap().is_some());
}

#[tokio::test]
async fn a_taken_key_is_not_overwritten_by_a_put_or_a_complete() {
    let (s3, store) = fixture().await;
    s3.pre_put(KEY, "somebody else's", &[]).await;
    assert_eq!(kind(put(&store, &noise(3)).await), "exists");
    assert_eq!(kind(put_in_parts(&store, &noise(3), 5 * MIB).await), "exists");
    assert_eq!((s3.body(KEY).unwrap(), s3.overwrites()), (Bytes::from("somebody else's"), 0));
}

#[tokio::test]
async fn only_uploads_on_exactly_this_key_are_listed_over_all_pages() {
    let s3 = FakeS3::start(Options { page_size: 2, ..Options::default() }).await;
    let store = connected(&s3, &settings(&s3)).await;
    let longer = ObjectKey::parse(format!("{KEY}.conflict-01234567")).unwrap();
    store.create_upload(&longer, &label()).await.unwrap();
    let mut ours = Vec::new();
    for _ in 0..3 {
        ours.push(store.create_upload(&key(), &label()).await.unwrap());
    }
    let listed = store.uploads(&key()).await.unwrap();
    assert_eq!(listed, ours);
    assert_eq!(s3.count(Op::ListUploads), 2);
}

#[tokio::test]
async fn an_abort_frees_the_parts_and_a_second_one_is_no_error() {
    let (s3, store) = fixture().await;
    let (upload, _) = send_parts(&store, &noise(9), 5 * MIB).await.unwrap();
    store.abort(&key(), &upload).await.unwrap();
    store.abort(&key(), &upload).await.unwrap();
    assert!(s3.open_uploads().is_empty());
}

#[tokio::test]
async fn storage_class_encryption_and_tags_stand_on_puts_and_uploads() {
    let s3 = FakeS3::start(Options { versioned: true, ..Options::default() }).await;
    let mut settings = settings(&s3);
    settings.storage_class = Some("STANDARD_IA".to_owned());
    settings.sse = Sse::Kms(Some("alias/recordings".to_owned()));
    settings.tags = BTreeMap::from([("team".to_owned(), "calls & more".to_owned())]);
    let store = connected(&s3, &settings).await;
    for in_parts in [false, true] {
        let bytes = noise(5);
        let stored = if in_parts { put_in_parts(&store, &bytes, MIB).await } else { put(&store, &bytes).await };
        stored.unwrap();
        assert!(store.head(&key()).await.unwrap().unwrap().version_id.is_some());
        let object = &s3.objects()[KEY];
        assert_eq!(object.storage_class.as_deref(), Some("STANDARD_IA"));
        assert_eq!(object.encryption.as_deref(), Some("aws:kms"));
        assert_eq!(object.kms_key.as_deref(), Some("alias/recordings"));
        assert_eq!(object.tags.as_deref(), Some("team=calls%20%26%20more"));
        assert!(object.checksums.contains_key(&Algorithm::Crc64Nvme));
        s3.forget(KEY);
    }
}
