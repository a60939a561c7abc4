//! Who takes part in a group under consensus, and how that is changed.

use super::running::Running;
use super::types::{self, Types};
use crate::group::{Change, Stuck, View};
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ClientWriteError, RaftError};
use openraft::{BasicNode, ChangeMembers, Instant, ServerState};
use std::collections::BTreeSet;

/// How many entries whoever is to lead may lack when it is told so: those that are on their way to it.
const BEHIND_MAX: u64 = 64;

impl Running {
    /// Carries out a change, and answers when it is committed; a transfer when the heir has been told.
    pub(crate) async fn change(&self, change: Change) -> Result<(), Stuck> {
        if self.has(&change).await {
            return Ok(());
        }
        let written = match change {
            // Addresses are no part of it: they change, and the entry would not.
            Change::Learn { node } => self.raft.add_learner(node, BasicNode::new(""), false).await,
            Change::Vote { voters } => self.raft.change_membership(voters, false).await,
            Change::Forget { node } => {
                let nodes = BTreeSet::from([node]);
                self.raft.change_membership(ChangeMembers::RemoveNodes(nodes), false).await
            }
            Change::Transfer { to } => {
                self.can_lead(to)?;
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

    /// Whether a change is committed already.
    async fn has(&self, change: &Change) -> bool {
        if let Change::Transfer { to } = change {
            return self.view().leader == Some(*to);
        }

        let seen = self.raft.with_raft_state(|state| {
            let members = &state.membership_state;
            let is_settled = members.effective().log_id() == members.committed().log_id();
            // Only the leader knows what is committed last.
            let settled = is_settled && state.server_state == ServerState::Leader;
            settled.then(|| types::membership_from_raft(members.committed().membership()))
        });
        let Ok(Some(members)) = seen.await else { return false };
        match change {
            Change::Learn { node } => members.nodes.contains_key(node),
            Change::Vote { voters } => members.configs == [voters.clone()],
            Change::Forget { node } => !members.nodes.contains_key(node),
            Change::Transfer { .. } => false,
        }
    }

    /// Whether a node can take the lead at once. openraft stops for one that cannot, until there is an election.
    fn can_lead(&self, to: u64) -> Result<(), Stuck> {
        let View { leader, voters, last, matched, .. } = self.view();
        if leader != Some(self.node) {
            return Err(Stuck::NotLeader { group: self.group, leader });
        }
        let behind = last.unwrap_or(0).saturating_sub(matched.get(&to).copied().unwrap_or(0));
        let reason = match (voters.contains(&to), behind) {
            (false, _) => format!("node {to} is no voter"),
            (true, behind) if behind > BEHIND_MAX => format!("node {to} lacks {behind} entries"),
            (true, _) => return Ok(()),
        };
        Err(Stuck::Refused { group: self.group, reason })
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
            quorum_acked_ms: seen
                .last_quorum_acked
                .map(|at| u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX)),
            matched: matched.map(|(node, id)| (*node, id.as_ref().map_or(0, |id| id.index))).collect(),
        }
    }

    fn refused(&self, error: &dyn std::error::Error) -> Stuck {
        Stuck::Refused { group: self.group, reason: error.to_string() }
    }
}
