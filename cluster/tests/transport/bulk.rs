//! Bulk streams: answered, refused, given up, and never in the way of a pulse.

use bytes::Bytes;
use cluster::wire::{Lane, Wire};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::world::{Event, Node, met};

const PIECE: usize = 64 << 10;

fn piece() -> Bytes {
    Bytes::from(vec![5; PIECE])
}

async fn until_bulk(node: &Node) -> (usize, bool) {
    node.ear.until(|events| events.iter().any(|event| matches!(event, Event::Bulk(..)))).await;
    let found = node.ear.events().into_iter().find_map(|event| match event {
        Event::Bulk(_, bytes, is_whole) => Some((bytes, is_whole)),
        _ => None,
    });
    found.unwrap()
}

#[tokio::test]
async fn a_stream_is_read_to_its_end_and_answered() {
    let nodes = met(2).await;

    let mut stream = nodes[0].transport.bulk(2, Bytes::from_static(b"shard 7")).await.unwrap();
    for _ in 0..100 {
        stream.write(piece()).await.unwrap();
    }
    let answer = stream.finish().await.unwrap();

    assert_eq!(answer, "taken");
    assert!(nodes[1].ear.events().contains(&Event::Bulk(Bytes::from_static(b"shard 7"), 100 * PIECE, true)));
}

#[tokio::test]
async fn a_stream_that_is_not_taken_says_why() {
    let nodes = met(2).await;
    *nodes[1].ear.answer.lock().unwrap() = Err("two snapshots are under way".into());

    let stream = nodes[0].transport.bulk(2, Bytes::from_static(b"shard 7")).await.unwrap();
    let refused = stream.finish().await.unwrap_err();

    assert_eq!(refused.to_string(), "two snapshots are under way");
    assert!(nodes[0].transport.contact(2).is_some(), "the connection goes on");
}

#[tokio::test]
async fn a_stream_that_is_given_up_is_not_taken_for_whole() {
    let nodes = met(2).await;
    let permits = nodes[1].ear.pieces.clone();
    permits.forget_permits(permits.available_permits());
    let mut stream = nodes[0].transport.bulk(2, Bytes::from_static(b"shard 7")).await.unwrap();
    stream.write(piece()).await.unwrap();
    permits.add_permits(1);
    // It has been begun, so that its end is heard of.
    while permits.available_permits() > 0 {
        tokio::task::yield_now().await;
    }

    drop(stream);
    permits.add_permits(100);

    assert!(!until_bulk(&nodes[1]).await.1);
    assert!(nodes[0].transport.contact(2).is_some(), "the connection goes on");
}

#[tokio::test]
async fn a_pulse_passes_a_bulk_stream_that_nobody_reads() {
    let nodes = met(2).await;
    let permits = nodes[1].ear.pieces.clone();
    permits.forget_permits(permits.available_permits());
    let mut stream = nodes[0].transport.bulk(2, Bytes::from_static(b"large")).await.unwrap();
    let is_written = Arc::new(AtomicBool::new(false));
    let written = is_written.clone();
    let writer = tokio::spawn(async move {
        for _ in 0..1_000 {
            stream.write(piece()).await.unwrap();
        }
        written.store(true, Ordering::Relaxed);
        stream.finish().await
    });

    // Back and forth, so that the writer has had its turns and is stuck.
    for n in 1..=50 {
        nodes[0].transport.send(2, Lane::Pulse, Bytes::from_static(b"beat")).unwrap();
        nodes[1].ear.until(|events| beats(events, 1) == n).await;
        nodes[1].transport.send(1, Lane::Pulse, Bytes::from_static(b"beat")).unwrap();
        nodes[0].ear.until(|events| beats(events, 2) == n).await;
    }

    assert!(!is_written.load(Ordering::Relaxed), "64 MB wait for a reader, and the pulse does not");
    permits.add_permits(100_000);
    assert_eq!(writer.await.unwrap().unwrap(), "taken");
    assert_eq!(until_bulk(&nodes[1]).await, (1_000 * PIECE, true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pulse_arrives_while_a_bulk_stream_flows() {
    const PIECES_MAX: usize = 8_192;
    let nodes = met(2).await;
    let mut stream = nodes[0].transport.bulk(2, Bytes::from_static(b"large")).await.unwrap();
    for _ in 0..64 {
        stream.write(piece()).await.unwrap();
    }

    nodes[0].transport.send(2, Lane::Pulse, Bytes::from_static(b"beat")).unwrap();
    let mut pieces = 0;
    while nodes[1].ear.count(1, Lane::Pulse) == 0 && pieces < PIECES_MAX {
        stream.write(piece()).await.unwrap();
        pieces += 1;
    }

    assert!(pieces < PIECES_MAX, "512 MiB went before a pulse");
    assert_eq!(stream.finish().await.unwrap(), "taken");
}

fn beats(events: &[Event], from: u64) -> usize {
    events.iter().filter(|event| matches!(event, Event::Heard(node, Lane::Pulse, _) if *node == from)).count()
}
