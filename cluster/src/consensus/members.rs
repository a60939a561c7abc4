//! Who takes part in a group under consensus, and how that is changed.

use super::running::Running;
use super::types::{self, Types};
use crate::group::{Change, Stuck, View};
use openraft::BasicNode;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ClientWriteError, RaftError};

impl Running {
    /// Carries out a change, and answers when it is committed; a transfer when the heir has been told.
    pub(crate) async fn change(&self, change: Change) -> Result<(), Stuck> {
        let written = match change {
            // Addresses are no part of it: they change, and the entry would not.
            Change::Learn { node } => self.raft.add_learner(node, BasicNode::new(""), false).await,
            Change::Vote { voters } => self.raft.change_membership(voters, false).await,
            Change::Transfer { to } => {
                let told = self.raft.trigger().transfer_leader(to).await;
                return told.map_err(|fatal| self.refused(&fatal));
            }
        };
        written.map(drop).map_err(|error| match error {
            RaftError::APIError(ClientWriteError::<Types>::ForwardToLeader(forward)) => {
                Stuck::NotLeader { group: self.group, leader: forward.leader_id }
            }
            error => self.refused(&error),
        })
    }

    /// How the group is, as far as this node knows.
    pub(crate) fn view(&self) -> View {
        let seen = self.raft.metrics().borrow_watched().clone();
        let membership = types::membership_from_raft(seen.membership_config.membership());
        let matched = seen.replication.iter().flatten();
        View {
            by_consensus: true,
            term: seen.current_term,
            leader: seen.current_leader,
            voters: membership.voters(),
            learners: membership.learners(),
            is_joint: membership.configs.len() > 1,
            last: seen.last_log_index,
            committed: seen.local_committed.map(|id| id.index),
            matched: matched.map(|(node, id)| (*node, id.as_ref().map_or(0, |id| id.index))).collect(),
        }
    }

    fn refused(&self, error: &dyn std::error::Error) -> Stuck {
        Stuck::Refused { group: self.group, reason: error.to_string() }
    }
}
