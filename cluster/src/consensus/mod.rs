//! Consensus over the log: what openraft needs of us, and the only place that names it.
//!
//! A group of several nodes commits by openraft. Its entries, its vote and its marks are records of the same
//! [log](crate::wal) that the local rule writes, so that a group changes from one rule to the other without being copied.
//!
//! [`types`] says what openraft runs on, and how the log's records map to it; [`Timing`] makes its configuration.
//! [`Store`] is the log as openraft writes it, and [`Reader`] as its tasks read it. Both share the entries that wait for
//! the disk: appending returns at once, so that an entry is on its way to the other nodes while it is being synced here.
//!
//! A [`Desk`] hears what the other nodes say to this one's groups, on a [wire](crate::wire), and makes the [`Links`] by
//! which each group calls them.
//!
//! [`Replicated`] is the log of a shard under consensus. Its [`Machine`] holds no state: it says how far the log is
//! committed, and the shard reads the entries itself.
//!
//! Not here yet: the sending of state to a node that lacks dropped entries, and groups that change from one rule to the
//! other while a node runs.

mod body;
mod calls;
mod codec;
mod config;
mod entries;
mod leading;
mod machine;
mod network;
mod reader;
mod replicated;
mod serve;
mod store;
mod telling;
pub mod types;

pub use config::Timing;
pub use machine::Machine;
pub use network::{Link, Links};
pub use reader::Reader;
pub use replicated::Replicated;
pub use serve::Desk;
pub use store::Store;
