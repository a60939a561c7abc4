//! The rule changes while the shard proposes, and the shard does not notice.

use crate::world::{Cluster, GROUP, PATIENCE, Shard, hold};
use bytes::Bytes;
use cluster::group::{Change, Stuck};
use cluster::membership::Membership;
use cluster::wal::{Kind, Record};
use runtime::log::{Error, LogId, ShardLog, Standing, Tenure};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::timeout;

/// A shard that proposes as fast as it is answered, until it is told to end.
struct Writer {
    ends: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<Shard>,
}

impl Writer {
    fn begin(mut shard: Shard, tenure: Tenure) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let ended = ends.clone();
        let task = tokio::spawn(async move {
            let mut number = 0_u64;
            while !ended.load(Ordering::Relaxed) {
                let fate = shard.begin(tenure, format!("{number}"));
                let fate = timeout(PATIENCE, fate).await.expect("a fate").unwrap();
                fate.unwrap_or_else(|error| panic!("entry {number} of one tenure: {error}"));
                shard.drain();
                assert_eq!(shard.confirm(tenure).await, Ok(()), "after entry {number}");
                number += 1;
            }
            shard.drain();
            shard
        });
        Self { ends, task }
    }

    async fn end(self) -> Shard {
        self.ends.store(true, Ordering::Relaxed);
        self.task.await.unwrap()
    }
}

fn numbered(count: usize) -> Vec<Bytes> {
    (0..count).map(|number| Bytes::from(format!("{number}"))).collect()
}

fn payloads(applied: &[(LogId, Bytes)]) -> Vec<Bytes> {
    applied.iter().map(|(_, payload)| payload.clone()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_writes_on_in_one_tenure_while_its_group_grows_to_three_nodes_and_back() {
    let mut cluster = Cluster::lone().await;
    let mut shard = cluster.shard(1);
    let tenure = shard.lead().await;
    let writer = Writer::begin(shard, tenure);

    for _ in 0..3 {
        cluster.grow().await;
        let view = cluster.logs[&1].view();
        assert!(view.by_consensus && view.leader == Some(1) && view.term == tenure.term, "{view:?}");
        assert_eq!(view.voters, BTreeSet::from([1, 2, 3]));
        tokio::time::sleep(Duration::from_millis(50)).await;
        cluster.try_shrink().await.unwrap();
        assert!(!cluster.logs[&1].view().by_consensus);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let shard = writer.end().await;

    assert_eq!(shard.tenure, Some(tenure));
    assert!(shard.applied.len() > 20, "{} entries", shard.applied.len());
    assert_eq!(payloads(&shard.applied), numbered(shard.applied.len()));
    assert!(shard.applied.iter().all(|(id, _)| id.term == tenure.term));
    cluster.lose_power(1).await;
    cluster.start(1).await;
    let after = cluster.shard(1);
    assert_eq!(after.applied, shard.applied);
    assert_eq!(after.tenure, Some(Tenure::whole(tenure.term + 1)), "alone, it is led from its start");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_proposed_while_the_rule_changes_waits_and_is_committed() {
    let cluster = Cluster::lone().await;
    let mut shard = cluster.shard(1);
    let tenure = shard.lead().await;
    let before = shard.begin(tenure, "before");
    let before = before.await.unwrap().unwrap();
    let held = hold(&cluster.wals[&1]);
    let log = cluster.logs[&1].clone();
    let grows = tokio::spawn(async move { log.grow().await });
    // It waits for the disk; if it did not yet, the proposal would be committed by the local rule, and also be there.
    tokio::time::sleep(Duration::from_millis(50)).await;

    let fate = shard.begin(tenure, "meanwhile");
    drop(held);

    grows.await.unwrap().unwrap();
    let id = timeout(PATIENCE, fate).await.unwrap().unwrap().unwrap();
    assert_eq!(id, LogId { index: before.index + 1, ..before });
    shard.drain();
    assert_eq!(shard.tenure, Some(tenure));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_listens_while_the_rule_changes_leads_by_the_next_one_without_what_waited() {
    let cluster = Cluster::lone().await;
    let mut dies = cluster.shard(1);
    let tenure = dies.lead().await;
    let held = hold(&cluster.wals[&1]);
    let log = cluster.logs[&1].clone();
    let grows = tokio::spawn(async move { log.grow().await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    let fate = dies.begin(tenure, "waits");

    let mut next = cluster.shard(1);
    assert_eq!(next.tenure, None);
    drop(held);
    grows.await.unwrap().unwrap();
    let again = next.lead().await;

    assert_eq!(fate.await.unwrap(), Err(Error::Deposed { term: tenure.term }));
    assert!(again.term == tenure.term && again != tenure);
    next.propose("goes on").await;
    assert_eq!(payloads(&next.applied), ["goes on"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_with_other_nodes_does_not_shrink_and_its_shard_goes_on() {
    let (cluster, _) = Cluster::new().await;
    let mut shard = cluster.shard(1);
    let tenure = shard.lead().await;
    cluster.logs[&1].change(Change::Learn { node: 2 }).await.unwrap();

    assert_eq!(cluster.logs[&1].shrink().await, Err(Stuck::NotAlone { group: GROUP }));

    shard.propose("on").await;
    assert_eq!(shard.tenure, Some(tenure));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_neither_shrinks_nor_changes_who_takes_part() {
    let (cluster, _) = Cluster::new().await;
    cluster.shard(1).lead().await;
    cluster.grow().await;
    let mut follower = cluster.shard(2);
    let last = cluster.shard(1).propose("known to all").await;
    follower.apply(last).await;

    let stuck = Stuck::NotLeader { group: GROUP, leader: Some(1) };
    assert_eq!(cluster.logs[&2].shrink().await, Err(stuck.clone()));
    assert_eq!(cluster.logs[&2].change(Change::Vote { voters: BTreeSet::from([2]) }).await, Err(stuck));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_is_not_on_a_node_takes_nothing_there() {
    let cluster = Cluster::lone().await;
    let log = &cluster.logs[&2];
    log.leave().await;

    assert_eq!(log.listen(Box::new(|_| {})), Standing { through: 0, leads: None });
    let mut shard = cluster.shard(2);
    let fate = shard.begin(Tenure::whole(1), "nowhere").await.unwrap();

    assert_eq!(fate, Err(Error::NotLeader { term: 1 }));
    assert_eq!(log.shrink().await, Err(Stuck::NotLeader { group: GROUP, leader: None }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_dropped_more_than_its_mark_says_is_committed_takes_part_all_the_same() {
    let mut cluster = Cluster::lone().await;
    let mut shard = cluster.shard(1);
    shard.lead().await;
    let mut last = shard.propose("first").await;
    for _ in 0..6 {
        last = shard.propose("more").await;
    }
    let wal = cluster.wals[&1].clone();
    let dropped = LogId { index: last.index - 1, ..last };
    let two =
        Membership { configs: vec![BTreeSet::from([1])], nodes: [1, 2].map(|n| (n, String::new())).into() };
    let next = LogId { index: last.index + 1, ..last };
    let learner = Record::entry(GROUP, Kind::Membership, next, two.encode().into());
    let (sender, written) = tokio::sync::oneshot::channel();
    let records = vec![Record::purged(GROUP, dropped), learner];
    wal.append(records, Box::new(move |result| sender.send(result).unwrap()));
    written.await.unwrap().unwrap();
    assert!(wal.state(GROUP).committed < Some(dropped));
    drop(wal);

    cluster.lose_power(1).await;
    cluster.start(1).await;

    let mut again = Shard::after(cluster.logs[&1].clone(), dropped.index);
    again.lead().await;
    assert_eq!(again.applied, [(last, Bytes::from("more"))]);
}
