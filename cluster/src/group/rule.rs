//! Which rule commits what a shard proposes, and what waits while that changes.

use crate::consensus::Running;
use bytes::Bytes;
use std::sync::{Arc, Mutex, PoisonError};

/// The rule of a group at this time.
pub(super) enum Rule {
    /// This node is alone, and leads in a term.
    Local { term: u64 },
    /// openraft.
    Consensus(Arc<Running>),
    /// This node is alone, and the rule is about to change.
    Held(Parked),
    /// Nothing is committed here: the group is not placed on this node, or the node has not joined the others yet.
    Absent,
}

/// An entry that the shard was promised an answer to.
pub(super) struct Proposal {
    /// What it is answered by.
    pub(super) number: u64,
    pub(super) payload: Bytes,
    pub(super) made: Use,
}

/// What an entry is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    Any,
    /// It frees space, and may use the reserve.
    Upkeep,
}

/// The proposal that came while the rule was changing: a shard makes one at a time.
#[derive(Default)]
pub(super) struct Parked(Mutex<Option<(u64, Proposal)>>);

impl Parked {
    /// Keeps a proposal of a term. One that is here already is answered, or there would be no other.
    pub(super) fn put(&self, term: u64, proposal: Proposal) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((term, proposal));
    }

    pub(super) fn take(self) -> Option<(u64, Proposal)> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}
