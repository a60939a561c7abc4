//! The trail of one twin through a stream: the stretches of offsets in which its records may be.
//!
//! In a sealed segment its [index](super::index) tells them; in one without, and in the one that is written, it is
//! everything. One segment's stretches are in memory, 256 at most.

use super::index::{Index, Unusable};
use super::{Error, Offset, Reader};
use crate::record::Record;
use std::collections::VecDeque;
use std::ops::Range;
use twins::id::TwinId;

/// What is known of where a twin's records are.
pub(crate) struct Trail {
    key: u64,
    /// In order.
    stretches: VecDeque<Range<Offset>>,
    /// They tell of everything before it.
    through: Offset,
}

impl Trail {
    pub(crate) fn of(twin: &TwinId) -> Self {
        Self { key: Record::key_of(twin.as_str()), stretches: VecDeque::new(), through: 0 }
    }

    /// The next records from an offset on that may be the twin's: none of those before is. Empty, at the end, where there
    /// are none yet. `from` does not go back.
    pub(crate) fn next(&mut self, reader: &Reader, mut from: Offset) -> Result<Range<Offset>, Error> {
        loop {
            while let Some(stretch) = self.stretches.front() {
                if from < stretch.end {
                    return Ok(from.max(stretch.start)..stretch.end);
                }
                self.stretches.pop_front();
            }
            from = from.max(self.through);
            let Some(records) = reader.extent.around(from)? else { return Ok(from..from) };
            self.through = records.end;
            self.stretches = stretches(reader, records, self.key)?;
        }
    }
}

/// Those of a segment with these records.
fn stretches(reader: &Reader, records: Range<Offset>, key: u64) -> Result<VecDeque<Range<Offset>>, Error> {
    let extent = &reader.extent;
    if !extent.begins(records.end) {
        return Ok([records].into());
    }
    let segment = extent.open(records.start)?;
    let index = Index::open(&*extent.files, &extent.folder, &segment, records.end);
    match index.and_then(|index| index.pages(key)) {
        Ok(pages) => {
            let known: Result<_, _> =
                pages.into_iter().map(|pages| segment.records(pages, records.end)).collect();
            match known {
                // The headers of pages are needed for this alone; the records may be whole.
                Err(Error::Damaged { .. }) => Ok([records].into()),
                known => known,
            }
        }
        Err(unusable) => {
            let (first, folder) = (records.start, extent.folder.display());
            // One of what is not durable yet would make a torn end look like damage.
            let is_durable = records.end <= extent.synced();
            if let (true, Unusable::Bad(why)) = (is_durable && extent.ask(first), unusable) {
                tracing::warn!(%why, %folder, first, "the index of a segment cannot be used; another one is made");
            }
            Ok([records].into())
        }
    }
}
