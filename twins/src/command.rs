//! A command to a device: durable, in order, with one end.
//!
//! ```text
//! queued -> sent -> delivered -> done | rejected | expired
//!    \        \________________________/  also: superseded, cancelled, dead
//!     \___________________________________________________/
//! ```
//!
//! `delivered` means that the device said so. It is the end where no answer is expected.

use std::fmt;

use uuid::Uuid;

use crate::body::Body;
use crate::header::{Principal, Trace};
use crate::json::Json;
use crate::name::Name;
use crate::time::Timestamp;

/// A command's id: a UUIDv7.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, minicbor::Encode, minicbor::Decode)]
#[cbor(transparent)]
pub struct CommandId(#[cbor(n(0), with = "crate::codec::uuid")] pub Uuid);

impl fmt::Display for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.hyphenated(), f)
    }
}

impl fmt::Debug for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for CommandId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        Uuid::parse_str(text).map(Self)
    }
}

/// What is asked of the device, and how far it got.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Command {
    /// Its id.
    #[n(0)]
    pub id: CommandId,
    /// What to do, `name/key` for an instance of a keyed command.
    #[n(1)]
    pub name: Name,
    /// With what.
    #[n(2)]
    pub payload: Body,
    /// When it was queued.
    #[n(3)]
    pub created: Timestamp,
    /// After this it expires instead of being sent, or of being waited for.
    #[n(4)]
    pub deadline: Timestamp,
    /// Who sent it.
    #[n(5)]
    pub by: Principal,
    /// Whether the queue keeps one of a name or all.
    #[n(6)]
    pub mode: Mode,
    /// Whether an outcome is waited for.
    #[n(7)]
    pub answer: Answer,
    /// How far it got.
    #[n(8)]
    pub state: State,
    /// How often it was sent.
    #[n(9)]
    pub attempt: u32,
    /// The session that it was last sent to.
    #[n(10)]
    pub epoch: u64,
    /// What the device answered.
    #[n(11)]
    pub result: Option<Json>,
    /// When it last changed its state.
    #[n(12)]
    pub changed: Timestamp,
    /// The trace of the input that it was queued for; it goes to the device with it.
    #[n(13)]
    pub trace: Option<Trace>,
}

/// Whether commands of one name wait in line or replace each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum Mode {
    /// Each is delivered, in order.
    #[default]
    #[n(0)]
    Queue,
    /// A new one supersedes those of its name that are not final.
    #[n(1)]
    Latest,
}

/// Whether the device is expected to say what became of the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum Answer {
    /// No: delivered is final.
    #[default]
    #[n(0)]
    None,
    /// Yes: without an outcome by the deadline it expires.
    #[n(1)]
    Expected,
}

/// How far a command got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum State {
    /// It waits for the device.
    #[n(0)]
    Queued,
    /// It was handed to a session; the device has not said that it is there.
    #[n(1)]
    Sent,
    /// The device has it.
    #[n(2)]
    Delivered,
    /// The device did it.
    #[n(3)]
    Done,
    /// The device would not.
    #[n(4)]
    Rejected,
    /// Its deadline passed.
    #[n(5)]
    Expired,
    /// It was withdrawn.
    #[n(6)]
    Cancelled,
    /// A newer one of its name took its place.
    #[n(7)]
    Superseded,
    /// It was sent [`ATTEMPTS_MAX`](crate::queue::ATTEMPTS_MAX) times and never acknowledged.
    #[n(8)]
    Dead,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 9] = {
        use State::*;
        [Queued, Sent, Delivered, Done, Rejected, Expired, Cancelled, Superseded, Dead]
    };

    /// Its name in documents.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Done => "done",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::Superseded => "superseded",
            Self::Dead => "dead",
        }
    }

    /// Reads a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

/// How a command ended, as its behaviour hears of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The device has it, and nobody expected more.
    Delivered,
    /// The device did it.
    Done,
    /// The device would not.
    Rejected,
    /// Its deadline passed.
    Expired,
    /// It was withdrawn.
    Cancelled,
    /// A newer one of its name took its place.
    Superseded,
    /// It was sent many times and never acknowledged.
    Dead,
}

impl Command {
    /// How it ended; `None` while it has not.
    pub fn outcome(&self) -> Option<Outcome> {
        match self.state {
            State::Queued | State::Sent => None,
            State::Delivered => (self.answer == Answer::None).then_some(Outcome::Delivered),
            State::Done => Some(Outcome::Done),
            State::Rejected => Some(Outcome::Rejected),
            State::Expired => Some(Outcome::Expired),
            State::Cancelled => Some(Outcome::Cancelled),
            State::Superseded => Some(Outcome::Superseded),
            State::Dead => Some(Outcome::Dead),
        }
    }

    /// The bytes of what it asks for and of what was answered.
    pub fn bytes(&self) -> usize {
        self.payload.len() + self.result.as_ref().map_or(0, Json::len)
    }

    /// Whether nothing more can become of it.
    pub fn is_final(&self) -> bool {
        self.outcome().is_some()
    }
}
