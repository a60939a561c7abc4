//! Consensus of a group fails, and begins again.

use crate::world::{ALL, Cluster};
use cluster::Options;
use runtime::log::{Error, ShardLog};
use tokio::time::timeout;

/// Nothing is kept in memory, so that what is durable is read from the disk.
async fn forgetful() -> Cluster {
    Cluster::lone_with(Options { tail_bytes: 0, ..Options::default() }).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_whose_disk_could_not_be_read_leads_again_when_it_can() {
    let cluster = forgetful().await;
    let mut shard = cluster.shard(1);
    let tenure = shard.lead().await;
    cluster.logs[&1].grow().await.unwrap();
    let before = shard.propose("before").await;

    cluster.disks[&1].fail_reads(true);
    let fate = shard.begin(tenure, "unread");
    while shard.tenure.is_some() {
        shard.hear().await;
    }
    cluster.disks[&1].fail_reads(false);

    assert_eq!(fate.await.unwrap(), Err(Error::Deposed { term: tenure.term }));
    let again = shard.lead().await;
    assert!(again.term == tenure.term && again != tenure, "alone, it needs no election");
    let last = shard.propose("after").await;
    assert_eq!(last.index, before.index + 2, "what nobody knew of was durable");
    assert_eq!(shard.applied.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_three_whose_disk_could_not_be_read_follows_again_when_it_can() {
    let cluster = forgetful().await;
    let mut shards = ALL.map(|n| cluster.shard(n));
    shards[0].lead().await;
    cluster.grow().await;
    let [old, one, two] = &mut shards;
    let before = old.propose("before").await;
    one.apply(before).await;
    two.apply(before).await;

    cluster.disks[&1].fail_reads(true);
    drop(old.begin(old.tenure.unwrap(), "unread"));
    while old.tenure.is_some() {
        old.hear().await;
    }
    let is_first = tokio::select! { _ = one.lead() => true, _ = two.lead() => false };
    cluster.disks[&1].fail_reads(false);
    let new = if is_first { one } else { two };
    let last = new.propose("after").await;

    old.apply(last).await;
    assert_eq!(old.applied, new.applied);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_who_ask_at_once_are_all_told_that_this_node_leads() {
    let (cluster, _) = Cluster::new().await;
    let mut shard = cluster.shard(1);
    let tenure = shard.lead().await;
    cluster.grow().await;

    let (answers, mut answered) = tokio::sync::mpsc::unbounded_channel();
    for _ in 0..1000 {
        let answers = answers.clone();
        cluster.logs[&1].confirm(tenure, Box::new(move |sure| answers.send(sure).unwrap()));
    }
    drop(answers);

    let mut count = 0;
    while let Some(sure) = timeout(crate::world::PATIENCE, answered.recv()).await.expect("an answer") {
        assert_eq!(sure, Ok(()));
        count += 1;
    }
    assert_eq!(count, 1000);
}
