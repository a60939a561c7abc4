//! Whoever lacks dropped entries is sent the state, once, while the shard goes on.

use crate::world::{ALL, Cluster, FOLDER, GROUP, PATIENCE, SHARD, little};
use runtime::files::Files;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::{Duration, Instant};
use tokio::task::spawn_blocking;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_far_behind_catches_up_by_one_state_while_the_shard_writes_on() {
    let cluster = Cluster::grown(little()).await;
    let known = cluster.write(10).await;
    cluster.shard(3).applies(known.index).await;
    cluster.cut_off(3);
    let far = cluster.write(100).await;
    cluster.purges(1, known.index + 1).await;

    cluster.mend(3);
    let last = cluster.write(200).await;

    let seen = cluster.shard(3).applies(last.index).await;
    assert_eq!(seen.replaced, 1, "it began once from a state, and took entries after it");
    assert!(far.index < last.index);
    assert_eq!(cluster.nodes[&1].shelf.packed.load(Ordering::Relaxed), 1);
    assert_eq!(seen.state.payloads, cluster.shard(1).seen().state.payloads);
    assert_eq!(cluster.nodes[&3].shelf.staged.load(Ordering::Relaxed), 0, "nothing is left beside the state");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_lost_all_comes_back_as_a_learner_with_the_state() {
    let mut cluster = Cluster::grown(little()).await;
    cluster.write(80).await;
    cluster.vote([1, 2]).await;
    cluster.wipe(3).await;
    cluster.nodes[&3].log.grow().await.unwrap();

    cluster.learn(3).await;
    cluster.vote(ALL).await;
    let last = cluster.write(5).await;

    let seen = cluster.shard(3).applies(last.index).await;
    assert_eq!((seen.replaced, &seen.state), (1, &cluster.shard(1).seen().state));
    let (here, there) = (cluster.nodes[&3].wal.state(GROUP), cluster.nodes[&1].wal.state(GROUP));
    assert_eq!(here.membership, there.membership);
    cluster.lose_power(3).await;
    cluster.start(3).await;
    assert_eq!(cluster.shard(3).applies(last.index).await.state, cluster.shard(1).seen().state);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_alone_for_long_sends_its_state_to_the_first_that_joins_it() {
    let cluster = Cluster::lone(little()).await;
    cluster.write(60).await;
    cluster.purges(1, 40).await;
    for n in [1, 2] {
        cluster.nodes[&n].log.grow().await.unwrap();
    }

    cluster.learn(2).await;
    let last = cluster.write(5).await;

    let seen = cluster.shard(2).applies(last.index).await;
    assert_eq!((seen.replaced, seen.state), (1, cluster.shard(1).seen().state));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_logs_of_all_nodes_stay_short_under_consensus() {
    let cluster = Cluster::grown(little()).await;

    let last = cluster.write(600).await;

    for n in ALL {
        cluster.shard(n).applies(last.index).await;
        cluster.purges(n, last.index - 60).await;
        let node = &cluster.nodes[&n];
        // About 40 were filled.
        let segments = node.disk.list(Path::new(FOLDER)).unwrap();
        assert!(segments.len() <= 16, "node {n} has {segments:?}");
        assert!(node.wal.after_bytes(GROUP, 4 << 10) > 0, "the end is kept for whoever is late");
        assert_eq!(node.shelf.packed.load(Ordering::Relaxed), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_follows_a_state_that_is_being_sent_is_not_dropped() {
    let cluster = Cluster::grown(little()).await;
    cluster.cut_off(3);
    cluster.write(60).await;
    // Whichever of the two leads by then sends it.
    let [(first, go), (second, go_too)] = [1, 2].map(|n| cluster.nodes[&n].shelf.pause());
    cluster.mend(3);
    cluster.write(30).await;
    let sender = spawn_blocking(move || arrived([(1, first), (2, second)])).await.unwrap();
    let saved = cluster.nodes[&sender].shelf.load(SHARD).applied;

    let last = cluster.write(100).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let kept = cluster.purged(sender);
    drop((go, go_too));

    assert!(kept <= saved, "entries through {kept} were dropped, and the state has {saved}");
    assert_eq!(cluster.shard(3).applies(last.index).await.replaced, 1);
    assert_eq!(cluster.nodes[&sender].shelf.packed.load(Ordering::Relaxed), 1);
    tokio::time::sleep(little().sent).await;
    cluster.write(40).await;
    cluster.purges(sender, saved + 1).await;
}

/// The node that is the first to pack its state.
fn arrived(packing: [(u64, mpsc::Receiver<()>); 2]) -> u64 {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some((node, _)) = packing.iter().find(|(_, arrival)| arrival.try_recv().is_ok()) {
            return *node;
        }
        assert!(Instant::now() < until, "nobody sends a state");
        std::thread::sleep(Duration::from_millis(2));
    }
}
