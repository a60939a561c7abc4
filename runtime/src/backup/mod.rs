//! Backups of a running node: a consistent cut of each shard, as one archive that is written while it is sent.
//!
//! # What is in it
//! A tar archive of these files, in this order:
//!
//! | name | what |
//! |---|---|
//! | `backup` | lines of text: format, node, generation, shards, when it was taken |
//! | `log` | what the log's room adds: the definitions of the node, and where its groups stand |
//! | `state/SHARD/SPACE/N` | rows of the state store, each key and value a CBOR byte string |
//! | `streams/SHARD/OFFSET.stream` | the segments of the streams, newest first |
//! | `MANIFEST` | a line for each file: CRC-32, length, name; and `end` with their count |
//!
//! # Why it is consistent
//! Every shard first writes a checkpoint of all that it has committed, so whatever was acknowledged before is in the
//! state store and in synced streams. Then one snapshot of the store is taken: in it each shard is as one checkpoint
//! left it, which also says where its stream ends. What a segment has behind that end is cut when the node starts, as
//! after a crash. So the log's entries are not needed, and ingestion goes on meanwhile.
//!
//! Segments are read newest first, so that those which retention removes meanwhile leave no hole.
//!
//! An archive without a manifest was cut off, and one that differs from it is damaged; neither is restored.

pub(crate) mod archive;
mod error;
mod head;
pub(crate) mod part;
mod restore;
mod rows;
mod sink;
mod take;

pub use archive::Summary;
pub use error::Error;
pub use head::{FORMAT, Head};
pub use restore::{Restored, head, restore, verify};
pub(crate) use sink::Sink;
pub(crate) use take::Source;

/// What the room of the log adds to a backup.
pub trait Definitions: Send + Sync + 'static {
    /// All of it, as bytes that mean something to that room only. Blocks.
    ///
    /// # Errors
    /// Why it cannot be read, in words.
    fn save(&self) -> Result<Vec<u8>, String>;
}
