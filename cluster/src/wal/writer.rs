//! The writer: the only one that changes the log's files while the node runs, one batch after the other.
//!
//! It has no thread and no clock of its own. Whoever drives it calls [`Writer::turn`] with what waits,
//! [`Writer::tidy`] after it, runs the chore that [`Writer::chore`] hands out, and brings its result to
//! [`Writer::finish`].
//!
//! One batch is under way at a time: written, synced, entered in the index, answered. After a write or a sync that
//! failed, nobody knows what is durable, so the writer stops for good; a restart finds out.

use super::batch;
use super::chore::{Chore, Finished};
use super::group::Place;
use super::index::Index;
use super::job::Job;
use super::meter::Meter;
use super::record::Record;
use super::segment::{HEADER, Segment};
use crate::Options;
use runtime::files::Files;
use runtime::log::Error;
use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// Unused segments that the writer wants ready: one to go on with, and one for marks alone when the disk is full.
const SPARES: usize = 2;

/// What the writer shares with readers.
pub(crate) struct Shared {
    pub(crate) index: Mutex<Index>,
    pub(crate) meter: Meter,
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

enum Room {
    Ready,
    /// As soon as a chore is finished.
    Soon,
    Full(String),
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
        let (refused, kept): (Vec<Job>, Vec<Job>) =
            jobs.drain(..).partition(|job| !proposes || job.proposes());
        *jobs = kept.into();
        refused.into_iter().for_each(|job| job.finish(Err(Error::Full(reason.to_owned()))));
    }

    /// Whether a batch can be appended for sure. Into the last spare segment proposals do not go.
    fn room(&self, bytes: u64, proposes: bool) -> Room {
        if proposes && let Err(reason) = self.beyond_reserve(bytes) {
            return Room::Full(reason);
        }
        let wanted = match (self.fits(bytes), proposes) {
            (true, _) => 0,
            (false, true) => SPARES,
            (false, false) => 1,
        };
        if self.spares.len() >= wanted {
            Room::Ready
        } else if self.chore_is_out || self.next_chore().is_some() {
            Room::Soon
        } else {
            Room::Full(format!("{} has no room for another segment", self.folder.display()))
        }
    }

    fn fits(&self, bytes: u64) -> bool {
        let capacity = self.active().capacity;
        self.offset + bytes <= capacity || self.offset == HEADER as u64
    }

    fn beyond_reserve(&self, bytes: u64) -> Result<(), String> {
        let free = self.free_space()?;
        let beyond = (HEADER as u64 + bytes).saturating_sub(self.active().capacity);
        let needed = self.options.reserve_bytes + beyond;
        if free >= needed {
            return Ok(());
        }
        Err(format!("{} has {free} bytes free, {needed} are needed", self.folder.display()))
    }

    fn free_space(&self) -> Result<u64, String> {
        let free = self.files.free_space(&self.folder);
        free.map_err(|error| format!("the free space of {} is not known: {error}", self.folder.display()))
    }

    fn active(&self) -> &Segment {
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
        let started = Instant::now();
        let written =
            segment.file.write_at(&self.buffer, self.offset).and_then(|()| segment.file.sync_data());
        if let Err(error) = written {
            return Err(self.stop(&format!("writing segment {} failed: {error}", segment.number)));
        }
        self.shared.meter.record(started.elapsed(), bytes);
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
        Ok(())
    }

    /// Appends records of the log's own; false when there is no room for them now.
    pub(super) fn append_own(&mut self, records: &[Record]) -> bool {
        let bytes = batch::encoded_len(records.iter().map(Record::encoded_len).sum()) as u64;
        matches!(self.room(bytes, false), Room::Ready) && self.append(records.iter(), bytes).is_ok()
    }

    pub(super) fn stop(&mut self, reason: &str) -> Error {
        tracing::error!(reason, "the log stops until the node is restarted");
        self.stopped = Some(reason.to_owned());
        Error::Unknown(reason.to_owned())
    }

    /// Hands out the next chore, if there is one and none is out.
    pub(crate) fn chore(&mut self) -> Option<Chore> {
        if self.chore_is_out || self.stopped.is_some() {
            return None;
        }
        let chore = self.next_chore()?;
        match chore {
            Chore::Make { source: None, .. } => {}
            Chore::Make { .. } | Chore::Remove { .. } => drop(self.retired.pop_front()),
        }
        self.chore_is_out = true;
        Some(chore)
    }

    fn next_chore(&self) -> Option<Chore> {
        let last = self.spares.back().unwrap_or_else(|| self.active());
        let number = last.number + 1;
        let make = |source| {
            let salt = super::salt(self.entropy, number);
            Some(Chore::Make { number, salt, capacity: self.options.segment_bytes, source })
        };
        match self.retired.front() {
            Some(source) if self.spares.len() < self.options.spare_segments => make(Some(*source)),
            Some(oldest) => Some(Chore::Remove { number: *oldest }),
            None if self.spares.len() < SPARES && self.can_make() => make(None),
            None => None,
        }
    }

    /// Whether another segment may take room. The first spare is what the reserve is for.
    fn can_make(&self) -> bool {
        let reserve = if self.spares.is_empty() { 0 } else { self.options.reserve_bytes };
        !self.cramped && self.free_space().is_ok_and(|free| free >= self.options.segment_bytes + reserve)
    }

    /// Takes a chore's result back.
    pub(crate) fn finish(&mut self, finished: Finished) {
        self.chore_is_out = false;
        match finished {
            Finished::Made(Ok(segment)) => {
                self.cramped = false;
                super::lock(&self.shared.index).add_file(segment.number, segment.file.clone());
                self.spares.push_back(segment);
            }
            Finished::Made(Err(error)) if error.kind() == io::ErrorKind::StorageFull => {
                tracing::warn!("the disk has no room for the log's next segment");
                self.cramped = true;
            }
            Finished::Made(Err(error)) => drop(self.stop(&format!("making a segment failed: {error}"))),
            Finished::Removed(Ok(())) => {}
            Finished::Removed(Err(error)) => drop(self.stop(&format!("removing a segment failed: {error}"))),
        }
    }
}
