//! Random lives of a replicated shard: connections go, power goes, shards begin again, and whoever leads proposes.
//!
//! What must hold in the end: all three have the same entries; whatever was acknowledged is there, at its place; whatever
//! was surely not appended is not; whatever nobody knew of is there once at most.

use crate::world::{ALL, Cluster, Shard};
use bytes::Bytes;
use runtime::files::sim::Random;
use runtime::log::{Error, LogId};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::oneshot;

const ROUNDS: u64 = 120;

type Fate = oneshot::Receiver<Result<LogId, Error>>;

async fn live(seed: u64) {
    let mut random = Random::new(seed);
    let (mut cluster, _) = Cluster::new().await;
    let mut shards: BTreeMap<u64, Shard> = ALL.map(|n| (n, cluster.shard(n))).into();
    shards.get_mut(&1).unwrap().lead().await;
    cluster.grow().await;
    let mut fates: Vec<(Bytes, Fate)> = Vec::new();

    for round in 0..ROUNDS {
        let n = 1 + random.below(3);
        match random.below(30) {
            0 => cluster.cut_off(n),
            1..4 => ALL.into_iter().for_each(|n| cluster.mend(n)),
            4 => {
                cluster.lose_power(n).await;
                shards.remove(&n);
                cluster.start(n).await;
                shards.insert(n, cluster.shard(n));
            }
            5 => drop(shards.insert(n, cluster.shard(n))),
            _ => {}
        }
        for (n, shard) in &mut shards {
            shard.drain();
            if let Some(tenure) = shard.tenure
                && !shard.waits
            {
                let payload = Bytes::from(format!("{round} of {n}"));
                fates.push((payload.clone(), shard.begin(tenure, payload)));
            }
        }
        tokio::time::sleep(Duration::from_millis(random.below(40))).await;
    }

    ALL.into_iter().for_each(|n| cluster.mend(n));
    let last = end(&mut shards).await;
    for shard in shards.values_mut() {
        shard.apply(last).await;
    }
    check(seed, &shards, fates);
}

/// Proposes entries until one is acknowledged.
async fn end(shards: &mut BTreeMap<u64, Shard>) -> LogId {
    loop {
        for shard in shards.values_mut() {
            shard.drain();
            if let Some(tenure) = shard.tenure
                && !shard.waits
                && let Ok(Ok(id)) = shard.begin(tenure, "the end").await
            {
                return id;
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn check(seed: u64, shards: &BTreeMap<u64, Shard>, fates: Vec<(Bytes, Fate)>) {
    let applied = &shards[&1].applied;
    for (n, shard) in shards {
        assert_eq!(&shard.applied, applied, "seed {seed}: node {n} has what node 1 has");
    }
    let mut acknowledged = 0;
    for (payload, mut fate) in fates {
        let found: Vec<LogId> =
            applied.iter().filter(|(_, bytes)| *bytes == payload).map(|(id, _)| *id).collect();
        match fate.try_recv().unwrap_or_else(|_| panic!("seed {seed}: {payload:?} has no answer")) {
            Ok(id) => {
                assert_eq!(found, [id], "seed {seed}: {payload:?} was acknowledged");
                acknowledged += 1;
            }
            Err(Error::NotLeader { .. }) => assert!(found.is_empty(), "seed {seed}: {payload:?} was refused"),
            Err(Error::Deposed { .. }) => assert!(found.len() < 2, "seed {seed}: {payload:?} is there twice"),
            Err(other) => panic!("seed {seed}: {other}"),
        }
    }

    assert!(acknowledged > 10, "seed {seed}: {acknowledged} entries were acknowledged");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_on_all_nodes_and_what_was_refused_on_none() {
    for seed in 0..4 {
        live(seed).await;
    }
}
