//! A shard's log on three nodes, as three shards hear it: one that proposes, and whoever comes after it.

use crate::world::{ALL, Cluster, GROUP, PATIENCE, hold};
use bytes::Bytes;
use runtime::log::{Error, LogId, ShardLog};
use std::time::Duration;
use tokio::time::timeout;

fn payloads(applied: &[(LogId, Bytes)]) -> Vec<&str> {
    applied.iter().map(|(_, payload)| std::str::from_utf8(payload).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_leads_in_the_term_of_its_lone_log_and_the_others_follow_it() {
    let (cluster, first) = Cluster::new().await;
    let mut shards = ALL.map(|n| cluster.shard(n));

    let tenure = shards[0].lead().await;
    cluster.grow().await;
    shards[0].propose("by one").await;
    let last = shards[0].propose("by three").await;

    assert_eq!((tenure.term, last.term), (first.term, first.term));
    for shard in &mut shards {
        assert_eq!(payloads(shard.apply(last).await), ["alone", "by one", "by three"]);
    }
    assert_eq!(shards[0].tenure, Some(tenure), "the change of the membership is not felt");
    assert_eq!(shards[0].confirm(tenure).await, Ok(()));
    let fate = shards[1].begin(tenure, "not here").await.unwrap();
    assert_eq!(fate, Err(Error::NotLeader { term: tenure.term }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_cut_off_is_deposed_and_confirms_nothing() {
    let (cluster, _) = Cluster::new().await;
    let mut shards = ALL.map(|n| cluster.shard(n));
    let tenure = shards[0].lead().await;
    cluster.grow().await;
    let last = shards[0].propose("before").await;
    let [old, one, two] = &mut shards;
    one.apply(last).await;
    two.apply(last).await;

    cluster.cut_off(1);
    let fate = old.begin(tenure, "lost");
    assert_eq!(old.confirm(tenure).await, Err(Error::NotLeader { term: tenure.term }));
    // It hears that its lead has ended, though nobody can tell it.
    assert_eq!(timeout(PATIENCE, fate).await.unwrap().unwrap(), Err(Error::Deposed { term: tenure.term }));
    let new = tokio::select! { _ = one.lead() => 1, _ = two.lead() => 2 };
    let new = if new == 1 { one } else { two };
    let last = new.propose("after").await;
    cluster.mend(1);

    assert!(last.term > tenure.term);
    assert_eq!(payloads(old.apply(last).await), ["alone", "before", "after"]);
    assert_eq!(payloads(new.apply(last).await), ["alone", "before", "after"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_listens_anew_reads_what_the_one_before_proposed_before_it_leads() {
    let (cluster, _) = Cluster::new().await;
    let mut dies = cluster.shard(1);
    let tenure = dies.lead().await;
    cluster.grow().await;
    let fate = dies.begin(tenure, "of the one before");

    let mut next = cluster.shard(1);
    let again = next.lead().await;

    assert!(again.term == tenure.term && again != tenure);
    assert_eq!(payloads(&next.applied), ["alone", "of the one before"]);
    let fate = fate.await.unwrap();
    assert!(matches!(fate, Ok(_) | Err(Error::Deposed { .. })), "{fate:?}");
    assert!(matches!(dies.begin(tenure, "late").await.unwrap(), Err(Error::NotLeader { .. })));
    next.propose("of the next").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_on_a_full_disk_is_refused_and_leads_on() {
    let (cluster, _) = Cluster::new().await;
    let mut shard = cluster.shard(1);
    let tenure = shard.lead().await;
    let disk = &cluster.disks[&1];

    disk.set_capacity(disk.used() + 1000);
    // The disk is asked ten times a second.
    let asked = Duration::from_millis(120);
    tokio::time::sleep(asked).await;
    let refused = shard.begin(tenure, "no room").await.unwrap();
    disk.set_capacity(u64::MAX);
    tokio::time::sleep(asked).await;

    assert!(matches!(refused, Err(Error::Full(_))), "{refused:?}");
    shard.propose("room again").await;
    assert_eq!(shard.tenure, Some(tenure));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_stops_leaves_no_proposal_without_an_answer() {
    let (cluster, _) = Cluster::new().await;
    let mut shard = cluster.shard(1);
    let tenure = shard.lead().await;
    cluster.grow().await;
    cluster.cut_off(1);
    let fate = shard.begin(tenure, "under way");

    cluster.logs[&1].leave().await;

    assert_eq!(fate.await.unwrap(), Err(Error::Deposed { term: tenure.term }));
    assert!(matches!(shard.begin(tenure, "after").await.unwrap(), Err(Error::NotLeader { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_is_committed_by_the_others_and_read_while_this_nodes_disk_does_not_answer() {
    let (cluster, _) = Cluster::new().await;
    let mut shard = cluster.shard(1);
    shard.lead().await;
    cluster.grow().await;
    let before = shard.propose("on all disks").await;

    let held = hold(&cluster.wals[&1]);
    let id = shard.propose("on two disks").await;
    let durable = cluster.wals[&1].state(GROUP).last;
    let read = shard.log.read(before.index, id.index, 1).unwrap();
    drop(held);

    assert!(durable < Some(id));
    assert_eq!(read.iter().map(|entry| entry.id).collect::<Vec<_>>(), [id]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_disk_fails_is_deposed_and_the_others_go_on() {
    let (cluster, _) = Cluster::new().await;
    let mut shards = ALL.map(|n| cluster.shard(n));
    let tenure = shards[0].lead().await;
    cluster.grow().await;
    let last = shards[0].propose("before").await;
    let [failed, one, two] = &mut shards;
    one.apply(last).await;
    two.apply(last).await;

    cluster.disks[&1].fail_sync_after(0);
    let fate = failed.begin(tenure, "under way");
    while failed.tenure.is_some() {
        failed.hear().await;
    }
    let is_first = tokio::select! { _ = one.lead() => true, _ = two.lead() => false };
    let new = if is_first { one } else { two };
    let last = new.propose("after").await;

    let under_way = new.applied.iter().any(|(_, payload)| payload == "under way");
    match fate.await.unwrap() {
        Ok(_) => assert!(under_way, "the others had committed it"),
        Err(error) => assert_eq!(error, Error::Deposed { term: tenure.term }),
    }
    assert!(last.term > tenure.term);
}
