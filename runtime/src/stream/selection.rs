//! What a reader asks of the streams, and what it gets.

use twins::id::TwinId;
use twins::name::Name;
use twins::time::Timestamp;

use crate::record::Record;

/// Which records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// Of this tenant.
    pub tenant: String,
    /// Of one twin; `None`: of all.
    pub twin: Option<TwinId>,
    /// Of this generation of its id; `None`: of all. Another one is another device.
    pub generation: Option<u32>,
    /// Of one shard; `None`: of all, or of the twin's.
    pub shard: Option<u32>,
    /// Of these types ([`Fact::kind`](crate::record::Fact::kind)); empty: of all.
    pub kinds: Vec<String>,
    /// Telemetry of this channel; `None`: of all.
    pub channel: Option<Name>,
    /// From where.
    pub from: From,
    /// Received before this.
    pub until: Option<Timestamp>,
    /// At most so many.
    pub limit: usize,
    /// No further one once they have so many bytes in the stream, in sum.
    pub bytes: usize,
}

/// Where to begin.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum From {
    /// With the oldest that is kept.
    #[default]
    Earliest,
    /// After the record that this cursor came with.
    Cursor(String),
    /// With the first that was received at this time or later.
    Time(Timestamp),
    /// With what comes next.
    Latest,
}

/// A record and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// The cursor that reads on after it: opaque over all shards, `shard:offset` for one shard or one twin.
    pub cursor: String,
    /// The record.
    pub record: Record,
}

/// Some records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// In the order of their shard; over several shards, roughly by the time they were received.
    pub records: Vec<Placed>,
    /// Reads on from here. Valid also when there is nothing more yet.
    pub next: String,
}
