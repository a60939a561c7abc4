//! Where everything lies: the log's content as a map in memory, made by applying its records in order.
//!
//! The writer applies what it has synced, recovery what it finds; nothing else changes the index. It also counts the
//! bytes of the entries that live in each segment, which says when a segment may go.

use super::group::{Group, Mark, Place, Slot, State};
use super::record::{Kind, NODE, Record};
use super::tail::Tail;
use bytes::Bytes;
use runtime::files::File;
use runtime::log::LogId;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// The index over all groups.
pub(crate) struct Index {
    groups: BTreeMap<u32, Group>,
    generation: Option<Mark>,
    files: BTreeMap<u64, Arc<dyn File>>,
    /// Bytes of the entries that live in each segment.
    live: BTreeMap<u64, u64>,
    tail: Tail,
}

/// One entry as the index knows it.
pub(crate) struct Located {
    pub(crate) group: u32,
    pub(crate) kind: Kind,
    pub(crate) id: LogId,
    pub(crate) place: Place,
    pub(crate) payload: Option<Bytes>,
    pub(crate) file: Arc<dyn File>,
}

impl Index {
    pub(crate) fn new(tail_bytes: usize) -> Self {
        Self {
            groups: BTreeMap::new(),
            generation: None,
            files: BTreeMap::new(),
            live: BTreeMap::new(),
            tail: Tail::new(tail_bytes),
        }
    }

    /// Adds a segment's file, before anything in it is read.
    pub(crate) fn add_file(&mut self, segment: u64, file: Arc<dyn File>) {
        self.files.insert(segment, file);
    }

    /// Forgets a segment in which nothing lives.
    pub(crate) fn remove_file(&mut self, segment: u64) {
        self.files.remove(&segment);
        self.live.remove(&segment);
    }

    /// Takes in a record that lies at a place.
    pub(crate) fn apply(&mut self, record: &Record, place: Place) {
        if record.kind == Kind::Generation {
            self.generation = Some(Mark { record: record.clone(), segment: place.segment });
            return;
        }
        let group = self.groups.entry(record.group).or_default();
        let dead = group.apply(record, place);
        if let Some(slot) = group.entries.get_mut(&record.id.index)
            && slot.place == place
        {
            *self.live.entry(place.segment).or_default() += u64::from(place.length);
        }
        for Slot { place, .. } in dead {
            *self.live.entry(place.segment).or_default() -= u64::from(place.length);
        }
    }

    /// Keeps the payload of an entry that was just applied in memory, and drops the oldest over the limit.
    pub(crate) fn keep(&mut self, record: &Record, place: Place) {
        let groups = &mut self.groups;
        let Some(slot) =
            groups.get_mut(&record.group).and_then(|group| group.entries.get_mut(&record.id.index))
        else {
            return;
        };
        if !record.kind.is_entry() || slot.place != place {
            return;
        }
        slot.payload = Some(record.payload.clone());
        for (group, index) in self.tail.push(record.group, record.id.index, record.payload.len()) {
            if let Some(slot) = groups.get_mut(&group).and_then(|group| group.entries.get_mut(&index)) {
                slot.payload = None;
            }
        }
    }

    /// Where the groups' logs end, to follow records that are not applied yet.
    pub(crate) fn ends(&self) -> Ends<'_> {
        Ends { index: self, next: BTreeMap::new() }
    }

    /// The first entry that is missing in any group.
    pub(crate) fn missing(&self) -> Option<(u32, u64)> {
        self.groups.iter().find_map(|(id, group)| Some((*id, group.hole()?)))
    }

    #[cfg(test)]
    pub(crate) fn groups(&self) -> impl Iterator<Item = u32> {
        self.groups.keys().copied()
    }

    pub(crate) fn state(&self, group: u32) -> State {
        self.groups.get(&group).map(Group::state).unwrap_or_default()
    }

    /// The index that a group's next entry has.
    pub(crate) fn next(&self, group: u32) -> u64 {
        self.groups.get(&group).map_or(0, Group::next)
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation.as_ref().map_or(0, |mark| mark.record.id.index)
    }

    /// The log id of an entry that is there.
    pub(crate) fn id(&self, group: u32, index: u64) -> Option<LogId> {
        let slot = self.groups.get(&group)?.entries.get(&index)?;
        Some(LogId { term: slot.term, index })
    }

    /// The last membership of a group through an index.
    pub(crate) fn membership(&self, group: u32, through: u64) -> Option<(LogId, Bytes)> {
        self.groups.get(&group)?.membership(through)
    }

    /// The last entry of each term among a group's entries in a range.
    pub(crate) fn terms(&self, group: u32, range: Range<u64>) -> Vec<LogId> {
        let Some(entries) = self.groups.get(&group).map(|group| &group.entries) else { return Vec::new() };
        if range.is_empty() {
            return Vec::new();
        }
        let mut lasts: Vec<LogId> = Vec::new();
        for (index, slot) in entries.range(range) {
            let id = LogId { term: slot.term, index: *index };
            match lasts.last_mut() {
                Some(last) if last.term == id.term => *last = id,
                _ => lasts.push(id),
            }
        }
        lasts
    }

    /// The last index of a group behind which as many bytes of entries lie, or 0.
    pub(crate) fn after_bytes(&self, group: u32, bytes: u64) -> u64 {
        let Some(group) = self.groups.get(&group) else { return 0 };
        let mut sum = 0;
        let first_kept = group.entries.iter().rev().find(|(_, slot)| {
            sum += u64::from(slot.place.length);
            sum >= bytes
        });
        first_kept.map_or(0, |(index, _)| index.saturating_sub(1))
    }

    /// The entries of a group in a range, up to a sum of their payloads' bytes, but at least one.
    pub(crate) fn locate(&self, group: u32, range: Range<u64>, bytes: usize) -> Vec<Located> {
        let Some(entries) = self.groups.get(&group).map(|group| &group.entries) else { return Vec::new() };
        if range.is_empty() {
            return Vec::new();
        }
        let located = entries.range(range).map(|(index, slot)| self.located(group, *index, slot));
        up_to(bytes, located)
    }

    /// The entry at an index.
    pub(crate) fn locate_one(&self, group: u32, index: u64) -> Option<Located> {
        let slot = self.groups.get(&group)?.entries.get(&index)?;
        Some(self.located(group, index, slot))
    }

    /// Bytes of the records that still hold in a segment, and in all.
    pub(crate) fn live(&self, segment: u64) -> (u64, u64) {
        let mut inside = self.live.get(&segment).copied().unwrap_or_default();
        let mut all = self.live.values().sum();
        for mark in self.marks() {
            let length = mark.record.encoded_len() as u64;
            all += length;
            inside += if mark.segment == segment { length } else { 0 };
        }
        (inside, all)
    }

    /// The marks that still lie in a segment.
    pub(crate) fn marks_in(&self, segment: u64) -> Vec<Record> {
        self.marks().filter(|mark| mark.segment == segment).map(|mark| mark.record.clone()).collect()
    }

    fn marks(&self) -> impl Iterator<Item = &Mark> {
        self.generation.iter().chain(self.groups.values().flat_map(Group::marks))
    }

    /// The entries that still live in a segment, up to a sum of their bytes, but at least one.
    pub(crate) fn entries_in(&self, segment: u64, bytes: usize) -> Vec<Located> {
        let all = self.groups.iter().flat_map(|(id, group)| group.entries.iter().map(|entry| (*id, entry)));
        let inside = all.filter(|(_, (_, slot))| slot.place.segment == segment);
        up_to(bytes, inside.map(|(group, (index, slot))| self.located(group, *index, slot)))
    }

    fn located(&self, group: u32, index: u64, slot: &Slot) -> Located {
        let Slot { kind, term, place, payload } = slot.clone();
        let file = self.files[&place.segment].clone();
        Located { group, kind, id: LogId { term, index }, place, payload, file }
    }
}

/// Where groups' logs end after records that are not applied yet.
pub(crate) struct Ends<'a> {
    index: &'a Index,
    next: BTreeMap<u32, u64>,
}

impl Ends<'_> {
    /// Goes on along some records.
    ///
    /// # Errors
    /// The entry (group, index) that is missing before one of them.
    pub(crate) fn follow(&mut self, records: &[Record]) -> Result<(), (u32, u64)> {
        for record in records.iter().filter(|record| !record.moved && record.group != NODE) {
            let next = self.next.entry(record.group).or_insert_with(|| self.index.next(record.group));
            match record.kind {
                kind if kind.is_entry() => {
                    if record.id.index != *next {
                        return Err((record.group, *next));
                    }
                    *next += 1;
                }
                Kind::Truncate => *next = record.id.index.min(*next),
                Kind::Purged => *next = (record.id.index + 1).max(*next),
                Kind::Forgotten => *next = 0,
                _ => {}
            }
        }
        Ok(())
    }
}

fn up_to(bytes: usize, all: impl Iterator<Item = Located>) -> Vec<Located> {
    let mut sum = 0;
    let mut found = Vec::new();
    for located in all {
        sum += located.place.length as usize;
        if sum > bytes && !found.is_empty() {
            break;
        }
        found.push(located);
    }
    found
}
