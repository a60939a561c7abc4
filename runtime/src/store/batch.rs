//! Changes that are written together.

use super::{KEY_BYTES_MAX, Space};
use std::collections::BTreeMap;

/// Changes to the rows of one shard. The last word on a key counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    changes: BTreeMap<(Space, Vec<u8>), Option<Vec<u8>>>,
}

impl Batch {
    /// One without changes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a row.
    ///
    /// # Panics
    /// When the key is longer than [`KEY_BYTES_MAX`].
    pub fn put(&mut self, space: Space, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.change(space, key.into(), Some(value.into()));
    }

    /// Removes a row, if it is there.
    ///
    /// # Panics
    /// As [`Batch::put`].
    pub fn delete(&mut self, space: Space, key: impl Into<Vec<u8>>) {
        self.change(space, key.into(), None);
    }

    /// How many rows it changes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether it changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    fn change(&mut self, space: Space, key: Vec<u8>, value: Option<Vec<u8>>) {
        assert!(key.len() <= KEY_BYTES_MAX, "a key of {} bytes is too long for space {space:?}", key.len());
        self.changes.insert((space, key), value);
    }

    /// Each change: space, key, and the new value or none.
    pub(super) fn into_changes(self) -> impl Iterator<Item = (Space, Vec<u8>, Option<Vec<u8>>)> {
        self.changes.into_iter().map(|((space, key), value)| (space, key, value))
    }
}
