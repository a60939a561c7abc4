//! The local commit rule: in a group of one voter, the writer's fdatasync commits.
//!
//! What is written is what consensus would write for such a group: a membership as entry 0 of term 0; at each start a
//! vote for this node in a term one higher, which is a won election, and the blank entry of the new leader. So when a
//! second node joins, consensus opens the very same log, and goes on as the leader of that term.
//!
//! Everything found at a start counts as committed: recovery has made it durable, and no other voter exists. The start
//! notes that in a committed mark.

use super::Group;
use super::rule::{Proposal, Use};
use crate::membership::Membership;
use crate::wal::{Kind, Record, State, Vote};
use bytes::Bytes;
use runtime::log::{Error, LogId};
use std::sync::atomic::Ordering;

/// Whether a group's log is to be led by the local rule: it has no other node, or is begun here. A log without entries
/// is, when the node is new, or when it has this node's own vote, as after a restore; not one that was forgotten, which
/// other nodes have.
pub(super) fn is_alone(node: u64, state: &State, begins: bool) -> bool {
    if state.last.is_none() {
        let elected = |vote: Vote| vote.node == node && vote.committed;
        return state.forgotten == 0 && (begins || state.vote.is_some_and(elected));
    }
    let membership = state.membership.as_ref().and_then(|(_, bytes)| Membership::decode(bytes).ok());
    membership.is_some_and(|membership| membership.is_alone(node))
}

/// The term of the next election.
pub(super) fn next_term(state: &State) -> u64 {
    let seen = state.vote.map_or(0, |vote| vote.term).max(state.last.map_or(0, |last| last.term));
    seen.saturating_add(1)
}

/// The records of a won election of the only voter, and those of the group's beginning before it.
pub(super) fn election(group: u32, node: u64, term: u64, state: &State) -> Vec<Record> {
    let entry = |kind, term, index, payload| Record::entry(group, kind, LogId { term, index }, payload);
    let mut records = Vec::new();
    let next = match state.last {
        None => {
            let membership = Membership::alone(node).encode();
            records.push(entry(Kind::Membership, 0, 0, membership.into()));
            1
        }
        Some(last) => {
            records.push(Record::committed(group, last));
            last.index.saturating_add(1)
        }
    };
    records.push(Record::vote(group, Vote { term, node, committed: true }));
    records.push(entry(Kind::Blank, term, next, Bytes::new()));
    records
}

impl Group {
    /// Appends an entry. Only one is on its way to the disk: the shard is told of no tenure before that is answered.
    pub(super) fn append(&self, term: u64, Proposal { number, payload, made }: Proposal) {
        let id = LogId { term, index: self.wal.next(self.number) };
        let record = Record::entry(self.number, Kind::Normal, id, payload);
        let telling = self.telling.clone();
        let done = move |fate: Result<(), Error>| {
            match fate {
                Ok(()) => telling.accepted(number, id),
                Err(error) => telling.refused(number, error),
            }
            // Whoever has listened since leads now.
            telling.resume(term);
        };
        match made {
            Use::Any => self.wal.append(vec![record], Box::new(done)),
            Use::Upkeep => self.wal.append_upkeep(vec![record], Box::new(done)),
        }
    }

    /// Drops the entries through an index. One that comes while another is being written is left to the next: the shard
    /// says so again soon.
    pub(super) fn drop_through(&self, index: u64) {
        let Some(id) = self.wal.id(self.number, index) else { return };
        if self.purging.swap(true, Ordering::AcqRel) {
            return;
        }
        let purging = self.purging.clone();
        let done = move |_| purging.store(false, Ordering::Release);
        self.wal.append(vec![Record::purged(self.number, id)], Box::new(done));
    }
}
