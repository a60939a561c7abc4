//! What every input and every record carries beside its content: who, when, by which way.

use crate::digest::Digest;
use crate::id::TwinId;
use crate::name::Name;
use crate::time::Timestamp;
use crate::trust::Proof;

/// The envelope of an input, kept with the transition it leads to.
#[derive(Debug, Clone, PartialEq, Eq, Default, minicbor::Encode, minicbor::Decode)]
pub struct Header {
    /// When the shard took it in: the shard's now, which never goes back.
    #[n(0)]
    pub received: Timestamp,
    /// When it happened, as the device says; absent means when it was received.
    #[n(1)]
    pub time: Option<Timestamp>,
    /// Who sent it.
    #[n(2)]
    pub principal: Principal,
    /// The way it came.
    #[n(3)]
    pub transport: Transport,
    /// The trace it belongs to.
    #[n(4)]
    pub trace: Option<Trace>,
    /// Whether its content may be believed.
    #[n(5)]
    pub quality: Quality,
    /// The id of the key that the body is encrypted with. Reserved: nothing sets it yet.
    #[n(6)]
    pub key: Option<Name>,
    /// Its place in the session it came by.
    #[n(7)]
    pub mark: Option<Mark>,
    /// The packet id that it came under with QoS 2: while the session holds that, the input is a repetition.
    #[n(8)]
    pub packet: Option<u16>,
    /// The id that the device gave to the message: it has its effect once (see [`mids`](crate::mids)).
    #[n(9)]
    pub mid: Option<Digest>,
    /// The key that an application gave to the request: it has its effect once (see [`keys`](crate::keys)).
    #[n(10)]
    pub idempotency: Option<Idempotency>,
    /// The effect of another twin that it is, or that it answers.
    #[n(11)]
    pub cause: Option<Box<Cause>>,
    /// What a device without a session proved of itself, or one that proves it anew. That of a session is the session's.
    #[n(12)]
    pub proof: Option<Box<Proof>>,
}

impl Header {
    /// When it happened: the event time, else when it was received.
    pub fn event_time(&self) -> Timestamp {
        self.time.unwrap_or(self.received)
    }
}

/// A request that an application may send again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Idempotency {
    /// Which request: of who asked, of what was asked of whom, and of the key.
    #[n(0)]
    pub key: Digest,
    /// What it said: under the same key it has to say the same.
    #[n(1)]
    pub body: Digest,
}

/// A place in a trace, as W3C trace context has it: what an input came with, and what goes on with its effects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, minicbor::Encode, minicbor::Decode)]
pub struct Trace {
    /// Of the whole trace.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub id: [u8; 16],
    /// Of the span of whoever sent the input.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub parent: [u8; 8],
    /// Whether its steps are wanted: otherwise it only goes on.
    #[n(2)]
    pub sampled: bool,
}

impl Trace {
    /// The `traceparent` of version 00 that says it (section 3.2).
    pub fn traceparent(&self) -> String {
        let flags = u8::from(self.sampled);
        format!("00-{self}-{:016x}-{flags:02x}", u64::from_be_bytes(self.parent))
    }
}

/// The trace's id: thirty-two hexadecimal digits.
impl std::fmt::Display for Trace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.id))
    }
}

/// The place of an input in its session: inputs are numbered from 1, without gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Mark {
    /// The session's epoch, given by the twin at connect.
    #[n(0)]
    pub epoch: u64,
    /// The input's number.
    #[n(1)]
    pub n: u64,
}

/// An effect that became an input, by its id: where it was decided, and its place there.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Cause {
    /// The twin that decided on it.
    #[n(0)]
    pub twin: TwinId,
    /// That twin's generation.
    #[n(1)]
    pub generation: u32,
    /// That twin's sequence with the transition.
    #[n(2)]
    pub sequence: u64,
    /// Its place among the effects of the transition.
    #[n(3)]
    pub ordinal: u32,
    /// How many calls in a row led here, this one included.
    #[n(4)]
    pub hops: u32,
}

/// Who acts.
#[derive(Debug, Clone, PartialEq, Eq, Default, minicbor::Encode, minicbor::Decode)]
pub enum Principal {
    /// The twin's own device.
    #[default]
    #[n(0)]
    Device,
    /// A person or a service, by name.
    #[n(1)]
    User(#[n(0)] Name),
    /// Twinfold itself: timers, expiry, presence.
    #[n(2)]
    System,
    /// The twin's own behaviour.
    #[n(3)]
    Behavior,
    /// The behaviour of another twin, by a call.
    #[n(4)]
    Twin(#[n(0)] TwinId),
}

impl std::fmt::Display for Principal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Device => f.write_str("device"),
            Self::User(name) => write!(f, "user:{name}"),
            Self::System => f.write_str("system"),
            Self::Behavior => f.write_str("behavior"),
            Self::Twin(id) => write!(f, "twin:{}", id.id()),
        }
    }
}

/// The way an input came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum Transport {
    /// From inside the node.
    #[default]
    #[n(0)]
    Internal,
    /// MQTT over TCP.
    #[n(1)]
    Mqtt,
    /// HTTP.
    #[n(2)]
    Http,
    /// MQTT over TLS.
    #[n(3)]
    MqttTls,
    /// MQTT over WebSocket.
    #[n(4)]
    MqttWebSocket,
    /// MQTT over QUIC.
    #[n(5)]
    MqttQuic,
}

impl Transport {
    /// Its name in documents and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Internal => "internal",
            Self::Mqtt => "mqtt",
            Self::Http => "http",
            Self::MqttTls => "mqtt+tls",
            Self::MqttWebSocket => "mqtt+websocket",
            Self::MqttQuic => "mqtt+quic",
        }
    }
}

/// Whether a value may be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum Quality {
    /// Nothing speaks against it.
    #[default]
    #[n(0)]
    Good,
    /// Something does: control rules leave it out.
    #[n(1)]
    Suspect,
}
