//! The port to the node that leads the meta group, and the bytes that go over it: minicbor, by number.
//!
//! Whoever fills the port carries bytes and knows nothing of them: [`Meta::answer`](super::Meta::answer) of the leader
//! makes an answer of a request. One that is lost is asked again, and takes effect once.

use super::Refusal;
use super::command::Entry;
use crate::wire::Boxed;
use bytes::Bytes;
use minicbor::{Decode, Encode};
use runtime::directory::Refused;
use runtime::log::Error as LogError;

/// How another node is asked. The request may reach it, or not, or the answer may be lost: then nobody knows.
pub trait Elsewhere: Send + Sync + 'static {
    /// Hands a request to [`Meta::answer`](super::Meta::answer) of a node, and brings the answer back.
    ///
    /// # Errors
    /// [`NotAnswered`] when the node is not reached, or does not answer in a time that suits the wire.
    fn ask(&self, leader: u64, request: Bytes) -> Boxed<Result<Bytes, NotAnswered>>;
}

/// The other node did not answer: whether it heard is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("node {node} did not answer")]
pub struct NotAnswered {
    /// Which.
    pub node: u64,
}

/// What the leader is asked.
#[derive(Debug, Encode, Decode)]
pub(super) enum Request {
    /// To carry out a command.
    #[n(0)]
    Execute(#[n(0)] Box<Entry>),
    /// Which version the state has, now.
    #[n(1)]
    Version,
}

/// What it says.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
pub(super) enum Answer {
    /// It is done, or is the case: the state has this version.
    #[n(0)]
    Version(#[n(0)] u64),
    #[n(1)]
    Stale {
        #[n(0)]
        expected: u64,
        #[n(1)]
        current: u64,
    },
    #[n(2)]
    Unfit {
        #[n(0)]
        reason: String,
        #[n(1)]
        current: u64,
    },
    /// The directory refused, for a reason of this sort.
    #[n(3)]
    Directory {
        #[n(0)]
        sort: u8,
        #[n(1)]
        reason: String,
    },
    /// The node does not lead, and nothing was done.
    #[n(4)]
    NotLeader,
    /// Nobody knows.
    #[n(5)]
    Unsure,
    /// The leader's disk is full, and nothing was done.
    #[n(6)]
    Full(#[n(0)] String),
}

impl Request {
    pub(super) fn encode(&self) -> Bytes {
        minicbor::to_vec(self).expect("encoding into memory cannot fail").into()
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        minicbor::decode(bytes).ok()
    }
}

impl Answer {
    pub(super) fn encode(&self) -> Bytes {
        minicbor::to_vec(self).expect("encoding into memory cannot fail").into()
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        minicbor::decode(bytes).ok()
    }

    pub(super) fn of(fate: Result<u64, Refusal>) -> Self {
        match fate {
            Ok(version) => Self::Version(version),
            Err(Refusal::Stale { expected, current }) => Self::Stale { expected, current },
            Err(Refusal::Unfit { reason, current }) => Self::Unfit { reason, current },
            Err(Refusal::Leaderless | Refusal::Log(LogError::NotLeader { .. })) => Self::NotLeader,
            Err(Refusal::Log(LogError::Full(reason))) => Self::Full(reason),
            Err(Refusal::Unsure | Refusal::Log(_)) => Self::Unsure,
            Err(Refusal::Directory(refused)) => match refused {
                Refused::Stale { expected, current } => Self::Stale { expected, current },
                Refused::Unknown(reason) => Self::Directory { sort: 0, reason },
                Refused::Conflict(reason) => Self::Directory { sort: 1, reason },
                Refused::Full(reason) => Self::Directory { sort: 2, reason },
                Refused::Unfit(reason) => Self::Directory { sort: 3, reason },
                Refused::Shut(reason) => Self::Directory { sort: 4, reason },
                Refused::Forbidden(reason) => Self::Directory { sort: 5, reason },
                Refused::Log(_) => Self::Unsure,
            },
        }
    }

    /// What it means to whoever asked; `None` where nobody knows, or the wrong node was asked: ask again.
    pub(super) fn fate(self) -> Option<Result<u64, Refusal>> {
        Some(match self {
            Self::Version(version) => Ok(version),
            Self::Stale { expected, current } => Err(Refusal::Stale { expected, current }),
            Self::Unfit { reason, current } => Err(Refusal::Unfit { reason, current }),
            Self::Full(reason) => Err(Refusal::Log(LogError::Full(reason))),
            Self::Directory { sort, reason } => Err(Refusal::Directory(match sort {
                0 => Refused::Unknown(reason),
                1 => Refused::Conflict(reason),
                2 => Refused::Full(reason),
                3 => Refused::Unfit(reason),
                4 => Refused::Shut(reason),
                _ => Refused::Forbidden(reason),
            })),
            Self::NotLeader | Self::Unsure => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_leader_says_is_heard_as_it_was_said() {
        let reason = || "a reason".to_owned();
        for fate in [
            Ok(7),
            Err(Refusal::Stale { expected: 1, current: 2 }),
            Err(Refusal::Unfit { reason: reason(), current: 3 }),
            Err(Refusal::Directory(Refused::Unknown(reason()))),
            Err(Refusal::Directory(Refused::Conflict(reason()))),
            Err(Refusal::Directory(Refused::Full(reason()))),
            Err(Refusal::Directory(Refused::Unfit(reason()))),
            Err(Refusal::Directory(Refused::Shut(reason()))),
            Err(Refusal::Directory(Refused::Forbidden(reason()))),
            Err(Refusal::Log(LogError::Full(reason()))),
        ] {
            let heard = Answer::decode(&Answer::of(fate.clone()).encode()).unwrap().fate();

            assert_eq!(heard, Some(fate));
        }
        assert_eq!(Answer::of(Err(Refusal::Leaderless)).fate(), None);
        assert_eq!(Answer::of(Err(Refusal::Unsure)).fate(), None);
    }
}
