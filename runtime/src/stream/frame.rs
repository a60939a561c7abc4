//! Frames: one record each, in the bodies of a segment's pages. Numbers are little-endian:
//!
//! | bytes | |
//! |---|---|
//! | 0..4 | CRC-32 of the record's offset (8 bytes, not stored) and of all that follows |
//! | 4..8 | length of the record, in bytes: at most 1,048,576 |
//! | 8..16 | time, in milliseconds since 1970 |
//! | 16.. | the record |
//!
//! Since the checksum covers the offset, a whole frame in another record's place is damage too.

use super::Offset;
use twins::time::Timestamp;

/// The longest record, in bytes: four times the largest payload.
pub const RECORD_BYTES_MAX: usize = 1 << 20;

/// Length of a frame without its record.
pub(super) const HEADER: usize = 16;

/// What stands before a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    crc: u32,
    pub(super) length: usize,
    pub(super) time: Timestamp,
}

impl Header {
    /// The header of a record.
    pub(super) fn new(offset: Offset, time: Timestamp, record: &[u8]) -> Self {
        Self { crc: checksum(offset, time, record), length: record.len(), time }
    }

    /// Its bytes.
    pub(super) fn encode(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..4].copy_from_slice(&self.crc.to_le_bytes());
        bytes[4..8].copy_from_slice(&(self.length as u32).to_le_bytes());
        bytes[8..].copy_from_slice(&self.time.as_millis().to_le_bytes());
        bytes
    }

    /// Reads a header; none when the length is impossible. Only [`Header::fits`] tells whether it is right.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (crc, rest) = bytes.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let time = rest.first_chunk()?;
        let length = u32::from_le_bytes(*length) as usize;
        (length <= RECORD_BYTES_MAX).then(|| Self {
            crc: u32::from_le_bytes(*crc),
            length,
            time: Timestamp::from_millis(u64::from_le_bytes(*time)),
        })
    }

    /// Whether this is the header of that record at that offset.
    pub(super) fn fits(self, offset: Offset, record: &[u8]) -> bool {
        self == Self::new(offset, self.time, record)
    }
}

fn checksum(offset: Offset, time: Timestamp, record: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&offset.to_le_bytes());
    hasher.update(&(record.len() as u32).to_le_bytes());
    hasher.update(&time.as_millis().to_le_bytes());
    hasher.update(record);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_fits_its_own_record_at_its_own_offset_only() {
        let header = Header::new(5, Timestamp::from_millis(9), b"record");

        let read = Header::decode(&header.encode()).expect("a whole header");

        assert_eq!((read.length, read.time), (6, Timestamp::from_millis(9)));
        assert!(read.fits(5, b"record"));
        assert!(!read.fits(6, b"record"));
        assert!(!read.fits(5, b"recorD"));
    }

    #[test]
    fn an_impossible_length_is_refused_before_anything_is_read_for_it() {
        let mut bytes = Header::new(0, Timestamp::ZERO, b"").encode();
        bytes[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(Header::decode(&bytes), None);
        assert_eq!(Header::decode(&bytes[..15]), None);
    }
}
