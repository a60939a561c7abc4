//! What the nodes of a group say to each other, as bytes.
//!
//! | bytes | field |
//! |---|---|
//! | 0..4 | group, little-endian as the other numbers here |
//! | 4 | kind |
//! | 5..13 | number of the call; an answer has that of its call |
//! | 13.. | body: minicbor, fields by their place |
//!
//! The wire says where a message ends, and how long one may be.

use super::body::{self, Appended, Body, Transfer, Transferred, VoteAnswer, VoteCall};
use super::types::Types;
use bytes::Bytes;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest, TransferLeaderResponse, VoteRequest,
    VoteResponse,
};

const HEADER: usize = 13;

/// What one node says to another.
#[derive(Debug)]
pub(super) enum Message {
    /// Entries, or none: that the leader still leads.
    Append(AppendEntriesRequest<Types>),
    Vote(VoteRequest<Types>),
    /// Whether one would vote so.
    PreVote(VoteRequest<Types>),
    /// That the node is to be elected, now.
    Transfer(TransferLeaderRequest<Types>),
    Appended(AppendEntriesResponse<Types>),
    Voted(VoteResponse<Types>),
    Transferred(TransferLeaderResponse<Types>),
    /// Why there is no answer.
    Refused(String),
}

/// A message with whom it concerns.
#[derive(Debug)]
pub(super) struct Envelope {
    pub(super) group: u32,
    pub(super) call: u64,
    pub(super) message: Message,
}

/// A message that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error(
    "a message of {len} bytes from another node cannot be read: {reason}; are both of a version that goes together?"
)]
pub(super) struct Unreadable {
    len: usize,
    reason: String,
}

impl Message {
    /// Whether it answers a call.
    pub(super) fn is_answer(&self) -> bool {
        matches!(self, Self::Appended(_) | Self::Voted(_) | Self::Transferred(_) | Self::Refused(_))
    }

    fn kind(&self) -> u8 {
        match self {
            Self::Append(_) => 1,
            Self::Vote(_) => 2,
            Self::PreVote(_) => 3,
            Self::Transfer(_) => 4,
            Self::Appended(_) => 5,
            Self::Voted(_) => 6,
            Self::Transferred(_) => 7,
            Self::Refused(_) => 8,
        }
    }
}

impl Envelope {
    pub(super) fn encode(self) -> Bytes {
        let mut bytes = Vec::with_capacity(128);
        bytes.extend(self.group.to_le_bytes());
        bytes.push(self.message.kind());
        bytes.extend(self.call.to_le_bytes());
        match self.message {
            Message::Append(request) => body::write_append(request, &mut bytes),
            Message::Vote(request) | Message::PreVote(request) => VoteCall::from(request).write(&mut bytes),
            Message::Transfer(request) => Transfer::from(request).write(&mut bytes),
            Message::Appended(response) => Appended::from(response).write(&mut bytes),
            Message::Voted(response) => VoteAnswer::from(response).write(&mut bytes),
            Message::Transferred(response) => Transferred::from(response).write(&mut bytes),
            Message::Refused(reason) => reason.write(&mut bytes),
        }
        bytes.into()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        let unreadable = |reason: String| Unreadable { len: bytes.len(), reason };
        let Some((header, body)) = bytes.split_first_chunk::<HEADER>() else {
            return Err(unreadable("it has no whole header".to_owned()));
        };
        let [g0, g1, g2, g3, kind, call @ ..] = *header;
        let message = match kind {
            1 => body::read_append(body).map(Message::Append),
            2 => VoteCall::read(body).map(|call| Message::Vote(call.into())),
            3 => VoteCall::read(body).map(|call| Message::PreVote(call.into())),
            4 => Transfer::read(body).map(|transfer| Message::Transfer(transfer.into())),
            5 => Appended::read(body).map(|answer| Message::Appended(answer.into())),
            6 => VoteAnswer::read(body).map(|answer| Message::Voted(answer.into())),
            7 => Transferred::read(body).map(|answer| Message::Transferred(answer.into())),
            8 => String::read(body).map(Message::Refused),
            kind => Err(format!("{kind} is no kind")),
        };
        let (group, call) = (u32::from_le_bytes([g0, g1, g2, g3]), u64::from_le_bytes(call));
        message.map(|message| Self { group, call, message }).map_err(unreadable)
    }
}

#[cfg(test)]
mod tests {
    use super::super::types::{self, Payload, RaftEntry, RaftLogId, RaftMembership, RaftVote};
    use super::*;
    use openraft::raft::TransferLeaderError;
    use openraft::{BasicNode, EntryPayload};
    use proptest::prelude::*;
    use runtime::log::LogId;
    use std::collections::{BTreeMap, BTreeSet};

    fn id(term: u64, index: u64) -> RaftLogId {
        types::to_raft(LogId { term, index })
    }

    fn messages() -> Vec<Message> {
        let (vote, other) = (RaftVote::new_committed(7, 2), RaftVote::new(8, 3));
        let nodes =
            BTreeMap::from([(1, BasicNode::new("")), (2, BasicNode::new("")), (3, BasicNode::new(""))]);
        let voters = vec![BTreeSet::from([1, 2]), BTreeSet::from([2, 3])];
        let membership = RaftMembership::new(voters, nodes).unwrap();
        let entry = |index, payload| RaftEntry { log_id: id(7, index), payload };
        let entries = vec![
            entry(5, EntryPayload::Blank),
            entry(6, EntryPayload::Normal(Payload("what was decided".into()))),
            entry(7, EntryPayload::Membership(membership)),
        ];
        let append = |entries, prev_log_id| {
            Message::Append(AppendEntriesRequest {
                vote,
                prev_log_id,
                entries,
                leader_commit: Some(id(6, 3)),
            })
        };
        let call = VoteRequest { vote: other, last_log_id: Some(id(7, 6)), leadership_transfer: true };
        let not_flushed = TransferLeaderError::LogNotFlushed { expected: Some(id(7, 6)), actual: None };
        vec![
            append(entries, Some(id(6, 4))),
            append(Vec::new(), None),
            Message::Vote(call.clone()),
            Message::PreVote(VoteRequest::new(vote, None)),
            Message::Transfer(TransferLeaderRequest::new(vote, 3, Some(id(7, 6)))),
            Message::Appended(AppendEntriesResponse::Success),
            Message::Appended(AppendEntriesResponse::PartialSuccess(Some(id(7, 6)))),
            Message::Appended(AppendEntriesResponse::PartialSuccess(None)),
            Message::Appended(AppendEntriesResponse::Conflict),
            Message::Appended(AppendEntriesResponse::HigherVote(other)),
            Message::Voted(VoteResponse::new(vote, Some(id(7, 6)), true)),
            Message::Transferred(Ok(())),
            Message::Transferred(Err(TransferLeaderError::VoteChanged { expected: vote, actual: other })),
            Message::Transferred(Err(not_flushed)),
            Message::Refused("no such group".to_owned()),
        ]
    }

    #[test]
    fn each_message_is_read_as_it_was_said_and_no_part_of_it_is() {
        for message in messages() {
            let said = format!("{message:?}");

            let bytes = Envelope { group: 65, call: 1 << 40, message }.encode();

            let read = Envelope::decode(&bytes).unwrap();
            assert_eq!((read.group, read.call, format!("{:?}", read.message)), (65, 1 << 40, said));
            for end in 0..bytes.len() {
                assert!(Envelope::decode(&bytes.slice(..end)).is_err(), "{end} bytes of {:?}", read.message);
            }
        }
    }

    #[test]
    fn entries_that_do_not_follow_each_other_are_refused() {
        let entry = |index| RaftEntry { log_id: id(7, index), payload: EntryPayload::Blank };
        let check = |previous: Option<u64>, indices: [u64; 2]| {
            let message = Message::Append(AppendEntriesRequest {
                vote: RaftVote::new_committed(7, 2),
                prev_log_id: previous.map(|index| id(7, index)),
                entries: indices.map(entry).to_vec(),
                leader_commit: None,
            });
            Envelope::decode(&Envelope { group: 1, call: 1, message }.encode()).is_ok()
        };

        assert!(check(Some(4), [5, 6]) && check(None, [0, 1]));
        assert!(!check(Some(4), [6, 7]) && !check(Some(4), [5, 7]) && !check(None, [1, 2]));
        assert!(!check(Some(u64::MAX), [0, 1]));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>, kind in 0_u8..10, at: prop::sample::Index, bit in 0_u8..8) {
            let header = [&[0, 0, 0, 0, kind, 0, 0, 0, 0, 0, 0, 0, 0], &bytes[..]].concat();
            let _ = Envelope::decode(&header);

            for message in messages() {
                let mut bytes = Envelope { group: 1, call: 1, message }.encode().to_vec();
                let at = at.index(bytes.len());
                bytes[at] ^= 1 << bit;
                let _ = Envelope::decode(&bytes);
            }
        }
    }
}
