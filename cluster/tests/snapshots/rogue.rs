//! A stream that lies, or has no end, is refused with a reason, and with nothing left of it.

use crate::world::{Cluster, GROUP, little};
use bytes::Bytes;
use std::sync::atomic::Ordering;
use std::time::Duration;

const PIECE: usize = 64 << 10;

/// What opens a stream, as the leader of a term says it.
fn opening(group: u32, leader: (u64, u64), applied: (u64, u64)) -> Vec<u8> {
    let mut encoder = minicbor::Encoder::new(b"TwfS\x01".to_vec());
    let place = |encoder: &mut minicbor::Encoder<Vec<u8>>, (term, index): (u64, u64)| {
        encoder.array(2).unwrap().u64(term).unwrap().u64(index).unwrap();
    };
    encoder.map(3).unwrap().u8(0).unwrap().u32(group).unwrap().u8(1).unwrap();
    encoder
        .array(3)
        .unwrap()
        .u64(leader.0)
        .unwrap()
        .u64(leader.1)
        .unwrap()
        .bool(true)
        .unwrap()
        .u8(2)
        .unwrap();
    place(&mut encoder, applied);
    encoder.into_writer()
}

/// Says something to node 3 as another node; answers how many bytes it took, and why not more.
async fn say(
    cluster: &Cluster,
    from: u64,
    what: Vec<u8>,
    pieces: impl Iterator<Item = Bytes>,
) -> (usize, String) {
    let mut stream = cluster.mesh.wire(from).bulk(3, what.into()).await.unwrap();
    let mut taken = 0;
    for piece in pieces {
        let length = piece.len();
        match stream.write(piece).await {
            Ok(()) => taken += length,
            Err(error) => return (taken, error.to_string()),
        }
    }
    (taken, stream.finish().await.unwrap_err().to_string())
}

/// Pieces of a state as they come, without an end.
fn endless() -> impl Iterator<Item = Bytes> {
    let mut piece = (PIECE as u32).to_le_bytes().to_vec();
    piece.resize(4 + PIECE, 7);
    std::iter::repeat(Bytes::from(piece))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_leader_says_is_refused_and_the_group_goes_on() {
    let cluster = Cluster::grown(little()).await;
    let last = cluster.write(30).await;
    cluster.shard(3).applies(last.index).await;
    let (term, far) = (last.term, last.index + 1000);
    let leads = (term, 1);
    let check = async |from, what, pieces: Vec<Bytes>, reason: &str| {
        let (_, error) = say(&cluster, from, what, pieces.into_iter()).await;
        assert!(error.contains(reason), "{error}");
    };
    let announced = Bytes::from_static(&[0xff; 4]);

    check(1, b"anything".to_vec(), vec![], "this version knows").await;
    check(2, opening(GROUP, leads, (term, far)), vec![], "does not lead").await;
    check(1, opening(GROUP + 1, leads, (term, far)), vec![], "is not here").await;
    check(1, opening(0, leads, (term, far)), vec![], "is not here").await;
    check(1, opening(GROUP, leads, (term + 1, far)), vec![], "does not lead").await;
    check(1, opening(GROUP, (term + 2, 1), (term + 1, 1)), vec![], "cannot be committed").await;
    check(1, opening(GROUP, leads, (term, far)), vec![announced], "4294967295 bytes was announced").await;
    check(1, opening(GROUP, leads, (term, far)), vec![Bytes::from_static(&[0; 4])], "no state").await;

    let last = cluster.write(1).await;
    let seen = cluster.shard(3).applies(last.index).await;
    assert_eq!((seen.replaced, seen.state), (0, cluster.shard(1).seen().state));
    assert_eq!(cluster.nodes[&3].shelf.staged.load(Ordering::Relaxed), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_without_an_end_is_refused_by_whoever_stages_it_or_by_a_full_disk() {
    let cluster = Cluster::grown(little()).await;
    let last = cluster.write(30).await;
    cluster.shard(3).applies(last.index).await;
    let what = || opening(GROUP, (last.term, 1), (last.term, last.index + 1000));

    let (taken, reason) = say(&cluster, 1, what(), endless()).await;
    assert!(reason.contains("has no end") && taken < (4 << 20) + 20 * PIECE, "{taken} bytes: {reason}");
    let disk = &cluster.nodes[&3].disk;
    disk.set_capacity(disk.used());
    // The answer of the disk before holds for a while.
    tokio::time::sleep(Duration::from_millis(150)).await;
    let (taken, reason) = say(&cluster, 1, what(), endless()).await;
    assert!(reason.contains("the disk is full") && taken < 20 * PIECE, "{taken} bytes: {reason}");

    disk.set_capacity(u64::MAX);
    let last = cluster.write(1).await;
    assert_eq!(cluster.shard(3).applies(last.index).await.replaced, 0);
}
