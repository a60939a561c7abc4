//! The port to a shard's replicated log: what is proposed here is durable before anybody hears of it.
//!
//! A shard proposes one entry at a time; whatever is decided meanwhile forms the next. The log answers each proposal
//! once, from its own thread, after the entry is committed: by one node's fsync under the local rule, by a quorum's
//! under consensus. The cluster crate fills this port; the runtime never learns which rule committed an entry.

use bytes::Bytes;

/// Where an entry stands in its group's log. Ordered by term, then by index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct LogId {
    /// The leader's term; one leader a term, so the term is the shard's epoch.
    pub term: u64,
    /// The entry's position, without gaps.
    pub index: u64,
}

/// A committed entry that was proposed by a shard. Entries of the log's own (membership, blanks) are not shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its place.
    pub id: LogId,
    /// The bytes that were proposed.
    pub payload: Bytes,
}

/// Why a proposal was not confirmed. The two outcomes differ for the caller: see each variant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The entry was surely not appended: another node leads, or the proposal's term has ended. Safe to send again.
    #[error("this node does not lead the shard in term {term}")]
    NotLeader {
        /// The term that was proposed under.
        term: u64,
    },
    /// The entry was surely not appended, since the disk has no room beyond its reserve. Safe to send again later.
    #[error("the disk is full: {0}; free some space, then writing goes on by itself")]
    Full(String),
    /// Nobody knows whether the entry will be found after a restart. The speculation on it must be dropped.
    #[error("the log stopped and the fate of this entry is unknown: {0}; restart the node")]
    Unknown(String),
    /// The log cannot be read. The node must not serve the shard.
    #[error("the log cannot be read: {0}")]
    Unreadable(String),
}

/// Called once with a proposal's fate, on the log's own thread, or on the caller's if it is refused at once: hand it on
/// and return.
pub type Done = Box<dyn FnOnce(Result<LogId, Error>) + Send>;

/// One shard's log.
pub trait ShardLog: Send + Sync + 'static {
    /// Waits until this node may speak for the shard, and returns the term it leads in (the read barrier of a new
    /// leader). Everything committed before it returns is visible to [`ShardLog::replay`].
    ///
    /// # Errors
    /// [`Error::NotLeader`] when another node leads.
    fn lead(&self) -> Result<u64, Error>;

    /// Shows every committed entry after index `after`, oldest first, until `visit` says stop by returning `false`.
    ///
    /// # Errors
    /// [`Error::Unreadable`], also when entries after `after` were already purged: the state that asks is too old.
    fn replay(&self, after: u64, visit: &mut dyn FnMut(Entry) -> bool) -> Result<(), Error>;

    /// The index of the last entry, where it is known: how far [`ShardLog::replay`] will go, for whoever waits.
    fn last(&self) -> Option<u64> {
        None
    }

    /// Proposes an entry decided under `term`. Does not block and does not fail: its fate arrives by `done`.
    fn propose(&self, term: u64, payload: Bytes, done: Done);

    /// As [`ShardLog::propose`], for an entry that is small, rare, and frees space on the disk: it may use the reserve
    /// that a full disk keeps.
    fn propose_upkeep(&self, term: u64, payload: Bytes, done: Done);

    /// Says that the state through `index` is durable elsewhere, so that the log may drop entries up to it. A hint:
    /// the log drops them when whole segments become free.
    fn purge(&self, index: u64);
}
