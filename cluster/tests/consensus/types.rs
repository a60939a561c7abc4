//! The types that consensus runs on, and how the log's own map to them.

use bytes::Bytes;
use cluster::membership::Membership;
use cluster::wal::{Entry, Kind, Record, Vote};
use openraft::impls::leader_id_std;
use openraft::vote::RaftLeaderId;
use openraft::{BasicNode, Config, EntryPayload, SnapshotPolicy};
use runtime::log::LogId;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::Arc;

/// What a shard proposes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Payload(pub(crate) Bytes);

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

openraft::declare_raft_types!(
    pub(crate) Types:
        D = Payload,
        R = (),
        LeaderId = leader_id_std::LeaderId<u64, u64>,
);

pub(crate) type RaftLeader = <leader_id_std::LeaderId<u64, u64> as RaftLeaderId>::Committed;
pub(crate) type RaftLogId = openraft::LogId<RaftLeader>;
pub(crate) type RaftVote = openraft::Vote<leader_id_std::LeaderId<u64, u64>>;
pub(crate) type RaftEntry = openraft::Entry<RaftLeader, EntryPayload<Payload, u64, BasicNode>>;
pub(crate) type RaftMembership = openraft::Membership<u64, BasicNode>;
pub(crate) type StoredMembership = openraft::StoredMembership<RaftLeader, u64, BasicNode>;

pub(crate) fn config() -> Arc<Config> {
    let config = Config { snapshot_policy: SnapshotPolicy::Never, enable_elect: false, ..Config::default() };
    Arc::new(config.validate().unwrap())
}

pub(crate) fn from_raft(id: &RaftLogId) -> LogId {
    LogId { term: id.leader_id.term, index: id.index }
}

pub(crate) fn to_raft(id: LogId) -> RaftLogId {
    RaftLogId::new_term_index(id.term, id.index)
}

pub(crate) fn vote_to_raft(vote: Vote) -> RaftVote {
    let Vote { term, node, committed } = vote;
    if committed { RaftVote::new_committed(term, node) } else { RaftVote::new(term, node) }
}

pub(crate) fn vote_from_raft(vote: &RaftVote) -> Vote {
    Vote { term: vote.leader_id.term, node: vote.leader_id.voted_for, committed: vote.committed }
}

pub(crate) fn record(group: u32, entry: RaftEntry) -> Record {
    let id = from_raft(&entry.log_id);
    let (kind, payload) = match entry.payload {
        EntryPayload::Blank => (Kind::Blank, Bytes::new()),
        EntryPayload::Normal(payload) => (Kind::Normal, payload.0),
        EntryPayload::Membership(membership) => {
            let nodes = membership.nodes().map(|(node, address)| (*node, address.addr.clone())).collect();
            let membership = Membership { configs: membership.get_joint_config().clone(), nodes };
            (Kind::Membership, membership.encode().into())
        }
    };
    Record::entry(group, kind, id, payload)
}

pub(crate) fn entry(entry: Entry) -> io::Result<RaftEntry> {
    let payload = match entry.kind {
        Kind::Blank => EntryPayload::Blank,
        Kind::Normal => EntryPayload::Normal(Payload(entry.payload)),
        Kind::Membership => {
            let Membership { configs, nodes } =
                Membership::decode(&entry.payload).map_err(io::Error::other)?;
            let nodes: BTreeMap<u64, BasicNode> =
                nodes.into_iter().map(|(id, a)| (id, BasicNode::new(a))).collect();
            EntryPayload::Membership(RaftMembership::new(configs, nodes).map_err(io::Error::other)?)
        }
        kind => return Err(io::Error::other(format!("{kind:?} is no entry"))),
    };
    Ok(RaftEntry { log_id: to_raft(entry.id), payload })
}
