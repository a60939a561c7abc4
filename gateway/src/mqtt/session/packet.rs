//! Packets without their version: what a session needs of them, in and out.

use bytes::Bytes;
use twins::header::Trace;

use super::reason::Reason;

/// A packet from the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Packet {
    Connect(Box<Connect>),
    Publish(Publish),
    /// The client has a message, or (`refused`) will not have it.
    Puback {
        id: u16,
        refused: bool,
    },
    /// The same under QoS 2.
    Pubrec {
        id: u16,
        refused: bool,
    },
    /// The client releases a packet id of its own.
    Pubrel(u16),
    /// The client knows that a packet id of this side is released.
    Pubcomp(u16),
    Subscribe(Subscribe),
    Unsubscribe {
        id: u16,
        filters: Vec<String>,
    },
    /// Answered already.
    Ping,
    Disconnect {
        /// The will is to be published all the same.
        with_will: bool,
        /// How long the session is to be kept, in seconds, where the client says so now.
        expiry_s: Option<u32>,
    },
    Auth(Auth),
    /// One that has no place here.
    Other(&'static str),
}

impl Packet {
    /// Whether it may come before a challenge is answered.
    pub(super) fn is_of_authentication(&self) -> bool {
        matches!(self, Self::Auth(_) | Self::Disconnect { .. })
    }
}

/// An AUTH of the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Auth {
    /// It wants to authenticate anew; else it goes on.
    pub(super) again: bool,
    /// The method and the data.
    pub(super) authentication: Option<(String, Vec<u8>)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Connect {
    pub(super) v5: bool,
    pub(super) client: String,
    pub(super) username: Option<String>,
    pub(super) password: Option<Vec<u8>>,
    /// Nothing of an earlier session is wanted.
    pub(super) clean: bool,
    /// The session is to outlive the connection.
    pub(super) keep: bool,
    /// For so many seconds; absent is for ever.
    pub(super) expiry_s: Option<u32>,
    /// In seconds; 0 asks for none.
    pub(super) keep_alive: u16,
    /// The method and the data of enhanced authentication.
    pub(super) authentication: Option<(String, Vec<u8>)>,
    pub(super) will: Option<Will>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Will {
    pub(super) message: Publish,
    pub(super) delay_s: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Publish {
    /// Absent under QoS 0.
    pub(super) id: Option<u16>,
    pub(super) qos: u8,
    pub(super) topic: String,
    pub(super) payload: Bytes,
    pub(super) content_type: Option<String>,
    /// The payload is said to be UTF-8.
    pub(super) text: bool,
    /// The user property `time`.
    pub(super) time: Option<String>,
    /// The trace that the user property `traceparent` names.
    pub(super) trace: Option<Trace>,
    /// The user property `mid`.
    pub(super) mid: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subscribe {
    pub(super) id: u16,
    /// Each filter with the quality of service that is asked for.
    pub(super) filters: Vec<(String, u8)>,
    /// The number that the client wants to see on what comes by them.
    pub(super) identifier: Option<u32>,
}

/// The CONNACK of a connection that begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Welcome<'a> {
    pub(super) present: bool,
    pub(super) receive_max: u16,
    pub(super) topic_alias_max: u16,
    /// In seconds, where it is not the one that was asked for.
    pub(super) keep_alive: Option<u16>,
    /// Where the client gave none.
    pub(super) assigned_client: Option<&'a str>,
    /// The method by which it was authenticated, where it named one.
    pub(super) method: Option<&'a str>,
    /// How long the session outlives the connection, in seconds, where it is not what was asked for.
    pub(super) expiry_s: Option<u32>,
}

/// A message to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) topic: String,
    pub(super) payload: Bytes,
    pub(super) content_type: Option<String>,
    pub(super) qos: u8,
    /// The twin's own packet id. Without one, QoS 1 and 2 get one that is good for the connection.
    pub(super) packet: Option<twins::handshake::Packet>,
    /// The trace that goes with it, where its client speaks MQTT 5.
    pub(super) trace: Option<Trace>,
    /// The topic comes often: it is worth an alias.
    pub(super) often: bool,
    /// The numbers of the subscriptions that it comes by.
    pub(super) identifiers: Vec<u32>,
}

/// An answer to a packet of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ack<'a> {
    Puback { id: u16, reason: Reason, why: &'a str },
    Pubrec { id: u16, reason: Reason, why: &'a str },
    Pubcomp { id: u16, reason: Reason },
    Suback { id: u16, reasons: &'a [Reason], why: &'a str },
    Unsuback { id: u16, reasons: &'a [Reason] },
}
