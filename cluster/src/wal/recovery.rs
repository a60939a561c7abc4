//! Opening the log: reads everything, refuses damage, and makes the end durable before anything is written after it.
//!
//! Three things are repaired, each harmless when a crash repeats it:
//!
//! * a torn tail is overwritten with zeros, so that no rest of it lies behind a shorter batch later;
//! * the last batch is written again in its place. It may be only in the system's cache, and after a failed sync that
//!   cache counts as clean, so that syncing alone would write nothing;
//! * a segment that was being made is removed.

use super::chore::{Chore, Finished};
use super::group::Place;
use super::index::Index;
use super::meter::Meter;
use super::scan::{Scan, Scanned, scan};
use super::segment::{self, HEADER};
use super::writer::{Shared, Writer};
use crate::{Error, Options};
use runtime::files::Files;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

impl Writer {
    /// Opens the log in a folder that exists, or begins one there. `entropy` is a number that no start had before.
    ///
    /// # Errors
    /// [`Error::Damaged`], [`Error::Missing`] or [`Error::Hole`] when what was durable is not there,
    /// [`Error::Io`] when the disk fails.
    pub(crate) fn open(
        files: Arc<dyn Files>,
        folder: &Path,
        options: Options,
        entropy: u64,
    ) -> Result<Self, Error> {
        options.check()?;
        let failed = |source| Error::io("preparing", folder, source);
        segment::remove_draft(&*files, folder).map_err(failed)?;
        files.sync_folder(folder).map_err(failed)?;

        let mut index = Index::new(options.tail_bytes);
        let scan = scan(&*files, folder, &mut |segment, offset, record| {
            let place = Place { segment, offset: offset as u64, length: record.encoded_len() as u32 };
            index.apply(&record, place);
        })?;
        if let Some((segment, offset)) = scan.damage {
            return Err(Error::damaged(segment, offset));
        }
        if let Some((group, index)) = index.missing() {
            return Err(Error::Hole { group, index });
        }
        for scanned in &scan.segments {
            repair(scanned).map_err(|source| {
                Error::io("repairing", &segment::path(folder, scanned.segment.number), source)
            })?;
            index.add_file(scanned.segment.number, scanned.segment.file.clone());
        }

        let mut writer = Self {
            files,
            folder: folder.to_owned(),
            options,
            shared: Arc::new(Shared {
                index: Mutex::new(index),
                meter: Meter::default(),
                health: super::health::Health::default(),
                durable: (scan.next - 1).into(),
            }),
            entropy,
            used: VecDeque::new(),
            spares: VecDeque::new(),
            retired: VecDeque::new(),
            offset: HEADER as u64,
            number: scan.next,
            notes: BTreeMap::new(),
            buffer: Vec::new(),
            refused: BTreeSet::new(),
            chore_is_out: false,
            cramped: false,
            stopped: None,
        };
        writer.take_over(scan)?;
        Ok(writer)
    }

    /// Sorts the segments into those in use and the spare ones, and makes the first of a new log.
    fn take_over(&mut self, scan: Scan) -> Result<(), Error> {
        for scanned in scan.segments {
            match scanned.last {
                Some(last) => {
                    self.offset = last.end as u64;
                    self.used.push_back(scanned.segment);
                }
                None => self.spares.push_back(scanned.segment),
            }
        }
        if self.used.is_empty() && self.spares.is_empty() {
            let first = Chore::Make {
                number: 1,
                salt: super::salt(self.entropy, 1),
                capacity: self.options.segment_bytes,
                source: None,
            };
            match first.run(&*self.files, &self.folder) {
                Finished::Made(Err(source)) => {
                    return Err(Error::io("beginning the log in", &self.folder, source));
                }
                finished => self.finish(finished),
            }
        }
        if self.used.is_empty() {
            self.used.extend(self.spares.pop_front());
        }
        Ok(())
    }
}

fn repair(scanned: &Scanned) -> io::Result<()> {
    let Scanned { segment, last, torn, .. } = scanned;
    if let Some(last) = last {
        let mut bytes = vec![0; last.len()];
        segment.file.read_at(&mut bytes, last.start as u64)?;
        segment.file.write_at(&bytes, last.start as u64)?;
    }
    if !torn.is_empty() {
        tracing::warn!(segment = segment.number, offset = torn.start, bytes = torn.len(), "cut a torn tail");
        segment.file.write_at(&vec![0; torn.len()], torn.start as u64)?;
    }
    segment.file.sync_data()
}
