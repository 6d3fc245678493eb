//! What a store that knows less than S3 refuses, and that it serves the same request without.

use aws_sdk_s3::operation::complete_multipart_upload::builders::CompleteMultipartUploadFluentBuilder;
use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart};

use super::*;
use crate::support::s3::{Algorithm, Asked, Fault, Op, Times};

/// Of "123456789".
const CRC64NVME: &str = "rosUhgp5mIg=";

fn put(s3: &FakeS3, client: &Client) -> PutObjectFluentBuilder {
    client.put_object().bucket(s3.bucket()).key("k").body(ByteStream::from_static(b"123456789"))
}

/// An upload of one part, to complete.
async fn upload(s3: &FakeS3, client: &Client, sum: Option<&str>) -> (String, CompletedPart) {
    let create = client.create_multipart_upload().bucket(s3.bucket()).key("k");
    let create = create.checksum_algorithm(ChecksumAlgorithm::Crc64Nvme).checksum_type(ChecksumType::FullObject);
    let id = create.send().await.unwrap().upload_id.unwrap();
    let part = client.upload_part().bucket(s3.bucket()).key("k").upload_id(&id).part_number(1);
    let part = part.set_checksum_crc64_nvme(sum.map(ToOwned::to_owned));
    let sent = part.body(ByteStream::from_static(b"123456789")).send().await.unwrap();
    let part = CompletedPart::builder().part_number(1).e_tag(sent.e_tag().unwrap()).checksum_crc64_nvme(CRC64NVME);
    (id, part.build())
}

fn complete(s3: &FakeS3, client: &Client, id: &str, part: &CompletedPart) -> CompleteMultipartUploadFluentBuilder {
    let list = CompletedMultipartUpload::builder().parts(part.clone()).build();
    client.complete_multipart_upload().bucket(s3.bucket()).key("k").upload_id(id).multipart_upload(list)
}

#[tokio::test]
async fn a_condition_is_refused_and_the_same_write_without_is_not() {
    let (s3, client) = fixture().await;
    let (id, part) = upload(&s3, &client, None).await;
    s3.fail_next(Op::Any, Times::Forever, Fault::Refuse(Asked::Condition, 501, "NotImplemented"));
    assert_eq!(answer(put(&s3, &client).if_none_match("*").send().await), refusal(501, "NotImplemented"));
    let conditional = complete(&s3, &client, &id, &part).if_none_match("*");
    assert_eq!(answer(conditional.send().await), refusal(501, "NotImplemented"));
    assert!(s3.keys().is_empty());
    assert_eq!(answer(put(&s3, &client).send().await), refusal(200, ""));
    assert_eq!(answer(complete(&s3, &client, &id, &part).send().await), refusal(200, ""));
}

#[tokio::test]
async fn an_algorithm_is_refused_on_put_create_and_part_with_the_words_of_that_store() {
    let (s3, client) = fixture().await;
    let (id, _) = upload(&s3, &client, None).await;
    s3.fail_next(Op::Any, Times::Forever, Fault::Refuse(Asked::Checksums(&[Algorithm::Crc64Nvme]), 400, "BadRequest"));
    let create = client.create_multipart_upload().bucket(s3.bucket()).key("k");
    let part = || {
        let part = client.upload_part().bucket(s3.bucket()).key("k").upload_id(&id).part_number(1);
        part.body(ByteStream::from_static(b"123456789"))
    };
    assert_eq!(
        [
            answer(put(&s3, &client).checksum_crc64_nvme(CRC64NVME).send().await),
            answer(create.clone().checksum_algorithm(ChecksumAlgorithm::Crc64Nvme).send().await),
            answer(part().checksum_crc64_nvme(CRC64NVME).send().await),
        ],
        [refusal(400, "BadRequest"), refusal(400, "BadRequest"), refusal(400, "BadRequest")]
    );
    assert_eq!(
        [
            answer(put(&s3, &client).checksum_crc32("y/Q5Jg==").send().await),
            answer(create.checksum_algorithm(ChecksumAlgorithm::Crc32).send().await),
            answer(part().send().await),
        ],
        [refusal(200, ""), refusal(200, ""), refusal(200, "")]
    );
}

#[tokio::test]
async fn each_thing_that_a_complete_asks_for_is_refused_by_itself_and_the_upload_is_still_there() {
    for (asked, status, code) in [
        (Asked::WholeChecksum, 400, "InvalidArgument"),
        (Asked::PartChecksums, 400, "MalformedXML"),
        (Asked::ObjectSize, 501, "NotImplemented"),
    ] {
        let (s3, client) = fixture().await;
        let (id, part) = upload(&s3, &client, None).await;
        let bare = CompletedPart::builder().part_number(1).e_tag(part.e_tag().unwrap()).build();
        s3.fail_next(Op::CompleteUpload, Times::Forever, Fault::Refuse(asked, status, code));
        let all = complete(&s3, &client, &id, &part).checksum_crc64_nvme(CRC64NVME).mpu_object_size(9);
        assert_eq!(answer(all.clone().send().await), refusal(status, code), "{asked:?}");
        assert!(s3.keys().is_empty());
        let less = match asked {
            Asked::ObjectSize => all.set_mpu_object_size(None),
            Asked::WholeChecksum => all.set_checksum_crc64_nvme(None),
            _ => complete(&s3, &client, &id, &bare).mpu_object_size(9),
        };
        assert_eq!(answer(less.send().await), refusal(200, ""), "{asked:?}");
    }
}

#[tokio::test]
async fn a_store_of_composites_takes_its_own_checksum_of_the_whole_and_no_other() {
    let (s3, client) = fixture().await;
    s3.fail_next(Op::Any, Times::Forever, Fault::CompositeOnly);
    let (id, part) = upload(&s3, &client, Some(CRC64NVME)).await;
    let whole = complete(&s3, &client, &id, &part).checksum_type(ChecksumType::FullObject);
    assert_eq!(answer(whole.checksum_crc64_nvme(CRC64NVME).send().await), refusal(400, "BadDigest"));
    assert!(s3.keys().is_empty());
    assert_eq!(answer(complete(&s3, &client, &id, &part).send().await), refusal(200, ""));
    assert!(s3.objects()["k"].checksums[&Algorithm::Crc64Nvme].ends_with("-1"));
    let head = client.head_object().bucket(s3.bucket()).key("k");
    let head = head.checksum_mode(aws_sdk_s3::types::ChecksumMode::Enabled).send().await.unwrap();
    assert_eq!(head.checksum_type(), Some(&ChecksumType::Composite));
}

#[tokio::test]
async fn a_store_that_believes_parts_compares_the_whole() {
    let (s3, client) = fixture().await;
    s3.fail_next(Op::Any, Times::Forever, Fault::BelieveParts);
    let (id, part) = upload(&s3, &client, Some("AAAAAAAAAAA=")).await;
    let wrong = complete(&s3, &client, &id, &part).checksum_crc64_nvme("AAAAAAAAAAA=");
    assert_eq!(answer(wrong.send().await), refusal(400, "BadDigest"));
    let right = complete(&s3, &client, &id, &part).checksum_crc64_nvme(CRC64NVME);
    assert_eq!(answer(right.send().await), refusal(200, ""));
}
