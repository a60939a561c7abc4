//! The types that consensus runs on, and how the log's own map to them.
//!
//! A term has one leader, so the term alone is a leader's identity in a log id, as it is in the log's records and in what
//! a shard knows as its epoch.

use super::rt::Rt;
use crate::membership::Membership;
use crate::wal::{Entry, Kind, Vote};
use bytes::Bytes;
use openraft::impls::{BoxedErrorSource, InlineBatch, leader_id_std};
use openraft::raft::responder::Responder;
use openraft::vote::RaftLeaderId;
use openraft::{BasicNode, EntryPayload, OptionalSend, RaftTypeConfig};
use runtime::log::LogId;
use std::{fmt, io};

/// What a shard proposes. openraft writes it to its own messages by its length alone.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload(pub Bytes);

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The types that openraft is built of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Types;

impl RaftTypeConfig for Types {
    type D = Payload;
    type R = ();
    type NodeId = u64;
    type Node = BasicNode;
    type Term = u64;
    type LeaderId = LeaderId;
    type Vote = RaftVote;
    type Payload = RaftPayload;
    type Entry = RaftEntry;
    type AsyncRuntime = Rt;
    type Responder<T>
        = Heard<T>
    where
        T: OptionalSend + 'static;
    type Batch<T>
        = InlineBatch<T>
    where
        T: OptionalSend + 'static;
    type ErrorSource = BoxedErrorSource;
}

/// Hears the fate of a proposal, on openraft's own task.
pub struct Heard<T>(Box<dyn FnOnce(T) + Send>);

impl<T> Heard<T> {
    /// Hands the fate on.
    pub fn new(heard: impl FnOnce(T) + Send + 'static) -> Self {
        Self(Box::new(heard))
    }
}

impl<T: OptionalSend + 'static> Responder<Types, T> for Heard<T> {
    fn on_complete(self, result: T) {
        (self.0)(result);
    }
}

/// Who leads, or wants to.
pub type LeaderId = leader_id_std::LeaderId<u64, u64>;
/// Who leads, as a log id has it: the term.
pub type RaftLeader = <LeaderId as RaftLeaderId>::Committed;
/// An entry's place.
pub type RaftLogId = openraft::LogId<RaftLeader>;
/// A vote.
pub type RaftVote = openraft::Vote<LeaderId>;
/// What an entry holds.
pub type RaftPayload = EntryPayload<Payload, u64, BasicNode>;
/// An entry.
pub type RaftEntry = openraft::Entry<RaftLeader, RaftPayload>;
/// Who takes part.
pub type RaftMembership = openraft::Membership<u64, BasicNode>;
/// Who takes part since an entry.
pub type StoredMembership = openraft::StoredMembership<RaftLeader, u64, BasicNode>;

/// The log's form of a place.
#[must_use]
pub fn from_raft(id: &RaftLogId) -> LogId {
    LogId { term: id.leader_id.term, index: id.index }
}

/// openraft's form of a place.
#[must_use]
pub fn to_raft(id: LogId) -> RaftLogId {
    RaftLogId::new_term_index(id.term, id.index)
}

/// openraft's form of a vote.
#[must_use]
pub fn vote_to_raft(vote: Vote) -> RaftVote {
    let Vote { term, node, committed } = vote;
    if committed { RaftVote::new_committed(term, node) } else { RaftVote::new(term, node) }
}

/// The log's form of a vote.
#[must_use]
pub fn vote_from_raft(vote: &RaftVote) -> Vote {
    Vote { term: vote.leader_id.term, node: vote.leader_id.voted_for, committed: vote.committed }
}

/// The log's form of an entry.
#[must_use]
pub fn entry_from_raft(entry: RaftEntry) -> Entry {
    let id = from_raft(&entry.log_id);
    let (kind, payload) = match entry.payload {
        EntryPayload::Blank => (Kind::Blank, Bytes::new()),
        EntryPayload::Normal(payload) => (Kind::Normal, payload.0),
        EntryPayload::Membership(membership) => {
            (Kind::Membership, membership_from_raft(&membership).encode().into())
        }
    };
    Entry { kind, id, payload }
}

/// openraft's form of an entry.
///
/// # Errors
/// When its membership cannot be read, or it is no entry at all.
pub fn entry_to_raft(entry: Entry) -> io::Result<RaftEntry> {
    let payload = match entry.kind {
        Kind::Blank => EntryPayload::Blank,
        Kind::Normal => EntryPayload::Normal(Payload(entry.payload)),
        Kind::Membership => EntryPayload::Membership(membership_to_raft(&entry.payload)?),
        kind => return Err(io::Error::other(format!("{kind:?} is no entry"))),
    };
    Ok(RaftEntry { log_id: to_raft(entry.id), payload })
}

/// A membership of the log, with its place.
pub(super) fn stored_membership(id: LogId, bytes: &[u8]) -> io::Result<StoredMembership> {
    Ok(StoredMembership::new(Some(to_raft(id)), membership_to_raft(bytes)?))
}

pub(super) fn membership_from_raft(membership: &RaftMembership) -> Membership {
    let nodes = membership.nodes().map(|(node, address)| (*node, address.addr.clone())).collect();
    Membership { configs: membership.get_joint_config().clone(), nodes }
}

fn membership_to_raft(bytes: &[u8]) -> io::Result<RaftMembership> {
    let Membership { configs, nodes } = Membership::decode(bytes).map_err(io::Error::other)?;
    let nodes = nodes.into_iter().map(|(node, address)| (node, BasicNode::new(address)));
    RaftMembership::new(configs, nodes.collect::<std::collections::BTreeMap<_, _>>())
        .map_err(io::Error::other)
}
