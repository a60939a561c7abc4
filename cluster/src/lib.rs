//! The write-ahead log, the logs of the shards on it, and the meta group.

mod error;
pub mod inspect;
mod local;
pub mod membership;
pub mod meta;
mod options;
mod storage;
pub mod wal;

pub use error::Error;
pub use local::LocalLog;
pub use options::Options;
pub use storage::{META_GROUP, SHARDS, Storage};
