//! A state that does not arrive whole leaves everything as it was.

use crate::world::{Cluster, PATIENCE, little};
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_torn_in_the_middle_leaves_the_state_that_was_there() {
    let cluster = Cluster::grown(little()).await;
    let known = cluster.write(30).await;
    let before = cluster.shard(3).applies(known.index).await;
    cluster.cut_off(3);
    cluster.write(60).await;
    cluster.purges(1, known.index + 1).await;
    let (arrival, go) = cluster.nodes[&1].shelf.pause();
    cluster.mend(3);
    cluster.write(30).await;
    spawn_blocking(move || arrival.recv_timeout(PATIENCE).unwrap()).await.unwrap();

    cluster.cut_off(3);
    drop(go);
    sleep(Duration::from_millis(200)).await;

    let after = cluster.shard(3).seen();
    assert_eq!((after.replaced, after.state), (0, before.state));
    assert_eq!(cluster.nodes[&3].shelf.staged.load(Ordering::Relaxed), 0);
    cluster.mend(3);
    let last = cluster.write(1).await;
    let healed = cluster.shard(3).applies(last.index).await;
    assert_eq!((healed.replaced, healed.state), (1, cluster.shard(1).seen().state));
    assert_eq!(cluster.nodes[&1].shelf.packed.load(Ordering::Relaxed), 2);
}
