//! openraft's state machine of a shard: a conveyor, which tells the shard how far its log is committed.
//!
//! It holds no state of twins. The shard reads the entries from the log when it likes, so that one that is slow holds
//! nothing up here: openraft's core waits for whoever applies.

use super::entries::Entries;
use super::installing::Gate;
use super::snapshot::{Meta, Point, Snap, Source};
use super::states::States;
use super::types::{self, RaftLeader, RaftLogId, StoredMembership, Types};
use crate::group::Telling;
use futures_util::{Stream, TryStreamExt};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{BasicNode, EntryPayload, OptionalSend, RaftSnapshotBuilder, Snapshot};
use std::io;
use std::sync::Arc;

type Taken = Snapshot<RaftLeader, u64, BasicNode, Snap>;

/// The conveyor of one group.
#[derive(Clone)]
pub struct Machine {
    entries: Entries,
    states: Option<Arc<States>>,
    gate: Gate,
    telling: Arc<Telling>,
    conveyed: Option<RaftLogId>,
    membership: StoredMembership,
}

impl Machine {
    /// A conveyor that has told everything through what the log knows to be committed: the shard reads that by itself.
    pub(super) fn new(
        entries: Entries,
        telling: Arc<Telling>,
        conveyed: Option<RaftLogId>,
    ) -> io::Result<Self> {
        let found = conveyed.and_then(|id| entries.wal().membership(entries.group(), id.index));
        let found = found.map(|(id, bytes)| types::stored_membership(id, &bytes)).transpose()?;
        let (membership, gate) = (found.unwrap_or_default(), Gate::default());
        Ok(Self { entries, states: None, gate, telling, conveyed, membership })
    }

    /// With the state of its shard: it is what openraft has for a snapshot, and is replaced by one that comes while the
    /// gate is open.
    pub(super) fn with_states(self, states: Option<Arc<States>>, gate: Gate) -> Self {
        Self { states, gate, ..self }
    }

    /// The state of the shard as it is durable, with the entry that it ends at. All that follows it is kept with it.
    async fn saved(&self) -> io::Result<Option<Taken>> {
        let Some(states) = self.states.clone() else { return Ok(None) };
        let group = self.entries.group();
        // What follows is kept before anybody knows where it begins, so that nothing is dropped in between.
        let hold = states.hold(group);
        let Some(saved) = states.saved(group).await? else { return Ok(None) };
        // A checkpoint may be durable before the log is.
        let Some(point) = Point::find(&self.entries, saved.applied) else { return Ok(None) };
        let hold = hold.after(saved.applied);
        let source = Source { states, entries: self.entries.clone(), hold };
        Ok(Some(Taken { meta: point.meta()?, snapshot: Snap::Saved(source) }))
    }

    /// What the shard's state has for sure: the entries that were dropped from the log.
    fn dropped(&self) -> io::Result<Option<Taken>> {
        let Some(purged) = self.entries.state().purged else { return Ok(None) };
        let Some(point) = Point::find(&self.entries, purged.index) else { return Ok(None) };
        Ok(Some(Taken { meta: point.meta()?, snapshot: Snap::Known }))
    }

    async fn current(&self) -> io::Result<Option<Taken>> {
        match self.saved().await? {
            Some(taken) => Ok(Some(taken)),
            None => self.dropped(),
        }
    }
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotData = Snap;
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> io::Result<(Option<RaftLogId>, StoredMembership)> {
        Ok((self.conveyed, self.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        while let Some((entry, responder)) = entries.try_next().await? {
            let index = entry.log_id.index;
            self.conveyed = Some(entry.log_id);
            match entry.payload {
                // Whoever proposed it hears of it by the responder.
                EntryPayload::Normal(_) if responder.is_some() => {}
                EntryPayload::Normal(_) => self.telling.committed(index),
                EntryPayload::Blank => self.telling.passed(index),
                EntryPayload::Membership(membership) => {
                    self.membership = StoredMembership::new(Some(entry.log_id), membership);
                    self.telling.passed(index);
                }
            }
            if let Some(responder) = responder {
                responder.send(());
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(&mut self, meta: &Meta, snapshot: Snap) -> io::Result<()> {
        // What was saved here is the shard's already.
        if let Snap::Arrived(arrived) = snapshot {
            let point = Point::from_meta(meta)?;
            self.gate.install(&self.entries, arrived, &point).await?;
            self.telling.replaced(point.id.index);
        }
        self.conveyed = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Taken>> {
        self.current().await
    }
}

impl RaftSnapshotBuilder<Types> for Machine {
    type SnapshotData = Snap;

    async fn build_snapshot(&mut self) -> io::Result<Taken> {
        let current = self.current().await?;
        Ok(current.unwrap_or_else(|| Taken { meta: Meta::default(), snapshot: Snap::Known }))
    }
}
