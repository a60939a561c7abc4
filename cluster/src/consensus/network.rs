//! The other nodes of a group, as openraft calls them.

use super::calls::{Calls, Failed};
use super::codec::Message;
use super::snapshot::{Point, Snap};
use super::types::{RaftLeader, RaftVote, Types};
use futures_util::future::{Either, select};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{BasicNode, OptionalSend, Snapshot};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;

type Answer<T> = Result<T, RPCError<Types>>;

/// Makes the links of one group.
pub struct Links {
    pub(super) calls: Arc<Calls>,
    pub(super) group: u32,
}

/// The link of one group to one node. Nodes are known by their numbers alone; the wire knows where they are.
pub struct Link {
    calls: Arc<Calls>,
    group: u32,
    to: u64,
}

impl RaftNetworkFactory<Types> for Links {
    type Network = Link;

    async fn new_client(&mut self, to: u64, _node: &BasicNode) -> Link {
        Link { calls: self.calls.clone(), group: self.group, to }
    }
}

impl Link {
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

impl RaftNetworkV2<Types> for Link {
    type SnapshotData = Snap;

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
        vote: RaftVote,
        Snapshot { meta, snapshot }: Snapshot<RaftLeader, u64, BasicNode, Snap>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let (group, to) = (self.group, self.to);
        // It is tried again after a while, with what the state is then.
        let failed = |reason: String| {
            tracing::warn!(group, to, reason, "the state of the group was not sent");
            StreamingError::Unreachable(Unreachable::from_string(reason))
        };
        let Snap::Saved(source) = snapshot else {
            return Err(failed(format!(
                "node {to} needs entries that are dropped here, and no state is kept"
            )));
        };
        let point = Point::from_meta(&meta).map_err(|error| failed(error.to_string()))?;
        let sending = pin!(source.send(self.calls.wire().clone(), to, vote, &point));
        match select(pin!(cancel), sending).await {
            Either::Left((closed, _)) => Err(StreamingError::Closed(closed)),
            Either::Right((sent, _)) => sent.map(SnapshotResponse::new).map_err(failed),
        }
    }
}
