//! The power goes at any operation of the disk while the rule changes: what was acknowledged is there.

use crate::world::{ALL, Cluster, PATIENCE, Shard};
use bytes::Bytes;
use cluster::group::Stuck;
use runtime::log::LogId;
use tokio::time::timeout;

/// Proposes an entry if the shard leads, and keeps what is acknowledged.
async fn write(shard: &mut Shard, payload: &'static str, acknowledged: &mut Vec<(LogId, Bytes)>) {
    shard.drain();
    let Some(tenure) = shard.tenure else { return };
    if shard.waits {
        return;
    }
    let fate = shard.begin(tenure, payload);
    if let Ok(id) = timeout(PATIENCE, fate).await.expect("a fate").unwrap() {
        acknowledged.push((id, payload.into()));
    }
}

/// Lets a lone group grow to some nodes and shrink again, with an entry after each step.
async fn there_and_back(
    cluster: &Cluster,
    shard: &mut Shard,
    nodes: usize,
    acknowledged: &mut Vec<(LogId, Bytes)>,
) -> Result<(), Stuck> {
    write(shard, "alone", acknowledged).await;
    if nodes == 1 {
        cluster.logs[&1].grow().await?;
    } else {
        cluster.try_grow().await?;
    }
    write(shard, "by consensus", acknowledged).await;
    if nodes == 1 {
        cluster.logs[&1].shrink().await?;
    } else {
        cluster.try_shrink().await?;
    }
    write(shard, "alone again", acknowledged).await;
    Ok(())
}

/// Cuts node 1's power at an operation of its disk; answers whether all was done before.
async fn cut_after(operations: u64, nodes: usize) -> bool {
    let mut cluster = Cluster::lone().await;
    let mut shard = cluster.shard(1);
    shard.lead().await;
    let mut acknowledged = Vec::new();

    cluster.disks[&1].cut_power_after(operations);
    let done = there_and_back(&cluster, &mut shard, nodes, &mut acknowledged);
    let done = timeout(PATIENCE, done).await.expect("nothing waits for ever");
    cluster.lose_power(1).await;
    drop(shard);
    cluster.start(1).await;
    let mut shard = cluster.shard(1);
    // Whoever leads, this node follows, or leads again.
    if nodes > 1 && cluster.logs[&1].view().voters.len() > 1 {
        let mut others = [cluster.shard(2), cluster.shard(3)];
        let [two, three] = &mut others;
        let last = tokio::select! {
            _ = shard.lead() => None,
            _ = two.lead() => Some(two.propose("end").await),
            _ = three.lead() => Some(three.propose("end").await),
        };
        if let Some(last) = last {
            timeout(PATIENCE, shard.apply(last)).await.expect("it catches up");
        }
    } else {
        shard.lead().await;
        shard.propose("end").await;
    }

    for entry in &acknowledged {
        assert!(shard.applied.contains(entry), "after {operations} operations {entry:?} is lost");
    }
    done.is_ok() && acknowledged.len() == 3
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lone_group_that_loses_power_while_its_rule_changes_has_what_was_acknowledged() {
    let mut operations = 0;
    while !cut_after(operations, 1).await {
        operations += 1;
        assert!(operations < 200, "it never ends");
    }

    assert!(operations > 5, "{operations} operations: the change writes to the disk");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_three_that_loses_power_while_they_change_has_what_was_acknowledged() {
    for operations in (0..45).step_by(3) {
        cut_after(operations, 3).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_has_just_begun_again_shows_the_members_in_its_log() {
    let mut cluster = Cluster::lone().await;
    let mut shard = cluster.shard(1);
    shard.lead().await;
    cluster.try_grow().await.unwrap();
    let term = cluster.logs[&1].view().term;

    for _ in 0..5 {
        cluster.lose_power(1).await;
        cluster.start(1).await;
        let view = cluster.logs[&1].view();

        assert_eq!(view.voters, ALL.into(), "{view:?}");
        assert!(view.by_consensus && view.term >= term && view.last > Some(0), "{view:?}");
    }
}
