//! Multipart uploads: what S3 demands of a part, and of the list that a complete names.

use http::HeaderMap;
use s3s::dto::{CompleteMultipartUploadInput, CompletedPart};
use s3s::{S3Result, s3_error};

use super::bucket::{StoredPart, Upload};
use super::digests::{self, Algorithm, Digests, Piece};

/// Every part but the last.
pub const SMALLEST_PART: u64 = 5 * 1024 * 1024;
const MOST_PARTS: i32 = 10_000;

/// The algorithm and whether it covers the whole object, as a create names them.
pub fn algorithm(headers: &HeaderMap) -> S3Result<(Option<Algorithm>, bool)> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(name) = text("x-amz-checksum-algorithm") else { return Ok((None, true)) };
    let algorithm = Algorithm::parse(name)
        .ok_or_else(|| s3_error!(InvalidRequest, "Checksum algorithm provided is unsupported."))?;
    let full_object = match text("x-amz-checksum-type") {
        Some("FULL_OBJECT") => true,
        Some("COMPOSITE") => false,
        Some(_) => return Err(s3_error!(InvalidRequest, "Value for x-amz-checksum-type header is invalid.")),
        None => algorithm == Algorithm::Crc64Nvme,
    };
    let possible = if full_object { algorithm.crc().is_some() } else { algorithm != Algorithm::Crc64Nvme };
    if !possible {
        return Err(s3_error!(
            InvalidRequest,
            "The checksum type cannot be used with the {algorithm} checksum algorithm."
        ));
    }
    Ok((Some(algorithm), full_object))
}

pub fn check_part_number(number: i32) -> S3Result<()> {
    if (1..=MOST_PARTS).contains(&number) {
        return Ok(());
    }
    Err(s3_error!(InvalidArgument, "Part number must be an integer between 1 and 10000, inclusive"))
}

/// A part's checksum must be of the upload's algorithm.
pub fn check_part_algorithm(upload: &Upload, named: &[Algorithm]) -> S3Result<()> {
    let Some(expected) = upload.algorithm else { return Ok(()) };
    match named.iter().find(|algorithm| **algorithm != expected) {
        Some(actual) => Err(s3_error!(
            InvalidRequest,
            "Checksum Type mismatch occurred, expected checksum Type: {}, actual checksum Type: {}",
            expected.name(),
            actual.name()
        )),
        None => Ok(()),
    }
}

/// The parts that a complete names, in order; each of them what it was when it was sent.
/// They are believed by a store that compares no part.
pub fn chosen(upload: &Upload, input: &CompleteMultipartUploadInput, believed: bool) -> S3Result<Vec<StoredPart>> {
    let named = listed(input);
    if named.is_empty() {
        return Err(s3_error!(
            MalformedXML,
            "The XML you provided was not well-formed or did not validate against our published schema"
        ));
    }
    if !named.is_sorted_by(|one, next| one.part_number < next.part_number) {
        return Err(s3_error!(
            InvalidPartOrder,
            "The list of parts was not in ascending order. Parts must be ordered by part number."
        ));
    }
    let parts = named.iter().map(|part| chosen_part(upload, part, believed)).collect::<S3Result<Vec<_>>>()?;
    let (_, all_but_last) = parts.split_last().expect("there is one");
    if all_but_last.iter().any(|part| part.bytes < SMALLEST_PART) {
        return Err(s3_error!(EntityTooSmall, "Your proposed upload is smaller than the minimum allowed size"));
    }
    Ok(parts)
}

fn chosen_part(upload: &Upload, named: &CompletedPart, believed: bool) -> S3Result<StoredPart> {
    let invalid = || {
        s3_error!(
            InvalidPart,
            "One or more of the specified parts could not be found. The part may not have been uploaded, or the specified entity tag may not match the part's entity tag."
        )
    };
    let part = named.part_number.and_then(|number| upload.parts.get(&number)).ok_or_else(invalid)?;
    let same_tag = named.e_tag.as_ref().is_some_and(|tag| tag.value() == part.etag);
    let claims = part_digests(named);
    // Empty in a store that was told to ignore checksums.
    let same_sums = believed
        || part.digests.is_empty()
        || claims.iter().all(|(algorithm, digest)| part.digests.get(algorithm) == Some(digest));
    if !same_tag || !same_sums {
        return Err(invalid());
    }
    if let Some(algorithm) = upload.algorithm.filter(|algorithm| !upload.full_object && !claims.contains_key(algorithm))
    {
        return Err(s3_error!(
            InvalidRequest,
            "The upload was created using a {} checksum. The complete request must include the checksum for each part.",
            algorithm.name()
        ));
    }
    Ok(part.clone())
}

fn listed(input: &CompleteMultipartUploadInput) -> &[CompletedPart] {
    input.multipart_upload.as_ref().and_then(|list| list.parts.as_deref()).unwrap_or_default()
}

/// Whether the list says more of a part than its tag.
pub fn lists_sums(input: &CompleteMultipartUploadInput) -> bool {
    listed(input).iter().any(|part| !part_digests(part).is_empty())
}

fn part_digests(part: &CompletedPart) -> Digests {
    let all = [
        (Algorithm::Crc32, &part.checksum_crc32),
        (Algorithm::Crc32c, &part.checksum_crc32c),
        (Algorithm::Crc64Nvme, &part.checksum_crc64nvme),
        (Algorithm::Sha1, &part.checksum_sha1),
        (Algorithm::Sha256, &part.checksum_sha256),
    ];
    all.into_iter().filter_map(|(algorithm, digest)| Some((algorithm, digest.clone()?))).collect()
}

/// The object's checksum, from its parts'.
pub fn whole_digest(upload: &Upload, parts: &[StoredPart]) -> (Algorithm, String) {
    let algorithm = upload.algorithm.unwrap_or(Algorithm::Crc64Nvme);
    let pieces: Vec<Piece<'_>> =
        parts.iter().map(|part| Piece { digest: &part.digests[&algorithm], bytes: part.bytes }).collect();
    let digest = match algorithm.crc().filter(|_| upload.full_object) {
        Some(crc) => digests::combined(algorithm, crc, &pieces),
        None => digests::composite(algorithm, &pieces),
    };
    (algorithm, digest)
}

/// What the complete says of the whole; of which kind its checksum is means nothing to a store that has but one.
pub fn check_whole(
    upload: &Upload,
    headers: &HeaderMap,
    bytes: u64,
    whole: (Algorithm, &str),
    has_one_kind: bool,
) -> S3Result<()> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(said) = text("x-amz-mp-object-size")
        && said != bytes.to_string()
    {
        return Err(s3_error!(
            InvalidRequest,
            "The provided 'x-amz-mp-object-size' header value {said} does not match what was computed: {bytes}"
        ));
    }
    let kind = if upload.full_object { "FULL_OBJECT" } else { "COMPOSITE" };
    if !has_one_kind && text("x-amz-checksum-type").is_some_and(|said| said != kind) {
        return Err(s3_error!(
            InvalidRequest,
            "The upload was created using the {kind} checksum mode. The complete request must use the same checksum mode."
        ));
    }
    for (algorithm, digest) in digests::declared(headers) {
        if (algorithm, digest.as_str()) != whole {
            return Err(s3_error!(BadDigest, "The {algorithm} you specified did not match the calculated checksum."));
        }
    }
    Ok(())
}
