//! Consensus opens the very log that the local rule wrote, and the local rule opens it again afterwards.

mod machine;
mod network;
mod replication;
mod store;
mod suite;

use bytes::Bytes;
use cluster::consensus::types::{self, Payload, RaftVote, Types};
use cluster::consensus::{Store, Timing};
use cluster::wal::{Kind, State, Wal};
use cluster::{Options, Storage};
use machine::Machine;
use network::NoNetwork;
use openraft::storage::RaftLogStorage;
use openraft::{BasicNode, Config, Raft};
use runtime::files::{Files, sim::Sim};
use runtime::log::{LogId, ShardLog, Tenure};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Duration;

const FOLDER: &str = "log";
const GROUP: u32 = 5;
const NODE: u64 = 1;
const PATIENCE: Option<Duration> = Some(Duration::from_secs(20));

fn options() -> Options {
    Options { node: NODE, segment_bytes: 64 << 10, reserve_bytes: 64 << 10, ..Options::default() }
}

fn wal(disk: &Sim) -> Arc<Wal> {
    disk.create_folder(Path::new(FOLDER)).unwrap();
    Arc::new(Wal::open(Arc::new(disk.clone()), Path::new(FOLDER), options()).unwrap())
}

fn storage(disk: &Sim) -> Storage {
    Storage::open(Arc::new(disk.clone()), Path::new(FOLDER), options()).unwrap()
}

fn propose(log: &Arc<dyn ShardLog>, payload: &'static [u8]) -> LogId {
    let (sender, fate) = mpsc::channel();
    let term = leads(log).unwrap();
    log.propose(
        Tenure::whole(term),
        Bytes::from_static(payload),
        Box::new(move |result| drop(sender.send(result))),
    );
    fate.recv().unwrap().unwrap()
}

fn replayed(log: &Arc<dyn ShardLog>) -> Vec<(LogId, Bytes)> {
    let entries = log.read(0, u64::MAX, usize::MAX).unwrap();
    entries.into_iter().map(|entry| (entry.id, entry.payload)).collect()
}

/// The term in which this node leads by the local rule.
fn leads(log: &Arc<dyn ShardLog>) -> Option<u64> {
    log.listen(Box::new(|_| {})).leads.map(|tenure| tenure.term)
}

async fn raft(wal: &Arc<Wal>, machine: &Machine) -> Raft<Types, Machine> {
    let config = Config { enable_elect: false, ..Timing::default().config(true).unwrap() };
    let store = Store::new(wal.clone(), GROUP);
    Raft::new(NODE, Arc::new(config), NoNetwork, store, machine.clone()).await.unwrap()
}

/// Elects the only voter in a term of its own. The local rule's vote is a won election, in which consensus would go on
/// as the leader without another; a vote for the next term ends it.
async fn elect(log: &Arc<Wal>, machine: &Machine) -> Raft<Types, Machine> {
    let local = log.state(GROUP).vote.unwrap();
    let mut store = Store::new(log.clone(), GROUP);
    store.save_vote(&RaftVote::new(local.term + 1, NODE)).await.unwrap();
    let raft = raft(log, machine).await;
    assert_eq!(raft.current_leader().await, None);
    raft.trigger().elect(false).await.unwrap();
    raft.wait(PATIENCE).current_leader(NODE, "the only voter elects itself").await.unwrap();
    raft
}

async fn write(raft: &Raft<Types, Machine>, payload: &'static [u8]) -> LogId {
    let written = raft.client_write(Payload(Bytes::from_static(payload))).await.unwrap();
    types::from_raft(&written.log_id)
}

/// A group's marks and the shape of its entries.
fn shape(wal: &Wal) -> (State, Vec<(Kind, LogId, Bytes)>) {
    let entries = wal.read(GROUP, 0..u64::MAX, usize::MAX).unwrap();
    let entries = entries.into_iter().map(|entry| (entry.kind, entry.id, entry.payload)).collect();
    (wal.state(GROUP), entries)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consensus_reads_every_entry_of_a_local_log_and_goes_on_and_the_local_rule_after_it() {
    let disk = Sim::new(1);
    let mut expected = Vec::new();
    for round in [&[b"a1" as &[u8], b"a2"], &[b"b1" as &[u8], b"b2"]] {
        let storage = storage(&disk);
        let log = storage.shard_log(GROUP - 1);
        expected.extend(round.iter().map(|payload| (propose(&log, payload), Bytes::from_static(payload))));
    }

    let machine = Machine::default();
    let log = wal(&disk);
    let local_term = log.state(GROUP).vote.unwrap().term;
    let raft = elect(&log, &machine).await;
    raft.wait(PATIENCE)
        .applied_index_at_least(log.state(GROUP).last.map(|last| last.index), "all")
        .await
        .unwrap();
    assert_eq!(machine.applied(), expected, "every entry reaches the state machine");
    for payload in [b"c1" as &[u8], b"c2"] {
        expected.push((write(&raft, payload).await, Bytes::from_static(payload)));
    }
    assert_eq!(machine.applied(), expected);
    raft.shutdown().await.unwrap();
    drop(raft);
    let raft_term = log.state(GROUP).vote.unwrap().term;
    assert!(raft_term > local_term && expected.last().unwrap().0.term == raft_term);
    log.close();
    disk.crash();

    let storage = storage(&disk);
    let log = storage.shard_log(GROUP - 1);
    assert_eq!(replayed(&log), expected);
    assert_eq!(leads(&log), Some(raft_term + 1));
    let last = propose(&log, b"d1");
    assert!(last.index > expected.last().unwrap().0.index);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_local_rule_writes_what_consensus_would_have_written() {
    let disk = Sim::new(1);
    let log = wal(&disk);
    let raft = raft(&log, &Machine::default()).await;
    raft.initialize(BTreeMap::from([(NODE, BasicNode::new(""))])).await.unwrap();
    raft.wait(PATIENCE).applied_index_at_least(Some(1), "the leader's blank entry").await.unwrap();
    let written = write(&raft, b"x").await;
    raft.shutdown().await.unwrap();
    let (consensus_state, consensus_entries) = shape(&log);

    let disk = Sim::new(1);
    let local = storage(&disk);
    assert_eq!(propose(&local.shard_log(GROUP - 1), b"x"), written);
    drop(local);

    let (local_state, local_entries) = shape(&wal(&disk));
    assert_eq!(local_entries, consensus_entries);
    assert_eq!(local_state.membership, consensus_state.membership);
    assert_eq!(local_state.last, consensus_state.last);
    assert_eq!(local_state.vote, consensus_state.vote);
}
