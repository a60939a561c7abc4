//! Why the state store did not do what it was asked.

use super::Space;
use std::path::PathBuf;

/// What can go wrong. The caller of [`Error::Stopped`] must not go on; the others concern one call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It does not open.
    #[error("the state store in {} does not open: {why}; restore it from a backup if a restart does not help", folder.display())]
    Unopened {
        /// Where it is.
        folder: PathBuf,
        /// What the engine said.
        why: String,
    },
    /// Rows cannot be read.
    #[error("reading {} rows of shard {shard} failed: {why}; restore the node from a backup if a restart does not help", space.as_str())]
    Unread {
        /// Of which shard.
        shard: u32,
        /// From which space.
        space: Space,
        /// What the engine said.
        why: String,
    },
    /// A write failed, now or earlier, and nobody knows whether it is durable.
    #[error(
        "the state store stopped, because a write failed: {why}; it is opened again by itself, and needs room on the disk for that; if it stays so, restart the node"
    )]
    Stopped {
        /// Why the first one failed.
        why: String,
    },
    /// The rows that were asked for are not the shard's any more: its state was replaced by another replica's.
    #[error(
        "generation {generation} of the rows of shard {shard} is not current any more; the shard begins again from the one that is"
    )]
    Superseded {
        /// Whose.
        shard: u32,
        /// Which.
        generation: u32,
    },
}
