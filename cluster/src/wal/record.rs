//! A record: one fact about one group, as bytes.
//!
//! Little-endian, unaligned:
//!
//! | bytes | field |
//! |---|---|
//! | 0..4 | CRC-32 of all that follows, payload included |
//! | 4..8 | length of the payload |
//! | 8..12 | group |
//! | 12 | kind; the high bit says that the record was moved forward from a segment that was to be dropped |
//! | 13..16 | zero |
//! | 16..24 | term |
//! | 24..32 | index |
//! | 32.. | payload |
//!
//! The record has a checksum of its own, beside the batch's, so that an entry is checked when it is read back, and a
//! damaged one is never moved forward as if it were whole.

use bytes::Bytes;
use runtime::log::LogId;

/// Length of a record without its payload.
pub const HEADER: usize = 32;

/// The most bytes that a payload may have: 256 MiB.
pub const PAYLOAD_MAX: usize = 256 << 20;

/// The group of records that belong to the node, not to a group.
pub const NODE: u32 = u32::MAX;

const MOVED: u8 = 0x80;

/// What a record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// An entry without payload, which a new leader appends.
    Blank = 1,
    /// An entry that was proposed.
    Normal = 2,
    /// An entry that says who the group's voters are.
    Membership = 3,
    /// The group's vote: `term`, and in the payload the node (8 bytes) and whether it is committed (1 byte).
    Vote = 4,
    /// Entries through `index` are known to be committed.
    Committed = 5,
    /// Entries from `index` on are void.
    Truncate = 6,
    /// Entries through `index` are no longer needed.
    Purged = 7,
    /// The node was started for the `index`-th time.
    Generation = 8,
    /// The group was forgotten for the `index`-th time: its entries, its memberships and what was said of them are void,
    /// and its vote holds. One that was moved forward voids nothing, and says how often.
    Forgotten = 9,
}

impl Kind {
    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        let kinds = [
            Self::Blank,
            Self::Normal,
            Self::Membership,
            Self::Vote,
            Self::Committed,
            Self::Truncate,
            Self::Purged,
            Self::Generation,
            Self::Forgotten,
        ];
        kinds.into_iter().find(|kind| *kind as u8 == byte)
    }

    /// Whether the record is an entry of its group's log.
    #[must_use]
    pub fn is_entry(self) -> bool {
        matches!(self, Self::Blank | Self::Normal | Self::Membership)
    }
}

/// Whom a group follows in a term.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vote {
    /// The term.
    pub term: u64,
    /// The node that was voted for.
    pub node: u64,
    /// Whether a quorum granted it, so that the node leads the term.
    pub committed: bool,
}

/// One fact about one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The group, or [`NODE`].
    pub group: u32,
    /// What it says.
    pub kind: Kind,
    /// Whether it was moved forward; its place then says nothing about its order among the group's entries.
    pub moved: bool,
    /// The term and index it is about; see [`Kind`].
    pub id: LogId,
    /// An entry's content, a vote's rest.
    pub payload: Bytes,
}

impl Record {
    /// An entry of a group's log.
    ///
    /// # Panics
    /// When `kind` is not an entry's, or the payload has more than [`PAYLOAD_MAX`] bytes.
    #[must_use]
    pub fn entry(group: u32, kind: Kind, id: LogId, payload: Bytes) -> Self {
        assert!(kind.is_entry(), "{kind:?} is no entry");
        assert!(payload.len() <= PAYLOAD_MAX, "an entry of {} bytes is too large", payload.len());
        Self { group, kind, moved: false, id, payload }
    }

    /// A group's vote.
    #[must_use]
    pub fn vote(group: u32, vote: Vote) -> Self {
        let mut payload = vote.node.to_le_bytes().to_vec();
        payload.push(vote.committed.into());
        let id = LogId { term: vote.term, index: 0 };
        Self { payload: payload.into(), ..Self::mark(group, Kind::Vote, id) }
    }

    /// Says that the entries through `id` are committed.
    #[must_use]
    pub fn committed(group: u32, id: LogId) -> Self {
        Self::mark(group, Kind::Committed, id)
    }

    /// Voids the entries from index `since` on.
    #[must_use]
    pub fn truncate(group: u32, since: u64) -> Self {
        Self::mark(group, Kind::Truncate, LogId { term: 0, index: since })
    }

    /// Says that the entries through `id` are no longer needed.
    #[must_use]
    pub fn purged(group: u32, id: LogId) -> Self {
        Self::mark(group, Kind::Purged, id)
    }

    /// The node's generation.
    #[must_use]
    pub fn generation(generation: u64) -> Self {
        Self::mark(NODE, Kind::Generation, LogId { term: 0, index: generation })
    }

    /// Says that all of the group but its vote is void, for the so-manieth time.
    #[must_use]
    pub fn forgotten(group: u32, times: u64) -> Self {
        Self::mark(group, Kind::Forgotten, LogId { term: 0, index: times })
    }

    fn mark(group: u32, kind: Kind, id: LogId) -> Self {
        Self { group, kind, moved: false, id, payload: Bytes::new() }
    }

    /// The vote that a record of that kind holds.
    #[must_use]
    pub fn as_vote(&self) -> Option<Vote> {
        let (node, committed) = self.payload.split_at_checked(8)?;
        let [committed @ (0 | 1)] = committed else { return None };
        let node = u64::from_le_bytes(node.try_into().ok()?);
        (self.kind == Kind::Vote).then_some(Vote { term: self.id.term, node, committed: *committed == 1 })
    }

    /// Bytes that it takes in a batch.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        HEADER + self.payload.len()
    }

    /// Appends its bytes.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend([0; 4]);
        out.extend((self.payload.len() as u32).to_le_bytes());
        out.extend(self.group.to_le_bytes());
        out.extend([self.kind as u8 | if self.moved { MOVED } else { 0 }, 0, 0, 0]);
        out.extend(self.id.term.to_le_bytes());
        out.extend(self.id.index.to_le_bytes());
        out.extend_from_slice(&self.payload);
        let crc = crc32fast::hash(&out[start + 4..]);
        out[start..start + 4].copy_from_slice(&crc.to_le_bytes());
    }

    /// Reads the record at the start of `bytes`; none when it is not whole.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let header = bytes.get(..HEADER)?;
        let length = u32_at(header, 4) as usize;
        let payload = bytes.get(HEADER..HEADER.checked_add(length)?)?;
        if u32_at(header, 0) != crc32fast::hash(&bytes[4..HEADER + length]) {
            return None;
        }
        let record = Self {
            group: u32_at(header, 8),
            kind: Kind::from_byte(header[12] & !MOVED)?,
            moved: header[12] & MOVED != 0,
            id: LogId { term: u64_at(header, 16), index: u64_at(header, 24) },
            payload: Bytes::copy_from_slice(payload),
        };
        let vote_is_whole = record.kind != Kind::Vote || record.as_vote().is_some();
        vote_is_whole.then_some(record)
    }
}

/// The number at an offset that is known to lie inside.
pub(crate) fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(bytes[offset..offset + 4].try_into().expect("four bytes"))
}

/// The number at an offset that is known to lie inside.
pub(crate) fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(bytes[offset..offset + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(record: &Record) {
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        assert_eq!(bytes.len(), record.encoded_len());

        assert_eq!(Record::decode(&bytes).as_ref(), Some(record));
        for at in 0..bytes.len() {
            bytes[at] ^= 4;
            assert_eq!(Record::decode(&bytes), None, "a flipped bit at {at} is seen");
            bytes[at] ^= 4;
            assert_eq!(Record::decode(&bytes[..at]), None, "a cut at {at} is seen");
        }
    }

    #[test]
    fn every_kind_is_read_back_and_no_damage_is() {
        let id = LogId { term: 3, index: 9 };
        check(&Record::entry(7, Kind::Normal, id, Bytes::from_static(b"payload")));
        check(&Record { moved: true, ..Record::entry(7, Kind::Membership, id, Bytes::from_static(b"m")) });
        check(&Record::entry(7, Kind::Blank, id, Bytes::new()));
        check(&Record::vote(0, Vote { term: 4, node: 8, committed: true }));
        check(&Record::committed(1, id));
        check(&Record::truncate(1, 5));
        check(&Record::purged(1, id));
        check(&Record::generation(12));
        check(&Record::forgotten(1, 2));
    }

    #[test]
    fn a_vote_keeps_its_parts() {
        let vote = Vote { term: 4, node: 8, committed: false };

        assert_eq!(Record::vote(0, vote).as_vote(), Some(vote));
        assert_eq!(Record::truncate(0, 1).as_vote(), None);
    }
}
