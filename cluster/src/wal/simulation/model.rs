//! What a log must hold: the records it was given, applied one after the other to plain maps.

use crate::Error;
use crate::wal::record::{Kind, NODE, Record};
use crate::wal::writer::Writer;
use crate::wal::{State, lock, read};
use bytes::Bytes;
use runtime::log::LogId;
use std::collections::BTreeMap;

/// The whole log, as it should be or as it was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Model {
    pub(super) groups: BTreeMap<u32, Group>,
    pub(super) generation: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) entries: BTreeMap<u64, (Kind, u64, Bytes)>,
    pub(super) state: State,
    memberships: BTreeMap<u64, (LogId, Bytes)>,
}

impl Model {
    pub(super) fn apply(&mut self, record: &Record) {
        if record.group == NODE {
            self.generation = record.id.index;
            return;
        }
        self.groups.entry(record.group).or_default().apply(record);
    }

    pub(super) fn next(&self, group: u32) -> u64 {
        self.groups.get(&group).and_then(|group| group.state.last).map_or(0, |last| last.index + 1)
    }

    /// Reads everything back from a writer's log.
    pub(super) fn read(writer: &Writer) -> Result<Self, Error> {
        let index = &writer.shared.index;
        let ids: Vec<u32> = lock(index).groups().collect();
        let mut groups = BTreeMap::new();
        for id in ids {
            let mut group = Group { state: lock(index).state(id), ..Group::default() };
            let first = group.state.purged.map_or(0, |purged| purged.index + 1);
            let entries = read::read(index, id, first..u64::MAX, usize::MAX)?;
            if let Some(recent) = read::recent(index, id, first..u64::MAX, usize::MAX) {
                assert_eq!(recent, entries, "what is in memory of group {id} is what is on the disk");
            }
            for (expected, entry) in (first..).zip(entries) {
                assert_eq!(entry.id.index, expected, "the entries of group {id} have no gaps");
                group.entries.insert(expected, (entry.kind, entry.id.term, entry.payload));
            }
            groups.insert(id, group);
        }
        let generation = lock(index).generation();
        Ok(Self { groups, generation })
    }

    /// Without what cannot be read back.
    pub(super) fn visible(&self) -> Self {
        let mut visible = self.clone();
        visible.groups.values_mut().for_each(|group| group.memberships.clear());
        visible
    }
}

impl Group {
    pub(super) fn apply(&mut self, record: &Record) {
        let Record { id, payload, .. } = record;
        match record.kind {
            Kind::Vote => self.state.vote = record.as_vote(),
            Kind::Committed => self.state.committed = Some(*id),
            Kind::Forgotten => {
                let vote = self.state.vote;
                *self = Self::default();
                self.state = State { vote, forgotten: id.index, ..State::default() };
            }
            Kind::Truncate => {
                self.entries.split_off(&id.index);
                self.memberships.split_off(&id.index);
            }
            Kind::Purged => {
                self.state.purged = Some(*id);
                self.entries = self.entries.split_off(&(id.index + 1));
            }
            kind => {
                // What lies before the dropped entries is no entry: the membership of a state from elsewhere.
                if self.state.purged.is_none_or(|purged| purged.index < id.index) {
                    self.entries.insert(id.index, (kind, id.term, payload.clone()));
                }
                if kind == Kind::Membership {
                    self.memberships.insert(id.index, (*id, payload.clone()));
                }
            }
        }
        let last =
            self.entries.last_key_value().map(|(index, (_, term, _))| LogId { term: *term, index: *index });
        self.state.last = last.or(self.state.purged);
        self.state.membership = self.memberships.last_key_value().map(|(_, last)| last.clone());
    }
}
