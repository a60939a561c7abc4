//! The port to a shard's replicated log: what is proposed here is durable before anybody hears of it.
//!
//! A shard proposes one entry at a time; whatever is decided meanwhile forms the next. The log answers each proposal
//! once, from its own thread, after the entry is committed: by one node's fsync under the local rule, by a quorum's
//! under consensus. The cluster crate fills this port; the runtime never learns which rule committed an entry.
//!
//! A shard whose node does not lead is told how far entries are committed, and reads them when it likes: nothing is
//! pushed, so that one that is slow costs no memory.

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
    /// This node lost the lead while the entry was under way. Nobody knows whether it will be committed; if it is, it is
    /// read like those of other nodes. The speculation on it must be dropped, and the log goes on.
    #[error(
        "this node lost the lead of the shard in term {term}; whether the entry will be committed is unknown"
    )]
    Deposed {
        /// The term that was proposed under.
        term: u64,
    },
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

/// Called once with whether this node still leads, as [`Done`] is.
pub type Sure = Box<dyn FnOnce(Result<(), Error>) + Send>;

/// What hears of a log, from its own threads and in order: hand it on and return.
pub type Ear = Box<dyn Fn(Told) + Send + Sync>;

/// A time in which this node leads a shard without a break.
///
/// A node may lose the lead and have it again in one term. What the shard decides before it has heard of both is no part
/// of what it leads with then, so that a log takes proposals of the tenure that it last told of and of no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tenure {
    /// The term that it is in.
    pub term: u64,
    /// Which of its term it is. The log chooses the number, and tells no ear of the same tenure twice.
    pub number: u64,
}

impl Tenure {
    /// One that lasts as long as its term.
    #[must_use]
    pub fn whole(term: u64) -> Self {
        Self { term, number: 0 }
    }
}

/// Where a log stood when an ear was put on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Everything through this index is committed, and read without being told.
    pub through: u64,
    /// Since when this node leads, if it does. Nothing that it proposed before can appear behind `through` then.
    pub leads: Option<Tenure>,
}

/// What an ear hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// Everything through this index is committed. A hint, of which many are one; nobody is told of what this node
    /// proposed and is answered for.
    Committed {
        /// The index.
        through: u64,
    },
    /// This node leads as soon as it has applied everything through an index. Nothing that it proposed before can
    /// appear behind that.
    Leads {
        /// What to propose in.
        tenure: Tenure,
        /// The index.
        through: u64,
    },
    /// This node does not lead, or not any more. What was under way was answered with [`Error::Deposed`] before.
    Follows {
        /// Who leads, where it is known.
        leader: Option<u64>,
    },
    /// The state store has the state of another replica now: whoever holds one that is older begins again from it.
    Replaced,
}

/// One shard's log.
pub trait ShardLog: Send + Sync + 'static {
    /// Tells an ear from now on, and says where the log stands. Does not block. A new ear takes the place of the one
    /// before.
    fn listen(&self, ear: Ear) -> Standing;

    /// The committed entries after index `after` and through index `through`, oldest first: as many as have `bytes` in
    /// sum, and at least one, unless there is none. Blocks.
    ///
    /// # Errors
    /// [`Error::Unreadable`], also when entries after `after` were already purged: the state that asks is too old.
    fn read(&self, after: u64, through: u64, bytes: usize) -> Result<Vec<Entry>, Error>;

    /// As [`ShardLog::read`], where that needs no disk.
    fn recent(&self, _after: u64, _through: u64, _bytes: usize) -> Option<Vec<Entry>> {
        None
    }

    /// Proposes an entry decided in a tenure. Does not block and does not fail: its fate arrives by `done`.
    fn propose(&self, tenure: Tenure, payload: Bytes, done: Done);

    /// As [`ShardLog::propose`], for an entry that is small, rare, and frees space on the disk: it may use the reserve
    /// that a full disk keeps.
    fn propose_upkeep(&self, tenure: Tenure, payload: Bytes, done: Done);

    /// Whether this node may have lost the lead without knowing it: what rests on no entry of its own must then be
    /// [confirmed](ShardLog::confirm) before anybody hears of it.
    fn needs_confirming(&self) -> bool {
        false
    }

    /// Makes sure that this node led in a tenure at some time after this call.
    fn confirm(&self, _tenure: Tenure, sure: Sure) {
        sure(Ok(()));
    }

    /// Says that the state through `index` is durable elsewhere, so that the log may drop entries up to it. A hint:
    /// the log drops them when whole segments become free.
    fn purge(&self, index: u64);
}
