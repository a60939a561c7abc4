//! The state store in memory, for tests: its power can be lost, and its writes can fail.
//!
//! A write that returned is synced. One that failed is not: it is kept apart, nobody sees it, and the next
//! [`Memory::crash`] decides by its seed whether it is there after the restart, as on a real disk, as a whole or not at
//! all. What was staged and not switched to is gone then.

use super::homes::Homes;
use super::{Batch, Error, Home, Range, Row, Snapshot, Space, StateStore, is_inverted};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A state store in memory. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    shared: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    synced: Rows,
    homes: Homes,
    /// The last generation that was staged, of any shard.
    staged: u32,
    unsynced: Option<Change>,
    /// Writes until one fails.
    failure: Option<u64>,
    stopped: Option<&'static str>,
    /// Its power was lost: it never comes back.
    is_dead: bool,
}

type Rows = BTreeMap<(Home, Space), BTreeMap<Vec<u8>, Vec<u8>>>;

/// What may fail.
#[derive(Debug)]
enum Change {
    Rows(Home, Batch),
    Switch(Home),
}

impl State {
    /// Makes a change, unless it is the one that fails.
    fn change(&mut self, change: Change) -> Result<(), Error> {
        if self.failure == Some(0) {
            let why = "simulated: the write failed";
            self.unsynced = Some(change);
            self.stopped = Some(why);
            return Err(Error::Stopped { why: why.to_owned() });
        }
        self.failure = self.failure.map(|left| left - 1);
        self.apply(change);
        Ok(())
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Rows(home, batch) => apply(&mut self.synced, home, batch),
            Change::Switch(home) => self.homes.switch(home),
        }
    }

    /// What a restart finds: with the change that failed, or without.
    fn recover(&mut self, is_kept: impl FnOnce(&Change) -> bool) {
        if let Some(change) = self.unsynced.take()
            && is_kept(&change)
        {
            self.apply(change);
        }
        let homes = self.homes.clone();
        self.synced.retain(|(home, _), _| homes.current(home.shard) == *home);
        self.homes.discard_staged();
    }
}

impl Memory {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets `writes` more writes pass; the next one fails.
    pub fn fail_write_after(&self, writes: u64) {
        self.state().failure = Some(writes);
    }

    /// Loses the power: this store and its clones are dead, and the answer is what a restart finds.
    #[must_use]
    pub fn crash(&self, seed: u64) -> Self {
        let mut state = self.state();
        let mut found = State {
            synced: std::mem::take(&mut state.synced),
            homes: state.homes.clone(),
            staged: state.staged,
            unsynced: state.unsynced.take(),
            ..State::default()
        };
        state.stopped = Some("simulated: the power is gone");
        state.is_dead = true;
        found.recover(|_| seed.count_ones().is_multiple_of(2));
        Self { shared: Arc::new(Mutex::new(found)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that panics is left half done under the lock.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn running(&self) -> Result<MutexGuard<'_, State>, Error> {
        let state = self.state();
        match state.stopped {
            Some(why) => Err(Error::Stopped { why: why.to_owned() }),
            None => Ok(state),
        }
    }

    /// As [`Memory::running`], for a home that may be used.
    fn at(&self, home: Home) -> Result<MutexGuard<'_, State>, Error> {
        let state = self.running()?;
        state.homes.check(home)?;
        Ok(state)
    }
}

impl StateStore for Memory {
    fn home(&self, shard: u32) -> Result<Home, Error> {
        Ok(self.running()?.homes.current(shard))
    }

    fn stage(&self, shard: u32) -> Result<Home, Error> {
        let mut state = self.running()?;
        state.staged += 1;
        let home = Home { shard, generation: state.staged };
        state.homes.stage(home);
        Ok(home)
    }

    fn switch(&self, home: Home) -> Result<(), Error> {
        let mut state = self.at(home)?;
        match state.homes.is_staged(home) {
            true => state.change(Change::Switch(home)),
            false => Err(Error::Superseded { shard: home.shard, generation: home.generation }),
        }
    }

    fn discard(&self, home: Home) -> Result<(), Error> {
        let mut state = self.running()?;
        assert_ne!(home, state.homes.current(home.shard), "the current rows of a shard are not discarded");
        state.homes.discard(home);
        state.synced.retain(|(of, _), _| *of != home);
        Ok(())
    }

    fn get(&self, home: Home, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.at(home)?.synced.get(&(home, space)).and_then(|rows| rows.get(key)).cloned())
    }

    fn scan(&self, home: Home, space: Space, range: Range<'_>, limit: usize) -> Result<Vec<Row>, Error> {
        let state = self.at(home)?;
        if is_inverted(range) {
            return Ok(Vec::new());
        }
        let rows = state.synced.get(&(home, space)).into_iter().flat_map(|rows| rows.range::<[u8], _>(range));
        Ok(rows.take(limit).map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn keys(&self, home: Home, space: Space, range: Range<'_>, limit: usize) -> Result<Vec<Vec<u8>>, Error> {
        Ok(self.scan(home, space, range, limit)?.into_iter().map(|(key, _)| key).collect())
    }

    fn write(&self, home: Home, batch: Batch) -> Result<(), Error> {
        self.at(home)?.change(Change::Rows(home, batch))
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>, Error> {
        let state = self.running()?;
        Ok(Box::new(Copied { rows: state.synced.clone(), homes: state.homes.clone() }))
    }

    /// What failed is found as a whole or not at all, by the number of its rows or of its generation.
    fn reopen(&self) -> Result<(), Error> {
        let mut state = self.state();
        match state.stopped {
            Some(why) if state.is_dead => Err(Error::Stopped { why: why.to_owned() }),
            _ => {
                (state.stopped, state.failure) = (None, None);
                state.recover(|change| match change {
                    Change::Rows(_, batch) => batch.len().is_multiple_of(2),
                    Change::Switch(home) => home.generation.is_multiple_of(2),
                });
                Ok(())
            }
        }
    }
}

/// All rows, copied.
struct Copied {
    rows: Rows,
    homes: Homes,
}

impl Snapshot for Copied {
    fn home(&self, shard: u32) -> Home {
        self.homes.current(shard)
    }

    fn each(
        &self,
        shard: u32,
        space: Space,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), Error> {
        let mut rows = self.rows.get(&(self.home(shard), space)).into_iter().flatten();
        rows.all(|(key, value)| visit(key, value));
        Ok(())
    }
}

fn apply(rows: &mut Rows, home: Home, batch: Batch) {
    for (space, key, value) in batch.into_changes() {
        let rows = rows.entry((home, space)).or_default();
        match value {
            Some(value) => rows.insert(key, value),
            None => rows.remove(&key),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::ALL;

    const ONE: Home = Home::first(1);

    fn rows(memory: &Memory) -> usize {
        memory.keys(ONE, Space::Image, ALL, 9).unwrap().len()
    }

    fn two_rows(keys: [&str; 2]) -> Batch {
        let mut batch = Batch::new();
        keys.iter().for_each(|key| batch.put(Space::Image, *key, ""));
        batch
    }

    #[test]
    fn a_crash_keeps_what_was_written_and_decides_on_what_failed_as_a_whole() {
        let found = (0..20).map(|seed| {
            let memory = Memory::new();
            memory.fail_write_after(1);
            memory.write(ONE, two_rows(["a", "b"])).unwrap();
            assert!(memory.write(ONE, two_rows(["c", "d"])).is_err());

            rows(&memory.crash(seed))
        });

        assert_eq!(found.collect::<std::collections::BTreeSet<_>>(), [2, 4].into());
    }

    #[test]
    fn after_a_failed_write_nothing_works_until_it_is_opened_again() {
        let memory = Memory::new();
        memory.fail_write_after(0);
        let said = "the state store stopped, because a write failed: simulated: the write failed";
        assert!(memory.write(ONE, Batch::new()).unwrap_err().to_string().starts_with(said));

        assert!(memory.get(ONE, Space::Image, b"a").unwrap_err().to_string().starts_with(said));
        assert!(memory.scan(ONE, Space::Image, ALL, 9).is_err());
        assert!(memory.keys(ONE, Space::Image, ALL, 9).is_err());
        assert!(memory.write(ONE, Batch::new()).is_err());

        memory.reopen().unwrap();
        memory.write(ONE, two_rows(["a", "b"])).unwrap();
        let restarted = memory.crash(0);
        assert!(memory.reopen().is_err());
        restarted.write(ONE, two_rows(["a", "b"])).unwrap();
        assert_eq!(rows(&restarted), 2);
        assert!(memory.get(ONE, Space::Image, b"a").is_err(), "a handle from before the crash is dead");
    }
}
