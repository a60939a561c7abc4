//! A shard's log under consensus: the port that the shard knows, over openraft.

use super::entries::Entries;
use super::leading;
use super::machine::Machine;
use super::store::Store;
use super::telling::Telling;
use super::types::{self, Heard, Payload, Types};
use super::{Desk, Timing};
use crate::Error;
use crate::membership::Membership;
use crate::wal::{self, Kind, Wal};
use bytes::Bytes;
use futures_util::FutureExt;
use openraft::Raft;
use openraft::errors::{ClientWriteError, Fatal};
use openraft::raft::ClientWriteResult;
use runtime::log::{self, Done, Ear, Entry, ShardLog, Standing, Sure, Tenure};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// A group that several nodes replicate, on one of them.
pub struct Replicated {
    wal: Arc<Wal>,
    group: u32,
    entries: Entries,
    telling: Arc<Telling>,
    raft: Raft<Types, Machine>,
    patience: Duration,
    runtime: tokio::runtime::Handle,
    task: JoinHandle<()>,
}

impl Replicated {
    /// Starts consensus on a group's log, and opens it at the desk. A group that has no other node goes on as the leader
    /// of the term in its log.
    ///
    /// # Errors
    /// [`Error::Option`] when the timing makes no sense, [`Error::Consensus`] when the log does not fit.
    pub async fn start(
        wal: Arc<Wal>,
        group: u32,
        node: u64,
        timing: &Timing,
        desk: &Desk<Machine>,
    ) -> Result<Self, Error> {
        let failed = |reason: String| Error::Consensus { group, reason };
        let store = Store::new(wal.clone(), group);
        let entries = store.entries();
        let state = entries.state();
        let membership = state.membership.as_ref().and_then(|(_, bytes)| Membership::decode(bytes).ok());
        let alone = membership.is_some_and(|membership| membership.is_alone(node));
        let config = timing.config(alone)?;
        // Whoever is alone has committed what it has.
        let conveyed = if alone { state.last } else { state.committed };
        let telling = Arc::new(Telling::new(conveyed.map_or(0, |id| id.index)));
        let machine = Machine::new(wal.clone(), group, telling.clone(), conveyed.map(types::to_raft))
            .map_err(|error| failed(error.to_string()))?;
        let raft = Raft::new(node, Arc::new(config), desk.links(group), store, machine)
            .await
            .map_err(|error: Fatal<Types>| failed(error.to_string()))?;
        desk.open(group, raft.clone());
        let patience = 2 * *timing.election.end();
        let task = tokio::spawn(leading::watch(raft.clone(), telling.clone(), patience));
        let runtime = tokio::runtime::Handle::current();
        Ok(Self { wal, group, entries, telling, raft, patience, runtime, task })
    }

    /// openraft's side of the group.
    #[must_use]
    pub fn raft(&self) -> &Raft<Types, Machine> {
        &self.raft
    }

    /// Ends consensus here. Whoever has a proposal under way hears that nobody knows.
    pub async fn stop(&self) {
        self.task.abort();
        // One that failed has ended already.
        drop(self.raft.shutdown().await);
        self.telling.follows(None);
    }

    fn submit(&self, tenure: Tenure, payload: Bytes, done: Done, room: Result<(), String>) {
        let Some(number) = self.telling.begin(tenure, done) else { return };
        if let Err(reason) = room {
            return self.telling.refused(number, log::Error::Full(reason));
        }
        let (telling, term) = (self.telling.clone(), tenure.term);
        let heard = Heard::new(move |result: ClientWriteResult<Types>| match result {
            Ok(written) => telling.accepted(number, types::from_raft(&written.log_id)),
            Err(ClientWriteError::ForwardToLeader(_)) => {
                telling.refused(number, log::Error::NotLeader { term });
            }
            Err(_) => telling.refused(number, log::Error::Deposed { term }),
        });
        let request = self.raft.write(Payload(payload)).responder(heard).with_leader(term);
        // The core takes it at once, or it is full or has ended, and then it was never given the entry.
        if !matches!(request.into_future().now_or_never(), Some(Ok(()))) {
            self.telling.refused(number, log::Error::NotLeader { term });
        }
    }
}

impl ShardLog for Replicated {
    fn listen(&self, ear: Ear) -> Standing {
        self.telling.listen(ear)
    }

    /// An entry may be committed by other nodes before this one's disk has it: those are read from memory.
    fn read(&self, after: u64, through: u64, bytes: usize) -> Result<Vec<Entry>, log::Error> {
        let unreadable = |error: Error| log::Error::Unreadable(error.to_string());
        if let Some(purged) = self.wal.state(self.group).purged
            && after < purged.index
        {
            let (group, purged) = (self.group, purged.index);
            let reason =
                format!("group {group} has dropped its entries through {purged}, the state ends at {after}");
            return Err(log::Error::Unreadable(reason));
        }
        proposed(after, through, |range| self.entries.read_blocking(range, bytes).map_err(unreadable))
    }

    fn recent(&self, after: u64, through: u64, bytes: usize) -> Option<Vec<Entry>> {
        proposed(after, through, |range| self.entries.recent(range, bytes).map_err(drop)).ok()
    }

    fn propose(&self, tenure: Tenure, payload: Bytes, done: Done) {
        self.submit(tenure, payload, done, self.wal.room());
    }

    fn propose_upkeep(&self, tenure: Tenure, payload: Bytes, done: Done) {
        self.submit(tenure, payload, done, Ok(()));
    }

    fn needs_confirming(&self) -> bool {
        true
    }

    fn confirm(&self, tenure: Tenure, sure: Sure) {
        let (raft, telling, patience) = (self.raft.clone(), self.telling.clone(), self.patience);
        self.runtime.spawn(async move {
            let confirmed = leading::confirmed(&raft, patience).await;
            let leads = confirmed && telling.tenure() == Some(tenure);
            sure(if leads { Ok(()) } else { Err(log::Error::NotLeader { term: tenure.term }) });
        });
    }

    /// Dropping needs the state of other nodes to be sent; until then all entries are kept.
    fn purge(&self, _index: u64) {}
}

/// The first entries of a shard between two indices, of what `read` finds there piece by piece. Entries of the log's own
/// may be all that there is in one piece.
fn proposed<E>(
    after: u64,
    through: u64,
    read: impl Fn(Range<u64>) -> Result<Vec<wal::Entry>, E>,
) -> Result<Vec<Entry>, E> {
    let (mut next, end) = (after.saturating_add(1), through.saturating_add(1));
    while next < end {
        let entries = read(next..end)?;
        let Some(last) = entries.last() else { break };
        next = last.id.index.saturating_add(1);
        let normal = entries.into_iter().filter(|entry| entry.kind == Kind::Normal);
        let normal: Vec<_> = normal.map(|entry| Entry { id: entry.id, payload: entry.payload }).collect();
        if !normal.is_empty() {
            return Ok(normal);
        }
    }
    Ok(Vec::new())
}
