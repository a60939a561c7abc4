//! What a test does to a log beyond driving it: fills it, tears it, flips its bits.

use super::FOLDER;
use super::run::{GROUPS, Run};
use crate::wal::job::Job;
use crate::wal::record::{Kind, Record};
use bytes::Bytes;
use runtime::files::Files;
use runtime::log::LogId;
use std::path::Path;

impl Run {
    /// Proposes entries as small as a vote until the disk has no room for one more.
    pub(super) fn fill_disk(&mut self) {
        self.finish_chores();
        self.disk.set_capacity(self.disk.used());
        loop {
            let before = self.model.next(0);
            let id = LogId { term: self.term(0), index: before };
            let entry = Record::entry(0, Kind::Normal, id, Bytes::from_static(&[0; 9]));
            self.submit(vec![entry], Job::new);
            self.work();
            if self.model.next(0) == before {
                return;
            }
        }
    }

    /// Proposes an entry of each group, and answers how many batches the next turn made of them.
    pub(super) fn batches_of_all_groups(&mut self) -> u64 {
        let before = self.writer().shared.meter.read().count;
        for group in 0..GROUPS as u32 {
            let id = LogId { term: self.term(group), index: self.model.next(group) };
            self.submit(vec![Record::entry(group, Kind::Normal, id, Bytes::new())], Job::new);
        }
        self.turn();
        self.take_fates();
        assert!(self.waiting.is_empty(), "seed {}: every group was answered", self.seed);
        self.writer().shared.meter.read().count - before
    }

    pub(super) fn fill_segments(&mut self, count: usize) {
        while self.writer().used.len() < count {
            self.append_one();
        }
        self.take_fates();
    }

    /// Leaves the first sector of a batch in the file, as a power loss may.
    pub(super) fn tear_next(&mut self) {
        let writer = self.writer.take().expect("the log is open");
        let segment = writer.used.back().expect("one is in use");
        let mut bytes = Vec::new();
        let record = Record::entry(1, Kind::Normal, LogId { term: 1, index: 7 }, vec![7; 2000].into());
        crate::wal::batch::encode(&mut bytes, writer.number, segment.salt, [&record].into_iter(), |_, _| {});
        segment.file.write_at(&bytes[..512], writer.offset).unwrap();
        segment.file.sync_data().unwrap();
    }

    /// Whether nothing lies behind the last batch.
    pub(super) fn tail_is_zero(&self) -> bool {
        let segment = self.writer().used.back().expect("one is in use");
        let mut bytes = vec![0; (segment.capacity - self.writer().offset) as usize];
        segment.file.read_at(&mut bytes, self.writer().offset).unwrap();
        bytes.iter().all(|byte| *byte == 0)
    }

    pub(super) fn flip_any_bit(&mut self) {
        self.drop_writer();
        let names = self.disk.list(Path::new(FOLDER)).unwrap();
        let name = &names[self.random.below(names.len() as u64) as usize];
        let path = Path::new(FOLDER).join(name);
        let len = self.disk.open(&path).unwrap().len().unwrap();
        self.disk.flip(&path, self.random.below(len), self.random.below(8) as u8).unwrap();
    }

    pub(super) fn remove_file(&mut self, path: &Path) {
        self.drop_writer();
        self.disk.remove(path).unwrap();
    }
}
