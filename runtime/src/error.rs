//! Why an input got no answer that counts. A refusal is final; everything else may be tried again.

use twins::rejection::Rejection;

use crate::admission::named;

/// What may come back instead of a reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The twin refused. The same input would be refused again.
    #[error("{0}")]
    Rejected(#[from] Rejection),
    /// The shard has as much to do as it may. The input was surely not taken; it may be sent again.
    #[error("shard {shard} is overloaded: {limit}; send it again later")]
    Overloaded {
        /// Which shard.
        shard: u32,
        /// The limit that was reached, in words.
        limit: &'static str,
    },
    /// The input was surely not taken, for a reason that passes: the disk is full, or another node leads.
    #[error("shard {shard} cannot write: {why}")]
    Unwritten {
        /// Which shard.
        shard: u32,
        /// Why.
        why: String,
    },
    /// The input may have been taken or not: its fate is unknown. Session inputs may be sent again under their number.
    #[error("whether shard {shard} took it is unknown: {why}")]
    Unknown {
        /// Which shard.
        shard: u32,
        /// Why.
        why: String,
    },
    /// The node stops.
    #[error("the node is stopping; connect to another one, or when it is back")]
    Stopping,
}

/// How it is written for another node.
#[derive(minicbor::Encode, minicbor::Decode)]
enum Written {
    #[n(0)]
    Rejected(#[n(0)] Rejection),
    #[n(1)]
    Overloaded(#[n(0)] u32, #[n(1)] String),
    #[n(2)]
    Unwritten(#[n(0)] u32, #[n(1)] String),
    #[n(3)]
    Unknown(#[n(0)] u32, #[n(1)] String),
    #[n(4)]
    Stopping,
}

impl<C> minicbor::Encode<C> for Error {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        context: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        let written = match self.clone() {
            Self::Rejected(rejection) => Written::Rejected(rejection),
            Self::Overloaded { shard, limit } => Written::Overloaded(shard, limit.to_owned()),
            Self::Unwritten { shard, why } => Written::Unwritten(shard, why),
            Self::Unknown { shard, why } => Written::Unknown(shard, why),
            Self::Stopping => Written::Stopping,
        };
        written.encode(e, context)
    }
}

impl<'b, C> minicbor::Decode<'b, C> for Error {
    fn decode(d: &mut minicbor::Decoder<'b>, context: &mut C) -> Result<Self, minicbor::decode::Error> {
        Ok(match Written::decode(d, context)? {
            Written::Rejected(rejection) => Self::Rejected(rejection),
            Written::Overloaded(shard, limit) => Self::Overloaded { shard, limit: named(&limit) },
            Written::Unwritten(shard, why) => Self::Unwritten { shard, why },
            Written::Unknown(shard, why) => Self::Unknown { shard, why },
            // The node that leads stops, which this one does not: another will lead.
            Written::Stopping => Self::Unwritten { shard: 0, why: "the node that leads it stops".into() },
        })
    }
}

/// The answer to an input, or why there is none.
pub type Outcome = Result<twins::reply::Reply, Error>;
