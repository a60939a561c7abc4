//! The write-ahead log of a node: one chain of batches, shared by all groups.
//!
//! Whatever waits when the writer turns goes into one batch: one write, one fdatasync, then the callbacks. The files
//! are described where they are made: `segment` holds batches, `batch` holds records, [`record`] is one fact about one
//! group. Nothing is durable that is not a record, and the `index` in memory is made of records alone.
//!
//! `scan` tells a torn tail from damage, and `recovery` repairs the one and refuses the other. The `writer` appends
//! where there is `room`, `tidy` drops the oldest segment, a `chore` makes the next. All of these are plain synchronous
//! code: `threads` drives them in a node, `inline` in a simulated cluster, `simulation` in the log's own tests.

mod batch;
mod chore;
pub(crate) mod group;
mod health;
pub(crate) mod index;
mod inline;
mod job;
mod meter;
mod queue;
mod read;
pub mod record;
mod recovery;
mod room;
pub(crate) mod scan;
pub(crate) mod segment;
#[cfg(test)]
mod simulation;
mod tail;
mod threads;
mod tidy;
mod writer;

pub use group::State;
pub use health::{Health, SEGMENT_STATES};
pub use inline::Pace;
pub use job::Done;
pub use meter::{BUCKETS, Syncs};
pub use read::Entry;
pub use record::{Kind, Record, Vote};

use crate::{Drive, Error, Options};
use bytes::Bytes;
use inline::Inline;
use job::Job;
use queue::Queue;
use runtime::files::Files;
use runtime::log::LogId;
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::time::Instant;
use writer::{Shared, Writer};

/// The log of a node, open. Dropping it closes it as [`Wal::close`] does.
pub struct Wal {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    files: Arc<dyn Files>,
    folder: PathBuf,
    reserve_bytes: u64,
    /// Whether the disk had room when it was asked last.
    room: Mutex<Option<(Instant, Result<(), String>)>>,
    entropy: u64,
    driver: Driver,
}

/// Who drives the writer.
enum Driver {
    Threads(Mutex<Option<JoinHandle<()>>>),
    Inline(Arc<Inline>),
}

/// How long the disk's answer holds: whoever asks does so for each message, and on a thread that others wait for. The
/// reserve is far more than what comes in meanwhile.
const ROOM_HOLDS: Duration = Duration::from_millis(100);

impl Wal {
    /// Opens the log in a folder, or begins one, and starts its threads, or its task where it is [driven](Options::drive)
    /// inline. The folder must exist, and nobody else may have it open; [`crate::Storage`] sees to both.
    ///
    /// # Errors
    /// When what was durable is not there any more, or the disk fails: see [`Error`].
    pub fn open(files: Arc<dyn Files>, folder: &Path, options: Options) -> Result<Self, Error> {
        let (reserve_bytes, drive) = (options.reserve_bytes, options.drive.clone());
        let entropy = options.entropy.unwrap_or_else(|| RandomState::new().hash_one(folder));
        let writer = Writer::open(files.clone(), folder, options, entropy)?;
        let shared = writer.shared.clone();
        let (queue, driver) = match drive {
            Drive::Threads => {
                let queue = Arc::new(Queue::default());
                let thread = threads::start(writer, queue.clone())
                    .map_err(|source| Error::io("starting the threads of the log in", folder, source))?;
                (queue, Driver::Threads(Mutex::new(Some(thread))))
            }
            Drive::Inline(pace) => {
                let queue = Arc::new(Queue::of_a_task());
                let driver = Driver::Inline(Inline::start(writer, queue.clone(), pace));
                (queue, driver)
            }
        };
        let folder = folder.to_owned();
        Ok(Self { shared, queue, files, folder, reserve_bytes, room: Mutex::default(), entropy, driver })
    }

    /// Appends records, all in one batch, and calls `done` on the writer's thread once they are durable.
    ///
    /// The fate is [`runtime::log::Error::Full`] when there is no room for them beyond the reserve, and they were
    /// surely not appended; [`runtime::log::Error::Unknown`] when the log has stopped.
    ///
    /// A group's entries are appended in order without gaps. The caller sees to that, and to having few in flight for
    /// each group, which is what bounds the queue. What follows an entry that found no room is refused as that was.
    pub fn append(&self, records: Vec<Record>, done: Done) {
        self.queue.push(Job::new(records, done));
    }

    /// As [`Wal::append`], for entries that free space on the disk: they may use the reserve.
    pub fn append_upkeep(&self, records: Vec<Record>, done: Done) {
        self.queue.push(Job::upkeep(records, done));
    }

    /// Appends records, and waits until they are durable. Blocks; where the log is driven inline, this drives it.
    ///
    /// # Errors
    /// As the fate of [`Wal::append`].
    pub(crate) fn append_blocking(&self, records: Vec<Record>) -> Result<(), runtime::log::Error> {
        let (sender, fate) = mpsc::channel();
        self.append(records, Box::new(move |result| drop(sender.send(result))));
        if let Driver::Inline(inline) = &self.driver {
            inline.drain();
        }
        fate.recv().expect("every job is answered")
    }

    /// Leaves a mark to be written with the next batch, or at the close, in the place of an earlier one of its group. Nobody
    /// hears of its fate, and a crash may lose it: it is for what merely saves work, as how far entries are committed.
    pub fn note(&self, record: Record) {
        self.queue.note(record);
    }

    /// What a group's log says of itself, as far as it is durable.
    #[must_use]
    pub fn state(&self, group: u32) -> State {
        lock(&self.shared.index).state(group)
    }

    /// The index that a group's next entry has, as far as the entries are durable.
    #[must_use]
    pub fn next(&self, group: u32) -> u64 {
        lock(&self.shared.index).next(group)
    }

    /// How often the node was started, as far as it is durable.
    #[must_use]
    pub fn generation(&self) -> u64 {
        lock(&self.shared.index).generation()
    }

    /// The number of the last batch that is durable: it only rises.
    #[must_use]
    pub fn durable(&self) -> u64 {
        self.shared.durable.load(Ordering::Acquire)
    }

    /// Where an entry stands; none when it is not there.
    #[must_use]
    pub fn id(&self, group: u32, index: u64) -> Option<LogId> {
        lock(&self.shared.index).id(group, index)
    }

    /// Reads a group's durable entries from the start of a range, as many as have `bytes` in sum, but at least one if
    /// there is one.
    ///
    /// # Errors
    /// [`Error::Unread`] or [`Error::Damaged`] when the file cannot be read.
    pub fn read(&self, group: u32, range: Range<u64>, bytes: usize) -> Result<Vec<Entry>, Error> {
        read::read(&self.shared.index, group, range, bytes)
    }

    /// As [`Wal::read`], where all of that is in memory, and none where some of it would have to be read from the disk.
    #[must_use]
    pub fn recent(&self, group: u32, range: Range<u64>, bytes: usize) -> Option<Vec<Entry>> {
        read::recent(&self.shared.index, group, range, bytes)
    }

    /// The membership that holds at an index, with its place, as far as it is durable.
    #[must_use]
    pub fn membership(&self, group: u32, through: u64) -> Option<(LogId, Bytes)> {
        lock(&self.shared.index).membership(group, through)
    }

    /// The last entry of each term among a group's durable entries in a range.
    #[must_use]
    pub fn terms(&self, group: u32, range: Range<u64>) -> Vec<LogId> {
        lock(&self.shared.index).terms(group, range)
    }

    /// The last index behind which a group's durable entries have as many bytes on the disk: through it they may be
    /// dropped, and so many are left. 0 when they have less.
    #[must_use]
    pub fn after_bytes(&self, group: u32, bytes: u64) -> u64 {
        lock(&self.shared.index).after_bytes(group, bytes)
    }

    /// Whether the disk has room beyond the reserve, or why not. Asks the disk, ten times a second at most.
    ///
    /// It is for consensus, which ends when an append is refused, and so may use the reserve: it asks before it takes
    /// entries from anybody.
    ///
    /// # Errors
    /// Why there is no room.
    pub fn room(&self) -> Result<(), String> {
        let mut room = lock(&self.room);
        if let Some((since, room)) = &*room
            && since.elapsed() < ROOM_HOLDS
        {
            return room.clone();
        }
        let free = self.files.free_space(&self.folder);
        let found = room::beyond_reserve(&self.folder, free, self.reserve_bytes);
        *room = Some((Instant::now(), found.clone()));
        found
    }

    /// A number that nobody can guess, other for each start of the node.
    pub(crate) fn draw(&self) -> u64 {
        salt(!self.entropy, self.generation())
    }

    /// How long the batches took to become durable.
    #[must_use]
    pub fn syncs(&self) -> Syncs {
        self.shared.meter.read()
    }

    /// How the log is: what it holds, and what is in its way.
    #[must_use]
    pub fn health(&self) -> Health {
        self.shared.health.clone()
    }

    /// Takes no more records, waits for those that were appended, and ends the threads.
    pub fn close(&self) {
        self.queue.close();
        match &self.driver {
            Driver::Threads(thread) => {
                if let Some(thread) = lock(thread).take() {
                    // A panic there was reported there, and everybody who waited was answered.
                    drop(thread.join());
                }
            }
            Driver::Inline(inline) => inline.drain(),
        }
    }
}

impl Drop for Wal {
    fn drop(&mut self) {
        self.close();
    }
}

/// Locks guard memory only, and nothing that panics is left half done under one.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A number that a device cannot guess, other for each segment and each start (the finisher of splitmix64).
fn salt(entropy: u64, number: u64) -> u64 {
    let mut mixed = entropy.wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
