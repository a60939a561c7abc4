//! What a node may do in a group that it takes part in: stand for election, and lead.

use super::machine::Machine;
use super::types::Types;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::{Raft, RaftMetrics};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};

/// The pause before an heir is looked for again.
const PAUSE: Duration = Duration::from_millis(10);

/// How long another node is given to take the lead over. Consensus stands still meanwhile, and an election follows.
pub(super) const HANDING_OVER_MAX: Duration = Duration::from_secs(1);

/// What a node may do in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Duty {
    /// It may stand for election: its shard has recovered.
    pub(crate) elects: bool,
    /// It may lead.
    pub(crate) is_fit: bool,
}

impl Default for Duty {
    fn default() -> Self {
        Self { elects: true, is_fit: true }
    }
}

impl Duty {
    pub(super) fn stands(self) -> bool {
        self.elects && self.is_fit
    }
}

/// Hands the lead over to a voter that has all entries. Whether this node leads no more, after a second at most.
pub(super) async fn hand_over(raft: &Raft<Types, Machine>) -> bool {
    let (mut metrics, end) = (raft.metrics(), Instant::now() + HANDING_OVER_MAX);
    let leads = |seen: &RaftMetrics<Types>| seen.current_leader == Some(seen.id);
    while Instant::now() < end {
        let seen = metrics.borrow_and_update().clone();
        if !leads(&seen) || seen.running_state.is_err() {
            return true;
        }
        if seen.membership_config.voter_ids().all(|id| id == seen.id) {
            return false;
        }
        let Some(heir) = heir(&seen) else {
            sleep(PAUSE).await;
            continue;
        };
        if raft.trigger().transfer_leader(heir).await.is_err() {
            return true;
        }
        while leads(&metrics.borrow_and_update()) {
            // An election has to do, if the heir has not taken it by then: this one does not lead until then either.
            match timeout_at(end, metrics.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return true,
                Err(_) => return false,
            }
        }
    }
    false
}

/// Another voter that has every entry, or none.
fn heir(seen: &RaftMetrics<Types>) -> Option<u64> {
    let members = seen.membership_config.membership();
    let has_all = |id: &u64| {
        let matched = seen.replication.as_ref().and_then(|matched| matched.get(id)?.as_ref());
        matched.map(|id| id.index) >= seen.last_log_index
    };
    members.voter_ids().filter(|id| *id != seen.id).find(has_all)
}
