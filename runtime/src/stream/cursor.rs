//! Cursors: where a reader stands, as a text that it hands back later.
//!
//! A cursor over all shards is opaque: the offsets to read on from, one for each shard, as a minicbor array, with its
//! CRC-32 (4 bytes, little-endian) before it, in base64url without padding. Offsets below 2^32 take 5 bytes: 64 of
//! them make 435 characters. A cursor of one shard is `shard:offset`.
//!
//! Cursors are not secret and give no right: the checksum finds a text that was cut or mistyped, not a forged one, and
//! a forged one reads no more than its bearer may.

use super::Offset;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::fmt;

/// Where a reader stands: the offsets of the records to read next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cursor {
    /// In every shard, in their order.
    All(Vec<Offset>),
    /// In one.
    One {
        /// Which.
        shard: u32,
        /// Where.
        offset: Offset,
    },
}

/// The text is not a cursor of this domain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a cursor; give back one as it came with a record, or leave it out")]
pub struct NotACursor(String);

impl Cursor {
    /// Reads what a cursor was shown as, in a domain of `shards` shards. Looks at no more than 10 bytes and a few for
    /// each shard.
    ///
    /// # Errors
    /// Another text, or a cursor of a domain with another number of shards.
    pub fn parse(text: &str, shards: u32) -> Result<Self, NotACursor> {
        let cursor = if text.contains(':') { parse_one(text, shards) } else { parse_all(text, shards) };
        cursor.ok_or_else(|| NotACursor(text.chars().take(40).collect()))
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All(offsets) => {
                let offsets = minicbor::to_vec(offsets).expect("memory takes everything");
                let mut bytes = crc32fast::hash(&offsets).to_le_bytes().to_vec();
                bytes.extend_from_slice(&offsets);
                f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
            }
            Self::One { shard, offset } => write!(f, "{shard}:{offset}"),
        }
    }
}

fn parse_one(text: &str, shards: u32) -> Option<Cursor> {
    let (shard, offset) = text.split_once(':')?;
    let shard = digits(shard)?.try_into().ok().filter(|shard| *shard < shards)?;
    Some(Cursor::One { shard, offset: digits(offset)? })
}

fn parse_all(text: &str, shards: u32) -> Option<Cursor> {
    if text.len() > text_len_max(shards) {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (crc, bytes) = bytes.split_first_chunk()?;
    if crc32fast::hash(bytes) != u32::from_le_bytes(*crc) {
        return None;
    }
    let offsets: Vec<Offset> = minicbor::decode(bytes).ok()?;
    let has_nothing_behind = minicbor::len(&offsets) == bytes.len();
    (has_nothing_behind && offsets.len() == shards as usize).then_some(Cursor::All(offsets))
}

/// Nine bytes an offset at most, the checksum and the head of the array; four characters are three bytes.
fn text_len_max(shards: u32) -> usize {
    (shards as usize * 9 + 4 + 5).div_ceil(3) * 4
}

/// A number in digits alone; the standard library takes a sign as well.
fn digits(text: &str) -> Option<u64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_cursor_is_read_back(offsets in prop::collection::vec(any::<u64>(), 0..80), shard in 0..64_u32) {
            let shards = offsets.len() as u32;
            let one = Cursor::One { shard, offset: offsets.first().copied().unwrap_or(0) };
            prop_assert_eq!(Cursor::parse(&one.to_string(), 64), Ok(one));
            let all = Cursor::All(offsets);
            prop_assert_eq!(Cursor::parse(&all.to_string(), shards), Ok(all.clone()));
            prop_assert!(Cursor::parse(&all.to_string(), shards + 1).is_err());
        }

        #[test]
        fn a_changed_cursor_is_refused(offsets in prop::collection::vec(any::<u64>(), 64), at: prop::sample::Index) {
            let text = Cursor::All(offsets).to_string();
            let at = at.index(text.len());
            let other = if text.as_bytes()[at] == b'A' { "B" } else { "A" };
            let mut changed = text.clone();
            changed.replace_range(at..=at, other);

            prop_assert!(Cursor::parse(&changed, 64).is_err());
            prop_assert!(Cursor::parse(&text[..at], 64).is_err());
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,64}", bytes in prop::collection::vec(any::<u8>(), 0..900)) {
            let _ = Cursor::parse(&text, 64);
            let mut signed = crc32fast::hash(&bytes).to_le_bytes().to_vec();
            signed.extend_from_slice(&bytes);
            let _ = Cursor::parse(&URL_SAFE_NO_PAD.encode(signed), 64);
        }
    }

    #[test]
    fn what_is_almost_a_cursor_is_refused() {
        let long = "A".repeat(100_000);
        for bad in
            ["", ":", "1:", ":1", "+1:1", "1:-1", "64:0", "1:1:1", "1:18446744073709551616", "ä:1", &long]
        {
            assert!(Cursor::parse(bad, 64).is_err(), "{bad:?} was accepted");
        }
        assert_eq!(Cursor::parse("63:0", 64), Ok(Cursor::One { shard: 63, offset: 0 }));
    }

    #[test]
    fn a_cursor_over_64_shards_fits_into_a_url() {
        let everyday = Cursor::All(vec![999_999; 64]).to_string();
        let longest = Cursor::All(vec![u64::MAX; 64]).to_string();
        assert_eq!((everyday.len(), longest.len()), (435, 776));
    }
}
