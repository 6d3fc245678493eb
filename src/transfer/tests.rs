use std::time::Duration;

use futures_util::{FutureExt, stream};
use proptest::prelude::*;

use super::*;

const PART: u64 = 100_000;

/// A download that gives these pieces, and then ends or waits for ever.
fn download(pieces: Vec<Bytes>, length: Option<u64>, ends: bool) -> Download {
    let body = stream::iter(pieces.into_iter().map(Ok));
    let body = if ends { body.boxed() } else { body.chain(stream::pending()).boxed() };
    Download { length, body, end_is_marked: true }
}

fn intake(download: Download, memory: &Memory) -> Intake {
    Intake::new(download, memory.clone(), PART, 1 << 40)
}

fn noise(bytes: usize) -> Bytes {
    (0..bytes).map(|at| u8::try_from(at * 31 % 251).unwrap()).collect()
}

fn free(memory: &Memory) -> usize {
    memory.kib.available_permits()
}

proptest! {
    #[test]
    fn parts_are_the_body_in_order_and_all_but_the_last_are_full(
        sizes in proptest::collection::vec(0_usize..90_000, 0..20),
        knows_length in any::<bool>(),
    ) {
        let whole = noise(sizes.iter().sum());
        let mut rest = whole.clone();
        let pieces: Vec<Bytes> = sizes.iter().map(|size| rest.split_to(*size)).collect();
        let length = knows_length.then_some(whole.len() as u64);
        let memory = Memory::new(1 << 20);
        let mut intake = intake(download(pieces, length, true), &memory);
        let mut came = Vec::new();
        loop {
            let portion = intake.portion().now_or_never().expect("nothing waits").unwrap();
            let bytes: Vec<u8> = portion.segments.iter().flat_map(|segment| segment.to_vec()).collect();
            prop_assert_eq!(portion.checksums, Checksums::of([&bytes[..]]));
            prop_assert!(portion.is_last || portion.segments.len() == PART);
            prop_assert!(!bytes.is_empty() || came.is_empty(), "no empty part follows another");
            came.extend(bytes);
            if portion.is_last {
                break;
            }
        }
        let mut tally = Tally::default();
        tally.update(&whole);
        prop_assert_eq!(intake.finish().receipt, tally.receipt());
        prop_assert_eq!(&came, &whole);
        prop_assert_eq!(free(&memory), 1024, "all room is given back");
    }
}

#[tokio::test]
async fn a_full_part_does_not_wait_for_the_byte_after_it_where_the_length_is_known() {
    let memory = Memory::new(1 << 20);
    let mut known = intake(download(vec![noise(100_000)], Some(150_000), false), &memory);
    let portion = known.portion().now_or_never().expect("it is full").unwrap();
    assert!(!portion.is_last);
    let mut unknown = intake(download(vec![noise(100_000)], None, false), &memory);
    assert!(unknown.portion().now_or_never().is_none(), "it may be the last");
}

#[tokio::test]
async fn room_is_taken_before_the_bytes_come_and_given_back_with_the_part() {
    let memory = Memory::new(PART);
    let mut one = intake(download(vec![noise(10)], Some(10), true), &memory);
    let mut other = intake(download(vec![noise(100_000)], Some(PART), true), &memory);
    let small = one.portion().await.unwrap();
    assert!(other.portion().now_or_never().is_none(), "10 bytes take a kibibyte, and the rest is too little");
    drop(small);
    assert!(other.portion().now_or_never().is_some());
}

#[tokio::test]
async fn a_part_larger_than_all_the_room_takes_all_of_it_and_does_not_wait_for_ever() {
    let memory = Memory::new(1024);
    let mut intake = intake(download(vec![noise(100_000)], Some(PART), true), &memory);
    let portion = tokio::time::timeout(Duration::from_secs(5), intake.portion()).await.expect("it comes").unwrap();
    assert_eq!((portion.segments.len(), free(&memory)), (PART, 0));
}

#[test]
fn small_pieces_are_copied_out_of_the_buffers_that_they_came_in() {
    let mut gathering = Gathering::default();
    let buffer = noise(8 * 1024);
    for _ in 0..1000 {
        gathering.push(buffer.slice(..1448));
    }
    let large = noise(64 * 1024);
    gathering.push(large.clone());
    let segments = gathering.finish();
    assert_eq!(segments.len(), 1000 * 1448 + 64 * 1024);
    let segments: Vec<_> = segments.iter().collect();
    assert!(segments.len() < 10, "{}", segments.len());
    assert_eq!(segments.last().unwrap().as_ptr(), large.as_ptr(), "a large one is kept as it came");
}

#[test]
fn parts_grow_where_ten_thousand_would_not_hold_the_file() {
    let memory = Memory::new(1);
    let size = |length| Intake::new(download(Vec::new(), Some(length), true), memory.clone(), PART, 1).part_size;
    assert_eq!(size(PART * 10_000), PART);
    assert_eq!(size(PART * 10_000 + 1), PART + 1);
}
