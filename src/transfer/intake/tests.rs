use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, stream};
use proptest::prelude::*;

use super::*;
use crate::clock::{Clock, SystemClock};
use crate::receipt::Tally;
use crate::transfer::flow;
use crate::transfer::memory::PATIENCE;

const PART: u64 = 100_000;

/// A download that gives these pieces, and then ends or waits for ever.
fn download(pieces: Vec<Bytes>, length: Option<u64>, ends: bool) -> Download {
    let body = stream::iter(pieces.into_iter().map(Ok));
    let body = if ends { body.boxed() } else { body.chain(stream::pending()).boxed() };
    Download { length, body, end_is_marked: true }
}

fn intake(download: Download, memory: &Memory) -> Intake {
    intake_on(false, download, memory)
}

/// On a machine that hashes two files at once, or one that does not.
fn intake_on(pairs: bool, download: Download, memory: &Memory) -> Intake {
    Intake::new(download, memory.clone(), Pairing::that_is(pairs), PART, false)
}

/// The next part, of one that may not flow.
async fn portion(intake: &mut Intake) -> Result<Portion, FetchError> {
    match intake.next_part().await? {
        Coming::Held(portion) => Ok(portion),
        Coming::Flows(bytes) => panic!("{bytes} bytes are to flow"),
    }
}

/// All that comes out at the other end of a part that flows.
async fn poured(intake: &mut Intake, bytes: u64) -> (Vec<u8>, Poured) {
    let (sink, mut body) = flow(bytes);
    let collect = async {
        let mut all = Vec::new();
        while let Some(piece) = body.next().await {
            all.extend_from_slice(&piece);
        }
        all
    };
    let (all, poured) = tokio::join!(collect, intake.pour(sink));
    (all, poured.unwrap())
}

fn noise(bytes: usize) -> Bytes {
    (0..bytes).map(|at| u8::try_from(at * 31 % 251).unwrap()).collect()
}

fn memory(bytes: u64) -> Memory {
    Memory::new(bytes, Arc::new(SystemClock::new()))
}

fn free(memory: &Memory) -> usize {
    memory.free()
}

proptest! {
    #[test]
    fn parts_are_the_body_in_order_and_all_but_the_last_are_full(
        sizes in proptest::collection::vec(0_usize..90_000, 0..20),
        knows_length in any::<bool>(),
        pairs in any::<bool>(),
    ) {
        let whole = noise(sizes.iter().sum());
        let mut rest = whole.clone();
        let pieces: Vec<Bytes> = sizes.iter().map(|size| rest.split_to(*size)).collect();
        let length = knows_length.then_some(whole.len() as u64);
        let memory = memory(1 << 20);
        let mut intake = intake_on(pairs, download(pieces, length, true), &memory);
        let mut came = Vec::new();
        loop {
            let portion = portion(&mut intake).now_or_never().expect("nothing waits").unwrap();
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
    let memory = memory(1 << 20);
    let mut known = intake(download(vec![noise(100_000)], Some(150_000), false), &memory);
    let full = portion(&mut known).now_or_never().expect("it is full").unwrap();
    assert!(!full.is_last);
    let mut unknown = intake(download(vec![noise(100_000)], None, false), &memory);
    assert!(portion(&mut unknown).now_or_never().is_none(), "it may be the last");
}

#[tokio::test]
async fn room_is_taken_before_the_bytes_come_and_given_back_with_the_part() {
    let memory = memory(PART);
    let mut one = intake(download(vec![noise(10)], Some(10), true), &memory);
    let mut other = intake(download(vec![noise(100_000)], Some(PART), true), &memory);
    let small = portion(&mut one).await.unwrap();
    assert!(portion(&mut other).now_or_never().is_none(), "10 bytes take a kibibyte, and the rest is too little");
    drop(small);
    assert!(portion(&mut other).now_or_never().is_some());
}

#[tokio::test]
async fn a_part_larger_than_all_the_room_takes_all_of_it_and_does_not_wait_for_ever() {
    let memory = memory(1024);
    let mut intake = intake(download(vec![noise(100_000)], Some(PART), true), &memory);
    let portion = tokio::time::timeout(Duration::from_secs(5), portion(&mut intake)).await.expect("it comes").unwrap();
    assert_eq!((portion.segments.len(), free(&memory)), (PART, 0));
}

/// A part that is larger than what one holds that flows.
const LARGE: u64 = 8 * WINDOW;

fn large(body: Download, memory: &Memory) -> Intake {
    large_on(false, body, memory)
}

fn large_on(pairs: bool, body: Download, memory: &Memory) -> Intake {
    Intake::new(body, memory.clone(), Pairing::that_is(pairs), LARGE, true)
}

#[tokio::test]
async fn a_part_that_finds_no_room_flows_after_a_while() {
    for pairs in [true, false] {
        finds_no_room(pairs).await;
    }
}

async fn finds_no_room(pairs: bool) {
    let memory = memory(LARGE + WINDOW);
    let whole = noise(6 * 1024 * 1024);
    let (length, middle) = (whole.len() as u64, 4 * 1024 * 1024);
    let mut first = large_on(pairs, download(vec![whole.clone()], Some(length), true), &memory);
    let Ok(Coming::Held(held)) = first.next_part().await else { panic!("there is room") };
    let pieces = whole.chunks(100_000).map(|piece| whole.slice_ref(piece)).collect();
    let mut other = large_on(pairs, download(pieces, Some(length), true), &memory);
    let Ok(Coming::Flows(bytes)) = other.next_part().await else { panic!("there is none") };
    assert_eq!((bytes, free(&memory)), (LARGE, 0), "it holds its window");
    let (came, part) = poured(&mut other, bytes).await;
    assert!(came == whole[..middle] && part.checksums == Checksums::of([&whole[..middle]]) && !part.is_last);
    let again = other.next_part().now_or_never().expect("it need not find that out again");
    let Ok(Coming::Flows(bytes)) = again else { panic!("there still is none") };
    assert_eq!(bytes, length - LARGE);
    let (came, part) = poured(&mut other, bytes).await;
    assert!(came == whole[middle..] && part.is_last);
    let mut tally = Tally::default();
    tally.update(&whole);
    assert_eq!(other.finish().receipt, tally.receipt());
    drop(held);
    assert_eq!(free(&memory), 4608);
}

#[tokio::test]
async fn a_part_that_fills_slowly_gives_way_to_one_that_waits() {
    let memory = memory(LARGE + WINDOW);
    let mut slow = large(download(vec![noise(10)], Some(LARGE), false), &memory);
    let mut fast = large(download(vec![noise(4 * 1024 * 1024)], Some(LARGE), true), &memory);
    let bytes = {
        let filling = slow.next_part();
        tokio::pin!(filling);
        tokio::time::timeout(PATIENCE * 2, &mut filling).await.expect_err("nobody waits for its room");
        let (Ok(Coming::Flows(bytes)), Ok(Coming::Flows(_))) = tokio::join!(filling, fast.next_part()) else {
            panic!("one gives way, the other does not wait for it")
        };
        bytes
    };
    drop(fast);
    let (sink, mut body) = flow(bytes);
    let later = async {
        SystemClock::new().sleep(PATIENCE).await;
        free(&memory)
    };
    let pouring = async {
        tokio::select! {
            _ = slow.pour(sink) => panic!("its source stands still"),
            free = later => free,
        }
    };
    let (piece, free) = tokio::join!(body.next(), pouring);
    assert_eq!((piece.unwrap().len(), free), (10, 4 * 1024), "what it held is sent, and all but its window free");
}

/// The start of a WAV file that is as long as it says.
fn wav(bytes: u32) -> Bytes {
    let mut wav = b"RIFF".to_vec();
    wav.extend((bytes - 8).to_le_bytes());
    wav.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0data");
    wav.extend((bytes - 44).to_le_bytes());
    wav.resize(bytes as usize, 1);
    wav.into()
}

/// Its upload is begun before any of it has passed.
#[tokio::test]
async fn what_a_file_is_shows_before_its_first_part_flows() {
    let memory = memory(LARGE + WINDOW);
    let _held = memory.take(LARGE).await;
    let wav = wav(1024 * 1024);
    let pieces: Vec<_> = wav.chunks(100).map(|piece| wav.slice_ref(piece)).collect();
    for (whole, pieces, told) in [
        (wav.clone(), pieces, ("audio/wav", false)),
        (noise(1024 * 1024), vec![noise(1024 * 1024)], ("application/octet-stream", true)),
    ] {
        let mut intake = large(download(pieces, Some(whole.len() as u64), true), &memory);
        let Ok(Coming::Flows(bytes)) = intake.next_part().await else { panic!("there is no room") };
        assert_eq!((intake.content_type_so_far(), intake.is_suspect_so_far()), told);
        assert_eq!(bytes, whole.len() as u64);
        assert!(poured(&mut intake, bytes).await.0 == whole);
        assert_eq!(intake.finish().inspection.content_type, told.0);
    }
}

/// It is already in the bucket: what was in hand when it gave way belongs to what is compared.
#[tokio::test]
async fn a_body_that_gave_way_and_is_not_to_be_sent_is_read_from_its_start() {
    for pairs in [true, false] {
        gave_way_and_is_drained(pairs).await;
    }
}

async fn gave_way_and_is_drained(pairs: bool) {
    let memory = memory(LARGE);
    let whole = wav(8 * 512 * 1024);
    let (first, rest) = (whole.slice(..2_000_000), whole.slice(2_000_000..));
    let (tell, told) = tokio::sync::oneshot::channel();
    let body = stream::iter([Ok(first)]).chain(stream::once(async move {
        told.await.unwrap();
        Ok(rest)
    }));
    let body = Download { length: Some(LARGE), body: body.boxed(), end_is_marked: true };
    let mut slow = large_on(pairs, body, &memory);
    let mut fast = large(download(vec![noise(4 * 1024 * 1024)], Some(LARGE), true), &memory);
    let (one, _) = tokio::join!(slow.next_part(), tokio::time::timeout(PATIENCE * 3, fast.next_part()));
    assert!(matches!(one, Ok(Coming::Flows(LARGE))), "it gives way to the other");
    tell.send(()).unwrap();
    slow.drain().await.unwrap();
    let arrival = slow.finish();
    let mut tally = Tally::default();
    tally.update(&whole);
    assert_eq!((arrival.receipt, arrival.inspection.doubt), (tally.receipt(), None));
}

#[tokio::test]
async fn a_part_of_unknown_length_or_that_must_be_held_waits_for_room() {
    let memory = memory(PART);
    let held = memory.take(PART).await;
    for mut intake in [
        intake(download(vec![noise(10)], Some(10), true), &memory),
        large(download(vec![noise(10)], None, true), &memory),
    ] {
        assert!(tokio::time::timeout(PATIENCE * 2, intake.next_part()).await.is_err());
    }
    drop(held);
    assert_eq!(free(&memory), 98);
}

#[test]
fn parts_grow_where_ten_thousand_would_not_hold_the_file() {
    let memory = memory(1);
    let size = |length| {
        Intake::new(download(Vec::new(), Some(length), true), memory.clone(), Pairing::default(), PART, false).part_size
    };
    assert_eq!(size(PART * 10_000), PART);
    assert_eq!(size(PART * 10_000 + 1), PART + 1);
}

#[tokio::test]
async fn parts_of_a_body_of_unknown_length_grow_as_far_as_there_is_room() {
    let memory = memory(7 * 1024);
    let body = noise(1000 * (2000 + 4000) + 3 * 7168);
    let mut intake = Intake::new(download(vec![body], None, true), memory, Pairing::default(), 2000, false);
    let mut sizes = Vec::new();
    loop {
        let portion = portion(&mut intake).await.unwrap();
        sizes.push(portion.segments.len());
        if portion.is_last {
            break;
        }
    }
    let expected = [vec![2000; 1000], vec![4000; 1000], vec![7168; 3]].concat();
    assert!(sizes == expected, "{:?}", &sizes[1998..]);
}
