//! Which generation of each shard is current, and which are to be removed: rows of a keyspace of their own.
//!
//! | key | value |
//! |---|---|
//! | shard, big-endian | its current generation, big-endian; no row means 0 |
//! | shard and generation, big-endian | nothing: its rows are to be removed, since it was staged or is not current any more |
//!
//! A node whose shards' states were never replaced has no row here.

use std::collections::BTreeMap;
use std::ops::Bound;

use ::fjall::{Database, Guard, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode};

use super::key;
use crate::store::homes::Homes;
use crate::store::{ALL, Home};

/// How many rows are removed at a time.
const AT_ONCE: usize = 1_000;

/// The keyspace.
pub(super) struct Generations {
    keyspace: Keyspace,
}

impl Generations {
    pub(super) fn open(database: &Database) -> Result<Self, ::fjall::Error> {
        let keyspace = database.keyspace("generation", KeyspaceCreateOptions::default)?;
        Ok(Self { keyspace })
    }

    /// The current ones, those that are to be removed, and the highest number of all.
    pub(super) fn read(&self) -> Result<(Homes, Vec<Home>, u32), ::fjall::Error> {
        let (mut current, mut removed, mut last) = (BTreeMap::new(), Vec::new(), 0);
        let number = |bytes: &[u8]| bytes.try_into().ok().map(u32::from_be_bytes);
        for row in self.keyspace.iter() {
            let (key, value) = row.into_inner()?;
            let (shard, rest) = key.split_at(key.len().min(4));
            let is_current = rest.is_empty();
            let generation = number(if is_current { &value } else { rest });
            let Some((shard, generation)) = number(shard).zip(generation) else { continue };
            last = last.max(generation);
            match is_current {
                true => drop(current.insert(shard, generation)),
                false => removed.push(Home { shard, generation }),
            }
        }
        Ok((Homes::new(current), removed, last))
    }

    /// The rows of this one are to be removed.
    pub(super) fn doom(&self, batch: &mut OwnedWriteBatch, home: Home) {
        batch.insert(&self.keyspace, key::of(home, b""), []);
    }

    /// This one takes the place of another.
    pub(super) fn switch(&self, batch: &mut OwnedWriteBatch, before: Home, after: Home) {
        batch.insert(&self.keyspace, after.shard.to_be_bytes(), after.generation.to_be_bytes());
        batch.remove(&self.keyspace, key::of(after, b""));
        self.doom(batch, before);
    }

    /// Removes all rows of a home that is to be removed, durably.
    pub(super) fn clear(
        &self,
        database: &Database,
        keyspaces: &[Keyspace],
        home: Home,
    ) -> Result<(), ::fjall::Error> {
        for keyspace in keyspaces {
            let (mut from, to) = key::range(home, ALL);
            loop {
                let keys = keyspace.range((from.clone(), to.clone())).take(AT_ONCE).map(Guard::key);
                let keys: Vec<_> = keys.collect::<Result<_, _>>()?;
                let Some(last) = keys.last() else { break };
                from = Bound::Excluded(last.to_vec());
                let mut batch = database.batch().durability(Some(PersistMode::Buffer));
                keys.into_iter().for_each(|key| batch.remove(keyspace, key));
                batch.commit()?;
            }
        }
        let mut batch = database.batch().durability(Some(PersistMode::SyncAll));
        batch.remove(&self.keyspace, key::of(home, b""));
        batch.commit()
    }
}
