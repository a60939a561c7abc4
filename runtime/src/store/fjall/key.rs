//! Keys as fjall holds them: behind the shard and the generation.

use crate::store::Range;
use std::ops::Bound;

/// The generation of all rows, until snapshots are installed.
const GENERATION: u32 = 0;

const PREFIX: usize = 8;

/// The key of a row.
pub(super) fn of(shard: u32, key: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(PREFIX + key.len());
    bytes.extend_from_slice(&shard.to_be_bytes());
    bytes.extend_from_slice(&GENERATION.to_be_bytes());
    bytes.extend_from_slice(key);
    bytes
}

/// A range of a shard's keys, which never reaches beyond the shard.
pub(super) fn range(shard: u32, (from, to): Range<'_>) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    let from = match from {
        Bound::Unbounded => Bound::Included(of(shard, b"")),
        bound => bound.map(|key| of(shard, key)),
    };
    let to = match to {
        // The next generation begins where this one ends.
        Bound::Unbounded => {
            let mut end = shard.to_be_bytes().to_vec();
            end.extend_from_slice(&(GENERATION + 1).to_be_bytes());
            Bound::Excluded(end)
        }
        bound => bound.map(|key| of(shard, key)),
    };
    (from, to)
}

/// The key without what stands before it.
pub(super) fn strip(bytes: &[u8]) -> Vec<u8> {
    bytes[PREFIX..].to_vec()
}
