//! Three nodes of one process replicate a group over a wire in memory, each on a disk of its own.

use crate::machine::Machine;
use crate::{GROUP, PATIENCE, propose, replayed, storage, wal};
use bytes::Bytes;
use cluster::consensus::types::{self, Payload, Types};
use cluster::consensus::{Desk, Store, Timing};
use cluster::wal::Wal;
use cluster::wire::memory::Mesh;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::{BasicNode, Raft, ServerState};
use runtime::files::sim::Sim;
use runtime::log::LogId;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const ALL: [u64; 3] = [1, 2, 3];

struct Cluster {
    mesh: Mesh,
    timing: Timing,
    nodes: BTreeMap<u64, Node>,
}

struct Node {
    disk: Sim,
    starts: u64,
    running: Option<Running>,
}

struct Running {
    wal: Arc<Wal>,
    machine: Machine,
    raft: Raft<Types, Machine>,
}

impl Cluster {
    /// Three nodes that do not run.
    fn asleep() -> Self {
        let mesh = Mesh::new(1, Duration::ZERO..Duration::from_millis(2));
        let election = Duration::from_millis(400)..=Duration::from_millis(800);
        let timing = Timing { heartbeat: Duration::from_millis(80), election };
        let node = |n| (n, Node { disk: Sim::new(n), starts: 0, running: None });
        Self { mesh, timing, nodes: ALL.map(node).into() }
    }

    /// Three nodes that know of each other.
    async fn new() -> Self {
        let mut cluster = Self::asleep();
        for n in ALL {
            cluster.start(n).await;
        }
        let members: BTreeMap<u64, BasicNode> = ALL.map(|n| (n, BasicNode::new(""))).into();
        cluster.raft(1).initialize(members).await.unwrap();
        cluster
    }

    async fn start(&mut self, n: u64) {
        self.start_as(n, false).await;
    }

    async fn start_as(&mut self, n: u64, alone: bool) {
        let node = self.nodes.get_mut(&n).unwrap();
        node.starts += 1;
        let (wal, machine) = (wal(&node.disk), Machine::default());
        let desk = Arc::new(Desk::new(self.mesh.wire(n), &self.timing, wal.clone()));
        let config = Arc::new(self.timing.config(alone).unwrap());
        let store = Store::new(wal.clone(), GROUP);
        let raft = Raft::new(n, config, desk.links(GROUP), store, machine.clone()).await.unwrap();
        desk.open(GROUP, raft.clone());
        self.mesh.join(n, node.starts, desk);
        node.running = Some(Running { wal, machine, raft });
    }

    /// The power of a node goes: what it had not made durable is lost.
    async fn lose_power(&mut self, n: u64) {
        self.mesh.leave(n);
        let node = self.nodes.get_mut(&n).unwrap();
        let Running { wal, raft, .. } = node.running.take().unwrap();
        raft.shutdown().await.unwrap();
        wal.close();
        node.disk.crash();
    }

    fn raft(&self, n: u64) -> &Raft<Types, Machine> {
        &self.nodes[&n].running.as_ref().unwrap().raft
    }

    /// Who leads, as one node sees it: as soon as it is one of some nodes.
    async fn leader(&self, seen_by: u64, among: &[u64]) -> u64 {
        let leads = |leader: Option<u64>| leader.filter(|leader| among.contains(leader));
        let seen = self.raft(seen_by).wait(PATIENCE);
        let seen = seen.metrics(|metrics| leads(metrics.current_leader).is_some(), "a leader").await.unwrap();
        let leader = leads(seen.current_leader).unwrap();
        let itself = self.raft(leader).wait(PATIENCE);
        itself.state(ServerState::Leader, "it knows").await.unwrap();
        leader
    }

    /// Gives one of some nodes an entry. Each error says that the entry never will be: another node leads, or the one
    /// that was elected has not heard of a quorum yet.
    async fn write(&self, among: &[u64], payload: Bytes) -> (LogId, Bytes) {
        for n in among.iter().cycle().take(10_000) {
            match self.raft(*n).client_write(Payload(payload.clone())).await {
                Ok(written) => return (types::from_raft(&written.log_id), payload),
                Err(_) => tokio::time::sleep(Duration::from_millis(2)).await,
            }
        }
        panic!("none of {among:?} took the entry");
    }

    /// Waits until a node has applied an entry, and answers all that it has applied.
    async fn applied(&self, n: u64, through: LogId) -> Vec<(LogId, Bytes)> {
        let Running { raft, machine, .. } = self.nodes[&n].running.as_ref().unwrap();
        raft.wait(PATIENCE)
            .applied_index_at_least(Some(through.index), "all that was written")
            .await
            .unwrap();
        machine.applied()
    }

    async fn all_have_applied(&self, expected: &[(LogId, Bytes)]) {
        for n in 1..=3 {
            assert_eq!(self.applied(n, expected.last().unwrap().0).await, expected, "node {n}");
        }
    }
}

fn others(node: u64) -> Vec<u64> {
    (1..=3).filter(|other| *other != node).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_node_is_given_all_apply() {
    let cluster = Cluster::new().await;

    let mut written = Vec::new();
    for n in 0..20_u8 {
        // Some are larger than a vote may wait for.
        let payload = vec![n; if n % 5 == 0 { 300_000 } else { 10 }];
        written.push(cluster.write(&ALL, payload.into()).await);
    }

    cluster.all_have_applied(&written).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_cut_off_is_replaced_and_what_it_could_not_commit_never_was() {
    let cluster = Cluster::new().await;
    let old = cluster.leader(1, &ALL).await;
    let mut written = vec![cluster.write(&ALL, "before".into()).await];
    cluster.all_have_applied(&written).await;
    let [one, two] = others(old)[..] else { panic!("there are two others") };

    cluster.mesh.cut(old, one);
    cluster.mesh.cut(old, two);
    let alone = cluster.raft(old).clone();
    let lost = tokio::spawn(async move { alone.client_write(Payload("lost".into())).await });
    written.push(cluster.write(&[one, two], "after".into()).await);
    cluster.mesh.mend(old, one);
    cluster.mesh.mend(old, two);

    cluster.all_have_applied(&written).await;
    assert!(lost.await.unwrap().is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_lost_power_catches_up() {
    let mut cluster = Cluster::new().await;
    let leader = cluster.leader(1, &ALL).await;
    let mut written = vec![cluster.write(&ALL, "first".into()).await];
    let follower = others(leader)[0];

    cluster.lose_power(follower).await;
    for n in 0..10 {
        written.push(cluster.write(&ALL, vec![n; 200_000].into()).await);
    }
    cluster.start(follower).await;

    cluster.all_have_applied(&written).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_with_a_full_disk_takes_nothing_and_catches_up_when_there_is_room() {
    let cluster = Cluster::new().await;
    let leader = cluster.leader(1, &ALL).await;
    let mut written = vec![cluster.write(&ALL, "first".into()).await];
    let follower = others(leader)[0];
    let disk = cluster.nodes[&follower].disk.clone();
    cluster.all_have_applied(&written).await;

    disk.set_capacity(disk.used() + 1000);
    // The disk is asked ten times a second.
    tokio::time::sleep(Duration::from_millis(120)).await;
    for n in 0..10 {
        written.push(cluster.write(&ALL, vec![n; 20_000].into()).await);
    }
    let Running { raft, wal, .. } = cluster.nodes[&follower].running.as_ref().unwrap();
    assert_eq!(wal.state(GROUP).last, Some(written[0].0));
    raft.metrics().borrow_watched().running_state.clone().unwrap();
    disk.set_capacity(u64::MAX);

    cluster.all_have_applied(&written).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_committed_outlives_the_power_of_all() {
    let mut cluster = Cluster::new().await;
    let mut written = vec![cluster.write(&ALL, "kept".into()).await];

    for n in 1..=3 {
        cluster.lose_power(n).await;
    }
    for n in 1..=3 {
        cluster.start(n).await;
    }
    written.push(cluster.write(&ALL, "more".into()).await);

    cluster.all_have_applied(&written).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_hands_its_place_over() {
    let cluster = Cluster::new().await;
    let old = cluster.leader(1, &ALL).await;
    let mut written = vec![cluster.write(&ALL, "before".into()).await];
    let heir = others(old)[1];
    cluster.all_have_applied(&written).await;

    cluster.raft(old).trigger().transfer_leader(heir).await.unwrap();

    cluster.leader(heir, &[heir]).await;
    written.push(cluster.write(&ALL, "after".into()).await);
    cluster.all_have_applied(&written).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lone_log_grows_to_three_nodes_in_its_term_and_becomes_a_lone_log_again() {
    let mut cluster = Cluster::asleep();
    let disk = cluster.nodes[&1].disk.clone();
    let local = storage(&disk);
    let mut written: Vec<(LogId, Bytes)> = Vec::new();
    for payload in ["alone", "still alone"] {
        written.push((propose(&local.shard_log(GROUP - 1), payload.as_bytes()), payload.into()));
    }
    drop(local);
    let term = written[0].0.term;

    cluster.start_as(1, true).await;
    cluster.leader(1, &[1]).await;
    written.push(cluster.write(&[1], "by consensus".into()).await);
    assert_eq!(written[2].0, LogId { term, index: written[1].0.index + 1 }, "no election, no blank entry");
    cluster.start(2).await;
    cluster.start(3).await;
    for n in [2, 3] {
        cluster.raft(1).add_learner(n, BasicNode::new(""), true).await.unwrap();
    }
    cluster.raft(1).change_membership(ALL, false).await.unwrap();
    written.push(cluster.write(&[1], "by three".into()).await);
    cluster.all_have_applied(&written).await;
    assert_eq!(written[3].0.term, term, "one term through it all");

    cluster.raft(1).change_membership([1], false).await.unwrap();
    for n in ALL {
        cluster.lose_power(n).await;
    }
    let local = storage(&disk);
    let log = local.shard_log(GROUP - 1);
    assert_eq!(replayed(&log), written);
    assert!(propose(&log, b"alone again") > written[3].0);
}
