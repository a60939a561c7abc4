//! A batch: the unit that is written and synced at once, and that is there whole after a crash or not at all.
//!
//! Little-endian, begins at a multiple of 8:
//!
//! | bytes | field |
//! |---|---|
//! | 0..4 | the mark `TwfB` |
//! | 4..8 | CRC-32 of the segment's salt (8 bytes) and of all that follows |
//! | 8..16 | number: one more than the batch before, also across segments |
//! | 16..20 | length of the records, in bytes |
//! | 20..24 | count of the records |
//! | 24.. | the records |
//!
//! The salt is random and new whenever a segment's file is used again, so neither what an earlier use left in the file
//! nor what a device wrote into a payload can pass for a batch.

use super::record::{Record, u32_at, u64_at};
use std::ops::Range;

/// Length of a batch without its records.
pub(crate) const HEADER: usize = 24;

const MARK: [u8; 4] = *b"TwfB";
const ALIGNMENT: usize = 8;

/// A batch that was found whole.
pub(crate) struct Batch<'a> {
    pub(crate) number: u64,
    /// Where it begins in its segment.
    pub(crate) offset: usize,
    body: &'a [u8],
    count: u32,
}

impl<'a> Batch<'a> {
    /// The batch at an offset of a segment's bytes; none when it is not whole.
    pub(crate) fn find_at(bytes: &'a [u8], offset: usize, salt: u64) -> Option<Self> {
        let header = bytes.get(offset..offset.checked_add(HEADER)?)?;
        if header[..4] != MARK {
            return None;
        }
        let start = offset + HEADER;
        let length = u32_at(header, 16) as usize;
        let body = bytes.get(start..start.checked_add(length)?)?;
        if bytes.len() < offset + encoded_len(length)
            || u32_at(header, 4) != checksum(salt, &header[8..], body)
        {
            return None;
        }
        Some(Self { number: u64_at(header, 8), offset, body, count: u32_at(header, 20) })
    }

    /// The first whole batch that begins in a range.
    pub(crate) fn find_in(bytes: &'a [u8], range: Range<usize>, salt: u64) -> Option<Self> {
        let starts = range.step_by(ALIGNMENT);
        starts
            .filter(|start| bytes[*start..].starts_with(&MARK))
            .find_map(|at| Self::find_at(bytes, at, salt))
    }

    /// Where the next one begins.
    pub(crate) fn end(&self) -> usize {
        self.offset + encoded_len(self.body.len())
    }

    /// Its records with their offsets in the segment; none when they are malformed in spite of the checksum.
    pub(crate) fn records(&self) -> Option<Vec<(usize, Record)>> {
        let mut records = Vec::new();
        let mut at = 0;
        while at < self.body.len() {
            let record = Record::decode(&self.body[at..])?;
            let length = record.encoded_len();
            records.push((self.offset + HEADER + at, record));
            at += length;
        }
        (records.len() == self.count as usize).then_some(records)
    }
}

/// Bytes that a batch takes whose records have a length.
pub(crate) fn encoded_len(records: usize) -> usize {
    (HEADER + records).next_multiple_of(ALIGNMENT)
}

/// Writes a batch into an empty buffer, and calls `place` with each record and its offset from the batch's start.
pub(crate) fn encode<'a>(
    out: &mut Vec<u8>,
    number: u64,
    salt: u64,
    records: impl Iterator<Item = &'a Record>,
    mut place: impl FnMut(&'a Record, usize),
) {
    debug_assert!(out.is_empty());
    out.resize(HEADER, 0);
    let mut count = 0_u32;
    for record in records {
        place(record, out.len());
        record.encode(out);
        count += 1;
    }
    let length = (out.len() - HEADER) as u32;
    out[..4].copy_from_slice(&MARK);
    out[8..16].copy_from_slice(&number.to_le_bytes());
    out[16..20].copy_from_slice(&length.to_le_bytes());
    out[20..24].copy_from_slice(&count.to_le_bytes());
    let crc = checksum(salt, &out[8..HEADER], &out[HEADER..]);
    out[4..8].copy_from_slice(&crc.to_le_bytes());
    out.resize(encoded_len(length as usize), 0);
}

fn checksum(salt: u64, header: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&salt.to_le_bytes());
    hasher.update(header);
    hasher.update(body);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(number: u64, salt: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        let records = [Record::generation(number), Record::truncate(1, 2)];
        encode(&mut bytes, number, salt, records.iter(), |_, _| {});
        bytes
    }

    #[test]
    fn a_batch_is_read_back_with_the_places_of_its_records() {
        let mut bytes = vec![0; 16];
        bytes.extend(batch(5, 77));

        let found = Batch::find_at(&bytes, 16, 77).unwrap();

        assert_eq!((found.number, found.end()), (5, bytes.len()));
        let records = found.records().unwrap();
        assert_eq!(records[1], (16 + HEADER + 32, Record::truncate(1, 2)));
        assert_eq!(Record::decode(&bytes[records[0].0..]), Some(Record::generation(5)));
    }

    #[test]
    fn another_salt_or_any_flipped_bit_makes_it_invalid() {
        let mut bytes = batch(5, 77);
        assert!(Batch::find_at(&bytes, 0, 78).is_none());

        for at in 0..HEADER + 64 {
            bytes[at] ^= 32;
            assert!(Batch::find_at(&bytes, 0, 77).is_none(), "byte {at}");
            bytes[at] ^= 32;
        }
    }

    #[test]
    fn a_later_batch_is_found_behind_garbage() {
        let mut bytes = vec![b'T'; 40];
        bytes.extend(batch(6, 77));

        assert_eq!(Batch::find_in(&bytes, 0..bytes.len(), 77).unwrap().offset, 40);
        assert!(Batch::find_in(&bytes, 48..bytes.len(), 77).is_none());
    }
}
