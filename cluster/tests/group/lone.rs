//! A group of one node, by the local rule.

use crate::world::{Cluster, hold};
use runtime::log::{Error, ShardLog, Tenure};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_listens_while_anothers_proposal_is_under_way_leads_when_its_fate_is_known() {
    let cluster = Cluster::lone().await;
    let mut dies = cluster.shard(1);
    let tenure = dies.lead().await;
    let held = hold(&cluster.wals[&1]);
    let fate = dies.begin(tenure, "of one that died");

    let mut next = cluster.shard(1);
    assert_eq!(next.tenure, None);
    drop(held);
    let again = next.lead().await;

    assert_eq!(fate.await.unwrap(), Err(Error::Deposed { term: tenure.term }));
    assert!(again.term == tenure.term && again != tenure);
    assert_eq!(next.applied.len(), 1);
    assert!(matches!(dies.begin(tenure, "late").await.unwrap(), Err(Error::NotLeader { .. })));
    next.propose("goes on").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lone_shard_needs_no_proof_and_no_wire() {
    let cluster = Cluster::lone().await;
    let shard = cluster.shard(1);

    assert_eq!(shard.tenure, Some(Tenure::whole(1)));
    assert!(!shard.log.needs_confirming());
    assert_eq!(shard.confirm(Tenure::whole(1)).await, Ok(()));
    assert_eq!(shard.confirm(Tenure::whole(2)).await, Err(Error::NotLeader { term: 2 }));
}
