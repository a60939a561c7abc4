//! Pages: a segment's file is cut into them, and their headers are its index.
//!
//! A page has 65,536 bytes, the last of a file may have fewer: a header, then the body. The bodies joined hold the
//! frames, which know nothing of pages. The header, numbers little-endian:
//!
//! | bytes | |
//! |---|---|
//! | 0..4 | the mark `TwfS` |
//! | 4..8 | CRC-32 of the page's number in the file (8 bytes, not stored) and of all that follows |
//! | 8..16 | offset: the first record that begins in the page's body or after it |
//! | 16..24 | latest: the latest time of all records before that one, in milliseconds since 1970 |
//! | 24..28 | skip: where it begins, in bytes from the start of the page's body; it may be beyond the page |
//! | 28..32 | version of the format: 1 |

use super::Offset;
use twins::time::Timestamp;

/// Length of a page. A reader who seeks reads one more than it needs.
pub(super) const PAGE: u64 = 64 << 10;
/// Length of its header.
pub(super) const HEADER: usize = 32;
/// Length of its body.
pub(super) const BODY: u64 = PAGE - HEADER as u64;

const MARK: [u8; 4] = *b"TwfS";
const VERSION: u32 = 1;

/// What a page says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) offset: Offset,
    pub(super) latest: Timestamp,
    pub(super) skip: u32,
}

impl Header {
    /// The header of the page with a number.
    pub(super) fn encode(self, page: u64) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..4].copy_from_slice(&MARK);
        bytes[8..16].copy_from_slice(&self.offset.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.latest.as_millis().to_le_bytes());
        bytes[24..28].copy_from_slice(&self.skip.to_le_bytes());
        bytes[28..].copy_from_slice(&VERSION.to_le_bytes());
        let crc = checksum(page, &bytes[8..]);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads a header; none when it is not whole, or another page's.
    pub(super) fn decode(bytes: &[u8; HEADER], page: u64) -> Option<Self> {
        let (mark, rest) = bytes.split_first_chunk::<4>()?;
        let (crc, fields) = rest.split_first_chunk()?;
        if *mark != MARK || u32::from_le_bytes(*crc) != checksum(page, fields) {
            return None;
        }
        let (offset, fields) = fields.split_first_chunk()?;
        let (latest, fields) = fields.split_first_chunk()?;
        let (skip, version) = fields.split_first_chunk()?;
        (version == VERSION.to_le_bytes()).then(|| Self {
            offset: u64::from_le_bytes(*offset),
            latest: Timestamp::from_millis(u64::from_le_bytes(*latest)),
            skip: u32::from_le_bytes(*skip),
        })
    }
}

/// The length of a file whose bodies have a length in sum.
pub(super) fn file_len(body: u64) -> u64 {
    body + body.div_ceil(BODY) * HEADER as u64
}

/// Where in the file a position in the bodies is.
pub(super) fn in_file(position: u64) -> u64 {
    position / BODY * PAGE + HEADER as u64 + position % BODY
}

fn checksum(page: u64, fields: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&page.to_le_bytes());
    hasher.update(fields);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_back_in_its_own_page_only() {
        let header = Header { offset: 7, latest: Timestamp::from_millis(9), skip: 70_000 };

        let bytes = header.encode(3);

        assert_eq!(Header::decode(&bytes, 3), Some(header));
        assert_eq!(Header::decode(&bytes, 4), None);
        for bit in 0..HEADER * 8 {
            let mut bytes = bytes;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(&bytes, 3), None, "bit {bit}");
        }
    }

    #[test]
    fn a_file_has_a_header_for_each_page_that_was_begun() {
        assert_eq!(file_len(0), 0);
        assert_eq!(file_len(1), HEADER as u64 + 1);
        assert_eq!(file_len(BODY), PAGE);
        assert_eq!(file_len(BODY + 1), PAGE + HEADER as u64 + 1);
    }
}
