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
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// What the writer shares with readers.
pub(crate) struct Shared {
    pub(crate) index: Mutex<Index>,
    pub(crate) meter: Meter,
    pub(crate) health: Health,
    /// The number of the last batch that is durable.
    pub(crate) durable: AtomicU64,
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
    /// What the next batch takes along, by group.
    pub(super) notes: BTreeMap<u32, Record>,
    /// Groups of which a job was refused for want of room, and no entry came since: what was proposed behind it has a gap
    /// before it.
    pub(super) refused: BTreeSet<u32>,
    pub(super) buffer: Vec<u8>,
    pub(super) chore_is_out: bool,
    /// The last attempt to make a segment found no room.
    pub(super) cramped: bool,
    pub(super) stopped: Option<String>,
}

/// What the next batch is made of.
struct Gathered {
    /// So many of the jobs, from the first.
    count: usize,
    /// Bytes of the batch, notes included.
    bytes: u64,
    proposes: bool,
    /// The entry (group, index) that is missing before the first job: the one that would have appended it was refused.
    gap: Option<(u32, u64)>,
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
    /// Takes records along with the next batch, in the place of earlier ones of their groups. Nobody waits for them, so
    /// what they say must hold without them too.
    pub(crate) fn note(&mut self, mut notes: BTreeMap<u32, Record>) {
        self.notes.append(&mut notes);
    }

    /// Writes the notes that no batch came for.
    pub(crate) fn write_notes(&mut self) {
        let notes: Vec<Record> = std::mem::take(&mut self.notes).into_values().collect();
        if !notes.is_empty() && self.stopped.is_none() {
            self.append_own(&notes);
        }
    }

    /// Writes one batch of the jobs that wait, and answers them.
    pub(crate) fn turn(&mut self, jobs: &mut VecDeque<Job>) -> Turn {
        if let Some(reason) = &self.stopped {
            jobs.drain(..).for_each(|job| job.finish(Err(Error::Unknown(reason.clone()))));
            return Turn::Answered;
        }
        // What was noted of a group before it is forgotten must not be written after that.
        for group in jobs.iter().flat_map(Job::forgets) {
            self.notes.remove(&group);
        }
        let Gathered { count, bytes, proposes, gap } = self.gather(jobs);
        if let Some((group, index)) = gap {
            let job = jobs.pop_front().expect("it has the gap");
            job.finish(Err(self.gap(group, index)));
            return Turn::Answered;
        }
        match self.room(bytes, proposes) {
            Room::Ready => {
                let batch: Vec<Job> = jobs.drain(..count).collect();
                // A note may be about an entry in the last job, so it goes with that one or later.
                let notes = if jobs.is_empty() { std::mem::take(&mut self.notes) } else { BTreeMap::new() };
                let records = batch.iter().flat_map(|job| &job.records).chain(notes.values());
                let fate = self.append(records, bytes);
                match &fate {
                    // Only an entry closes the gap that a refused one has left.
                    Ok(()) => batch.iter().flat_map(Job::adds).for_each(|group| {
                        self.refused.remove(&group);
                    }),
                    Err(Error::Full(_)) => self.refused.extend(batch.iter().flat_map(Job::changes)),
                    Err(_) => {}
                }
                batch.into_iter().for_each(|job| job.finish(fate.clone()));
            }
            Room::Soon => return Turn::Waits,
            Room::Full(reason) => self.refuse(jobs, proposes, &reason),
        }
        Turn::Answered
    }

    /// Which of the jobs go into the next batch.
    fn gather(&self, jobs: &VecDeque<Job>) -> Gathered {
        let mut gathered = Gathered { count: 0, bytes: 0, proposes: false, gap: None };
        let mut bytes = 0;
        let index = super::lock(&self.shared.index);
        let mut ends = index.ends();
        for job in jobs {
            if gathered.count > 0 && bytes + job.len() > self.options.batch_bytes {
                break;
            }
            if let Err(gap) = ends.follow(&job.records) {
                // The jobs before it are written first; they do not fill the gap.
                gathered.gap = Some(gap).filter(|_| gathered.count == 0);
                break;
            }
            gathered.count += 1;
            bytes += job.len();
            gathered.proposes |= job.proposes();
        }
        drop(index);
        if gathered.count == jobs.len() {
            bytes += self.notes.values().map(Record::encoded_len).sum::<usize>();
        }
        gathered.bytes = batch::encoded_len(bytes) as u64;
        gathered
    }

    /// Refuses the jobs that a full disk concerns; the others still have their reserve and are kept for the next turn.
    fn refuse(&mut self, jobs: &mut VecDeque<Job>, proposes: bool, reason: &str) {
        self.cramped = false;
        self.shared.health.refused(reason);
        let (refused, kept): (Vec<Job>, Vec<Job>) =
            jobs.drain(..).partition(|job| !proposes || job.proposes());
        *jobs = kept.into();
        self.refused.extend(refused.iter().flat_map(Job::changes));
        refused.into_iter().for_each(|job| job.finish(Err(Error::Full(reason.to_owned()))));
    }

    /// What to say of a job that does not follow what is there. If none before it was refused, whoever proposed it counts
    /// wrongly, and nobody knows what else it believes.
    fn gap(&mut self, group: u32, index: u64) -> Error {
        match self.refused.contains(&group) {
            true => Error::Full(format!("entry {index} of group {group} found no room before")),
            false => self.stop(&format!("another entry than {index}, the next, came for group {group}")),
        }
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
        self.shared.durable.store(self.number, Ordering::Release);
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
