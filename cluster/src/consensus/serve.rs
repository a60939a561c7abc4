//! What other nodes say to the groups of this one: it is handed to openraft, and the answer goes back.

use super::Timing;
use super::calls::Calls;
use super::codec::{Envelope, Message};
use super::network::Links;
use super::receiving;
use super::retention::Retention;
use super::snapshot::Snap;
use super::states::States;
use super::transfer::Opening;
use super::types::Types;
use crate::wal::Wal;
use crate::wire::{Boxed, BulkRead, Contact, Hears, Lane, Wire};
use bytes::Bytes;
use openraft::Raft;
use openraft::storage::RaftStateMachine;
use runtime::replica::Replicas;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

/// The groups of a node towards the other nodes. `M` is the groups' state machine.
pub struct Desk<M: RaftStateMachine<Types>> {
    calls: Arc<Calls>,
    wal: Arc<Wal>,
    states: Option<Arc<States>>,
    timing: Timing,
    groups: RwLock<BTreeMap<u32, Raft<Types, M>>>,
    wakes: RwLock<Option<Wakes>>,
}

/// Hears of a group that is not here, and that another node leads and wants this one in.
type Wakes = Box<dyn Fn(u32) + Send + Sync>;

impl<M: RaftStateMachine<Types, SnapshotData = Snap>> Desk<M> {
    /// A desk without groups, which sends and answers on a wire. The groups' logs are in `wal`.
    #[must_use]
    pub fn new(wire: Arc<dyn Wire>, timing: &Timing, wal: Arc<Wal>) -> Self {
        // Longer than a leader waits for a quorum before it is replaced, so that no slow answer counts as none.
        let deadline = 2 * *timing.election.end();
        let calls = Arc::new(Calls::new(wire, deadline, wal.draw()));
        let (timing, groups, wakes) = (timing.clone(), RwLock::default(), RwLock::default());
        Self { calls, wal, states: None, timing, groups, wakes }
    }

    /// From now on this hears of groups that other nodes want this one in, or nobody does.
    pub(crate) fn wake_by(&self, wakes: Option<Wakes>) {
        *self.wakes.write().unwrap_or_else(PoisonError::into_inner) = wakes;
    }

    /// With the states of the groups' shards: so they are sent and taken, and the logs drop what these have.
    #[must_use]
    pub fn with_replicas(mut self, replicas: Arc<dyn Replicas>, retention: Retention) -> Self {
        self.states = Some(Arc::new(States::new(replicas, retention)));
        self
    }

    /// The states of the groups' shards, if they are kept.
    pub(crate) fn states(&self) -> Option<&Arc<States>> {
        self.states.as_ref()
    }

    pub(super) fn timing(&self) -> &Timing {
        &self.timing
    }

    /// How a group reaches its other nodes.
    #[must_use]
    pub fn links(&self, group: u32) -> Links {
        Links { calls: self.calls.clone(), group }
    }

    /// From now on the group hears what is said to it.
    pub fn open(&self, group: u32, raft: Raft<Types, M>) {
        self.groups.write().unwrap_or_else(PoisonError::into_inner).insert(group, raft);
    }

    /// From now on the group hears nothing.
    pub fn close(&self, group: u32) {
        let closed = self.groups.write().unwrap_or_else(PoisonError::into_inner).remove(&group);
        drop(closed);
    }

    fn wakes(&self) -> RwLockReadGuard<'_, Option<Wakes>> {
        self.wakes.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn groups(&self) -> RwLockReadGuard<'_, BTreeMap<u32, Raft<Types, M>>> {
        self.groups.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<M: RaftStateMachine<Types, SnapshotData = Snap>> Hears for Desk<M> {
    fn heard(&self, from: Contact, _lane: Lane, message: Bytes) {
        let Envelope { group, call, message } = match Envelope::decode(&message) {
            Ok(envelope) => envelope,
            Err(error) => return tracing::warn!(from = from.node, %error, "left a message out"),
        };
        if message.is_answer() {
            return self.calls.answered(from, group, call, message);
        }
        let Some(raft) = self.groups().get(&group).cloned() else {
            if let (Message::Append(_), Some(wakes)) = (&message, &*self.wakes()) {
                wakes(group);
            }
            // It is tried again.
            let refused = Message::Refused(format!("group {group} is not here"));
            return self.calls.answer(from, group, call, refused);
        };
        let (calls, wal) = (self.calls.clone(), self.wal.clone());
        // One task a call. A node has as many under way as it has links to this one, and gives each up after a while.
        tokio::spawn(async move {
            let answer = respond(&raft, &wal, message).await;
            calls.answer(from, group, call, answer);
        });
    }

    fn bulk(&self, from: Contact, what: Bytes, stream: Box<dyn BulkRead>) -> Boxed<Result<Bytes, String>> {
        let opened = Opening::decode(&what, from.node).and_then(|opening| {
            let states = self.states.clone().ok_or("this node takes no states")?;
            let raft = self.groups().get(&opening.group).cloned();
            let raft = raft.ok_or_else(|| format!("group {} is not here", opening.group))?;
            Ok((opening, states, raft))
        });
        let wal = self.wal.clone();
        Box::pin(async move {
            let taken = match opened {
                Ok((opening, states, raft)) => receiving::receive(raft, &states, &wal, opening, stream).await,
                Err(reason) => Err(reason),
            };
            taken.inspect_err(|reason| tracing::warn!(from = from.node, reason, "a state was not taken"))
        })
    }

    /// What waits for a node that is back is tried at once.
    fn reached(&self, peer: Contact) {
        let groups: Vec<Raft<Types, M>> = self.groups().values().cloned().collect();
        for raft in groups {
            tokio::spawn(async move {
                // A group that has ended needs nobody.
                drop(raft.trigger().reset_backoff([peer.node]).await);
            });
        }
    }

    fn lost(&self, peer: u64) {
        self.calls.lost(peer);
    }
}

async fn respond<M: RaftStateMachine<Types>>(raft: &Raft<Types, M>, wal: &Wal, message: Message) -> Message {
    let answer = match message {
        // On a full disk the leader is heard, and what it sends is refused: it tries again.
        Message::Append(request)
            if !request.entries.is_empty()
                && let Err(reason) = wal.room() =>
        {
            Err(format!("the disk is full: {reason}"))
        }
        Message::Append(request) => {
            raft.append_entries(request).await.map(Message::Appended).map_err(|error| error.to_string())
        }
        Message::Vote(request) => {
            raft.vote(request).await.map(Message::Voted).map_err(|error| error.to_string())
        }
        Message::PreVote(request) => {
            raft.pre_vote(request).await.map(Message::Voted).map_err(|error| error.to_string())
        }
        Message::Transfer(request) => raft
            .handle_transfer_leader(request)
            .await
            .map(Message::Transferred)
            .map_err(|error| error.to_string()),
        answer => Err(format!("this is no call: {answer:?}")),
    };
    answer.unwrap_or_else(Message::Refused)
}
