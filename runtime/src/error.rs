//! Why an input got no answer that counts. A refusal is final; everything else may be tried again.

use twins::rejection::Rejection;

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

/// The answer to an input, or why there is none.
pub type Outcome = Result<twins::reply::Reply, Error>;
