//! The state store on disk, in fjall: the only module that names it.
//!
//! # Layout
//! One keyspace for each [`Space`], named by [`Space::as_str`]. The key of a row:
//!
//! | bytes | |
//! |---|---|
//! | 0..4 | shard, big-endian |
//! | 4..8 | generation of the shard's rows, big-endian: reserved, 0 |
//! | 8.. | the key |
//!
//! The generation is there because fjall cannot delete a range: a snapshot will be installed under a new one and
//! switched to by a mark, and the rows of the old one deleted in the background.
//!
//! # Traps
//! A fjall batch is only buffered unless it is told to sync, and two changes of one key in a batch have no order;
//! [`Batch`] holds one. After a failed write fjall takes no other, but goes on reading; here everything stops until the
//! database is opened again, which a shard asks for when it begins again from its log.
//! A damaged batch in its journal passes for a torn tail, so that an older state opens: the shard refuses one that is
//! older than its log.

mod journal;
mod key;
#[cfg(test)]
mod tests;

use super::{ALL, Batch, Error, Range, Row, Snapshot, Space, StateStore, is_inverted};
use ::fjall::{Database, Guard, Keyspace, KeyspaceCreateOptions, PersistMode, Readable};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

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
    database: Database,
}

impl Fjall {
    /// Opens the store in a folder, or makes one.
    ///
    /// # Errors
    /// [`Error::Unopened`].
    pub fn open(folder: &Path, options: Options) -> Result<Self, Error> {
        let opened = Opened::open(folder, options)
            .map_err(|error| Error::Unopened { folder: folder.to_owned(), why: error.to_string() })?;
        Ok(Self { folder: folder.to_owned(), options, state: RwLock::new(State::Open(Arc::new(opened))) })
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
    fn open(folder: &Path, options: Options) -> Result<Self, ::fjall::Error> {
        let database = Database::builder(folder)
            .cache_size(options.cache_bytes)
            .max_journaling_size(JOURNAL_BYTES)
            .open()?;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
        let keyspaces = Space::EACH.map(|space| database.keyspace(space.as_str(), options));
        let keyspaces = keyspaces.into_iter().collect::<Result<_, _>>()?;
        Ok(Self { keyspaces, database })
    }

    fn keyspace(&self, space: Space) -> &Keyspace {
        &self.keyspaces[space as usize]
    }

    /// Takes something of each row of a range.
    fn collect<T>(
        &self,
        shard: u32,
        space: Space,
        range: Range<'_>,
        limit: usize,
        take: impl Fn(Guard) -> Result<T, ::fjall::Error>,
    ) -> Result<Vec<T>, Error> {
        if is_inverted(range) {
            return Ok(Vec::new());
        }
        let rows = self.keyspace(space).range(key::range(shard, range)).take(limit);
        rows.map(take).collect::<Result<_, _>>().map_err(|error| unread(shard, space, &error))
    }
}

impl StateStore for Fjall {
    fn get(&self, shard: u32, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        match self.opened()?.keyspace(space).get(key::of(shard, key)) {
            Ok(value) => Ok(value.map(|value| value.to_vec())),
            Err(error) => Err(unread(shard, space, &error)),
        }
    }

    fn scan(&self, shard: u32, space: Space, range: Range<'_>, limit: usize) -> Result<Vec<Row>, Error> {
        self.opened()?.collect(shard, space, range, limit, |row| {
            row.into_inner().map(|(key, value)| (key::strip(&key), value.to_vec()))
        })
    }

    fn keys(&self, shard: u32, space: Space, range: Range<'_>, limit: usize) -> Result<Vec<Vec<u8>>, Error> {
        self.opened()?.collect(shard, space, range, limit, |row| row.key().map(|key| key::strip(&key)))
    }

    fn write(&self, shard: u32, batch: Batch) -> Result<(), Error> {
        let opened = self.opened()?;
        let mut changes = opened.database.batch().durability(Some(PersistMode::SyncAll));
        for (space, key, value) in batch.into_changes() {
            let key = key::of(shard, &key);
            match value {
                Some(value) => changes.insert(opened.keyspace(space), key, value),
                None => changes.remove(opened.keyspace(space), key),
            }
        }
        changes.commit().map_err(|error| self.stop(&said(&error)))
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>, Error> {
        let opened = self.opened()?;
        Ok(Box::new(Moment { snapshot: opened.database.snapshot(), opened }))
    }

    fn reopen(&self) -> Result<(), Error> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let State::Stopped(why) = &*state else { return Ok(()) };
        let failed = |error: String| Error::Stopped { why: format!("{why}; opening it again: {error}") };
        journal::write_again(&self.folder).map_err(|error| failed(error.to_string()))?;
        let opened = Opened::open(&self.folder, self.options).map_err(|error| failed(said(&error)))?;
        tracing::info!(folder = %self.folder.display(), "the state store is open again");
        *state = State::Open(Arc::new(opened));
        Ok(())
    }
}

/// The engine, and one moment of it.
struct Moment {
    snapshot: ::fjall::Snapshot,
    opened: Arc<Opened>,
}

impl Snapshot for Moment {
    fn each(
        &self,
        shard: u32,
        space: Space,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), Error> {
        for row in self.snapshot.range(self.opened.keyspace(space), key::range(shard, ALL)) {
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
