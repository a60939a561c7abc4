//! The state store on disk, in fjall: the only module that names it.
//!
//! # Layout
//! One keyspace for each [`Space`], named by [`Space::as_str`]. The key of a row:
//!
//! | bytes | |
//! |---|---|
//! | 0..4 | shard, big-endian |
//! | 4..8 | generation of the shard's rows, big-endian |
//! | 8.. | the key |
//!
//! The generation is there because fjall cannot delete a range: another replica's state is written under a new one and
//! switched to by a row of the keyspace `generation`, and the rows of the old one are removed then (`generations.rs`).
//!
//! # Traps
//! A fjall batch is only buffered unless it is told to sync, and two changes of one key in a batch have no order;
//! [`Batch`] holds one. After a failed write fjall takes no other, but goes on reading; here everything stops until the
//! database is opened again, which a shard asks for when it begins again from its log.
//! A damaged batch in its journal passes for a torn tail, so that an older state opens: the shard refuses one that is
//! older than its log.

mod generations;
mod journal;
mod key;
#[cfg(test)]
mod tests;

use super::homes::Homes;
use super::{ALL, Batch, Error, Home, Range, Row, Snapshot, Space, StateStore, is_inverted};
use ::fjall::{Database, Guard, Keyspace, KeyspaceCreateOptions, PersistMode, Readable};
use generations::Generations;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// What is written to a keyspace before it goes to a table, in bytes.
const MEMTABLE_BYTES: u64 = 16 << 20;
/// What a start may have to replay, in bytes on disk; past it, the memtables that hold it back are written out.
const JOURNAL_BYTES: u64 = 128 << 20;

/// How the store is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Memory for blocks that were read, in bytes. Default 32 MiB. Too small: activating twins reads the disk each
    /// time; too large: the memory lacks elsewhere, since the operating system caches the same files.
    ///
    /// At worst the store takes this and, for the rows that are in journals only, about 128 MiB.
    pub cache_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { cache_bytes: 32 << 20 }
    }
}

/// The store in a folder. Dropping it ends its threads.
pub struct Fjall {
    folder: PathBuf,
    options: Options,
    state: RwLock<State>,
    /// The highest generation that there ever was, of any shard: none is used again.
    last: AtomicU32,
}

enum State {
    Open(Arc<Opened>),
    /// Why a write failed.
    Stopped(String),
}

/// The engine. It ends with its last holder, so a call that hangs in it keeps it from being opened again.
struct Opened {
    /// Keyspaces in the order of [`Space::EACH`].
    keyspaces: Vec<Keyspace>,
    generations: Generations,
    /// Held while a home is used, so that none is switched meanwhile.
    homes: RwLock<Homes>,
    database: Database,
}

impl Fjall {
    /// Opens the store in a folder, or makes one.
    ///
    /// # Errors
    /// [`Error::Unopened`].
    pub fn open(folder: &Path, options: Options) -> Result<Self, Error> {
        let (opened, last) = Opened::open(folder, options)
            .map_err(|error| Error::Unopened { folder: folder.to_owned(), why: error.to_string() })?;
        let state = RwLock::new(State::Open(Arc::new(opened)));
        Ok(Self { folder: folder.to_owned(), options, state, last: last.into() })
    }

    fn opened(&self) -> Result<Arc<Opened>, Error> {
        match &*self.state.read().unwrap_or_else(PoisonError::into_inner) {
            State::Open(opened) => Ok(opened.clone()),
            State::Stopped(why) => Err(Error::Stopped { why: why.clone() }),
        }
    }

    /// A write failed: nothing more is done until the store is opened again.
    fn stop(&self, why: &str) -> Error {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if let State::Open(_) = &*state {
            tracing::error!(why, "the state store stops until it is opened again");
            *state = State::Stopped(why.to_owned());
        }
        match &*state {
            State::Stopped(why) => Error::Stopped { why: why.clone() },
            State::Open(_) => Error::Stopped { why: why.to_owned() },
        }
    }
}

impl Opened {
    /// Opens it without what was staged or is not current any more. Answers the highest generation, too.
    fn open(folder: &Path, options: Options) -> Result<(Self, u32), ::fjall::Error> {
        let database = Database::builder(folder)
            .cache_size(options.cache_bytes)
            .max_journaling_size(JOURNAL_BYTES)
            .open()?;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
        let keyspaces = Space::EACH.map(|space| database.keyspace(space.as_str(), options));
        let keyspaces = keyspaces.into_iter().collect::<Result<Vec<_>, _>>()?;
        let generations = Generations::open(&database)?;
        let (homes, removed, last) = generations.read()?;
        for home in removed {
            generations.clear(&database, &keyspaces, home)?;
        }
        Ok((Self { keyspaces, generations, homes: RwLock::new(homes), database }, last))
    }

    fn homes(&self) -> RwLockReadGuard<'_, Homes> {
        self.homes.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change_homes(&self) -> RwLockWriteGuard<'_, Homes> {
        self.homes.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// As [`Opened::homes`], for a home that may be used.
    fn at(&self, home: Home) -> Result<RwLockReadGuard<'_, Homes>, Error> {
        let homes = self.homes();
        homes.check(home)?;
        Ok(homes)
    }

    fn keyspace(&self, space: Space) -> &Keyspace {
        &self.keyspaces[space as usize]
    }

    /// Takes something of each row of a range.
    fn collect<T>(
        &self,
        home: Home,
        space: Space,
        range: Range<'_>,
        limit: usize,
        take: impl Fn(Guard) -> Result<T, ::fjall::Error>,
    ) -> Result<Vec<T>, Error> {
        let _homes = self.at(home)?;
        if is_inverted(range) {
            return Ok(Vec::new());
        }
        let rows = self.keyspace(space).range(key::range(home, range)).take(limit);
        rows.map(take).collect::<Result<_, _>>().map_err(|error| unread(home.shard, space, &error))
    }
}

impl StateStore for Fjall {
    fn home(&self, shard: u32) -> Result<Home, Error> {
        Ok(self.opened()?.homes().current(shard))
    }

    fn stage(&self, shard: u32) -> Result<Home, Error> {
        let opened = self.opened()?;
        let home = Home { shard, generation: self.last.fetch_add(1, Ordering::Relaxed) + 1 };
        let mut changes = opened.database.batch().durability(Some(PersistMode::SyncAll));
        opened.generations.doom(&mut changes, home);
        changes.commit().map_err(|error| self.stop(&said(&error)))?;
        opened.change_homes().stage(home);
        Ok(home)
    }

    fn switch(&self, home: Home) -> Result<(), Error> {
        let opened = self.opened()?;
        let mut homes = opened.change_homes();
        if !homes.is_staged(home) {
            return Err(Error::Superseded { shard: home.shard, generation: home.generation });
        }
        // It syncs what was written before it, too: a journal is one sequence, and one that has ended is synced.
        let mut changes = opened.database.batch().durability(Some(PersistMode::SyncAll));
        opened.generations.switch(&mut changes, homes.current(home.shard), home);
        changes.commit().map_err(|error| self.stop(&said(&error)))?;
        homes.switch(home);
        Ok(())
    }

    fn discard(&self, home: Home) -> Result<(), Error> {
        let opened = self.opened()?;
        let mut homes = opened.change_homes();
        assert_ne!(home, homes.current(home.shard), "the current rows of a shard are not discarded");
        homes.discard(home);
        // Nobody may use it any more, so nobody waits for the rest.
        drop(homes);
        let cleared = opened.generations.clear(&opened.database, &opened.keyspaces, home);
        cleared.map_err(|error| self.stop(&said(&error)))
    }

    fn get(&self, home: Home, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let opened = self.opened()?;
        let _homes = opened.at(home)?;
        match opened.keyspace(space).get(key::of(home, key)) {
            Ok(value) => Ok(value.map(|value| value.to_vec())),
            Err(error) => Err(unread(home.shard, space, &error)),
        }
    }

    fn scan(&self, home: Home, space: Space, range: Range<'_>, limit: usize) -> Result<Vec<Row>, Error> {
        self.opened()?.collect(home, space, range, limit, |row| {
            row.into_inner().map(|(key, value)| (key::strip(&key), value.to_vec()))
        })
    }

    fn keys(&self, home: Home, space: Space, range: Range<'_>, limit: usize) -> Result<Vec<Vec<u8>>, Error> {
        self.opened()?.collect(home, space, range, limit, |row| row.key().map(|key| key::strip(&key)))
    }

    fn write(&self, home: Home, batch: Batch) -> Result<(), Error> {
        let opened = self.opened()?;
        let homes = opened.at(home)?;
        let mode = if homes.is_staged(home) { PersistMode::Buffer } else { PersistMode::SyncAll };
        let mut changes = opened.database.batch().durability(Some(mode));
        for (space, key, value) in batch.into_changes() {
            let key = key::of(home, &key);
            match value {
                Some(value) => changes.insert(opened.keyspace(space), key, value),
                None => changes.remove(opened.keyspace(space), key),
            }
        }
        changes.commit().map_err(|error| self.stop(&said(&error)))
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>, Error> {
        let opened = self.opened()?;
        let (homes, snapshot) = {
            let homes = opened.homes();
            (homes.clone(), opened.database.snapshot())
        };
        Ok(Box::new(Moment { snapshot, homes, opened }))
    }

    fn reopen(&self) -> Result<(), Error> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let State::Stopped(why) = &*state else { return Ok(()) };
        let failed = |error: String| Error::Stopped { why: format!("{why}; opening it again: {error}") };
        journal::write_again(&self.folder).map_err(|error| failed(error.to_string()))?;
        let (opened, last) =
            Opened::open(&self.folder, self.options).map_err(|error| failed(said(&error)))?;
        self.last.fetch_max(last, Ordering::Relaxed);
        tracing::info!(folder = %self.folder.display(), "the state store is open again");
        *state = State::Open(Arc::new(opened));
        Ok(())
    }
}

/// The engine, and one moment of it.
struct Moment {
    snapshot: ::fjall::Snapshot,
    homes: Homes,
    opened: Arc<Opened>,
}

impl Snapshot for Moment {
    fn home(&self, shard: u32) -> Home {
        self.homes.current(shard)
    }

    fn each(
        &self,
        shard: u32,
        space: Space,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), Error> {
        for row in self.snapshot.range(self.opened.keyspace(space), key::range(self.home(shard), ALL)) {
            let (key, value) = row.into_inner().map_err(|error| unread(shard, space, &error))?;
            if !visit(&key::strip(&key), &value) {
                break;
            }
        }
        Ok(())
    }
}

/// What an error means to an operator.
fn said(error: &::fjall::Error) -> String {
    match error {
        ::fjall::Error::Io(error) => error.to_string(),
        ::fjall::Error::Poisoned => "a write in the background failed; is the disk full?".to_owned(),
        ::fjall::Error::Locked => "a call on it is still under way".to_owned(),
        error => error.to_string(),
    }
}

fn unread(shard: u32, space: Space, error: &::fjall::Error) -> Error {
    Error::Unread { shard, space, why: error.to_string() }
}
