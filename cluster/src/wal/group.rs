//! What the log knows of one group: where its entries lie, and its marks.

use super::record::{Kind, Record, Vote};
use bytes::Bytes;
use runtime::log::LogId;
use std::collections::BTreeMap;
use std::ops::RangeBounds;

/// Where a record lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
    pub(crate) length: u32,
}

/// One entry in the index, with its payload while that is among the entries kept in memory.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    pub(crate) kind: Kind,
    pub(crate) term: u64,
    pub(crate) place: Place,
    pub(crate) payload: Option<Bytes>,
}

/// The latest record of a kind that holds until the next, and the segment it lies in.
#[derive(Debug, Clone)]
pub(crate) struct Mark {
    pub(crate) record: Record,
    pub(crate) segment: u64,
}

/// A group's entries and marks.
#[derive(Debug, Default)]
pub(crate) struct Group {
    pub(crate) entries: BTreeMap<u64, Slot>,
    vote: Option<Mark>,
    committed: Option<Mark>,
    purged: Option<Mark>,
    forgotten: Option<Mark>,
    /// The memberships among the entries, and the last one that was purged: it still holds.
    memberships: BTreeMap<u64, Mark>,
}

/// What a group's log says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// The last vote.
    pub vote: Option<Vote>,
    /// The last entry that is known to be committed. More may be.
    pub committed: Option<LogId>,
    /// The last entry that was dropped.
    pub purged: Option<LogId>,
    /// The last entry, or the last dropped one when none is left.
    pub last: Option<LogId>,
    /// The last membership with its place; its bytes are those that were appended.
    pub membership: Option<(LogId, Bytes)>,
    /// How often the group was forgotten here: what it had before is void, but for its vote.
    pub forgotten: u64,
}

impl Group {
    pub(crate) fn state(&self) -> State {
        let purged = self.purged.as_ref().map(|mark| mark.record.id);
        let last =
            self.entries.last_key_value().map(|(index, slot)| LogId { term: slot.term, index: *index });
        State {
            vote: self.vote.as_ref().and_then(|mark| mark.record.as_vote()),
            committed: self.committed.as_ref().map(|mark| mark.record.id),
            purged,
            last: last.or(purged),
            membership: self.membership(u64::MAX),
            forgotten: self.forgotten.as_ref().map_or(0, |mark| mark.record.id.index),
        }
    }

    /// The last membership through an index.
    pub(crate) fn membership(&self, through: u64) -> Option<(LogId, Bytes)> {
        let (_, Mark { record, .. }) = self.memberships.range(..=through).next_back()?;
        Some((record.id, record.payload.clone()))
    }

    /// The index that the next entry has.
    pub(crate) fn next(&self) -> u64 {
        let purged = self.purged.as_ref().map(|mark| mark.record.id.index);
        let last = self.entries.last_key_value().map(|(index, _)| *index).or(purged);
        last.map_or(0, |index| index.saturating_add(1))
    }

    /// The first index at which an entry is missing.
    pub(crate) fn hole(&self) -> Option<u64> {
        let first = self.purged.as_ref().map_or(0, |mark| mark.record.id.index.saturating_add(1));
        let expected = first..first.saturating_add(self.entries.len() as u64);
        self.entries.keys().zip(expected).find(|(found, expected)| *found != expected).map(|(_, index)| index)
    }

    /// Takes a record in. Answers the slots that no longer live.
    pub(crate) fn apply(&mut self, record: &Record, place: Place) -> Vec<Slot> {
        let mark = || Some(Mark { record: record.clone(), segment: place.segment });
        let index = record.id.index;
        match record.kind {
            Kind::Blank | Kind::Normal => self.insert(record, place),
            Kind::Membership => {
                // One of what was dropped, or of a state that came from another node: none before it holds any more.
                if self.is_purged(index) {
                    self.memberships.retain(|at, _| *at >= index);
                }
                self.memberships.extend(mark().map(|mark| (index, mark)));
                self.insert(record, place)
            }
            Kind::Vote => {
                self.vote = mark();
                Vec::new()
            }
            Kind::Committed => {
                self.committed = mark();
                Vec::new()
            }
            Kind::Truncate => {
                self.memberships.split_off(&index);
                self.remove(index..)
            }
            Kind::Purged => {
                self.purged = mark();
                let superseded = self.memberships.range(..=index).next_back().map(|(last, _)| *last);
                self.memberships.retain(|at, _| superseded.is_none_or(|last| *at >= last));
                self.remove(..=index)
            }
            Kind::Forgotten => {
                self.forgotten = mark();
                if record.moved {
                    return Vec::new();
                }
                (self.committed, self.purged) = (None, None);
                self.memberships.clear();
                self.remove(..)
            }
            Kind::Generation => Vec::new(),
        }
    }

    fn insert(&mut self, record: &Record, place: Place) -> Vec<Slot> {
        // A membership that was purged is still moved forward as a mark; it is no entry any more.
        if self.is_purged(record.id.index) {
            return Vec::new();
        }
        let slot = Slot { kind: record.kind, term: record.id.term, place, payload: None };
        self.entries.insert(record.id.index, slot).into_iter().collect()
    }

    fn is_purged(&self, index: u64) -> bool {
        self.purged.as_ref().is_some_and(|purged| index <= purged.record.id.index)
    }

    fn remove(&mut self, range: impl RangeBounds<u64>) -> Vec<Slot> {
        self.entries.extract_if(range, |_, _| true).map(|(_, slot)| slot).collect()
    }

    /// The marks that hold, as records to be moved forward.
    pub(crate) fn marks(&self) -> impl Iterator<Item = &Mark> {
        // Purged comes first, so that a purged membership is not taken for an entry when the others are gone.
        let marks = [&self.purged, &self.vote, &self.committed, &self.forgotten];
        marks.into_iter().flatten().chain(self.purged_membership())
    }

    fn purged_membership(&self) -> Option<&Mark> {
        let (index, mark) = self.memberships.first_key_value()?;
        (!self.entries.contains_key(index)).then_some(mark)
    }
}
