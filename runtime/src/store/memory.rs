//! The state store in memory, for tests: its power can be lost, and its writes can fail.
//!
//! A write that returned is synced. One that failed is not: it is kept apart, nobody sees it, and the next
//! [`Memory::crash`] decides by its seed whether it is there after the restart, as on a real disk, as a whole or not at
//! all.

use super::{Batch, Error, Range, Row, Snapshot, Space, StateStore, is_inverted};
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
    unsynced: Option<(u32, Batch)>,
    /// Writes until one fails.
    failure: Option<u64>,
    stopped: Option<&'static str>,
    /// Its power was lost: it never comes back.
    is_dead: bool,
}

type Rows = BTreeMap<(u32, Space), BTreeMap<Vec<u8>, Vec<u8>>>;

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
        let mut synced = std::mem::take(&mut state.synced);
        state.stopped = Some("simulated: the power is gone");
        state.is_dead = true;
        let is_kept = seed.count_ones().is_multiple_of(2);
        if let Some((shard, batch)) = state.unsynced.take()
            && is_kept
        {
            apply(&mut synced, shard, batch);
        }
        Self { shared: Arc::new(Mutex::new(State { synced, ..State::default() })) }
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
}

impl StateStore for Memory {
    fn get(&self, shard: u32, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.running()?.synced.get(&(shard, space)).and_then(|rows| rows.get(key)).cloned())
    }

    fn scan(&self, shard: u32, space: Space, range: Range<'_>, limit: usize) -> Result<Vec<Row>, Error> {
        let state = self.running()?;
        if is_inverted(range) {
            return Ok(Vec::new());
        }
        let rows =
            state.synced.get(&(shard, space)).into_iter().flat_map(|rows| rows.range::<[u8], _>(range));
        Ok(rows.take(limit).map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn keys(&self, shard: u32, space: Space, range: Range<'_>, limit: usize) -> Result<Vec<Vec<u8>>, Error> {
        Ok(self.scan(shard, space, range, limit)?.into_iter().map(|(key, _)| key).collect())
    }

    fn write(&self, shard: u32, batch: Batch) -> Result<(), Error> {
        let mut state = self.running()?;
        if state.failure == Some(0) {
            let why = "simulated: the write failed";
            state.unsynced = Some((shard, batch));
            state.stopped = Some(why);
            return Err(Error::Stopped { why: why.to_owned() });
        }
        state.failure = state.failure.map(|left| left - 1);
        apply(&mut state.synced, shard, batch);
        Ok(())
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>, Error> {
        Ok(Box::new(Copied(self.running()?.synced.clone())))
    }

    /// What failed is found as a whole or not at all, by the number of its rows.
    fn reopen(&self) -> Result<(), Error> {
        let mut state = self.state();
        match state.stopped {
            Some(why) if state.is_dead => Err(Error::Stopped { why: why.to_owned() }),
            _ => {
                (state.stopped, state.failure) = (None, None);
                if let Some((shard, batch)) = state.unsynced.take()
                    && batch.len().is_multiple_of(2)
                {
                    apply(&mut state.synced, shard, batch);
                }
                Ok(())
            }
        }
    }
}

/// All rows, copied.
struct Copied(Rows);

impl Snapshot for Copied {
    fn each(
        &self,
        shard: u32,
        space: Space,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), Error> {
        let mut rows = self.0.get(&(shard, space)).into_iter().flatten();
        rows.all(|(key, value)| visit(key, value));
        Ok(())
    }
}

fn apply(rows: &mut Rows, shard: u32, batch: Batch) {
    for (space, key, value) in batch.into_changes() {
        let rows = rows.entry((shard, space)).or_default();
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

    fn rows(memory: &Memory) -> usize {
        memory.keys(1, Space::Image, ALL, 9).unwrap().len()
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
            memory.write(1, two_rows(["a", "b"])).unwrap();
            assert!(memory.write(1, two_rows(["c", "d"])).is_err());

            rows(&memory.crash(seed))
        });

        assert_eq!(found.collect::<std::collections::BTreeSet<_>>(), [2, 4].into());
    }

    #[test]
    fn after_a_failed_write_nothing_works_until_it_is_opened_again() {
        let memory = Memory::new();
        memory.fail_write_after(0);
        let said = "the state store stopped, because a write failed: simulated: the write failed";
        assert!(memory.write(1, Batch::new()).unwrap_err().to_string().starts_with(said));

        assert!(memory.get(1, Space::Image, b"a").unwrap_err().to_string().starts_with(said));
        assert!(memory.scan(1, Space::Image, ALL, 9).is_err());
        assert!(memory.keys(1, Space::Image, ALL, 9).is_err());
        assert!(memory.write(1, Batch::new()).is_err());

        memory.reopen().unwrap();
        memory.write(1, two_rows(["a", "b"])).unwrap();
        let restarted = memory.crash(0);
        assert!(memory.reopen().is_err());
        restarted.write(1, two_rows(["a", "b"])).unwrap();
        assert_eq!(rows(&restarted), 2);
        assert!(memory.get(1, Space::Image, b"a").is_err(), "a handle from before the crash is dead");
    }
}
