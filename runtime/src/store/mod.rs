//! The port to the state store: where a shard's checkpoint is kept, and where passive twins are read from.
//!
//! The store is written behind and is never on the path of an acknowledgement: the log is the truth, and what the store
//! lacks is replayed. It promises two things only. A [`Batch`] is written as a whole or not at all, and it is durable
//! when [`StateStore::write`] returns.
//!
//! Rows belong to a shard, in one of its generations, and to a [`Space`]; within these, keys are ordered by their bytes.
//! One generation of a shard is current. Another replica's state is written as a new one, which nobody sees until it is
//! [switched to](StateStore::switch) as a whole; whoever still holds the [`Home`] before is refused from then on.
//!
//! Implementations: [`fjall`] on disk, and [`memory`] for tests, whose power can be lost. One contract suite holds for
//! both.
//!
//! It is not a queue, not an index for queries, and no place for what was not committed.

mod batch;
#[cfg(test)]
mod contract;
mod error;
pub mod fjall;
mod homes;
pub mod memory;
mod timer;

pub use batch::Batch;
pub use error::Error;
pub use homes::Home;
pub use timer::Timer;

use std::ops::Bound;

/// A row: key and value.
pub type Row = (Vec<u8>, Vec<u8>);

/// Which keys: from, to. One that ends before it begins holds none.
pub type Range<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

/// Every key.
pub const ALL: Range<'static> = (Bound::Unbounded, Bound::Unbounded);

/// The longest key, in bytes; a twin's id has at most 193.
pub const KEY_BYTES_MAX: usize = 1024;

/// What a row is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Space {
    /// `tenant/id` -> the twin's image.
    Image,
    /// `tenant/id` of a twin that is registered -> nothing. An image may also be that of a removed twin.
    Registered,
    /// [`Timer`] -> whatever the shard wants to know when it fires, perhaps nothing.
    Timer,
    /// `tenant/id` of a twin with connections -> who holds each; an earlier version wrote nothing.
    Connected,
    /// The shard's own rows by name: applied index, end of the stream, now, counts.
    Mark,
    /// Receiving shard and number of an effect that it is not known to have -> the effect.
    Outbox,
}

impl Space {
    /// Each one, in order.
    pub const EACH: [Self; 6] =
        [Self::Image, Self::Registered, Self::Timer, Self::Connected, Self::Mark, Self::Outbox];

    /// Its name, as the store on disk knows it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Registered => "registered",
            Self::Timer => "timer",
            Self::Connected => "connected",
            Self::Mark => "mark",
            Self::Outbox => "outbox",
        }
    }
}

/// Rows of shards. All calls block: call them where blocking is allowed.
///
/// A shard has one writer; shards do not disturb each other. A call sees every write that returned before it began.
///
/// # Errors
/// After a write failed, nobody knows whether it is durable, so every later call answers [`Error::Stopped`] until
/// [`StateStore::reopen`] succeeds. A read that failed stops nothing. A call for a home that is neither current nor being
/// made is answered [`Error::Superseded`], and changes nothing.
pub trait StateStore: Send + Sync + 'static {
    /// The home that is a shard's current one.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    fn home(&self, shard: u32) -> Result<Home, Error>;

    /// A new generation of a shard, empty and beside the current one. What is written to it is durable once it is
    /// [switched to](StateStore::switch); what a crash leaves of it is discarded when the store is opened.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    fn stage(&self, shard: u32) -> Result<Home, Error>;

    /// Makes a home that was staged the shard's current one, as a whole and durably. The rows of the one before stay until
    /// they are [discarded](StateStore::discard), or the store is opened.
    ///
    /// # Errors
    /// [`Error::Stopped`]: the one or the other is current, which the next start finds out. [`Error::Superseded`] where it
    /// is not staged.
    fn switch(&self, home: Home) -> Result<(), Error>;

    /// Removes the rows of a home that is not current, some at a time.
    ///
    /// # Errors
    /// [`Error::Stopped`], [`Error::Unread`]: the next start removes them.
    ///
    /// # Panics
    /// When the home is current.
    fn discard(&self, home: Home) -> Result<(), Error>;

    /// The value of a key.
    ///
    /// # Errors
    /// [`Error::Unread`], [`Error::Stopped`], [`Error::Superseded`].
    fn get(&self, home: Home, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, Error>;

    /// The values of many keys, in the order of the keys.
    ///
    /// # Errors
    /// As [`StateStore::get`]; one key that cannot be read fails them all.
    fn get_many(&self, home: Home, space: Space, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, Error> {
        keys.iter().map(|key| self.get(home, space, key)).collect()
    }

    /// The first `limit` rows of a range, in the order of their keys. All of them are in memory at once: `limit` times
    /// the largest value.
    ///
    /// # Errors
    /// As [`StateStore::get`].
    fn scan(&self, home: Home, space: Space, range: Range<'_>, limit: usize) -> Result<Vec<Row>, Error>;

    /// The first `limit` keys of a range, in order.
    ///
    /// # Errors
    /// As [`StateStore::get`].
    fn keys(&self, home: Home, space: Space, range: Range<'_>, limit: usize) -> Result<Vec<Vec<u8>>, Error>;

    /// Writes a batch as a whole. Durable when it returns, unless its home is only staged.
    ///
    /// # Errors
    /// [`Error::Stopped`]: the batch is there as a whole or not at all, which the next start finds out.
    /// [`Error::Superseded`]: nothing was written.
    fn write(&self, home: Home, batch: Batch) -> Result<(), Error>;

    /// Opens the store again if a write has failed; what it shows then is durable, as what was written before. A shard
    /// that begins again calls it first, and then looks at what there is.
    ///
    /// # Errors
    /// [`Error::Stopped`] when it does not open: the cause is still there, or a call is still under way.
    fn reopen(&self) -> Result<(), Error>;

    /// All rows as they are now, whatever is written later. While it is held, the store keeps what it replaces.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    fn snapshot(&self) -> Result<Box<dyn Snapshot>, Error>;
}

/// The rows of a store at one moment, between two writes.
pub trait Snapshot: Send {
    /// The home that was a shard's current one.
    fn home(&self, shard: u32) -> Home;

    /// Shows each row of a shard's home then and a space in the order of their keys, one at a time, until `visit` answers `false`.
    ///
    /// # Errors
    /// [`Error::Unread`].
    fn each(
        &self,
        shard: u32,
        space: Space,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), Error>;
}

/// Whether a range ends before it begins. Implementations are asked nothing then: some panic.
fn is_inverted((from, to): Range<'_>) -> bool {
    match (from, to) {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        (Bound::Included(from), Bound::Included(to)) => from > to,
        (Bound::Included(from) | Bound::Excluded(from), Bound::Included(to) | Bound::Excluded(to)) => {
            from >= to
        }
    }
}
