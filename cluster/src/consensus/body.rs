//! The bodies of consensus' messages, as they are written.
//!
//! Numbers of fields and of variants are for ever: a newer version adds fields, and reads one that is missing as none.

use super::types::{self, RaftLogId, RaftVote, Types};
use crate::wal::record::PAYLOAD_MAX;
use crate::wal::{Entry, Kind, Vote};
use bytes::Bytes;
use minicbor::{Decode, Encode};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderError, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use runtime::log::LogId;

/// What is written and read as a body.
pub(super) trait Body<'b>: Encode<()> + Decode<'b, ()> {
    fn write(&self, out: &mut Vec<u8>) {
        minicbor::encode(self, out).expect("encoding into memory cannot fail");
    }

    fn read(bytes: &'b [u8]) -> Result<Self, String> {
        minicbor::decode(bytes).map_err(|error| error.to_string())
    }
}

impl<'b, T: Encode<()> + Decode<'b, ()>> Body<'b> for T {}

/// A place in a log.
#[derive(Clone, Copy, Encode, Decode)]
pub(super) struct Place {
    #[n(0)]
    term: u64,
    #[n(1)]
    index: u64,
}

#[derive(Clone, Copy, Encode, Decode)]
pub(super) struct Ballot {
    #[n(0)]
    term: u64,
    #[n(1)]
    node: u64,
    #[n(2)]
    committed: bool,
}

#[derive(Encode, Decode)]
struct Append<'b> {
    #[n(0)]
    vote: Ballot,
    #[n(1)]
    previous: Option<Place>,
    #[n(2)]
    committed: Option<Place>,
    #[b(3)]
    entries: Vec<Sent<'b>>,
}

#[derive(Encode, Decode)]
struct Sent<'b> {
    #[n(0)]
    kind: u8,
    #[n(1)]
    place: Place,
    #[cbor(b(2), with = "minicbor::bytes")]
    payload: &'b [u8],
}

#[derive(Encode, Decode)]
pub(super) struct VoteCall {
    #[n(0)]
    vote: Ballot,
    #[n(1)]
    last: Option<Place>,
    #[n(2)]
    transfer: bool,
}

#[derive(Encode, Decode)]
pub(super) struct VoteAnswer {
    #[n(0)]
    vote: Ballot,
    #[n(1)]
    granted: bool,
    #[n(2)]
    last: Option<Place>,
}

#[derive(Encode, Decode)]
pub(super) struct Transfer {
    #[n(0)]
    from: Ballot,
    #[n(1)]
    to: u64,
    #[n(2)]
    last: Option<Place>,
}

#[derive(Encode, Decode)]
pub(super) enum Appended {
    #[n(0)]
    All,
    #[n(1)]
    Through(#[n(0)] Option<Place>),
    #[n(2)]
    Conflict,
    #[n(3)]
    HigherVote(#[n(0)] Ballot),
}

#[derive(Encode, Decode)]
pub(super) enum Transferred {
    #[n(0)]
    Accepted,
    #[n(1)]
    VoteChanged(#[n(0)] Ballot, #[n(1)] Ballot),
    #[n(2)]
    NotFlushed(#[n(0)] Option<Place>, #[n(1)] Option<Place>),
}

/// Writes a leader's message.
pub(super) fn write_append(request: AppendEntriesRequest<Types>, out: &mut Vec<u8>) {
    let AppendEntriesRequest { vote, prev_log_id, entries, leader_commit } = request;
    let entries: Vec<Entry> = entries.into_iter().map(types::entry_from_raft).collect();
    out.reserve(entries.iter().map(|entry| entry.payload.len() + 32).sum());
    let sent = entries.iter().map(|entry| {
        let (kind, place) = (entry.kind as u8, Place::from(entry.id));
        Sent { kind, place, payload: &entry.payload }
    });
    let (previous, committed) = (prev_log_id.map(Place::from), leader_commit.map(Place::from));
    Append { vote: vote.into(), previous, committed, entries: sent.collect() }.write(out);
}

/// Reads a leader's message. Payloads are copied out: they are kept for long, and would keep all that the message came with.
pub(super) fn read_append(body: &[u8]) -> Result<AppendEntriesRequest<Types>, String> {
    let Append { vote, previous, committed, entries } = Append::read(body)?;
    let mut next = previous.map_or(Some(0), |previous| previous.index.checked_add(1));
    let mut read = Vec::with_capacity(entries.len());
    for Sent { kind, place, payload } in entries {
        if next != Some(place.index) {
            return Err(format!("entry {} does not follow the one before it", place.index));
        }
        if payload.len() > PAYLOAD_MAX {
            return Err(format!("entry {} has {} bytes", place.index, payload.len()));
        }
        next = place.index.checked_add(1);
        let kind = Kind::from_byte(kind).ok_or_else(|| format!("{kind} is no kind of an entry"))?;
        let entry = Entry { kind, id: place.into(), payload: Bytes::copy_from_slice(payload) };
        read.push(types::entry_to_raft(entry).map_err(|error| error.to_string())?);
    }
    Ok(AppendEntriesRequest {
        vote: vote.into(),
        prev_log_id: previous.map(RaftLogId::from),
        entries: read,
        leader_commit: committed.map(RaftLogId::from),
    })
}

impl From<LogId> for Place {
    fn from(LogId { term, index }: LogId) -> Self {
        Self { term, index }
    }
}

impl From<Place> for LogId {
    fn from(Place { term, index }: Place) -> Self {
        Self { term, index }
    }
}

impl From<RaftLogId> for Place {
    fn from(id: RaftLogId) -> Self {
        types::from_raft(&id).into()
    }
}

impl From<Place> for RaftLogId {
    fn from(place: Place) -> Self {
        types::to_raft(place.into())
    }
}

impl From<RaftVote> for Ballot {
    fn from(vote: RaftVote) -> Self {
        let Vote { term, node, committed } = types::vote_from_raft(&vote);
        Self { term, node, committed }
    }
}

impl From<Ballot> for RaftVote {
    fn from(Ballot { term, node, committed }: Ballot) -> Self {
        types::vote_to_raft(Vote { term, node, committed })
    }
}

impl From<VoteRequest<Types>> for VoteCall {
    fn from(request: VoteRequest<Types>) -> Self {
        let VoteRequest { vote, last_log_id, leadership_transfer } = request;
        Self { vote: vote.into(), last: last_log_id.map(Place::from), transfer: leadership_transfer }
    }
}

impl From<VoteCall> for VoteRequest<Types> {
    fn from(VoteCall { vote, last, transfer }: VoteCall) -> Self {
        Self { leadership_transfer: transfer, ..Self::new(vote.into(), last.map(RaftLogId::from)) }
    }
}

impl From<VoteResponse<Types>> for VoteAnswer {
    fn from(response: VoteResponse<Types>) -> Self {
        let VoteResponse { vote, vote_granted, last_log_id } = response;
        Self { vote: vote.into(), granted: vote_granted, last: last_log_id.map(Place::from) }
    }
}

impl From<VoteAnswer> for VoteResponse<Types> {
    fn from(VoteAnswer { vote, granted, last }: VoteAnswer) -> Self {
        Self::new(RaftVote::from(vote), last.map(RaftLogId::from), granted)
    }
}

impl From<TransferLeaderRequest<Types>> for Transfer {
    fn from(request: TransferLeaderRequest<Types>) -> Self {
        let last = request.last_log_id().copied().map(Place::from);
        Self { from: (*request.from_leader()).into(), to: *request.to_node_id(), last }
    }
}

impl From<Transfer> for TransferLeaderRequest<Types> {
    fn from(Transfer { from, to, last }: Transfer) -> Self {
        Self::new(from.into(), to, last.map(RaftLogId::from))
    }
}

impl From<AppendEntriesResponse<Types>> for Appended {
    fn from(response: AppendEntriesResponse<Types>) -> Self {
        match response {
            AppendEntriesResponse::Success => Self::All,
            AppendEntriesResponse::PartialSuccess(last) => Self::Through(last.map(Place::from)),
            AppendEntriesResponse::Conflict => Self::Conflict,
            AppendEntriesResponse::HigherVote(vote) => Self::HigherVote(vote.into()),
        }
    }
}

impl From<Appended> for AppendEntriesResponse<Types> {
    fn from(appended: Appended) -> Self {
        match appended {
            Appended::All => Self::Success,
            Appended::Through(last) => Self::PartialSuccess(last.map(RaftLogId::from)),
            Appended::Conflict => Self::Conflict,
            Appended::HigherVote(vote) => Self::HigherVote(vote.into()),
        }
    }
}

impl From<TransferLeaderResponse<Types>> for Transferred {
    fn from(response: TransferLeaderResponse<Types>) -> Self {
        match response {
            Ok(()) => Self::Accepted,
            Err(TransferLeaderError::VoteChanged { expected, actual }) => {
                Self::VoteChanged(expected.into(), actual.into())
            }
            Err(TransferLeaderError::LogNotFlushed { expected, actual }) => {
                Self::NotFlushed(expected.map(Place::from), actual.map(Place::from))
            }
        }
    }
}

impl From<Transferred> for TransferLeaderResponse<Types> {
    fn from(transferred: Transferred) -> Self {
        match transferred {
            Transferred::Accepted => Ok(()),
            Transferred::VoteChanged(expected, actual) => {
                Err(TransferLeaderError::VoteChanged { expected: expected.into(), actual: actual.into() })
            }
            Transferred::NotFlushed(expected, actual) => {
                let (expected, actual) = (expected.map(RaftLogId::from), actual.map(RaftLogId::from));
                Err(TransferLeaderError::LogNotFlushed { expected, actual })
            }
        }
    }
}
