use proptest::prelude::*;

use super::*;

fn receipt(bytes: &[u8]) -> Receipt {
    let mut tally = Tally::default();
    tally.update(bytes);
    tally.receipt()
}

fn reported(receipt: &Receipt) -> Reported<'_> {
    let (crc64nvme, crc32) = (Some(receipt.crc64nvme), receipt.crc32);
    Reported { bytes: receipt.bytes, crc64nvme, crc32, etag: "tag", version_id: Some("1") }
}

#[test]
fn digests_are_the_published_ones() {
    let of = receipt(b"123456789");
    assert_eq!(of.crc64nvme.0, 0xae8b_1486_0a79_9888);
    assert_eq!(of.crc32, Some(Crc32(0xcbf4_3926)));
    assert_eq!(of.sha256.to_string(), "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225");
    assert_eq!(Crc64Nvme::from_base64(&of.crc64nvme.to_string()), Some(of.crc64nvme));
    assert_eq!(Sha256::from_hex(&of.sha256.to_string()), Some(of.sha256));
    for other in ["15e2".to_owned(), "é5".repeat(32), "z".repeat(64), format!("{}00", of.sha256)] {
        assert_eq!(Sha256::from_hex(&other), None, "{other}");
    }
}

#[test]
fn digests_are_spelt_as_s3_and_as_names_have_them() {
    let of = receipt(b"123456789");
    let crc32 = Crc32(0xcbf4_3926);
    assert_eq!((crc32.to_string().as_str(), Crc32::from_base64("y/Q5Jg==")), ("y/Q5Jg==", Some(crc32)));
    assert_eq!(of.crc64nvme.to_string(), "rosUhgp5mIg=");
    for other in ["", "y/Q5", "y/Q5Jg", "rosUhgp5mIg=AA"] {
        assert_eq!((Crc32::from_base64(other), Crc64Nvme::from_base64(other)), (None, None), "{other}");
    }
    assert_eq!(of.sha256.short(), "15e2b0d3");
    assert_eq!(format!("{:?}", of.sha256), format!("Sha256({})", of.sha256));
}

#[test]
fn nothing_is_proven_without_a_checksum_of_the_store_or_a_reading() {
    let ours = receipt(b"bytes");
    let silent = Reported { crc64nvme: None, crc32: None, ..reported(&ours) };
    assert_eq!(Verified::compare(&ours, silent), Comparison::Unknown);
    // The queue keeps no CRC32, so one of the store's proves nothing of what was archived before.
    let known = Receipt { crc32: None, ..ours };
    assert_eq!(Verified::compare(&known, Reported { crc64nvme: None, ..reported(&ours) }), Comparison::Unknown);
    let Ok(verified) = Verified::compare_read_back(&ours, &receipt(b"bytes"), silent) else {
        panic!("it is the same");
    };
    assert_eq!((verified.receipt(), verified.etag(), verified.version_id()), (&ours, "tag", Some("1")));
    assert!(Verified::compare_read_back(&ours, &receipt(b"bytez"), silent).is_err());
}

proptest! {
    #[test]
    fn a_report_that_differs_anywhere_proves_nothing(
        bytes in proptest::collection::vec(any::<u8>(), 1..100),
        which in 0..4,
        by in 1..u32::MAX,
    ) {
        let ours = receipt(&bytes);
        let mut theirs = reported(&ours);
        prop_assert!(matches!(Verified::compare(&ours, theirs), Comparison::Same(_)));
        match which {
            0 => theirs.bytes += u64::from(by),
            1 => theirs.bytes = u64::from(by) % theirs.bytes,
            2 => theirs.crc64nvme = theirs.crc64nvme.map(|crc| Crc64Nvme(crc.0 ^ u64::from(by))),
            _ => theirs.crc32 = theirs.crc32.map(|crc| Crc32(crc.0 ^ by)),
        }
        prop_assert!(matches!(Verified::compare(&ours, theirs), Comparison::Different(_)));
    }

    #[test]
    fn the_pieces_that_bytes_came_in_do_not_matter(bytes: Vec<u8>, cut in any::<prop::sample::Index>()) {
        let (one, other) = bytes.split_at(cut.index(bytes.len() + 1));
        let mut tally = Tally::default();
        tally.update(one);
        tally.update(other);
        prop_assert_eq!(tally.bytes(), bytes.len() as u64);
        prop_assert_eq!(tally.receipt(), receipt(&bytes));
        prop_assert_eq!(Checksums::of([one, other]), Checksums::of([&bytes[..]]));
    }
}

#[test]
fn a_whole_is_of_its_parts_in_their_order_and_of_no_others() {
    let parts: [&[u8]; 3] = [b"one, ", b"", b"and another"];
    let [one, none, other] = parts.map(|part| Checksums::of([part]));
    let mut tally = Tally::default();
    for part in parts {
        tally.update(part);
    }
    let whole = tally.receipt();
    assert!(whole.is_of([&one, &none, &other]));
    assert!(whole.is_of([&one, &other]));
    for wrong in [&[&other, &one][..], &[&one], &[&one, &other, &other], &[]] {
        assert!(!whole.is_of(wrong.iter().copied()), "{wrong:?}");
    }
    assert!(Tally::default().receipt().is_of([]));
}
