//! Consensus over the log: what openraft needs of us, and the only place that names it.
//!
//! A group of several nodes commits by openraft. Its entries, its vote and its marks are records of the same
//! [log](crate::wal) that the local rule writes, so that a group changes from one rule to the other without being copied.
//!
//! [`types`] says what openraft runs on, and how the log's records map to it; [`Timing`] makes its configuration.
//! [`Store`] is the log as openraft writes it, and [`Reader`] as its tasks read it. Both share the entries that wait for
//! the disk: appending returns at once, so that an entry is on its way to the other nodes while it is being synced here.
//!
//! Not here yet: the network, the state machine, and the groups that use them.

mod config;
mod entries;
mod reader;
mod store;
pub mod types;

pub use config::Timing;
pub use reader::Reader;
pub use store::Store;
