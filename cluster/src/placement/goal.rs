//! What a group is to become.

use super::rendezvous::meta_group;
use crate::meta::{Placement, State};
use std::collections::BTreeSet;

/// Who is to take part in a group, and how.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Goal {
    /// Who decides.
    pub voters: BTreeSet<u64>,
    /// Who has the log only.
    pub learners: BTreeSet<u64>,
    /// Who should lead it.
    pub preferred: Option<u64>,
    /// Whether the map waits to hear that it is reached.
    pub is_move: bool,
}

impl Goal {
    /// That of a shard's group.
    #[must_use]
    pub fn of(placement: &Placement) -> Self {
        let voters: BTreeSet<u64> = placement.voters().iter().copied().collect();
        let learners = placement.goal().iter().copied().filter(|node| !voters.contains(node)).collect();
        Self { voters, learners, preferred: placement.preferred, is_move: placement.target.is_some() }
    }

    /// That of the meta group.
    #[must_use]
    pub fn meta(state: &State) -> Self {
        let (voters, learners) = meta_group(state);
        Self { voters, learners, preferred: None, is_move: false }
    }

    /// Everybody who is to take part.
    #[must_use]
    pub fn members(&self) -> BTreeSet<u64> {
        &self.voters | &self.learners
    }
}
