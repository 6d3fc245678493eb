//! Between S3's words and the archive's: digests, parts, what a HEAD says.

use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumType, CompletedPart};

use super::negotiation::{Proof, Stated, Terms};
use crate::archive::store::{ObjectHead, Part};
use crate::receipt::{Checksums, Crc32, Crc64Nvme, Receipt};

pub(super) fn object_head(output: &HeadObjectOutput, believes_checksums: bool) -> ObjectHead {
    // A checksum of checksums says nothing about the whole object; and one of no named type may be no more than a header
    // that the store was sent, kept unread, and gives back.
    let whole = believes_checksums && output.checksum_type().is_some_and(|kind| *kind == ChecksumType::FullObject);
    ObjectHead {
        bytes: output.content_length().and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(0),
        etag: plain_etag(output.e_tag()),
        version_id: output.version_id.clone(),
        crc64nvme: output.checksum_crc64_nvme().filter(|_| whole).and_then(Crc64Nvme::from_base64),
        crc32: output.checksum_crc32().filter(|_| whole).and_then(Crc32::from_base64),
    }
}

pub(super) fn completed_part(part: &Part, proof: Proof, terms: Terms) -> CompletedPart {
    let proof = if terms.stated == Stated::Nothing { Proof::ReadBack } else { proof };
    let (crc64nvme, crc32) = of_part(&part.checksums, proof);
    CompletedPart::builder()
        .part_number(part_number(part.number))
        .e_tag(format!("\"{}\"", part.etag))
        .set_checksum_crc64_nvme(crc64nvme)
        .set_checksum_crc32(crc32)
        .build()
}

/// The digests to send, each in its header's place.
pub(super) fn of_whole(receipt: &Receipt, proof: Proof) -> (Option<String>, Option<String>) {
    match proof {
        Proof::Crc64Nvme => (Some(receipt.crc64nvme.to_string()), None),
        Proof::Crc32 => (None, receipt.crc32.map(|crc| crc.to_string())),
        Proof::ReadBack => (None, None),
    }
}

pub(super) fn of_part(checksums: &Checksums, proof: Proof) -> (Option<String>, Option<String>) {
    match proof {
        Proof::Crc64Nvme => (Some(checksums.crc64nvme.to_string()), None),
        Proof::Crc32 => (None, Some(checksums.crc32.to_string())),
        Proof::ReadBack => (None, None),
    }
}

pub(super) fn plain_etag(etag: Option<&str>) -> String {
    etag.unwrap_or_default().trim_matches('"').to_owned()
}

pub(super) fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).expect("S3 holds no object of 8 EiB")
}

pub(super) fn part_number(number: u32) -> i32 {
    i32::try_from(number).expect("an upload has at most 10,000 parts")
}

/// What an object or an upload is said to be proved by.
pub(super) fn algorithm(proof: Proof) -> Option<ChecksumAlgorithm> {
    match proof {
        Proof::Crc64Nvme => Some(ChecksumAlgorithm::Crc64Nvme),
        Proof::Crc32 => Some(ChecksumAlgorithm::Crc32),
        Proof::ReadBack => None,
    }
}
