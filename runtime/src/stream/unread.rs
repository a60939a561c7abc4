//! Why nothing was read for a selection.

use super::{Cursor, NotACursor};
use crate::error;

/// What may come back instead of a page.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unread {
    /// The text is not a cursor of these streams.
    #[error("{0}")]
    NotACursor(#[from] NotACursor),
    /// The cursor is of one shard, and something else was asked for.
    #[error("`{0}` is a cursor of shard {1} alone; give one that came from this call")]
    OtherShard(String, u32),
    /// Some of the records after the cursor were dropped by retention.
    #[error("records after that cursor were trimmed; the earliest that are kept begin at `{earliest}`")]
    Trimmed {
        /// Reads on with the first that are kept.
        earliest: Cursor,
    },
    /// It could not be read now.
    #[error("{0}")]
    Failed(#[from] error::Error),
}
