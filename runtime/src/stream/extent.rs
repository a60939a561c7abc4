//! What writer and readers of a stream share: which records are there, and in which files.

use super::erase::Erasures;
use super::segment::Segment;
use super::{Error, Indexer, Offset, Place};
use crate::files::Files;
use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// A stream as far as it is written.
pub(super) struct Extent {
    pub(super) files: Arc<dyn Files>,
    pub(super) folder: PathBuf,
    places: Mutex<Places>,
    /// Before it, everything is durable.
    synced: AtomicU64,
    /// The last segment whose name is durable.
    named: AtomicU64,
    stopped: OnceLock<String>,
    /// The records of trimmed segments whose files are still there, oldest first.
    trimmed: Mutex<VecDeque<Range<Offset>>>,
    /// Held by whoever removes their files, replaces a segment's, or makes its index.
    alone: Mutex<()>,
    /// Its writer is gone, and there may be another one: nothing of it is changed any more.
    closed: AtomicBool,
    /// Whose records are to be erased.
    pub(super) erasures: Erasures,
    indexer: Arc<Indexer>,
    /// Indexes were asked for of all segments that begin before it.
    asked_before: AtomicU64,
    /// The segments whose indexes are being made, or cannot be.
    asked: Mutex<BTreeSet<Offset>>,
}

struct Places {
    /// The first offset of each segment, never none.
    firsts: VecDeque<Offset>,
    end: Offset,
}

impl Extent {
    pub(super) fn new(
        files: Arc<dyn Files>,
        folder: &Path,
        firsts: VecDeque<Offset>,
        end: Offset,
        indexer: Arc<Indexer>,
    ) -> Self {
        let named = firsts.back().copied().unwrap_or(0);
        assert!(firsts.front().is_some_and(|first| *first <= end), "a segment must hold the end");
        Self {
            files,
            folder: folder.to_owned(),
            places: Mutex::new(Places { firsts, end }),
            synced: AtomicU64::new(end),
            named: AtomicU64::new(named),
            stopped: OnceLock::new(),
            trimmed: Mutex::default(),
            alone: Mutex::default(),
            closed: AtomicBool::new(false),
            erasures: Erasures::default(),
            indexer,
            asked_before: AtomicU64::new(named),
            asked: Mutex::default(),
        }
    }

    pub(super) fn earliest(&self) -> Offset {
        *self.places().firsts.front().expect("there is always a segment")
    }

    pub(super) fn end(&self) -> Offset {
        self.places().end
    }

    /// The records of the segment that holds the one at `from`; none past the end.
    pub(super) fn around(&self, from: Offset) -> Result<Option<Range<Offset>>, Error> {
        let places = self.places();
        if from >= places.end {
            return Ok(None);
        }
        let after = places.firsts.partition_point(|first| *first <= from);
        let Some(at) = after.checked_sub(1) else {
            return Err(Error::Trimmed { earliest: places.firsts[0] });
        };
        Ok(Some(places.records(at)))
    }

    /// The records of each segment that has some, oldest first.
    pub(super) fn segments(&self) -> Vec<Range<Offset>> {
        let places = self.places();
        let segments = (0..places.firsts.len()).map(|at| places.records(at));
        segments.filter(|records| !records.is_empty()).collect()
    }

    /// Whether a segment begins with a record: the one before has ended then.
    pub(super) fn begins(&self, first: Offset) -> bool {
        self.places().firsts.binary_search(&first).is_ok()
    }

    pub(super) fn open(&self, first: Offset) -> Result<Segment, Error> {
        match Segment::open(&*self.files, &self.folder, first) {
            // It was trimmed between the look and the leap.
            Err(_) if first < self.earliest() => Err(Error::Trimmed { earliest: self.earliest() }),
            opened => opened,
        }
    }

    /// Shows records to readers.
    pub(super) fn grow(&self, end: Offset) {
        self.places().end = end;
    }

    /// Adds a segment at the end.
    pub(super) fn push(&self, first: Offset) {
        self.places().firsts.push_back(first);
    }

    /// Takes away the oldest segment if all its records are before an offset and another one follows. Its file stays
    /// until it is swept.
    pub(super) fn pop_before(&self, offset: Offset) -> bool {
        let mut places = self.places();
        let Some(next) = places.firsts.get(1).copied().filter(|next| *next <= offset) else { return false };
        let first = places.firsts.pop_front();
        lock(&self.trimmed).extend(first.map(|first| first..next));
        true
    }

    /// Where the last trimmed segment ends whose records are all before an offset and whose file is still there.
    pub(super) fn trimmed_before(&self, offset: Offset) -> Option<Offset> {
        lock(&self.trimmed).iter().map(|records| records.end).take_while(|end| *end <= offset).last()
    }

    /// Calls `remove` with the first offset of each trimmed segment whose records are all before an offset, in order.
    pub(super) fn sweep(
        &self,
        before: Offset,
        mut remove: impl FnMut(Offset) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let _alone = self.alone();
        loop {
            let oldest = lock(&self.trimmed).front().filter(|records| records.end <= before).cloned();
            let Some(records) = oldest else { return Ok(()) };
            remove(records.start)?;
            lock(&self.trimmed).pop_front();
        }
    }

    /// Nobody else changes the files of sealed segments while this is held.
    pub(super) fn alone(&self) -> MutexGuard<'_, ()> {
        lock(&self.alone)
    }

    /// Whoever is changing files is waited for, and nobody begins.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        drop(self.alone());
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(super) fn synced(&self) -> Offset {
        self.synced.load(Ordering::Acquire)
    }

    pub(super) fn named(&self) -> Offset {
        self.named.load(Ordering::Acquire)
    }

    pub(super) fn mark_synced(&self, place: Place) {
        self.synced.fetch_max(place.end, Ordering::AcqRel);
        self.named.fetch_max(place.tail, Ordering::AcqRel);
    }

    /// Asks for the index of a segment. Returns whether nobody had asked before.
    pub(super) fn ask(self: &Arc<Self>, first: Offset) -> bool {
        let is_new = lock(&self.asked).insert(first);
        if is_new && !self.indexer.ask(self, first) {
            self.answered(first);
        }
        is_new
    }

    /// Asks for the indexes of the segments that have become durable since.
    pub(super) fn ask_for_synced(self: &Arc<Self>) {
        let (synced, before) = (self.synced(), self.asked_before.load(Ordering::Acquire));
        let ended = |records: &Range<Offset>| records.end <= synced && self.begins(records.end);
        for records in self.segments().into_iter().filter(|records| before <= records.start).filter(ended) {
            self.asked_before.fetch_max(records.end, Ordering::AcqRel);
            self.ask(records.start);
        }
    }

    /// The index of a segment was made, or may be asked for again.
    pub(super) fn answered(&self, first: Offset) {
        lock(&self.asked).remove(&first);
    }

    /// Refuses if something failed before.
    pub(super) fn running(&self) -> Result<(), Error> {
        match self.stopped.get() {
            Some(why) => Err(Error::Stopped { why: why.clone() }),
            None => Ok(()),
        }
    }

    /// Stops the writer for good.
    pub(super) fn stop(&self, error: Error) -> Error {
        let why = self.stopped.get_or_init(|| {
            tracing::error!(%error, folder = %self.folder.display(), "the stream stops until the node is restarted");
            error.to_string()
        });
        Error::Stopped { why: why.clone() }
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        lock(&self.places)
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that panics is left half done under a lock.
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Places {
    fn records(&self, at: usize) -> Range<Offset> {
        self.firsts[at]..self.firsts.get(at + 1).copied().unwrap_or(self.end)
    }
}
