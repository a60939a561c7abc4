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
//! `Running` is consensus on one group while it runs; the [group](crate::group) starts it, ends it, and starts it again
//! when it has failed. Its [`Machine`] holds no state: it says how far the log is committed, and the shard reads the
//! entries itself.
//!
//! Not here yet: the sending of state to a node that lacks dropped entries.

mod body;
mod calls;
mod codec;
mod config;
mod confirming;
mod duty;
mod entries;
mod leading;
mod machine;
mod members;
mod network;
mod proposing;
mod reader;
mod running;
mod serve;
mod store;
pub mod types;

pub use config::Timing;
pub(crate) use duty::Duty;
pub(crate) use entries::Entries;
pub use machine::Machine;
pub use network::{Link, Links};
pub use reader::Reader;
pub(crate) use running::Running;
pub use serve::Desk;
pub use store::Store;
