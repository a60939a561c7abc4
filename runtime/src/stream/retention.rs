//! Retention: when a segment is sealed, and when one goes. Decided by whoever leads the shard, by the shard's now.
//!
//! What is decided is an entry of the log, so that every replica has the same segments and drops the same records.
//! Only whole segments go: a segment is an eighth of what is kept at most, in bytes and in time, so that no more than an
//! eighth is kept too long.

use super::writer::Writer;
use super::{Offset, Options};
use std::time::Duration;
use twins::time::Timestamp;

/// A segment is so much of what is kept, at most.
const PART: u32 = 8;

/// How long the records of a shard's stream are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Retention {
    keep_for: Duration,
    keep_bytes: u64,
    segment_for: Duration,
    segment_bytes: u64,
}

/// What is to be done to a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Upkeep {
    /// The segment that is written ends; the next record begins another one.
    pub(crate) sealed: bool,
    /// The segments whose records are all before this go.
    pub(crate) trimmed: Option<Offset>,
}

/// A segment that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sealed {
    /// The offset after its last record.
    pub(super) end: Offset,
    pub(super) bytes: u64,
    /// The latest time of its records and of all before.
    pub(super) latest: Timestamp,
}

/// The segment that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Open {
    pub(super) bytes: u64,
    /// The time of its first record; none while it has none.
    pub(super) begun: Option<Timestamp>,
}

impl Retention {
    /// That of one of `shards` streams of a node.
    pub(crate) fn new(options: &Options, shards: usize) -> Self {
        let Options { segment_bytes, keep_for, keep_bytes } = *options;
        let keep_bytes = keep_bytes.get() / shards.max(1) as u64;
        Self {
            keep_for,
            keep_bytes,
            segment_for: keep_for / PART,
            segment_bytes: segment_bytes.get().min(keep_bytes / u64::from(PART)),
        }
    }

    /// What is to be done to a stream at a time.
    pub(crate) fn decide(&self, writer: &Writer, now: Timestamp) -> Upkeep {
        self.upkeep(writer.sealed().copied(), writer.open(), now)
    }

    /// When there is something to do, if nothing is appended before.
    pub(crate) fn due(&self, writer: &Writer) -> Option<Timestamp> {
        if self.decide(writer, Timestamp::ZERO) != Upkeep::default() {
            return Some(Timestamp::ZERO);
        }
        let ends = writer.open().begun.map(|begun| begun + self.segment_for);
        let goes = writer.sealed().next().map(|oldest| oldest.latest + self.keep_for);
        [ends, goes].into_iter().flatten().min()
    }

    fn upkeep(&self, sealed: impl Iterator<Item = Sealed> + Clone, open: Open, now: Timestamp) -> Upkeep {
        let is_over = |begun: Timestamp| open.bytes >= self.segment_bytes || begun + self.segment_for <= now;
        let mut bytes = open.bytes + sealed.clone().map(|segment| segment.bytes).sum::<u64>();
        let mut trimmed = None;
        for segment in sealed {
            if bytes <= self.keep_bytes && segment.latest + self.keep_for > now {
                break;
            }
            bytes -= segment.bytes;
            trimmed = Some(segment.end);
        }
        Upkeep { sealed: open.begun.is_some_and(is_over), trimmed }
    }
}

impl Upkeep {
    /// Whether there is nothing to do.
    pub(crate) fn is_nothing(self) -> bool {
        self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU64;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    /// A shard that keeps 8,000 bytes for 8 s.
    #[track_caller]
    fn check(
        sealed: &[(Offset, u64, u64)],
        open: (u64, Option<u64>),
        now: u64,
        ends: bool,
        goes: Option<Offset>,
    ) {
        let bytes = |bytes| NonZeroU64::new(bytes).unwrap();
        let options = Options {
            segment_bytes: bytes(4_000),
            keep_for: Duration::from_secs(8),
            keep_bytes: bytes(32_000),
        };
        let sealed = sealed.iter().map(|&(end, bytes, latest)| Sealed { end, bytes, latest: at(latest) });
        let open = Open { bytes: open.0, begun: open.1.map(at) };
        let upkeep = Retention::new(&options, 4).upkeep(sealed, open, at(now));
        assert_eq!(upkeep, Upkeep { sealed: ends, trimmed: goes });
    }

    #[test]
    fn a_segment_ends_when_it_is_an_eighth_of_what_is_kept() {
        check(&[], (999, Some(5_000)), 5_999, false, None);
        check(&[], (1_000, Some(5_000)), 5_999, true, None);
        check(&[], (999, Some(5_000)), 6_000, true, None);
        check(&[], (0, None), 60_000, false, None);
    }

    #[test]
    fn a_segment_goes_when_its_last_record_is_too_old() {
        let segments = [(10, 100, 1_000), (20, 100, 2_000), (30, 100, 2_500)];
        check(&segments, (0, None), 8_999, false, None);
        check(&segments, (0, None), 9_000, false, Some(10));
        check(&segments, (0, None), 10_400, false, Some(20));
        check(&segments, (0, None), 99_000, false, Some(30));
    }

    #[test]
    fn the_oldest_go_until_the_rest_has_room() {
        let segments = [(10, 3_000, 1_000), (20, 3_000, 2_000), (30, 3_000, 2_500)];
        check(&segments, (0, None), 3_000, false, Some(10));
        check(&segments[1..], (900, Some(2_900)), 3_000, false, None);
        check(&segments, (5_500, Some(2_900)), 3_000, true, Some(30));
        check(&segments, (9_000, Some(2_900)), 3_000, true, Some(30));
    }
}
