//! The other nodes of a group, as openraft calls them.

use super::calls::{Calls, Failed};
use super::codec::Message;
use super::types::{RaftLeader, RaftVote, Types};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{BasicNode, OptionalSend, Snapshot};
use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;

type Answer<T> = Result<T, RPCError<Types>>;

/// Makes the links of one group. `S` is what its state machine takes for a snapshot.
pub struct Links<S> {
    pub(super) calls: Arc<Calls>,
    pub(super) group: u32,
    pub(super) state: PhantomData<fn() -> S>,
}

/// The link of one group to one node. Nodes are known by their numbers alone; the wire knows where they are.
pub struct Link<S> {
    calls: Arc<Calls>,
    group: u32,
    to: u64,
    state: PhantomData<fn() -> S>,
}

impl<S: OptionalSend + 'static> RaftNetworkFactory<Types> for Links<S> {
    type Network = Link<S>;

    async fn new_client(&mut self, to: u64, _node: &BasicNode) -> Link<S> {
        Link { calls: self.calls.clone(), group: self.group, to, state: PhantomData }
    }
}

impl<S> Link<S> {
    async fn call(&self, message: Message) -> Answer<Message> {
        // Two election timeouts, and not what openraft gives: a follower answers only when what it was sent before is
        // durable, and a slow disk is no lost message.
        self.calls.call(self.to, self.group, message).await.map_err(|failed| match failed {
            Failed::Late(..) => RPCError::Network(NetworkError::new(&failed)),
            failed => RPCError::Unreachable(Unreachable::new(&failed)),
        })
    }

    fn unexpected<T>(&self, answer: &Message) -> Answer<T> {
        let reason = format!("node {} answered something else: {answer:?}", self.to);
        Err(RPCError::Unreachable(Unreachable::from_string(reason)))
    }
}

impl<S: OptionalSend + 'static> RaftNetworkV2<Types> for Link<S> {
    type SnapshotData = S;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        _option: RPCOption,
    ) -> Answer<AppendEntriesResponse<Types>> {
        match self.call(Message::Append(request)).await? {
            Message::Appended(answer) => Ok(answer),
            other => self.unexpected(&other),
        }
    }

    async fn vote(&mut self, request: VoteRequest<Types>, _option: RPCOption) -> Answer<VoteResponse<Types>> {
        match self.call(Message::Vote(request)).await? {
            Message::Voted(answer) => Ok(answer),
            other => self.unexpected(&other),
        }
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<Types>,
        _option: RPCOption,
    ) -> Answer<VoteResponse<Types>> {
        match self.call(Message::PreVote(request)).await? {
            Message::Voted(answer) => Ok(answer),
            other => self.unexpected(&other),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types>,
        _option: RPCOption,
    ) -> Answer<TransferLeaderResponse<Types>> {
        match self.call(Message::Transfer(request)).await? {
            Message::Transferred(answer) => Ok(answer),
            other => self.unexpected(&other),
        }
    }

    async fn full_snapshot(
        &mut self,
        _vote: RaftVote,
        _snapshot: Snapshot<RaftLeader, u64, BasicNode, S>,
        _cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let reason =
            format!("node {} needs entries that are dropped here, and state is not sent yet", self.to);
        Err(StreamingError::Unreachable(Unreachable::from_string(reason)))
    }
}
