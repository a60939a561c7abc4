//! Dropping entries that the shard's durable state has, under consensus.

use super::entries::Entries;
use super::machine::Machine;
use super::states::{self, States};
use super::types::Types;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::{Raft, RaftMetrics};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;

/// Drops the entries of one group.
pub(super) struct Purging {
    raft: Raft<Types, Machine>,
    entries: Entries,
    states: Option<Arc<States>>,
    patience: Duration,
    is_under_way: Arc<AtomicBool>,
    runtime: Handle,
}

impl Purging {
    /// Drops on the runtime that this is called on.
    pub(super) fn new(
        raft: Raft<Types, Machine>,
        entries: Entries,
        states: Option<Arc<States>>,
        patience: Duration,
    ) -> Self {
        Self { raft, entries, states, patience, is_under_way: Arc::default(), runtime: Handle::current() }
    }

    /// Drops entries through an index at most, which the durable state has. One that comes while another is under way is
    /// left to the next: the shard says so again soon.
    pub(super) fn purge(&self, applied: u64) {
        let Some(states) = &self.states else { return };
        let group = self.entries.group();
        let upto = self.limit(states, applied);
        let purged = self.entries.state().purged.map_or(0, |id| id.index);
        if states::shard(group).is_none() || upto <= purged || self.is_under_way.swap(true, Ordering::AcqRel)
        {
            return;
        }
        let under_way = UnderWay(self.is_under_way.clone());
        let (raft, patience) = (self.raft.clone(), self.patience);
        self.runtime.spawn(async move {
            let _under_way = under_way;
            // It drops nothing beyond what it knows to be saved. A group that has ended drops nothing at all.
            drop(raft.trigger().snapshot().await);
            let knows = |seen: &RaftMetrics<Types>| seen.snapshot.as_ref().is_some_and(|id| upto <= id.index);
            if raft.wait(Some(patience)).metrics(knows, "it knows what is saved").await.is_ok() {
                drop(raft.trigger().purge_log(upto).await);
            }
        });
    }

    /// Through where entries may go: a state that is sent from now on contains `applied`, so what follows that is kept.
    fn limit(&self, states: &States, applied: u64) -> u64 {
        let (wal, group) = (self.entries.wal(), self.entries.group());
        let healthy = wal.after_bytes(group, states.retention.healthy_bytes);
        let seen = self.raft.metrics().borrow_watched().clone();
        let mut matched = seen.replication.iter().flatten().map(|(_, id)| id.map_or(0, |id| id.index));
        let tail = if matched.any(|matched| matched < healthy) {
            wal.after_bytes(group, states.retention.lagging_bytes)
        } else {
            healthy
        };
        applied.min(tail).min(states.held(group).unwrap_or(u64::MAX))
    }
}

struct UnderWay(Arc<AtomicBool>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}
