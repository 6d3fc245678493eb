//! What an archived session costs, in things that can be counted: a change that asks for more is to be meant.

use std::collections::BTreeMap;

use crate::support::kore::SourceFile;
use crate::support::s3::Op;
use crate::support::scene::{PART, key, recording};
use crate::support::world::{World, id};

/// One session with one file of so many bytes: the polls, the downloads, and the bucket's calls by their kind.
async fn asked(bytes: u64) -> (usize, u32, BTreeMap<Op, usize>, BTreeMap<Op, usize>) {
    let world = World::in_parts().await;
    let file = SourceFile::new("a.wav", recording(1, bytes));
    world.ready(&id(1), [file.clone()]).await;
    let daemon = world.daemon().await;
    assert_eq!(world.end_of(&id(1)).await, "done/archived");
    assert_eq!(daemon.stop().await, 0);
    world.assert_clean();
    let of = |wanted: &str| {
        let mut calls = BTreeMap::new();
        for call in world.s3.calls().into_iter().filter(|call| call.key == wanted) {
            *calls.entry(call.op).or_insert(0) += 1;
        }
        calls
    };
    (world.kore.polls().len(), file.requests(), of(&key(&id(1), "a.wav")), of(&key(&id(1), "session.json")))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_file_is_six_requests_of_the_bucket() {
    let (polls, downloads, file, sidecar) = asked(100_000).await;
    assert_eq!((polls, downloads), (1, 1));
    // Is something there? All of it. Has it arrived?
    let in_one_piece = BTreeMap::from([(Op::HeadObject, 2), (Op::PutObject, 1)]);
    assert_eq!((file, sidecar), (in_one_piece.clone(), in_one_piece));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_is_a_request_a_part_and_five_more() {
    let (polls, downloads, file, _) = asked(2 * PART + 1).await;
    assert_eq!((polls, downloads), (1, 1));
    let in_parts = [(Op::HeadObject, 3), (Op::CreateUpload, 1), (Op::UploadPart, 3), (Op::CompleteUpload, 1)];
    assert_eq!(file, BTreeMap::from(in_parts));
}
