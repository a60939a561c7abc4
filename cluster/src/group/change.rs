//! What may be asked of a group, and how it is.

use std::collections::{BTreeMap, BTreeSet};

/// A change of who takes part in a group. The group's leader carries it out. One that is carried out already is carried out
/// again at no cost, so whoever has not heard of the outcome repeats it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A node gets the log, and does not decide.
    Learn {
        /// Which.
        node: u64,
    },
    /// These decide from now on. All of them must have learned; whoever is none of them is out of the group.
    Vote {
        /// Which.
        voters: BTreeSet<u64>,
    },
    /// Another one leads. The shard pauses until it does.
    Transfer {
        /// Which; it must be a voter that has about all entries.
        to: u64,
    },
    /// A node that does not decide is out of the group.
    Forget {
        /// Which.
        node: u64,
    },
}

/// Why a group was not changed. It is as it was, unless the variant says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Stuck {
    /// There is no wire to other nodes.
    #[error("group {group} cannot change: this node has not joined other nodes yet; join first")]
    Unjoined {
        /// The group.
        group: u32,
    },
    /// Another node leads the group, or none.
    #[error("this node does not lead group {group}; ask its leader (node {leader:?})")]
    NotLeader {
        /// The group.
        group: u32,
        /// Who leads, where it is known.
        leader: Option<u64>,
    },
    /// The group has other nodes.
    #[error("group {group} has other nodes, or a change of them is under way; take them out first")]
    NotAlone {
        /// The group.
        group: u32,
    },
    /// Consensus, or the log, did not do it. A change of the members may be carried out all the same.
    #[error("group {group} did not change: {reason}; try again")]
    Refused {
        /// The group.
        group: u32,
        /// What it says.
        reason: String,
    },
}

/// How a group is, as far as its node knows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct View {
    /// Whether consensus commits; else the local rule does, or nothing is committed here.
    pub by_consensus: bool,
    /// The latest term.
    pub term: u64,
    /// Who leads, where it is known.
    pub leader: Option<u64>,
    /// Who decides.
    pub voters: BTreeSet<u64>,
    /// Who has the log and does not decide.
    pub learners: BTreeSet<u64>,
    /// Whether the group is changing from one set of voters to another.
    pub is_joint: bool,
    /// The last entry here.
    pub last: Option<u64>,
    /// Through which entry the group is committed.
    pub committed: Option<u64>,
    /// How much of the log each node has, on the leader under consensus.
    pub matched: BTreeMap<u64, u64>,
    /// How long ago a quorum has answered the leader, in milliseconds; none where this node does not lead by consensus.
    pub quorum_acked_ms: Option<u64>,
}
