//! openraft's state machine of a shard: a conveyor, which tells the shard how far its log is committed.
//!
//! It holds no state of twins. The shard reads the entries from the log when it likes, so that one that is slow holds
//! nothing up here: openraft's core waits for whoever applies.

use super::types::{self, RaftLeader, RaftLogId, StoredMembership, Types};
use crate::group::Telling;
use crate::wal::Wal;
use futures_util::{Stream, TryStreamExt};
use openraft::storage::{EntryResponder, RaftStateMachine, SnapshotMeta};
use openraft::{BasicNode, EntryPayload, OptionalSend, RaftSnapshotBuilder, Snapshot};
use std::io;
use std::sync::Arc;

type Meta = SnapshotMeta<RaftLeader, u64, BasicNode>;
type Taken = Snapshot<RaftLeader, u64, BasicNode, ()>;

/// The conveyor of one group.
#[derive(Clone)]
pub struct Machine {
    wal: Arc<Wal>,
    group: u32,
    telling: Arc<Telling>,
    conveyed: Option<RaftLogId>,
    membership: StoredMembership,
}

impl Machine {
    /// A conveyor that has told everything through what the log knows to be committed: the shard reads that by itself.
    pub(super) fn new(
        wal: Arc<Wal>,
        group: u32,
        telling: Arc<Telling>,
        conveyed: Option<RaftLogId>,
    ) -> io::Result<Self> {
        let membership = membership(&wal, group, conveyed)?;
        Ok(Self { wal, group, telling, conveyed, membership })
    }

    /// What the shards' own state has for sure: the entries that were dropped from the log.
    fn dropped(&self) -> io::Result<Option<Meta>> {
        let Some(purged) = self.wal.state(self.group).purged.map(types::to_raft) else { return Ok(None) };
        let last_membership = membership(&self.wal, self.group, Some(purged))?;
        Ok(Some(Meta { last_log_id: Some(purged), last_membership }))
    }
}

fn membership(wal: &Wal, group: u32, through: Option<RaftLogId>) -> io::Result<StoredMembership> {
    match through.and_then(|through| wal.membership(group, through.index)) {
        Some((id, bytes)) => types::stored_membership(id, &bytes),
        None => Ok(StoredMembership::default()),
    }
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotData = ();
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

    async fn install_snapshot(&mut self, _meta: &Meta, _snapshot: ()) -> io::Result<()> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "state is not taken from other nodes yet"))
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Taken>> {
        Ok(self.dropped()?.map(|meta| Taken { meta, snapshot: () }))
    }
}

impl RaftSnapshotBuilder<Types> for Machine {
    type SnapshotData = ();

    async fn build_snapshot(&mut self) -> io::Result<Taken> {
        Ok(Taken { meta: self.dropped()?.unwrap_or_default(), snapshot: () })
    }
}
