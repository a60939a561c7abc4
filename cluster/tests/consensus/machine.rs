//! A state machine that remembers what it was given.

use bytes::Bytes;
use cluster::consensus::Snap;
use cluster::consensus::types::{self, RaftLeader, RaftLogId, StoredMembership, Types};
use futures_util::{Stream, TryStreamExt};
use openraft::storage::{EntryResponder, RaftStateMachine, SnapshotMeta};
use openraft::{BasicNode, EntryPayload, OptionalSend, RaftSnapshotBuilder, Snapshot};
use runtime::log::LogId;
use std::io;
use std::sync::{Arc, Mutex};

type Meta = SnapshotMeta<RaftLeader, u64, BasicNode>;
type Taken = Snapshot<RaftLeader, u64, BasicNode, Snap>;

#[derive(Clone, Default)]
pub(crate) struct Machine(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    last: Option<RaftLogId>,
    membership: StoredMembership,
    applied: Vec<(LogId, Bytes)>,
    snapshot: Option<Meta>,
}

impl Machine {
    pub(crate) fn applied(&self) -> Vec<(LogId, Bytes)> {
        self.0.lock().unwrap().applied.clone()
    }
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotData = Snap;
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> io::Result<(Option<RaftLogId>, StoredMembership)> {
        let state = self.0.lock().unwrap();
        Ok((state.last, state.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        while let Some((entry, responder)) = entries.try_next().await? {
            let mut state = self.0.lock().unwrap();
            state.last = Some(entry.log_id);
            match entry.payload {
                EntryPayload::Blank => {}
                EntryPayload::Normal(payload) => {
                    state.applied.push((types::from_raft(&entry.log_id), payload.0))
                }
                EntryPayload::Membership(membership) => {
                    state.membership = StoredMembership::new(Some(entry.log_id), membership);
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

    async fn install_snapshot(&mut self, meta: &Meta, _snapshot: Snap) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        state.last = meta.last_log_id;
        state.membership = meta.last_membership.clone();
        state.snapshot = Some(meta.clone());
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Taken>> {
        let meta = self.0.lock().unwrap().snapshot.clone();
        Ok(meta.map(|meta| Taken { meta, snapshot: Snap::Known }))
    }
}

impl RaftSnapshotBuilder<Types> for Machine {
    type SnapshotData = Snap;

    async fn build_snapshot(&mut self) -> io::Result<Taken> {
        let mut state = self.0.lock().unwrap();
        let meta = Meta { last_log_id: state.last, last_membership: state.membership.clone() };
        state.snapshot = Some(meta.clone());
        Ok(Taken { meta, snapshot: Snap::Known })
    }
}
