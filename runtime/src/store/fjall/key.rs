//! Keys as fjall holds them: behind the shard and the generation.

use crate::store::{Home, Range};
use std::ops::Bound;

const PREFIX: usize = 8;

/// The key of a row.
pub(super) fn of(home: Home, key: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(PREFIX + key.len());
    bytes.extend_from_slice(&home.shard.to_be_bytes());
    bytes.extend_from_slice(&home.generation.to_be_bytes());
    bytes.extend_from_slice(key);
    bytes
}

/// A range of a home's keys, which never reaches beyond it.
pub(super) fn range(home: Home, (from, to): Range<'_>) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    let from = match from {
        Bound::Unbounded => Bound::Included(of(home, b"")),
        bound => bound.map(|key| of(home, key)),
    };
    let to = match to {
        // The next generation, or shard, begins where this one ends.
        Bound::Unbounded => match home.generation.checked_add(1) {
            Some(generation) => Bound::Excluded(of(Home { generation, ..home }, b"")),
            None => home
                .shard
                .checked_add(1)
                .map_or(Bound::Unbounded, |shard| Bound::Excluded(of(Home::first(shard), b""))),
        },
        bound => bound.map(|key| of(home, key)),
    };
    (from, to)
}

/// The key without what stands before it.
pub(super) fn strip(bytes: &[u8]) -> Vec<u8> {
    bytes[PREFIX..].to_vec()
}
