//! A group's entries as consensus sees them: those in the log, and those that wait for the disk.
//!
//! The log shows only what is durable. Consensus reads an entry as soon as it was appended, to send it to the other
//! nodes while this one syncs it. So what is queued is kept here until it is durable, and a reader looks here *first*:
//! an entry that leaves meanwhile is in the log already. The other way round it could be missed in both.

use super::types;
use crate::Error;
use crate::wal::{Entry, Record, State, Wal};
use openraft::storage::IOFlushed;
use runtime::blocking;
use runtime::log::{self, LogId};
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// The entries of one group.
#[derive(Clone)]
pub(crate) struct Entries {
    wal: Arc<Wal>,
    group: u32,
    /// What was appended and is not durable yet, by index, without gaps. What could not be appended stays, as others may
    /// have committed it, until consensus begins again. What is queued holds this and not the log, so that the log's own
    /// thread is never the last to hold the log.
    waiting: Arc<Mutex<BTreeMap<u64, Entry>>>,
}

impl Entries {
    pub(crate) fn new(wal: Arc<Wal>, group: u32) -> Self {
        Self { wal, group, waiting: Arc::default() }
    }

    pub(super) fn group(&self) -> u32 {
        self.group
    }

    pub(super) fn wal(&self) -> &Arc<Wal> {
        &self.wal
    }

    /// Appends entries. When this returns they can be read; `flushed` hears when they are durable.
    pub(super) fn append(&self, entries: Vec<Entry>, flushed: IOFlushed<types::Types>) {
        let record = |entry: &Entry| Record::entry(self.group, entry.kind, entry.id, entry.payload.clone());
        let records: Vec<Record> = entries.iter().map(record).collect();
        let ids: Vec<LogId> = entries.iter().map(|entry| entry.id).collect();
        self.waiting().extend(entries.into_iter().map(|entry| (entry.id.index, entry)));
        let waiting = self.waiting.clone();
        let done = move |fate: Result<(), log::Error>| {
            if fate.is_ok() {
                let mut waiting = lock(&waiting);
                for id in ids {
                    // It may have been truncated, and another appended in its place.
                    if waiting.get(&id.index).is_some_and(|entry| entry.id == id) {
                        waiting.remove(&id.index);
                    }
                }
            }
            flushed.io_completed(fate.map_err(io::Error::other));
        };
        // Refused for want of room it would end the group's consensus, so it may use the reserve. Whoever proposes or
        // sends entries asks for room before.
        self.wal.append_upkeep(records, Box::new(done));
    }

    /// Forgets what was not made durable, once nothing is on its way to the disk: consensus begins with what is there.
    pub(super) fn begin_again(&self) {
        self.waiting().clear();
    }

    /// Answers when all that was appended before is durable.
    pub(super) async fn settle(&self) -> io::Result<()> {
        self.write_all(Vec::new()).await
    }

    /// Drops the entries from an index on.
    pub(super) async fn truncate(&self, since: u64) -> io::Result<()> {
        self.waiting().split_off(&since);
        self.write(Record::truncate(self.group, since)).await
    }

    /// Drops the entries through one, which may lie behind the last.
    pub(super) async fn purge(&self, through: LogId) -> io::Result<()> {
        self.waiting().retain(|index, _| *index > through.index);
        self.write(Record::purged(self.group, through)).await
    }

    /// Writes a record, and answers when it is durable.
    pub(crate) async fn write(&self, record: Record) -> io::Result<()> {
        self.write_all(vec![record]).await
    }

    /// Writes records, in one batch, and answers when they are durable.
    pub(super) async fn write_all(&self, records: Vec<Record>) -> io::Result<()> {
        let (sender, fate) = oneshot::channel();
        self.wal.append_upkeep(records, Box::new(move |result| drop(sender.send(result))));
        fate.await.expect("every job is answered").map_err(io::Error::other)
    }

    /// Notes through which entry the group is committed.
    pub(super) fn note_committed(&self, id: LogId) {
        self.wal.note(Record::committed(self.group, id));
    }

    /// What the group's log says of itself, with what waits.
    pub(crate) fn state(&self) -> State {
        let waits = self.waiting().last_key_value().map(|(_, entry)| entry.id);
        let mut state = self.wal.state(self.group);
        state.last = waits.or(state.last);
        // A mark may have been written before the entry that it is about, which a crash then took.
        state.committed = state.committed.and_then(|id| Some(id.min(state.last?)));
        state
    }

    /// Entries from the start of a range, as many as have `bytes` in sum, but at least one if there is one.
    pub(super) async fn read(&self, range: Range<u64>, bytes: usize) -> io::Result<Vec<Entry>> {
        match self.recent(range, bytes) {
            Ok(found) => Ok(found),
            Err(durable) => self.read_disk(durable, bytes).await,
        }
    }

    /// As [`Entries::read`], for whoever may wait for the disk.
    pub(crate) fn read_blocking(&self, range: Range<u64>, bytes: usize) -> Result<Vec<Entry>, Error> {
        self.recent(range, bytes).or_else(|durable| self.wal.read(self.group, durable, bytes))
    }

    /// As [`Entries::read`], where that needs no disk.
    ///
    /// # Errors
    /// The range that has to be read from the disk.
    pub(crate) fn recent(&self, range: Range<u64>, bytes: usize) -> Result<Vec<Entry>, Range<u64>> {
        let (first, waiting) = self.waiting_in(&range, bytes);
        let durable = range.start..range.end.min(first);
        if durable.is_empty() {
            return Ok(waiting);
        }
        match self.wal.recent(self.group, durable.clone(), bytes) {
            Some(found) if found.is_empty() => Ok(waiting),
            Some(found) => Ok(found),
            None => Err(durable),
        }
    }

    async fn read_disk(&self, range: Range<u64>, bytes: usize) -> io::Result<Vec<Entry>> {
        let (wal, group) = (self.wal.clone(), self.group);
        let found = blocking::run(move || wal.read(group, range, bytes)).await;
        found.map_err(io::Error::other)?.map_err(|error: Error| io::Error::other(error))
    }

    /// Where an entry stands that is there, or was the last to be dropped.
    pub(super) fn id(&self, index: u64) -> Option<LogId> {
        let waits = self.waiting().get(&index).map(|entry| entry.id);
        let purged = || self.wal.state(self.group).purged.filter(|purged| purged.index == index);
        waits.or_else(|| self.wal.id(self.group, index)).or_else(purged)
    }

    /// The last entry of each term in a range.
    pub(super) fn terms(&self, range: Range<u64>) -> Vec<LogId> {
        let (first, waiting) = self.waiting_in(&range, usize::MAX);
        let mut lasts = self.wal.terms(self.group, range.start..range.end.min(first));
        for Entry { id, .. } in waiting {
            match lasts.last_mut() {
                Some(last) if last.term == id.term => *last = id,
                _ => lasts.push(id),
            }
        }
        lasts
    }

    /// The index of the first entry that waits, and those in a range, up to a sum of bytes, but at least one.
    fn waiting_in(&self, range: &Range<u64>, bytes: usize) -> (u64, Vec<Entry>) {
        let waiting = self.waiting();
        let first = waiting.first_key_value().map_or(u64::MAX, |(index, _)| *index);
        if range.is_empty() {
            return (first, Vec::new());
        }
        let mut sum = 0_usize;
        let fits = |entry: &&Entry| {
            let before = sum;
            sum = sum.saturating_add(entry.payload.len());
            before == 0 || sum <= bytes
        };
        let inside = waiting.range(range.clone()).map(|(_, entry)| entry).take_while(fits);
        (first, inside.cloned().collect())
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<u64, Entry>> {
        lock(&self.waiting)
    }
}

/// The lock guards memory only, and nothing that panics is left half done under it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
