//! The power goes at any operation of the disk while a state is taken, or forgotten: the node has the one before, or the
//! one after.

use crate::world::{ALL, Cluster, GROUP, PATIENCE, little};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Operations that any node needs to notice that its disk has no power.
const OPERATIONS_MAX: u64 = 120;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_loses_power_while_it_takes_a_state_takes_it_after_that() {
    let mut cluster = Cluster::grown(little()).await;
    let mut operations = 0;

    loop {
        let before = cluster.write(1).await;
        cluster.shard(3).applies(before.index).await;
        cluster.cut_off(3);
        let mut last = before;
        // What was sent before is kept for a while.
        while cluster.purged(1) <= before.index {
            last = cluster.write(20).await;
        }
        let end = cluster.nodes[&3].disk.operations() + operations;
        cluster.nodes[&3].disk.cut_power_after(operations);
        cluster.mend(3);
        let came = outcome(&cluster, last.index, end).await;
        cluster.lose_power(3).await;
        cluster.start(3).await;
        let last = cluster.write(1).await;

        let seen = cluster.shard(3).applies(last.index).await;
        assert_eq!(seen.state, cluster.shard(1).seen().state, "after {operations} operations");
        if came {
            break;
        }
        operations += 1;
        assert!(operations < OPERATIONS_MAX, "it never ends");
    }

    assert!(operations > 8, "{operations} operations: taking a state writes to the disk");
}

/// Whether node 3 catches up, before its disk has done all that it does.
async fn outcome(cluster: &Cluster, last: u64, end: u64) -> bool {
    let until = Instant::now() + PATIENCE;
    let node = &cluster.nodes[&3];
    loop {
        if node.shard.seen().state.applied >= last {
            return true;
        }
        if node.disk.operations() >= end {
            // Whatever fails now is seen.
            sleep(Duration::from_millis(30)).await;
            return false;
        }
        assert!(Instant::now() < until, "nothing happens at {}", node.shard.seen().state.applied);
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_loses_power_while_it_forgets_a_group_forgets_it_after_that() {
    let mut cluster = Cluster::grown(little()).await;
    let mut operations = 0;

    loop {
        let last = cluster.write(30).await;
        cluster.shard(3).applies(last.index).await;
        cluster.vote([1, 2]).await;
        cluster.nodes[&3].disk.cut_power_after(operations);
        let forgotten = cluster.nodes[&3].log.forget().await;
        cluster.lose_power(3).await;
        cluster.start(3).await;
        cluster.nodes[&3].log.forget().await.unwrap();

        let state = cluster.nodes[&3].wal.state(GROUP);
        assert!(state.last.is_none() && state.forgotten > 0, "after {operations} operations: {state:?}");
        cluster.shard(3).until(|seen| seen.state.payloads.is_empty(), "the state is gone").await;
        cluster.nodes[&3].log.grow().await.unwrap();
        cluster.learn(3).await;
        cluster.vote(ALL).await;
        let last = cluster.write(1).await;
        let seen = cluster.shard(3).applies(last.index).await;
        assert_eq!(seen.state, cluster.shard(1).seen().state, "after {operations} operations");
        if forgotten.is_ok() {
            break;
        }
        operations += 1;
        assert!(operations < OPERATIONS_MAX, "it never ends");
    }

    assert!(operations > 2, "{operations} operations: forgetting writes to the disk");
}
