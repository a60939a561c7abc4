//! Following: the shard reads what another node's shard decided, as it is committed, and applies it as a recovery does.
//!
//! It reads at its own pace, and keeps little of what it has read: an entry waits until the twins that it changes are
//! here. They stay here until it is applied.

use std::collections::{HashMap, VecDeque};

use twins::id::TwinId;
use twins::time::Timestamp;

use crate::log::{self, Entry};

use super::entry::{Batch, Decided};
use super::resident::Slot;
use super::role::Role;
use super::{Action, Failed, Shard};

/// While entries of so many bytes wait, no more are read.
const WAITING_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How far a shard that follows has come.
#[derive(Debug, Default)]
pub(super) struct Following {
    /// Everything through this index is committed, and perhaps more.
    known: u64,
    /// Everything through this index was read.
    read: u64,
    /// Through which index it is reading.
    reading: Option<u64>,
    /// What was read and is not applied.
    waiting: VecDeque<Waiting>,
    bytes: usize,
    /// The twins that it changes.
    needed: HashMap<TwinId, Need>,
}

/// An entry that waits for its twins.
#[derive(Debug)]
struct Waiting {
    index: u64,
    batch: Batch,
    bytes: usize,
}

/// A twin that entries wait for.
#[derive(Debug, Default)]
struct Need {
    /// How many decisions of them are on it.
    decisions: usize,
    /// Its image is damaged: they are applied without it.
    is_damaged: bool,
}

impl Following {
    /// One that has applied everything through an index.
    pub(super) fn after(index: u64) -> Self {
        Self { known: index, read: index, ..Self::default() }
    }

    /// As [`Following::after`], with what is known to be committed: it may have been told while this one led.
    pub(super) fn again(&self, index: u64) -> Self {
        Self { known: self.known.max(index), ..Self::after(index) }
    }

    /// Everything through an index is committed.
    pub(super) fn know(&mut self, through: u64) {
        self.known = self.known.max(through);
    }

    /// Whether something that was read changes this twin.
    pub(super) fn needs(&self, twin: &TwinId) -> bool {
        !self.needed.is_empty() && self.needed.contains_key(twin)
    }

    /// The image of a twin is damaged.
    pub(super) fn do_without(&mut self, twin: &TwinId) {
        if let Some(need) = self.needed.get_mut(twin) {
            need.is_damaged = true;
        }
    }

    fn push(&mut self, waiting: Waiting) {
        for decided in &waiting.batch.decisions {
            self.needed.entry(decided.twin.clone()).or_default().decisions += 1;
        }
        self.bytes += waiting.bytes;
        self.waiting.push_back(waiting);
    }

    /// The first entry that waits, if a twin is here, or damaged, for each of its decisions.
    fn pop(&mut self, is_here: impl Fn(&TwinId) -> bool) -> Option<Waiting> {
        let first = self.waiting.front()?;
        let is_ready =
            |twin: &TwinId| is_here(twin) || self.needed.get(twin).is_some_and(|need| need.is_damaged);
        if !first.batch.decisions.iter().all(|decided| is_ready(&decided.twin)) {
            return None;
        }
        let first = self.waiting.pop_front()?;
        self.bytes -= first.bytes;
        for decided in &first.batch.decisions {
            if let Some(need) = self.needed.get_mut(&decided.twin) {
                need.decisions -= 1;
                if need.decisions == 0 {
                    self.needed.remove(&decided.twin);
                }
            }
        }
        Some(first)
    }

    /// What is to be read next: after and through which index.
    fn read_on(&mut self) -> Option<(u64, u64)> {
        let has_room = self.reading.is_none() && self.bytes < WAITING_BYTES_MAX;
        if !has_room || self.read >= self.known {
            return None;
        }
        self.reading = Some(self.known);
        Some((self.read, self.known))
    }

    /// The index through which nothing is left to apply.
    fn is_through(&self) -> Option<u64> {
        (self.waiting.is_empty() && self.reading.is_none()).then_some(self.read)
    }
}

impl Shard {
    /// Entries were read; none says that there is none as far as they were asked for.
    pub(crate) fn followed(
        &mut self,
        now: Timestamp,
        entries: Result<Vec<Entry>, log::Error>,
    ) -> Result<(), Failed> {
        self.pass(now);
        let Some(through) = self.following.reading.take() else { return Ok(()) };
        let entries = entries.map_err(|error| self.failed(error))?;
        let last = entries.last().map_or(through, |last| last.id.index);
        self.following.read = self.following.read.max(last);
        for entry in entries {
            let (index, bytes) = (entry.id.index, entry.payload.len());
            let Some(batch) = self.check(&entry)? else { continue };
            for Decided { twin, .. } in &batch.decisions {
                if !self.twins.contains_key(twin) {
                    self.load(twin, None);
                }
            }
            self.following.push(Waiting { index, batch, bytes });
        }
        self.turn()
    }

    /// Applies what can be, and reads on. Leads when that is to be and nothing is left.
    pub(super) fn go_on_following(&mut self) -> Result<(), Failed> {
        while !self.stream_full {
            let twins = &self.twins;
            let is_here = |twin: &TwinId| matches!(twins.get(twin), Some(Slot::Resident(_)));
            let Some(Waiting { index, batch, .. }) = self.following.pop(is_here) else { break };
            self.follow(index, &batch)?;
        }
        if let Some(through) = self.following.is_through() {
            self.applied = self.applied.max(through);
        }
        if self.finishing {
            return Ok(());
        }
        // What the state store has not taken stays in memory.
        let reads = if self.is_behind() { None } else { self.following.read_on() };
        if let Some((after, through)) = reads {
            self.actions.push_back(Action::Read { after, through });
        }
        match self.role {
            Role::Catching { tenure, through } if self.following.is_through() >= Some(through) => {
                self.begin_to_lead(tenure);
            }
            _ => {}
        }
        Ok(())
    }

    /// Applies an entry while others watch.
    fn follow(&mut self, index: u64, batch: &Batch) -> Result<(), Failed> {
        let number = self.setting.number;
        let applied = self.apply(index, batch)?;
        self.flush_stream()?;
        if applied.is_counted {
            self.setting.registered.settle(number, &self.registered);
        }
        self.setting.watches.committed(number, &applied.twins);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_told_to_a_leader_is_read_when_it_follows() {
        let mut led = Following::after(4);
        led.know(9);

        let mut follows = led.again(6);

        assert_eq!(follows.read_on(), Some((6, 9)));
    }
}
