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
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// It is done; also the answer to a repeated input.
    Done,
    /// The id is registered.
    Registered {
        /// It was not, before.
        created: bool,
        /// The twin.
        twin: Arc<Twin>,
    },
    /// The connection has begun.
    Connected {
        /// Its epoch: the connection's inputs name it.
        epoch: u64,
        /// The session was there before.
        present: bool,
        /// What the session listens to already.
        subscriptions: Vec<Subscription>,
        /// What is open of QoS 2. What is released is to be released again; what is not comes as a delivery.
        handshakes: Handshakes,
    },
    /// The twin as the input left it.
    Twin(Arc<Twin>),
    /// The command.
    Command {
        /// Its id.
        id: CommandId,
        /// How far it was when the input was taken.
        state: State,
    },
    /// The command that a device without a connection was handed.
    Polled(Command),
    /// What the behaviour answered.
    Returned(Json),
    /// The credential that the device was given, now or when it asked for the same before.
    Granted(Box<Credential>),
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// A change of the desired section; to be acknowledged with its version.
    Desired {
        /// The section's version with it.
        version: u64,
        /// The difference, or the whole section.
        patch: Json,
        /// It is the whole section.
        full: bool,
        /// Its packet under QoS 2.
        packet: Option<Packet>,
    },
    /// A command; to be acknowledged with its id.
    Command {
        /// Its id.
        id: CommandId,
        /// What to do.
        name: Name,
        /// With what.
        payload: Body,
        /// Until when.
        deadline: Timestamp,
        /// How often it was sent, this time included.
        attempt: u32,
        /// The trace of what it was queued for.
        trace: Option<Trace>,
        /// Its packet under QoS 2.
        packet: Option<Packet>,
    },
    /// A request: the device answers it, or it times out.
    Request {
        /// The id of the answer.
        id: Name,
        /// What is asked.
        name: Name,
        /// With what.
        payload: Body,
        /// The trace of whoever asks.
        trace: Option<Trace>,
    },
    /// The connection is to be closed.
    Close(Closed),
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Closed {
    /// The same client connected again.
    TakenOver,
    /// The twin was removed.
    Removed,
    /// What the connection came with is not valid any more, or the device may not come in any more.
    NotAuthorized,
    /// The node stops, or can no longer say what is durable.
    Unavailable,
}
