//! Indexes of sealed segments: on which pages the records of a twin are, so that its history costs what it wrote.
//!
//! An index is a file beside its segment. It follows from the segment and is made once that is durable, by the
//! [`Indexer`](indexer::Indexer). It may say a page too many, and never one too few. Nobody trusts it: whoever finds
//! none, a damaged one or another segment's reads the whole segment, and asks for another index. So replicas may differ
//! in which they have, and a backup carries none.
//!
//! # Format
//! Blocks of 4,096 bytes, numbers little-endian. Each begins with the CRC-32 of the [`Identity`] of the segment, the
//! block's number (8 bytes, neither is stored) and all that follows; then 2 bytes say how many of the following ones
//! are used. The first block has the mark `TwfX`, the version (4 bytes: 1) and the number of the other blocks (4
//! bytes). Those hold rows in the order of their keys, none of which is parted: CBOR, the key of a twin (`Record::key`)
//! and an array that has for each [run](Runs) of pages how many are before it and how many are in it. The key 0 is
//! everybody's.
//!
//! A twin is found by a binary search in the file, a block at a time.

pub(super) mod indexer;
pub(super) mod rows;
#[cfg(test)]
mod tests;

use super::segment::{self, Segment};
use super::{Error, Offset};
use crate::files::{File, Files};
use minicbor::Decoder;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const BLOCK: usize = 4096;
/// The checksum of a block and the length of what it uses.
const HEAD: usize = 6;
const MARK: [u8; 4] = *b"TwfX";
const VERSION: u32 = 1;
const SUFFIX: &str = ".index";
const DRAFT_SUFFIX: &str = ".index.new";

/// Pages that follow each other; several such runs do not touch.
pub(super) type Runs = Vec<Range<u32>>;

/// Which segment an index is of: its records and its length, and a checksum of its first record's head and of its last
/// page's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) first: Offset,
    pub(super) end: Offset,
    pub(super) len: u64,
    pub(super) ends: u32,
}

/// Why an index does not help.
#[derive(Debug)]
pub(super) enum Unusable {
    /// There is none.
    Missing,
    /// It cannot be read, is damaged, or another segment's.
    Bad(String),
}

/// An index, open.
pub(super) struct Index {
    file: Arc<dyn File>,
    identity: Identity,
    blocks: u32,
}

/// The file of the index of the segment that begins with a record.
pub(super) fn path(folder: &Path, first: Offset) -> PathBuf {
    folder.join(format!("{first:020}{SUFFIX}"))
}

/// Whose index a file is; `Some(None)` for one that was not finished, none for what is no index.
fn of(name: &str) -> Option<Option<Offset>> {
    if name.strip_suffix(DRAFT_SUFFIX).and_then(segment::number).is_some() {
        return Some(None);
    }
    name.strip_suffix(SUFFIX).and_then(segment::number).map(Some)
}

/// Removes what is the index of none of these segments, and what was not finished. Returns the segments that have one.
pub(super) fn clean(files: &dyn Files, folder: &Path, sealed: &[Offset]) -> Result<Vec<Offset>, Error> {
    let mut indexed = Vec::new();
    for name in files.list(folder).map_err(Error::io("listing", folder))? {
        match of(&name) {
            None => {}
            Some(Some(first)) if sealed.binary_search(&first).is_ok() => indexed.push(first),
            Some(_) => {
                let path = folder.join(name);
                files.remove(&path).map_err(Error::io("removing", &path))?;
            }
        }
    }
    Ok(indexed)
}

/// Removes the index of a segment, if it has one.
pub(super) fn remove(files: &dyn Files, folder: &Path, first: Offset) -> io::Result<()> {
    match files.remove(&path(folder, first)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

impl Index {
    /// Opens the index of a segment whose records end before `end`.
    pub(super) fn open(
        files: &dyn Files,
        folder: &Path,
        segment: &Segment,
        end: Offset,
    ) -> Result<Self, Unusable> {
        let identity = segment.identity(end).map_err(|error| Unusable::Bad(error.to_string()))?;
        let file = files.open(&path(folder, segment.first)).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Unusable::Missing,
            _ => Unusable::Bad(error.to_string()),
        })?;
        let mut index = Self { file, identity, blocks: 0 };
        let head = index.block(0)?;
        let blocks = head.strip_prefix(&MARK).and_then(|rest| rest.strip_prefix(&VERSION.to_le_bytes()));
        let blocks = blocks.and_then(|blocks| blocks.try_into().ok());
        index.blocks = blocks.map(u32::from_le_bytes).ok_or_else(|| bad(0))?;
        Ok(index)
    }

    /// The pages on which records of a key may be, and those that may be anybody's.
    pub(super) fn pages(&self, key: u64) -> Result<Runs, Unusable> {
        let mut runs = self.find(key)?;
        if key != 0 {
            runs.extend(self.find(0)?);
        }
        Ok(rows::join(runs))
    }

    fn find(&self, key: u64) -> Result<Runs, Unusable> {
        let (mut found, mut blocks) = (Vec::new(), 1..u64::from(self.blocks) + 1);
        while !blocks.is_empty() {
            let middle = blocks.start + (blocks.end - blocks.start) / 2;
            let block = self.block(middle)?;
            let first = Decoder::new(&block).u64().map_err(|_| bad(middle))?;
            if first <= key {
                (found, blocks.start) = (block, middle + 1);
            } else {
                blocks.end = middle;
            }
        }
        let mut decoder = Decoder::new(&found);
        while decoder.position() < found.len() {
            let (row, runs) = rows::decode(&mut decoder).map_err(|_| bad(blocks.start - 1))?;
            if row == key {
                return Ok(runs);
            }
        }
        Ok(Runs::new())
    }

    /// What a block holds.
    fn block(&self, number: u64) -> Result<Vec<u8>, Unusable> {
        let mut block = vec![0; BLOCK];
        let read = self.file.read_at(&mut block, number * BLOCK as u64);
        read.map_err(|error| Unusable::Bad(format!("block {number} cannot be read: {error}")))?;
        let (crc, rest) = block.split_first_chunk().expect("a block is longer than a checksum");
        let used = rest.first_chunk().map_or(0, |length| usize::from(u16::from_le_bytes(*length)));
        if u32::from_le_bytes(*crc) != self.identity.checksum(number, rest) || used > BLOCK - HEAD {
            return Err(bad(number));
        }
        block.truncate(HEAD + used);
        block.drain(..HEAD);
        Ok(block)
    }
}

impl Identity {
    fn checksum(&self, block: u64, bytes: &[u8]) -> u32 {
        let Self { first, end, len, ends } = *self;
        let mut hasher = crc32fast::Hasher::new_with_initial(ends);
        [first, end, len, block].iter().for_each(|part| hasher.update(&part.to_le_bytes()));
        hasher.update(bytes);
        hasher.finalize()
    }
}

fn bad(block: u64) -> Unusable {
    Unusable::Bad(format!("block {block} is damaged, or of another segment"))
}
