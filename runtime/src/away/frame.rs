//! What nodes say to each other about twins: to the node that leads a shard, and back.
//!
//! The body of a [message](super::link) is one of these as CBOR, with numbered variants and fields: a number is never
//! given twice.

use std::sync::Arc;

use bytes::Bytes;
use twins::body::Body;
use twins::header::{Header, Trace};
use twins::id::TwinId;
use twins::input::Input;
use twins::name::Name;
use twins::reply::Reply;
use twins::twin::Twin;

use crate::error::Error;
use crate::mailbox::Mail;
use crate::router::Response;
use crate::shard::parcel::Parcel;

use super::codec;

/// One thing that is said.
#[derive(Debug, Clone, PartialEq, minicbor::Encode, minicbor::Decode)]
pub(crate) enum Frame {
    /// Inputs of a connection, in order. Each is answered by mail, or by [`Frame::Elsewhere`].
    #[n(0)]
    Submit {
        #[n(0)]
        shard: u32,
        #[n(1)]
        connection: u64,
        #[cbor(n(2), with = "codec::list")]
        inputs: Vec<Sent>,
    },
    /// One input of a caller.
    #[n(1)]
    Ask {
        #[n(0)]
        call: u64,
        #[n(1)]
        shard: u32,
        #[n(2)]
        twin: TwinId,
        #[n(3)]
        header: Box<Header>,
        #[n(4)]
        input: Input,
    },
    /// Connections whose sessions this shard's twins have.
    #[n(2)]
    Attach {
        #[n(0)]
        call: u64,
        #[n(1)]
        shard: u32,
        #[cbor(n(2), with = "codec::list")]
        connections: Vec<Held>,
    },
    /// A connection is no more.
    #[n(3)]
    Gone(#[n(0)] u64),
    /// A question to a device.
    #[n(4)]
    Request {
        #[n(0)]
        call: u64,
        #[n(1)]
        shard: u32,
        #[n(2)]
        twin: TwinId,
        #[n(3)]
        name: Name,
        #[n(4)]
        payload: Body,
        #[n(5)]
        trace: Option<Trace>,
    },
    /// A device's answer to one.
    #[n(5)]
    Respond {
        #[n(0)]
        call: u64,
        #[n(1)]
        shard: u32,
        #[n(2)]
        twin: TwinId,
        #[n(3)]
        id: Name,
        #[n(4)]
        response: Response,
    },
    /// Nobody waits for the answer to a call any more.
    #[n(6)]
    Forget(#[n(0)] u64),
    /// A twin, as it is committed.
    #[n(7)]
    Look {
        #[n(0)]
        call: u64,
        #[n(1)]
        shard: u32,
        #[n(2)]
        twin: TwinId,
    },
    /// The ids of a tenant's twins in these shards.
    #[n(8)]
    List {
        #[n(0)]
        call: u64,
        #[cbor(n(1), with = "codec::list")]
        shards: Vec<u32>,
        #[n(2)]
        tenant: String,
        #[n(3)]
        after: Option<TwinId>,
        #[n(4)]
        limit: u32,
    },
    /// Parcels of a shard for another one, numbered from `first`.
    #[n(12)]
    Parcels {
        #[n(0)]
        from: u32,
        #[n(1)]
        to: u32,
        #[n(2)]
        first: u64,
        #[cbor(n(3), with = "codec::shared")]
        parcels: Vec<Arc<Parcel>>,
    },
    /// A shard has everything of another one through a number.
    #[n(13)]
    Acknowledged {
        #[n(0)]
        by: u32,
        #[n(1)]
        to: u32,
        #[n(2)]
        n: u64,
    },
    /// Something for the group that all nodes have, which is not read here.
    #[n(14)]
    Meta {
        #[n(0)]
        call: u64,
        #[cbor(n(1), with = "codec::octets")]
        body: Bytes,
    },
    /// Mail of a shard for a connection.
    #[n(15)]
    Mail {
        #[n(0)]
        shard: u32,
        #[n(1)]
        connection: u64,
        #[cbor(n(2), with = "codec::list")]
        mail: Vec<Mail>,
    },
    /// The answer to a call.
    #[n(16)]
    Answer {
        #[n(0)]
        call: u64,
        #[n(1)]
        answer: Result<Answer, Error>,
    },
    /// The node that was told does not lead the shard: none of this was taken.
    #[n(17)]
    Elsewhere {
        #[n(0)]
        shard: u32,
        /// Who does, where that is known.
        #[n(1)]
        leader: Option<u64>,
        /// Inputs of this connection, by their tokens.
        #[n(2)]
        connection: u64,
        #[cbor(n(3), with = "codec::list")]
        tokens: Vec<u64>,
        /// Or a call.
        #[n(4)]
        call: Option<u64>,
    },
    /// Nothing; but whoever hears it knows whether it has heard all before it.
    #[n(18)]
    Beat,
}

/// An input of a connection.
#[derive(Debug, Clone, PartialEq, minicbor::Encode, minicbor::Decode)]
pub(crate) struct Sent {
    #[n(0)]
    pub(crate) token: u64,
    #[n(1)]
    pub(crate) twin: TwinId,
    #[n(2)]
    pub(crate) header: Header,
    #[n(3)]
    pub(crate) input: Input,
}

/// A connection that a session is held by.
#[derive(Debug, Clone, PartialEq, minicbor::Encode, minicbor::Decode)]
pub(crate) struct Held {
    #[n(0)]
    pub(crate) connection: u64,
    #[n(1)]
    pub(crate) twin: TwinId,
    #[n(2)]
    pub(crate) epoch: u64,
}

/// What a call is answered with.
#[derive(Debug, Clone, PartialEq, minicbor::Encode, minicbor::Decode)]
pub(crate) enum Answer {
    #[n(0)]
    Reply(#[n(0)] Reply),
    #[n(1)]
    Response(#[n(0)] Response),
    /// Whether anybody still waited for a response.
    #[n(2)]
    Heard(#[n(0)] bool),
    #[n(3)]
    Found(#[cbor(n(0), with = "codec::found")] Option<Arc<Twin>>),
    #[n(4)]
    Listed(#[cbor(n(0), with = "codec::list")] Vec<TwinId>),
    #[n(5)]
    Attached,
    #[n(6)]
    Meta(#[cbor(n(0), with = "codec::octets")] Bytes),
}

impl Frame {
    pub(crate) fn encode(&self) -> Vec<u8> {
        minicbor::to_vec(self).expect("writing to memory does not fail")
    }

    /// Reads what another node said.
    ///
    /// # Errors
    /// Why it is none of these.
    pub(crate) fn decode(body: &[u8]) -> Result<Self, String> {
        let mut decoder = minicbor::Decoder::new(body);
        let frame = decoder.decode().map_err(|error| error.to_string())?;
        match body.len() - decoder.position() {
            0 => Ok(frame),
            more => Err(format!("{more} bytes follow what was said")),
        }
    }

    /// The call that waits for an answer to it.
    pub(crate) fn call(&self) -> Option<u64> {
        match self {
            Self::Ask { call, .. }
            | Self::Attach { call, .. }
            | Self::Request { call, .. }
            | Self::Respond { call, .. }
            | Self::Look { call, .. }
            | Self::List { call, .. }
            | Self::Meta { call, .. } => Some(*call),
            _ => None,
        }
    }
}
