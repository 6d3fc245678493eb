//! What a multipart upload must keep to.

use aws_sdk_s3::operation::complete_multipart_upload::builders::CompleteMultipartUploadFluentBuilder;
use aws_sdk_s3::operation::create_multipart_upload::builders::CreateMultipartUploadFluentBuilder;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart};
use futures_util::future::join_all;

use super::*;

/// An upload on `k`, under construction.
struct Upload {
    s3: FakeS3,
    client: Client,
    id: String,
}

impl Upload {
    async fn begin(
        create: impl FnOnce(CreateMultipartUploadFluentBuilder) -> CreateMultipartUploadFluentBuilder,
    ) -> Self {
        let (s3, client) = fixture().await;
        let created = create(client.create_multipart_upload().bucket(s3.bucket()).key("k")).send().await.unwrap();
        Self { id: created.upload_id().unwrap().to_owned(), s3, client }
    }

    /// With CRC64NVME over all of it.
    async fn full_object() -> Self {
        Self::begin(|create| {
            create.checksum_algorithm(ChecksumAlgorithm::Crc64Nvme).checksum_type(ChecksumType::FullObject)
        })
        .await
    }

    async fn part(&self, number: i32, bytes: Vec<u8>) -> CompletedPart {
        let sent = self.client.upload_part().bucket(self.s3.bucket()).key("k").upload_id(&self.id).part_number(number);
        let sent = sent.body(ByteStream::from(bytes)).send().await.unwrap();
        CompletedPart::builder().part_number(number).e_tag(sent.e_tag().unwrap()).build()
    }

    fn complete(&self, parts: &[CompletedPart]) -> CompleteMultipartUploadFluentBuilder {
        let list = CompletedMultipartUpload::builder().set_parts(Some(parts.to_vec())).build();
        let complete = self.client.complete_multipart_upload().bucket(self.s3.bucket()).key("k").upload_id(&self.id);
        complete.multipart_upload(list)
    }

    async fn completed(&self, parts: &[CompletedPart]) -> (u16, String) {
        answer(self.complete(parts).send().await)
    }
}

#[tokio::test]
async fn a_part_but_the_last_has_five_mib() {
    let upload = Upload::full_object().await;
    let parts = [upload.part(1, vec![1; 5 * MIB - 1]).await, upload.part(2, vec![2; 9]).await];
    assert_eq!(upload.completed(&parts).await, refusal(400, "EntityTooSmall"));
    let parts = [upload.part(1, vec![1; 5 * MIB]).await, parts[1].clone()];
    assert_eq!(upload.completed(&parts).await, refusal(200, ""));
}

#[tokio::test]
async fn parts_are_named_in_order_with_the_tags_they_got() {
    let upload = Upload::full_object().await;
    let parts = [upload.part(1, vec![1; 5 * MIB]).await, upload.part(2, vec![2; 9]).await];
    let swapped = [parts[1].clone(), parts[0].clone()];
    assert_eq!(upload.completed(&swapped).await, refusal(400, "InvalidPartOrder"));
    assert_eq!(upload.completed(&[parts[0].clone(), parts[0].clone()]).await, refusal(400, "InvalidPartOrder"));
    let other_tag = CompletedPart::builder().part_number(2).e_tag("\"0123\"").build();
    assert_eq!(upload.completed(&[parts[0].clone(), other_tag]).await, refusal(400, "InvalidPart"));
    let never_sent = CompletedPart::builder().part_number(3).e_tag(parts[1].e_tag().unwrap()).build();
    assert_eq!(upload.completed(&[parts[0].clone(), never_sent]).await, refusal(400, "InvalidPart"));
    assert_eq!(upload.completed(&[]).await, refusal(400, "MalformedXML"));
    assert!(upload.s3.keys().is_empty());
}

#[tokio::test]
async fn a_checksum_of_a_part_is_compared_when_it_is_sent_and_when_it_is_named() {
    let upload = Upload::full_object().await;
    let send = || {
        let send = upload.client.upload_part().bucket(upload.s3.bucket()).key("k").upload_id(&upload.id);
        send.part_number(1).body(ByteStream::from_static(b"123456789"))
    };
    let wrong = send().checksum_crc64_nvme("AAAAAAAAAAA=");
    assert_eq!(answer(wrong.send().await), refusal(400, "BadDigest"));
    let other_algorithm = send().checksum_crc32("y/Q5Jg==");
    assert_eq!(answer(other_algorithm.send().await), refusal(400, "InvalidRequest"));
    let part = upload.part(1, b"123456789".to_vec()).await;
    let named = CompletedPart::builder().part_number(1).e_tag(part.e_tag().unwrap());
    let wrong = named.clone().checksum_crc64_nvme("AAAAAAAAAAA=").build();
    assert_eq!(upload.completed(&[wrong]).await, refusal(400, "InvalidPart"));
    let right = named.checksum_crc64_nvme("rosUhgp5mIg=").build();
    assert_eq!(upload.completed(&[right]).await, refusal(200, ""));
}

#[tokio::test]
async fn the_checksum_and_the_length_of_the_whole_are_compared() {
    let upload = Upload::full_object().await;
    let parts = [upload.part(1, b"123456789".to_vec()).await];
    let wrong = upload.complete(&parts).checksum_crc64_nvme("AAAAAAAAAAA=");
    assert_eq!(answer(wrong.send().await), refusal(400, "BadDigest"));
    let longer = upload.complete(&parts).mpu_object_size(10);
    assert_eq!(answer(longer.send().await), refusal(400, "InvalidRequest"));
    let composite = upload.complete(&parts).checksum_type(ChecksumType::Composite);
    assert_eq!(answer(composite.send().await), refusal(400, "InvalidRequest"));
    assert!(upload.s3.keys().is_empty());
    let right = upload.complete(&parts).checksum_crc64_nvme("rosUhgp5mIg=").mpu_object_size(9);
    assert_eq!(answer(right.send().await), refusal(200, ""));
}

#[tokio::test]
async fn a_checksum_of_checksums_needs_that_of_each_part() {
    let upload = Upload::begin(|create| create.checksum_algorithm(ChecksumAlgorithm::Sha256)).await;
    let part = upload.part(1, b"123456789".to_vec()).await;
    assert_eq!(upload.completed(std::slice::from_ref(&part)).await, refusal(400, "InvalidRequest"));
    let named = CompletedPart::builder().part_number(1).e_tag(part.e_tag().unwrap());
    let named = named.checksum_sha256("FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=").build();
    assert_eq!(upload.completed(&[named]).await, refusal(200, ""));
    assert!(upload.s3.objects()["k"].checksums.values().all(|digest| digest.ends_with("-1")));
}

#[tokio::test]
async fn a_checksum_type_that_does_not_go_with_the_algorithm_is_refused() {
    let (s3, client) = fixture().await;
    for (algorithm, kind) in
        [(ChecksumAlgorithm::Sha256, ChecksumType::FullObject), (ChecksumAlgorithm::Crc64Nvme, ChecksumType::Composite)]
    {
        let create = client.create_multipart_upload().bucket(s3.bucket()).key("k");
        let create = create.checksum_algorithm(algorithm).checksum_type(kind);
        assert_eq!(answer(create.send().await), refusal(400, "InvalidRequest"));
    }
}

#[tokio::test]
async fn part_numbers_go_from_1_to_10000() {
    let upload = Upload::full_object().await;
    for number in [0, 10_001] {
        let part = upload.client.upload_part().bucket(upload.s3.bucket()).key("k").upload_id(&upload.id);
        let part = part.part_number(number).body(ByteStream::from_static(b"x"));
        assert_eq!(answer(part.send().await), refusal(400, "InvalidArgument"), "{number}");
    }
    upload.part(10_000, vec![1]).await;
}

#[tokio::test]
async fn an_upload_that_is_unknown_aborted_completed_or_of_another_key_is_refused() {
    let upload = Upload::full_object().await;
    let parts = [upload.part(1, vec![1]).await];
    let of_another_key =
        upload.client.abort_multipart_upload().bucket(upload.s3.bucket()).key("other").upload_id(&upload.id);
    assert_eq!(answer(of_another_key.send().await), refusal(404, "NoSuchUpload"));
    assert_eq!(upload.completed(&parts).await, refusal(200, ""));
    assert_eq!(upload.completed(&parts).await, refusal(404, "NoSuchUpload"));
    let late = upload.client.upload_part().bucket(upload.s3.bucket()).key("k").upload_id(&upload.id).part_number(1);
    assert_eq!(answer(late.body(ByteStream::from_static(b"x")).send().await), refusal(404, "NoSuchUpload"));
}

#[tokio::test]
async fn a_taken_key_is_refused_on_complete_and_the_upload_stays_open() {
    let upload = Upload::full_object().await;
    let parts = [upload.part(1, vec![1]).await];
    upload.s3.pre_put("k", "taken", &[]).await;
    let complete = upload.complete(&parts).if_none_match("*");
    assert_eq!(answer(complete.send().await), refusal(412, "PreconditionFailed"));
    assert_eq!((upload.s3.open_uploads().len(), upload.s3.overwrites()), (1, 0));
}

#[tokio::test]
async fn of_many_completes_at_once_one_wins() {
    let upload = Upload::full_object().await;
    let parts = [upload.part(1, vec![1; 5 * MIB]).await];
    let completes = join_all((0..4).map(|_| upload.complete(&parts).if_none_match("*").send())).await;
    let won = completes.iter().filter(|complete| complete.is_ok()).count();
    assert_eq!((won, upload.s3.overwrites()), (1, 0));
}
