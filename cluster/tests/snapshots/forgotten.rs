//! A replica that was taken out goes, and a node that returns is one that has nothing.

use crate::world::{ALL, Cluster, GROUP, SHARD, little};
use cluster::group::{Change, Stuck};
use runtime::replica::Replicas;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::sleep;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_was_taken_out_is_forgotten_and_returns_with_the_state() {
    let mut cluster = Cluster::grown(little()).await;
    let last = cluster.write(80).await;
    cluster.shard(3).applies(last.index).await;
    cluster.vote([1, 2]).await;

    cluster.nodes[&3].log.forget().await.unwrap();

    let state = cluster.nodes[&3].wal.state(GROUP);
    assert!(state.last.is_none() && state.membership.is_none() && state.vote.is_some(), "{state:?}");
    assert_eq!(cluster.nodes[&3].shelf.saved(SHARD), Ok(None));
    cluster.shard(3).until(|seen| seen.state.payloads.is_empty(), "the state is gone").await;
    cluster.lose_power(3).await;
    cluster.start(3).await;
    assert_eq!(cluster.nodes[&3].wal.state(GROUP).forgotten, 1);
    assert!(!cluster.nodes[&3].log.view().by_consensus, "it waits until it is to return");
    cluster.nodes[&3].log.grow().await.unwrap();
    cluster.learn(3).await;
    cluster.vote(ALL).await;
    let last = cluster.write(5).await;
    let seen = cluster.shard(3).applies(last.index).await;
    assert_eq!((seen.replaced, seen.state), (1, cluster.shard(1).seen().state));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_was_taken_out_and_forgot_the_group_does_not_lead_it_alone_after_a_restart() {
    let mut cluster = Cluster::grown(little()).await;
    cluster.write(5).await;
    let voters = BTreeSet::from([2, 3]);
    cluster.nodes[&1].log.change(Change::Vote { voters }).await.unwrap();
    while let Err(stuck) = cluster.nodes[&1].log.forget().await {
        assert!(matches!(stuck, Stuck::Refused { .. }), "{stuck}");
        sleep(Duration::from_millis(20)).await;
    }

    cluster.lose_power(1).await;
    cluster.start(1).await;

    let view = cluster.nodes[&1].log.view();
    assert!(!view.by_consensus && view.leader.is_none() && view.last.is_none(), "{view:?}");
    assert_eq!(cluster.nodes[&1].log.forget().await, Ok(()), "there is nothing to forget");
    assert_eq!(cluster.nodes[&1].wal.state(GROUP).forgotten, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_is_this_nodes_is_not_forgotten() {
    let cluster = Cluster::lone(little()).await;
    cluster.write(1).await;

    assert!(matches!(cluster.nodes[&1].log.forget().await, Err(Stuck::Refused { .. })));
    cluster.nodes[&1].log.grow().await.unwrap();
    assert!(matches!(cluster.nodes[&1].log.forget().await, Err(Stuck::Refused { .. })));

    cluster.write(1).await;
}
