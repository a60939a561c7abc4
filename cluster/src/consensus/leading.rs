//! Whether this node leads a group, as its shard is told.
//!
//! openraft calls a node a leader as soon as it is elected, and one that was cut off for ever. A shard leads from when
//! everything that the node had appended before is committed here, and a quorum has said since that nobody else leads; and
//! until anything says otherwise, or a proposal waits for too long. That barrier is passed anew by whoever listens anew:
//! so an entry of an incarnation that died is committed before the next one leads, or never.

use super::duty::{self, Duty};
use super::machine::Machine;
use super::types::Types;
use crate::group::Telling;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{LinearizableReadError, RaftError};
use openraft::{Raft, RaftMetrics, ReadPolicy, ServerState};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

/// The pause after a barrier that was not passed.
const PAUSE: Duration = Duration::from_millis(20);

/// Tells a shard who leads, until consensus ends. A proposal that waits longer than `patience` ends the tenure. One that
/// the shard was told of before goes on if this node leads in its term. A node that is not fit to lead hands over.
pub(super) async fn watch(
    raft: &Raft<Types, Machine>,
    telling: &Telling,
    patience: Duration,
    mut duty: watch::Receiver<Duty>,
) {
    let mut metrics = raft.metrics();
    let mut told: Option<Option<u64>> = None;
    loop {
        let may = *duty.borrow_and_update();
        raft.runtime_config().elect(may.stands());
        let seen = metrics.borrow_and_update().clone();
        if seen.running_state.is_err() {
            return telling.follows(None);
        }
        let tenure = telling.tenure().map(|tenure| tenure.term);
        let overdue = telling.since().is_some_and(|since| since.elapsed() >= patience);
        match led_term(&seen) {
            Some(_) if !may.is_fit => {
                if tenure.is_some() || told != Some(None) {
                    told = Some(None);
                    telling.follows(None);
                }
                if duty::hand_over(raft).await {
                    continue;
                }
            }
            Some(term) if tenure == Some(term) && !overdue => {}
            Some(term) => {
                if tenure.is_some() {
                    telling.follows(None);
                }
                if barrier(raft, term, patience).await {
                    told = None;
                    telling.leads(term);
                } else {
                    tokio::time::sleep(PAUSE).await;
                }
                // What has changed meanwhile is looked at before anything else is waited for.
                if led_term(&metrics.borrow_watched()) != telling.tenure().map(|tenure| tenure.term) {
                    continue;
                }
            }
            None if tenure.is_some() || told != Some(seen.current_leader) => {
                told = Some(seen.current_leader);
                telling.follows(seen.current_leader);
            }
            None => {}
        }
        let overdue = telling.since().map_or_else(|| Instant::now() + patience, |since| since + patience);
        tokio::select! {
            biased;
            changed = metrics.changed() => {
                if changed.is_err() {
                    return telling.follows(None);
                }
            }
            changed = duty.changed() => {
                if changed.is_err() {
                    return telling.follows(None);
                }
            }
            () = telling.asked() => told = None,
            () = sleep_until(overdue) => {}
        }
    }
}

/// The term in which this node leads, as far as it knows.
fn led_term(metrics: &RaftMetrics<Types>) -> Option<u64> {
    let leads = metrics.state == ServerState::Leader && metrics.current_leader == Some(metrics.id);
    leads.then_some(metrics.current_term)
}

/// Waits until all that this node had appended is committed and told, and nobody else leads.
async fn barrier(raft: &Raft<Types, Machine>, term: u64, patience: Duration) -> bool {
    // Asked of the core, behind the proposals that are on their way to it; what it shows to others may be older.
    let last = raft.with_raft_state(|state| state.log_ids.last().map(|last| last.index)).await;
    let Ok(last) = last else { return false };
    let applied = raft.wait(Some(patience)).applied_index_at_least(last, "what was appended").await;
    let still = || led_term(&raft.metrics().borrow_watched()) == Some(term);
    applied.is_ok() && confirmed(raft, patience).await && still()
}

/// Whether a quorum says, after this call, that this node leads.
pub(super) async fn confirmed(raft: &Raft<Types, Machine>, patience: Duration) -> bool {
    // Where the voters change meanwhile, the answers of those before may count for nothing: then it is asked again.
    for _ in 0..2 {
        let asked = timeout(patience, raft.get_read_linearizer(ReadPolicy::ReadIndex)).await;
        match asked {
            Ok(Ok(linearizer)) => {
                return matches!(timeout(patience, linearizer.await_ready(raft)).await, Ok(Ok(_)));
            }
            Ok(Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_)))) => {}
            Ok(Err(_)) | Err(_) => return false,
        }
    }
    false
}
