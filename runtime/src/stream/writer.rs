//! The writing side of a stream: the only one that changes its files while the node runs.
//!
//! Three steps, each a stronger promise than the one before: appended (in memory), flushed (readers see it), synced (a
//! checkpoint may record it).

use super::cut::{Cut, Place};
use super::erase::{ERASURES_MAX, Erase, Erasure};
use super::extent::Extent;
use super::retention::{Open, Sealed};
use super::sweep::Sweep;
use super::tail::Tail;
use super::{Error, Offset, RECORD_BYTES_MAX, frame, page, segment};
use crate::files::File;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use twins::id::TwinId;
use twins::time::Timestamp;

/// What a writer keeps of its buffer between flushes, in bytes.
const BUFFER_KEPT: usize = 1 << 20;

/// Appends to a shard's stream.
pub struct Writer {
    extent: Arc<Extent>,
    tail: Tail,
    /// The segments before the tail, oldest first.
    sealed: VecDeque<Sealed>,
    /// The tail is to end with what was appended.
    sealing: bool,
    /// What is before it has been given to be swept.
    swept: Offset,
    /// What was appended since the last flush, with the headers of pages, as it will be in the file.
    buffer: Vec<u8>,
    /// First offset and file of the segments that hold records after the last sync, or of the last one.
    unsynced: VecDeque<(Offset, Arc<dyn File>)>,
}

impl Writer {
    pub(super) fn new(extent: Arc<Extent>, sealed: VecDeque<Sealed>, tail: Tail) -> Self {
        let unsynced = VecDeque::from([(tail.first, tail.file.clone())]);
        Self { extent, tail, sealed, sealing: false, swept: 0, buffer: Vec::new(), unsynced }
    }

    /// The offset that the next record gets.
    #[must_use]
    pub fn end(&self) -> Offset {
        self.tail.end
    }

    /// The first offset that is kept.
    #[must_use]
    pub fn earliest(&self) -> Offset {
        self.extent.earliest()
    }

    /// The segments that have ended, oldest first.
    pub(super) fn sealed(&self) -> impl Iterator<Item = &Sealed> + Clone {
        self.sealed.iter()
    }

    /// The segment that is written. One that ends as soon as the disk has room counts as new.
    pub(super) fn open(&self) -> Open {
        match self.sealing {
            true => Open { bytes: 0, begun: None },
            false => Open { bytes: page::file_len(self.tail.body), begun: self.tail.begun },
        }
    }

    /// Appends a record in memory. `time` should not go back; where it does, [`Reader::seek`](super::Reader::seek)
    /// still keeps its promise.
    ///
    /// The buffer grows until [`Writer::flush`]: by the records, 16 bytes for each and 32 for each page.
    ///
    /// # Errors
    /// [`Error::TooLong`] past [`RECORD_BYTES_MAX`], [`Error::Stopped`]. Nothing was appended then.
    pub fn append(&mut self, time: Timestamp, record: &[u8]) -> Result<Offset, Error> {
        self.extent.running()?;
        if record.len() > RECORD_BYTES_MAX {
            return Err(Error::TooLong { bytes: record.len() });
        }
        assert!(!self.sealing, "a segment that is sealed takes no more");
        let offset = self.tail.end;
        self.tail.put(&mut self.buffer, frame::Header::new(offset, time, record), record);
        Ok(offset)
    }

    /// Writes all that was appended since, and shows it to readers.
    ///
    /// # Errors
    /// [`Error::Full`]: call it again when there is room; until then stop appending, since the buffer is kept.
    /// [`Error::Stopped`]: the stream must be opened again.
    pub fn flush(&mut self) -> Result<(), Error> {
        self.extent.running()?;
        if !self.buffer.is_empty() {
            let before = page::file_len(self.tail.body) - self.buffer.len() as u64;
            let written = self.tail.file.write_at(&self.buffer, before);
            written.map_err(|error| self.failed("writing", error))?;
            self.buffer.clear();
            self.buffer.shrink_to(BUFFER_KEPT);
            self.extent.grow(self.tail.end);
        }
        if self.sealing { self.begin_next() } else { Ok(()) }
    }

    /// Ends the segment with what was appended, unless it is empty. From here on, [`Writer::flush`] before appending.
    pub fn seal(&mut self) {
        self.sealing = self.tail.end > self.tail.first;
    }

    /// Begins the next segment.
    fn begin_next(&mut self) -> Result<(), Error> {
        let Tail { end, body, latest, .. } = self.tail;
        let made = self.extent.files.create(&segment::path(&self.extent.folder, end));
        let file = made.map_err(|error| self.failed("making the segment after", error))?;
        self.unsynced.push_back((end, file.clone()));
        self.extent.push(end);
        self.sealed.push_back(Sealed { end, bytes: page::file_len(body), latest });
        self.tail = Tail { first: end, file, end, body: 0, latest, begun: None };
        self.sealing = false;
        Ok(())
    }

    /// Flushes, and hands out what a checkpoint must sync before it records the end of the stream. It may be synced on
    /// another thread while this one appends.
    ///
    /// # Errors
    /// As [`Writer::flush`].
    pub fn cut(&mut self) -> Result<Cut, Error> {
        self.flush()?;
        let synced = self.extent.synced();
        while self.unsynced.get(1).is_some_and(|(first, _)| *first <= synced) {
            self.unsynced.pop_front();
        }
        let files = self.unsynced.iter().map(|(_, file)| file.clone()).collect();
        let place = Place { end: self.tail.end, tail: self.tail.first, earliest: self.earliest() };
        Ok(Cut::new(self.extent.clone(), place, files))
    }

    /// Flushes and syncs: everything before the end of the answer is durable.
    ///
    /// # Errors
    /// As [`Writer::flush`].
    pub fn sync(&mut self) -> Result<Place, Error> {
        self.cut()?.sync()
    }

    /// Drops the segments whose records are all before an offset, and answers what is now the earliest. Readers do not
    /// see them any more; their files are [swept](Writer::sweep) later.
    pub fn trim(&mut self, before: Offset) -> Offset {
        while self.extent.pop_before(before) {
            self.sealed.pop_front();
        }
        self.earliest()
    }

    /// The files of what was trimmed, as far as they lie before the tail that the last durable checkpoint recorded: each
    /// once.
    pub fn sweep(&mut self, recorded: Offset) -> Option<Sweep> {
        let before = self.extent.trimmed_before(recorded).filter(|before| *before > self.swept)?;
        self.swept = before;
        Some(Sweep::new(self.extent.clone(), before))
    }

    /// From here on readers do not see what a twin recorded before a sequence. The files follow: [`Writer::erase_files`].
    pub(crate) fn erase(&mut self, twin: TwinId, sequence: u64) {
        self.extent.erasures.add(twin, Erasure { sequence, end: self.tail.end });
    }

    /// What a checkpoint is to remember of that.
    pub(crate) fn erasures(&self) -> Arc<BTreeMap<TwinId, Erasure>> {
        self.extent.erasures.all()
    }

    /// What a checkpoint remembered of that.
    pub(crate) fn resume_erasures(&mut self, erasures: BTreeMap<TwinId, Erasure>) {
        erasures.into_iter().for_each(|(twin, erasure)| self.extent.erasures.add(twin, erasure));
    }

    /// Whether as many devices are to be erased as may be.
    pub(crate) fn is_full_of_erasures(&self) -> bool {
        self.extent.erasures.len() >= ERASURES_MAX
    }

    /// Whether the segment that is written has something that is to be erased: only a sealed one is written anew.
    pub(crate) fn has_to_seal(&self) -> bool {
        let is_in_tail = |end: Offset| end > self.tail.first;
        !self.sealing && self.tail.begun.is_some() && self.extent.erasures.end().is_some_and(is_in_tail)
    }

    /// The files that have something that is to be erased, as far as they lie before the tail that the last durable
    /// checkpoint recorded.
    pub(crate) fn erase_files(&self, recorded: Offset) -> Option<Erase> {
        if self.extent.erasures.len() == 0 {
            return None;
        }
        let mut erasures = BTreeMap::clone(&self.extent.erasures.all());
        erasures.retain(|_, erasure| erasure.end <= recorded);
        (!erasures.is_empty()).then(|| Erase::new(self.extent.clone(), erasures))
    }

    /// What a failed operation means.
    fn failed(&self, doing: &'static str, error: io::Error) -> Error {
        let path = segment::path(&self.extent.folder, self.tail.first);
        if error.kind() == io::ErrorKind::StorageFull {
            return Error::Full { path };
        }
        self.extent.stop(Error::Io { doing, path, source: error })
    }
}

/// Another one may be opened on the same files: what is being written anew for this one ends first.
impl Drop for Writer {
    fn drop(&mut self) {
        self.extent.close();
    }
}
