//! Looks into the log of a stopped node without changing it: the work of `twinfold log verify` and `twinfold log dump`.

use crate::wal::group::Place;
use crate::wal::index::Index;
use crate::wal::record::Record;
use crate::wal::scan::{Scan, scan};
use crate::{Error, storage};
use runtime::files::Files;
use std::path::Path;

/// What a log holds, and whether a node could start on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Its segments in order, up to the first damage.
    pub segments: Vec<Segment>,
    /// What was found at the end of the chain of batches.
    pub verdict: Verdict,
}

/// What one segment holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Its number.
    pub number: u64,
    /// Length of its file in bytes.
    pub file_bytes: u64,
    /// Bytes up to the end of its last whole batch, its header included.
    pub used_bytes: u64,
    /// How many batches are whole.
    pub batches: u64,
    /// How many records are in them.
    pub records: u64,
}

/// Whether a node could start on the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing is wrong.
    Whole,
    /// The last write was cut short, by a power loss say. The start cuts it off; nothing acknowledged is in it.
    Torn {
        /// The segment's number.
        segment: u64,
        /// Where the torn bytes begin.
        offset: u64,
        /// How many there are.
        bytes: u64,
    },
    /// Something that was durable is not readable: whole batches lie behind it. A node does not start on it.
    Damaged {
        /// The segment's number.
        segment: u64,
        /// Where its whole batches end.
        offset: u64,
    },
    /// All batches are whole, but a group lacks an entry. A node does not start on it.
    Hole {
        /// The group.
        group: u32,
        /// The first missing index.
        index: u64,
    },
}

/// A record and where it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// The segment's number.
    pub segment: u64,
    /// Its offset in the segment, in bytes.
    pub offset: u64,
    /// The record.
    pub record: Record,
}

/// Reads the whole log and says what is in it.
///
/// # Errors
/// [`Error::InUse`] when the node runs, [`Error::Io`] when there is no such folder or it cannot be read,
/// [`Error::Missing`] when a segment's file is gone. Damage is no error here.
pub fn verify(files: &dyn Files, folder: &Path) -> Result<Report, Error> {
    dump(files, folder, &mut |_| {})
}

/// Shows every record in the order in which they were written, up to the first damage; one segment is in memory.
///
/// # Errors
/// As [`verify`].
pub fn dump(files: &dyn Files, folder: &Path, visit: &mut dyn FnMut(Located)) -> Result<Report, Error> {
    files.list(folder).map_err(|source| Error::io("listing", folder, source))?;
    let _lock = storage::lock(files, folder)?;
    let mut index = Index::new(0);
    let scan = scan(files, folder, &mut |segment, offset, record| {
        let offset = offset as u64;
        index.apply(&record, Place { segment, offset, length: record.encoded_len() as u32 });
        visit(Located { segment, offset, record });
    })?;
    let verdict = verdict(&scan, &index);
    let segments = scan.segments.into_iter().map(|scanned| Segment {
        number: scanned.segment.number,
        file_bytes: scanned.segment.capacity,
        used_bytes: scanned.torn.start as u64,
        batches: scanned.batches,
        records: scanned.records,
    });
    Ok(Report { segments: segments.collect(), verdict })
}

fn verdict(scan: &Scan, index: &Index) -> Verdict {
    if let Some((segment, offset)) = scan.damage {
        return Verdict::Damaged { segment, offset: offset as u64 };
    }
    if let Some((group, index)) = index.missing() {
        return Verdict::Hole { group, index };
    }
    let torn = scan.segments.iter().find(|scanned| !scanned.torn.is_empty());
    torn.map_or(Verdict::Whole, |scanned| Verdict::Torn {
        segment: scanned.segment.number,
        offset: scanned.torn.start as u64,
        bytes: scanned.torn.len() as u64,
    })
}
