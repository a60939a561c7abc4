//! Counting what happens, cheaply: plain numbers that one writes and the page of metrics reads.
//!
//! Nothing here is looked up by a label and nothing is locked. What a shard counts lies in the `ShardMeter` of that
//! shard, which only that shard writes, so that counting is an addition in its own cache; the page adds up the shards.

mod exposition;
mod histogram;
mod shard;

pub use exposition::{Exposition, Metric};
pub use histogram::{BUCKETS, Distribution, Histogram};
pub(crate) use shard::{ENDS, Refusals, STEPS, ShardMeter, Tally, What};

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// Adds where only one thread writes: no lock of the bus.
pub(crate) fn add(cell: &AtomicU64, n: u64) {
    cell.store(cell.load(Relaxed).wrapping_add(n), Relaxed);
}

/// What a cell has.
pub(crate) fn read(cell: &AtomicU64) -> u64 {
    cell.load(Relaxed)
}
