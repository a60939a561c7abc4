//! The writing side of a stream: the only one that changes its files while the node runs.
//!
//! Three steps, each a stronger promise than the one before: appended (in memory), flushed (readers see it), synced (a
//! checkpoint may record it).

use super::cut::Cut;
use super::extent::Extent;
use super::tail::Tail;
use super::{Error, Offset, Options, RECORD_BYTES_MAX, frame, page, segment};
use crate::files::File;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use twins::time::Timestamp;

/// What a writer keeps of its buffer between flushes, in bytes.
const BUFFER_KEPT: usize = 1 << 20;

/// Appends to a shard's stream.
pub struct Writer {
    extent: Arc<Extent>,
    options: Options,
    tail: Tail,
    /// What was appended since the last flush, with the headers of pages, as it will be in the file.
    buffer: Vec<u8>,
    /// First offset and file of the segments that hold records after the last sync, or of the last one.
    unsynced: VecDeque<(Offset, Arc<dyn File>)>,
}

impl Writer {
    pub(super) fn new(extent: Arc<Extent>, options: Options, tail: Tail) -> Self {
        let unsynced = VecDeque::from([(tail.first, tail.file.clone())]);
        Self { extent, options, tail, buffer: Vec::new(), unsynced }
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
        if self.buffer.is_empty() {
            return Ok(());
        }
        let before = page::file_len(self.tail.body) - self.buffer.len() as u64;
        let written = self.tail.file.write_at(&self.buffer, before);
        written.map_err(|error| self.failed("writing", error))?;
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER_KEPT);
        self.extent.grow(self.tail.end);
        if page::file_len(self.tail.body) >= self.options.segment_bytes.get() {
            self.seal()?;
        }
        Ok(())
    }

    /// Begins the next segment. On a full disk this one grows on, until there is room.
    fn seal(&mut self) -> Result<(), Error> {
        let first = self.tail.end;
        let file = match self.extent.files.create(&segment::path(&self.extent.folder, first)) {
            Err(error) if error.kind() == io::ErrorKind::StorageFull => return Ok(()),
            made => made.map_err(|error| self.failed("making the segment after", error))?,
        };
        self.unsynced.push_back((first, file.clone()));
        self.extent.push(first);
        self.tail = Tail { first, file, end: first, body: 0, latest: self.tail.latest };
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
        // A segment begins after a record that no sync has covered yet, so the newest name tells of all.
        let has_new_names = self.tail.first > synced;
        Ok(Cut::new(self.extent.clone(), self.tail.end, files, has_new_names))
    }

    /// Flushes and syncs: everything before the answer is durable.
    ///
    /// # Errors
    /// As [`Writer::flush`].
    pub fn sync(&mut self) -> Result<Offset, Error> {
        self.cut()?.sync()
    }

    /// Removes the segments whose records are all before an offset and synced, and answers what is now the earliest.
    /// Removed names are durable when it returns.
    ///
    /// Call it with no more than what a *durable* checkpoint recorded as the end: a stream that begins after the
    /// recorded end does not open.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub fn trim(&mut self, before: Offset) -> Result<Offset, Error> {
        self.extent.running()?;
        let before = before.min(self.extent.synced());
        while let Some(first) = self.extent.pop_before(before) {
            // One after the other, so that no crash leaves a hole.
            let removed = self.extent.files.remove(&segment::path(&self.extent.folder, first));
            let synced = removed.and_then(|()| self.extent.files.sync_folder(&self.extent.folder));
            synced.map_err(|error| self.failed("trimming segments before", error))?;
        }
        Ok(self.earliest())
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
