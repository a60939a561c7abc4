//! The actors that host twins.

pub mod access;
pub mod admission;
pub mod clock;
pub mod error;
pub mod files;
pub mod log;
pub mod mailbox;
pub mod node;
pub mod record;
pub mod router;
pub mod shard;
pub mod store;
pub mod stream;
