//! The reading side of a stream. It keeps no files open, so that segments can be trimmed at any time.

use super::erase::Erasure;
use super::extent::Extent;
use super::{Error, Offset};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use twins::id::TwinId;
use twins::time::Timestamp;

/// A handle that reads a shard's stream beside its writer. Clones are cheap; calls block on the disk.
#[derive(Clone)]
pub struct Reader {
    pub(super) extent: Arc<Extent>,
}

/// A record that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its place.
    pub offset: Offset,
    /// The time that it was appended with.
    pub time: Timestamp,
    /// The bytes that were appended. They share the memory of the whole batch.
    pub record: Bytes,
}

/// Some records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// In order, without gaps.
    pub items: Vec<Item>,
    /// Where to read on.
    pub next: Offset,
}

impl Reader {
    pub(super) fn new(extent: Arc<Extent>) -> Self {
        Self { extent }
    }

    /// The first offset that is kept.
    #[must_use]
    pub fn earliest(&self) -> Offset {
        self.extent.earliest()
    }

    /// The offset after the last record that was flushed.
    #[must_use]
    pub fn end(&self) -> Offset {
        self.extent.end()
    }

    /// Whether its writer is gone, and there may be another stream in its place.
    pub(super) fn is_closed(&self) -> bool {
        self.extent.is_closed()
    }

    /// Whose records are not to be seen any more, though their bytes may still be there: of what is read from now on.
    pub(super) fn erasures(&self) -> Option<Arc<BTreeMap<TwinId, Erasure>>> {
        (self.extent.erasures.len() > 0).then(|| self.extent.erasures.all())
    }

    /// Reads from an offset on: at most `limit` records, and no further one once they have `bytes_max` bytes in sum.
    /// At the end or past it there are none yet; that is no error, since the stream may be behind the log for a moment
    /// after a restart.
    ///
    /// At worst a batch holds `bytes_max`, two pages of 64 KiB and one record more, of
    /// [`RECORD_BYTES_MAX`](super::RECORD_BYTES_MAX).
    ///
    /// # Errors
    /// [`Error::Trimmed`] before the earliest; [`Error::Damaged`] and [`Error::Io`] when the file cannot be read.
    pub fn read(&self, from: Offset, limit: usize, bytes_max: usize) -> Result<Batch, Error> {
        let mut batch = Batch { items: Vec::new(), next: from };
        let mut bytes_left = bytes_max;
        while batch.items.len() < limit && bytes_left > 0 {
            let Some(records) = self.extent.around(batch.next)? else { break };
            let segment = self.extent.open(records.start)?;
            let mut walk = segment.walk(|page| page.offset <= batch.next)?;
            walk.skip_to(batch.next)?;
            let mut steps = Vec::new();
            while walk.offset < records.end && batch.items.len() + steps.len() < limit && bytes_left > 0 {
                let step = walk.step()?;
                bytes_left = bytes_left.saturating_sub(step.record.len().max(1));
                steps.push(step);
            }
            batch.next = walk.offset;
            let bytes = walk.into_bytes();
            batch.items.extend(steps.into_iter().map(|step| Item {
                offset: step.offset,
                time: step.time,
                record: bytes.slice(step.record),
            }));
        }
        Ok(batch)
    }

    /// Where to begin in order to miss no record of a time or later: none before it is that late. As long as times do
    /// not go back, it is the first such record, or the end when there is none.
    ///
    /// # Errors
    /// [`Error::Damaged`] and [`Error::Io`] when a file cannot be read.
    pub fn seek(&self, time: Timestamp) -> Result<Offset, Error> {
        loop {
            match self.try_seek(time) {
                // A segment went while it was looked at; there are fewer now.
                Err(Error::Trimmed { .. }) => {}
                found => return found,
            }
        }
    }

    fn try_seek(&self, time: Timestamp) -> Result<Offset, Error> {
        let Some(records) = self.last_segment_before(time)? else { return Ok(self.earliest()) };
        let segment = self.extent.open(records.start)?;
        let mut walk = segment.walk(|page| page.latest < time)?;
        while walk.offset < records.end {
            let step = walk.step()?;
            if step.time >= time {
                return Ok(step.offset);
            }
            walk.forget();
        }
        Ok(records.end)
    }

    /// The records of the last segment before which all records are earlier.
    fn last_segment_before(&self, time: Timestamp) -> Result<Option<Range<Offset>>, Error> {
        let segments = self.extent.segments();
        let (mut from, mut to) = (0, segments.len());
        while from < to {
            let middle = from + (to - from) / 2;
            if self.extent.open(segments[middle].start)?.begin()?.latest < time {
                from = middle + 1;
            } else {
                to = middle;
            }
        }
        Ok(from.checked_sub(1).map(|at| segments[at].clone()))
    }
}
