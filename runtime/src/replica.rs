//! The port through which a shard's state moves from one node to another: packed where it is, staged and installed
//! where it is to be.
//!
//! A replica that has nothing, or whose next entries the leader's log has dropped, is given the state of another one. What
//! is on its way is invisible: a [`Staged`] state is whole, and nobody sees any of it until [`Staged::install`] makes it
//! the shard's, durably and in one step. Whoever holds the state before is told so by the log
//! ([`Told::Replaced`](crate::log::Told::Replaced)) and begins again; what it still writes is refused.
//!
//! The room of the log asks for this before the shards run, and while they run: [`Local`], which fills the port, needs the
//! state store and the streams' folder, and no [`Node`](crate::node::Node).

mod local;
mod origin;

use std::io::{Read, Write};

pub use local::Local;
pub(crate) use origin::is_row as is_origin;

/// How far a shard's state is durable: its last checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// The index of the last entry that it contains.
    pub applied: u64,
    /// Where it came from, while it is as it was [installed](Staged::install). Once entries of this node's own log were
    /// applied to it there is none: the log knows that one then.
    pub origin: Option<Origin>,
}

/// What the log has to know of a state that came from another node, since it has none of the entries that lead to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The term of the last entry that the state contains.
    pub term: u64,
    /// The membership of the group at that entry, as bytes that mean something to the room of the log only.
    pub membership: Vec<u8>,
}

/// The states of the shards of a node. All calls block: call them where blocking is allowed.
///
/// # Errors
/// In words for an operator. None of them leaves a state half replaced.
pub trait Replicas: Send + Sync + 'static {
    /// The last durable checkpoint of a shard; none where it has never written one.
    ///
    /// # Errors
    /// When the state store cannot be read.
    fn saved(&self, shard: u32) -> Result<Option<Saved>, String>;

    /// Writes the state of a shard, as its last durable checkpoint is, and answers the index of the last entry that it
    /// contains. The shard goes on meanwhile: the log must not drop what follows that index until the state has arrived.
    ///
    /// No more than a MiB of it is in memory at a time, and the longest row.
    ///
    /// # Errors
    /// When the state or `out` fails, when the shard has no checkpoint, or when retention was faster than the copy: try
    /// it again.
    fn pack(&self, shard: u32, out: &mut dyn Write) -> Result<u64, String>;

    /// Reads a state that was [packed](Replicas::pack), to its end, and keeps it beside the shard's own, visible to nobody.
    /// One that is cut off, damaged or another shard's is refused, and nothing of it is left; nor is it after a crash.
    ///
    /// # Errors
    /// What is wrong with it, or with the disk.
    fn stage(&self, shard: u32, from: &mut dyn Read) -> Result<Box<dyn Staged>, String>;

    /// Makes the shard's state empty, in one synced step, for a shard that is not kept here any more.
    ///
    /// # Errors
    /// When the state store cannot be written; the state is as it was then.
    fn forget(&self, shard: u32) -> Result<(), String>;
}

/// A state that is whole and checked, and not the shard's yet. Dropped, it is discarded.
pub trait Staged: Send {
    /// Makes it the shard's state, in one synced step: whatever happens, the shard has the state before or this one.
    ///
    /// `applied` is the index of the last entry that it is to contain, `origin` what the log wants to know of it when this
    /// node starts: see [`Saved`].
    ///
    /// # Errors
    /// When `applied` is not what it contains, or the state store cannot be written.
    fn install(self: Box<Self>, applied: u64, origin: Origin) -> Result<(), String>;
}
