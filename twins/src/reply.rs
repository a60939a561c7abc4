//! What a decision says to whoever asked, and what it hands to the device's connections.

use std::sync::Arc;

use crate::body::Body;
use crate::command::{Command, CommandId, State};
use crate::handshake::{Handshakes, Packet};
use crate::header::Trace;
use crate::json::Json;
use crate::name::Name;
use crate::session::Subscription;
use crate::time::Timestamp;
use crate::trust::Credential;
use crate::twin::Twin;

/// The answer to an input that was taken. It may leave the shard only when everything that it saw is committed.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub enum Reply {
    /// It is done; also the answer to a repeated input.
    #[n(0)]
    Done,
    /// The id is registered.
    #[n(1)]
    Registered {
        /// It was not, before.
        #[n(0)]
        created: bool,
        /// The twin.
        #[cbor(n(1), with = "crate::codec::shared")]
        twin: Arc<Twin>,
    },
    /// The connection has begun.
    #[n(2)]
    Connected {
        /// Its epoch: the connection's inputs name it.
        #[n(0)]
        epoch: u64,
        /// The session was there before.
        #[n(1)]
        present: bool,
        /// What the session listens to already.
        #[n(2)]
        subscriptions: Vec<Subscription>,
        /// What is open of QoS 2. What is released is to be released again; what is not comes as a delivery.
        #[n(3)]
        handshakes: Handshakes,
    },
    /// The twin as the input left it.
    #[n(3)]
    Twin(#[cbor(n(0), with = "crate::codec::shared")] Arc<Twin>),
    /// The command.
    #[n(4)]
    Command {
        /// Its id.
        #[n(0)]
        id: CommandId,
        /// How far it was when the input was taken.
        #[n(1)]
        state: State,
    },
    /// The command that a device without a connection was handed.
    #[n(5)]
    Polled(#[n(0)] Command),
    /// What the behaviour answered.
    #[n(6)]
    Returned(#[n(0)] Json),
    /// The credential that the device was given, now or when it asked for the same before.
    #[n(7)]
    Granted(#[n(0)] Box<Credential>),
}

/// Something for a connection of the device. Not journaled: what is durable in it can be told again from the twin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The epoch of the connection.
    pub epoch: u64,
    /// What it gets.
    pub what: Delivery,
}

/// What a connection gets.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub enum Delivery {
    /// A change of the desired section; to be acknowledged with its version.
    #[n(0)]
    Desired {
        /// The section's version with it.
        #[n(0)]
        version: u64,
        /// The difference, or the whole section.
        #[n(1)]
        patch: Json,
        /// It is the whole section.
        #[n(2)]
        full: bool,
        /// Its packet under QoS 2.
        #[n(3)]
        packet: Option<Packet>,
    },
    /// A command; to be acknowledged with its id.
    #[n(1)]
    Command {
        /// Its id.
        #[n(0)]
        id: CommandId,
        /// What to do.
        #[n(1)]
        name: Name,
        /// With what.
        #[n(2)]
        payload: Body,
        /// Until when.
        #[n(3)]
        deadline: Timestamp,
        /// How often it was sent, this time included.
        #[n(4)]
        attempt: u32,
        /// The trace of what it was queued for.
        #[n(5)]
        trace: Option<Trace>,
        /// Its packet under QoS 2.
        #[n(6)]
        packet: Option<Packet>,
    },
    /// A request: the device answers it, or it times out.
    #[n(2)]
    Request {
        /// The id of the answer.
        #[n(0)]
        id: Name,
        /// What is asked.
        #[n(1)]
        name: Name,
        /// With what.
        #[n(2)]
        payload: Body,
        /// The trace of whoever asks.
        #[n(3)]
        trace: Option<Trace>,
    },
    /// The connection is to be closed.
    #[n(3)]
    Close(#[n(0)] Closed),
}

impl Delivery {
    /// The trace that it belongs to.
    pub fn trace(&self) -> Option<Trace> {
        match self {
            Self::Command { trace, .. } | Self::Request { trace, .. } => *trace,
            Self::Desired { .. } | Self::Close(_) => None,
        }
    }
}

/// Why a connection is closed from this side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum Closed {
    /// The same client connected again.
    #[n(0)]
    TakenOver,
    /// The twin was removed.
    #[n(1)]
    Removed,
    /// What the connection came with is not valid any more, or the device may not come in any more.
    #[n(2)]
    NotAuthorized,
    /// The node stops, or can no longer say what is durable.
    #[n(3)]
    Unavailable,
}
