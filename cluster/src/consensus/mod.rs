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
//! A follower that lacks dropped entries is sent the shard's state instead, whole and beside the messages, and the log
//! drops only what no follower will soon ask for ([`Retention`]). [`Snap`] is what openraft knows of a state: where it is.
//!
//! `Running` is consensus on one group while it runs; the [group](crate::group) starts it, ends it, and starts it again
//! when it has failed. Its [`Machine`] holds no state: it says how far the log is committed, and the shard reads the
//! entries itself.

mod body;
mod calls;
mod codec;
mod config;
mod confirming;
mod duty;
mod entries;
mod installing;
mod leading;
mod machine;
mod members;
mod mending;
mod network;
mod proposing;
mod purging;
mod reader;
mod receiving;
mod retention;
mod rt;
mod running;
mod sending;
mod serve;
mod snapshot;
mod states;
mod store;
mod transfer;
pub mod types;
mod watched;

pub use config::Timing;
pub(crate) use duty::Duty;
pub(crate) use entries::Entries;
pub use machine::Machine;
pub(crate) use mending::mend;
pub use network::{Link, Links};
pub use reader::Reader;
pub use retention::Retention;
pub use rt::{Dice, Rt, Seeded};
pub(crate) use running::Running;
pub use serve::Desk;
pub use snapshot::Snap;
pub use store::Store;
pub use watched::Watched;
