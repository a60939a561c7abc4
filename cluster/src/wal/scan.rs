//! Reads all segments in order, and tells a torn tail from damage.
//!
//! The batches of the whole log form one chain of numbers. Where the chain ends, a write may have been under way, so
//! what lies behind is a torn tail. But only one batch is under way at a time: where any whole batch lies behind the
//! end of the chain, in the same segment or in a later one, something that was durable is no longer readable.

use super::batch::Batch;
use super::record::Record;
use super::segment::{self, HEADER, Segment};
use crate::Error;
use runtime::files::Files;
use std::ops::Range;
use std::path::Path;

/// What the segments hold.
pub(crate) struct Scan {
    pub(crate) segments: Vec<Scanned>,
    /// The number of the batch after the last.
    pub(crate) next: u64,
    /// Where the chain is broken, if it is: segment and offset.
    pub(crate) damage: Option<(u64, usize)>,
}

/// One segment as it was found.
pub(crate) struct Scanned {
    pub(crate) segment: Segment,
    pub(crate) batches: u64,
    pub(crate) records: u64,
    /// The bytes of its last batch.
    pub(crate) last: Option<Range<usize>>,
    /// What follows the last batch and is not zero: torn, if nothing is damaged.
    pub(crate) torn: Range<usize>,
}

/// Reads the segments of a folder, and shows each record with its segment and offset until damage is met.
///
/// # Errors
/// When a file cannot be read, or a segment is missing. Damage is no error here.
pub(crate) fn scan(
    files: &dyn Files,
    folder: &Path,
    visit: &mut dyn FnMut(u64, usize, Record),
) -> Result<Scan, Error> {
    let mut scan = Scan { segments: Vec::new(), next: 1, damage: None };
    for number in segment::numbers(files, folder)? {
        let (segment, bytes) = match Segment::load(files, folder, number) {
            Err(Error::Damaged { .. }) => {
                scan.damage = Some((number, 0));
                break;
            }
            loaded => loaded?,
        };
        if let Err(damage) = scan.read(segment, &bytes, visit) {
            scan.damage = Some(damage);
            break;
        }
    }
    Ok(scan)
}

impl Scan {
    fn read(
        &mut self,
        segment: Segment,
        bytes: &[u8],
        visit: &mut dyn FnMut(u64, usize, Record),
    ) -> Result<(), (u64, usize)> {
        let (number, salt) = (segment.number, segment.salt);
        let mut end = HEADER;
        let mut scanned = Scanned { segment, batches: 0, records: 0, last: None, torn: HEADER..HEADER };
        let mut damage = None;
        while let Some(batch) = Batch::find_at(bytes, end, salt) {
            if let Some(broken) = self.gap_before(&batch, number) {
                damage = Some(broken);
                break;
            }
            let Some(records) = batch.records() else { break };
            scanned.batches += 1;
            scanned.records += records.len() as u64;
            records.into_iter().for_each(|(offset, record)| visit(number, offset, record));
            scanned.last = Some(batch.offset..batch.end());
            self.next = batch.number.saturating_add(1);
            end = batch.end();
        }
        let dirt = bytes[end..].iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        scanned.torn = end..end + dirt;
        let later = Batch::find_in(bytes, end..end + dirt, salt).map(|_| (number, end));
        self.segments.push(scanned);
        damage.or(later).map_or(Ok(()), Err)
    }

    /// Where something is missing before a batch, the first of a segment or a later one.
    fn gap_before(&self, batch: &Batch<'_>, segment: u64) -> Option<(u64, usize)> {
        if batch.offset > HEADER {
            return (batch.number != self.next).then_some((segment, batch.offset));
        }
        // No segment stays empty before a later one is written, and the oldest may begin with any number.
        let before = self.segments.last()?;
        let follows = before.batches > 0 && batch.number == self.next;
        (!follows).then_some((before.segment.number, before.torn.start))
    }
}
