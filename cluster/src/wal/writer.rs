//! The writer: the only one that changes the log's files while the node runs, one batch after the other.
//!
//! It has no thread and no clock of its own. Whoever drives it calls [`Writer::turn`] with what waits,
//! [`Writer::tidy`] after it, runs the chore that [`Writer::chore`] hands out, and brings its result to
//! [`Writer::finish`].
//!
//! One batch is under way at a time: written, synced, entered in the index, answered. After a write or a sync that
//! failed, nobody knows what is durable, so the writer stops for good; a restart finds out.

use super::batch;
use super::group::Place;
use super::health::Health;
use super::index::Index;
use super::job::Job;
use super::meter::Meter;
use super::record::Record;
use super::room::Room;
use super::segment::{HEADER, Segment};
use crate::Options;
use runtime::files::Files;
use runtime::log::Error;
use runtime::path::step;
use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// What the writer shares with readers.
pub(crate) struct Shared {
    pub(crate) index: Mutex<Index>,
    pub(crate) meter: Meter,
    pub(crate) health: Health,
}

/// The writer's state.
pub(crate) struct Writer {
    pub(super) files: Arc<dyn Files>,
    pub(super) folder: PathBuf,
    pub(super) options: Options,
    pub(super) shared: Arc<Shared>,
    /// Makes the salts of new segments; random for each start.
    pub(super) entropy: u64,
    /// Segments that hold batches, oldest first, and the one that is being filled: never empty.
    pub(super) used: VecDeque<Segment>,
    /// Empty segments, in the order in which they are filled.
    pub(super) spares: VecDeque<Segment>,
    /// Segments that nothing needs any more, oldest first.
    pub(super) retired: VecDeque<u64>,
    /// Where the next batch begins in the last used segment.
    pub(super) offset: u64,
    /// The next batch's number.
    pub(super) number: u64,
    pub(super) buffer: Vec<u8>,
    pub(super) chore_is_out: bool,
    /// The last attempt to make a segment found no room.
    pub(super) cramped: bool,
    pub(super) stopped: Option<String>,
}

/// How a turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Some jobs were answered.
    Answered,
    /// The next segment is not ready: go on once the chore is finished.
    Waits,
}

impl Writer {
    /// Writes one batch of the jobs that wait, and answers them.
    pub(crate) fn turn(&mut self, jobs: &mut VecDeque<Job>) -> Turn {
        if let Some(reason) = &self.stopped {
            jobs.drain(..).for_each(|job| job.finish(Err(Error::Unknown(reason.clone()))));
            return Turn::Answered;
        }
        let (count, bytes, proposes) = self.gather(jobs);
        match self.room(bytes, proposes) {
            Room::Ready => {
                let batch: Vec<Job> = jobs.drain(..count).collect();
                let fate = self.append(batch.iter().flat_map(|job| &job.records), bytes);
                batch.into_iter().for_each(|job| job.finish(fate.clone()));
            }
            Room::Soon => return Turn::Waits,
            Room::Full(reason) => self.refuse(jobs, proposes, &reason),
        }
        Turn::Answered
    }

    /// How many of the jobs go into the next batch, with the batch's bytes, and whether it has proposals.
    fn gather(&self, jobs: &VecDeque<Job>) -> (usize, u64, bool) {
        let mut count = 0;
        let mut bytes = 0;
        let mut proposes = false;
        for job in jobs {
            if count > 0 && bytes + job.len() > self.options.batch_bytes {
                break;
            }
            count += 1;
            bytes += job.len();
            proposes |= job.proposes();
        }
        (count, batch::encoded_len(bytes) as u64, proposes)
    }

    /// Refuses the jobs that a full disk concerns; the others still have their reserve and are kept for the next turn.
    fn refuse(&mut self, jobs: &mut VecDeque<Job>, proposes: bool, reason: &str) {
        self.cramped = false;
        self.shared.health.refused(reason);
        let (refused, kept): (Vec<Job>, Vec<Job>) =
            jobs.drain(..).partition(|job| !proposes || job.proposes());
        *jobs = kept.into();
        refused.into_iter().for_each(|job| job.finish(Err(Error::Full(reason.to_owned()))));
    }

    pub(super) fn active(&self) -> &Segment {
        self.used.back().expect("one segment is always in use")
    }

    /// Writes records as one batch, syncs it and enters it in the index. There must be room.
    fn append<'a>(
        &mut self,
        records: impl Iterator<Item = &'a Record> + Clone,
        bytes: u64,
    ) -> Result<(), Error> {
        let hole = super::lock(&self.shared.index).hole(records.clone());
        assert_eq!(hole, None, "an entry (group, index) is missing before what is to be appended");
        if !self.fits(bytes) {
            let next = self.spares.pop_front().expect("room was checked");
            self.used.push_back(next);
            self.offset = HEADER as u64;
            self.cramped = false;
        }
        let segment = self.active().clone();
        let mut placed = Vec::new();
        self.buffer.clear();
        batch::encode(&mut self.buffer, self.number, segment.salt, records, |record, at| {
            let place = Place {
                segment: segment.number,
                offset: self.offset + at as u64,
                length: record.encoded_len() as u32,
            };
            placed.push((record, place));
        });
        debug_assert_eq!(self.buffer.len() as u64, bytes);
        let (number, segment_number) = (self.number, segment.number);
        let span = step!("7.sync", batch = number, segment = segment_number, bytes).entered();
        let started = Instant::now();
        let written = match segment.file.write_at(&self.buffer, self.offset) {
            Err(error) if error.kind() == io::ErrorKind::StorageFull => return Err(self.take_back(&error)),
            written => written.and_then(|()| segment.file.sync_data()),
        };
        if let Err(error) = written {
            return Err(self.stop(&format!("writing segment {} failed: {error}", segment.number)));
        }
        self.shared.meter.record(started.elapsed(), bytes);
        drop(span);
        self.offset += bytes;
        self.number += 1;
        let mut index = super::lock(&self.shared.index);
        for (record, place) in placed {
            index.apply(record, place);
            index.keep(record, place);
        }
        drop(index);
        // A single large entry shall not keep its memory for ever.
        self.buffer.clear();
        self.buffer.shrink_to(self.options.batch_bytes);
        self.show();
        Ok(())
    }

    /// There was no room to write a batch, though its segment is made: the file system copies what it overwrites, or
    /// promises what it does not have. Once zeros are durable in its place, it was surely not appended.
    fn take_back(&mut self, error: &io::Error) -> Error {
        let segment = self.active().clone();
        let zeros = vec![0; self.buffer.len()];
        let taken_back = segment.file.write_at(&zeros, self.offset).and_then(|()| segment.file.sync_data());
        match taken_back {
            Ok(()) => Error::Full(format!("writing segment {} failed: {error}", segment.number)),
            Err(error) => {
                self.stop(&format!("taking back a write to segment {} failed: {error}", segment.number))
            }
        }
    }

    /// Appends records of the log's own; false when there is no room for them now.
    pub(super) fn append_own(&mut self, records: &[Record]) -> bool {
        let bytes = batch::encoded_len(records.iter().map(Record::encoded_len).sum()) as u64;
        matches!(self.room(bytes, false), Room::Ready) && self.append(records.iter(), bytes).is_ok()
    }

    /// Shows which segments there are to whoever reads metrics.
    pub(super) fn show(&self) {
        let all = self.used.iter().chain(&self.spares);
        let bytes = all.map(|segment| segment.capacity).sum::<u64>();
        let kept = self.retired.len() as u64;
        let counts = [self.used.len() as u64, self.spares.len() as u64, kept];
        self.shared.health.holds(counts, bytes + kept * self.options.segment_bytes);
    }

    pub(super) fn stop(&mut self, reason: &str) -> Error {
        self.shared.health.stopped(reason);
        tracing::error!(reason, "the log stops until the node is restarted");
        self.stopped = Some(reason.to_owned());
        Error::Unknown(reason.to_owned())
    }
}
