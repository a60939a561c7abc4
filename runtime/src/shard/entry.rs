//! An entry of a shard's log: the decisions of one batch.

use twins::id::TwinId;
use twins::time::Timestamp;
use twins::transition::Transition;

use crate::stream::Offset;

pub use super::parcel::{Content, Parcel};

/// A batch of decisions, in the order they were made.
#[derive(Debug, Clone, PartialEq, Eq, Default, minicbor::Encode, minicbor::Decode)]
pub struct Batch {
    /// The term it was decided in. An entry whose own term differs is a no-op on every replica: its decisions were
    /// made on a state that the log does not have.
    #[n(0)]
    pub term: u64,
    /// The shard's now when the batch was closed.
    #[n(1)]
    pub stamp: Timestamp,
    /// The decisions.
    #[n(2)]
    pub decisions: Vec<Decided>,
    /// How far the channels from other shards are taken with it, whatever was decided on what they brought.
    #[n(3)]
    pub taken: Vec<Reached>,
    /// How far other shards have what this one sent: it goes from the channels.
    #[n(4)]
    pub acknowledged: Vec<Reached>,
    /// Refusals of calls that were taken. They go to the channels, after the calls of the decisions.
    #[n(5)]
    pub refusals: Vec<Refusal>,
    /// With the records of the decisions, the segment of the stream ends.
    #[n(6)]
    #[cbor(default)]
    pub sealed: bool,
    /// The segments of the stream whose records are all before this offset are dropped, after the decisions.
    #[n(7)]
    pub trimmed: Option<Offset>,
}

/// How far a channel has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Reached {
    /// The shard at the other end.
    #[n(0)]
    pub shard: u32,
    /// The number of the last parcel.
    #[n(1)]
    pub n: u64,
}

/// A call's refusal, on its way back.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Refusal {
    /// To which shard.
    #[n(0)]
    pub shard: u32,
    /// For whom, and why.
    #[n(1)]
    pub parcel: Parcel,
}

/// One decision.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Decided {
    /// On which twin.
    #[n(0)]
    pub twin: TwinId,
    /// What was decided.
    #[n(1)]
    pub transition: Transition,
}

impl Batch {
    /// The entry's bytes: CBOR, as the fields are numbered.
    pub fn encode(&self) -> Vec<u8> {
        minicbor::to_vec(self).expect("writing to memory does not fail")
    }

    /// Reads an entry.
    ///
    /// # Errors
    /// When the bytes are not what [`Batch::encode`] writes.
    pub fn decode(bytes: &[u8]) -> Result<Self, minicbor::decode::Error> {
        minicbor::decode(bytes)
    }
}
