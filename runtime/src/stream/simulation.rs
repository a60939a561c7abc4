//! Power loss, full disks and failed syncs, over thousands of seeds.
//!
//! The model is the node around a stream: a log that loses nothing, and a checkpoint that records the stream's end.
//! After each restart the node opens the stream at the recorded end and appends again what the log has after it. Then
//! every record that is kept must be at its offset with its bytes. A life ends at the first error that was asked for;
//! in the last life nothing is asked for, and everything must work.

use super::*;
use crate::files::sim::{Random, Sim};
use std::num::NonZeroU64;
use std::path::Path;
use std::sync::Arc;
use twins::time::Timestamp;

const SEEDS: u64 = 2000;
const FOLDER: &str = "streams/0";

struct Node {
    random: Random,
    disk: Sim,
    options: Options,
    /// What the log has committed.
    log: Vec<(Timestamp, Vec<u8>)>,
    /// The end that the last durable checkpoint recorded.
    recorded: Offset,
    /// The highest offset that was asked to be trimmed.
    trimmed: Offset,
}

impl Node {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let segment_bytes = [1, 2000, 70_000, 200_000][random.below(4) as usize];
        let options = Options { segment_bytes: NonZeroU64::new(segment_bytes).unwrap() };
        let disk = Sim::new(random.bits());
        Self { random, disk, options, log: Vec::new(), recorded: 0, trimmed: 0 }
    }

    /// Lives until something fails, or `steps` are done.
    fn live(&mut self, steps: u64) -> Result<(), Error> {
        let (mut writer, reader) =
            open(Arc::new(self.disk.clone()), Path::new(FOLDER), self.recorded, self.options)?;
        assert_eq!((writer.end(), reader.end()), (self.recorded, self.recorded));
        for n in self.recorded as usize..self.log.len() {
            self.append(&mut writer, n)?;
        }
        self.check(&reader)?;
        for _ in 0..steps {
            self.step(&mut writer, &reader)?;
        }
        writer.flush()?;
        self.check(&reader)
    }

    fn step(&mut self, writer: &mut Writer, reader: &Reader) -> Result<(), Error> {
        match self.random.below(100) {
            0..60 => {
                self.commit();
                self.append(writer, self.log.len() - 1)?;
            }
            60..75 => writer.flush()?,
            75..87 => self.checkpoint(writer)?,
            87..92 => {
                let before = self.random.below(self.recorded + 1);
                self.trimmed = self.trimmed.max(before);
                writer.trim(before)?;
            }
            _ => self.look(reader)?,
        }
        Ok(())
    }

    fn commit(&mut self) {
        let bytes_max = [50, 500, 3000, 70_000][self.random.below(40).min(3) as usize];
        let bytes = self.random.below(bytes_max) as usize;
        let time = self.log.last().map_or(0, |(time, _)| time.as_millis()) + self.random.below(3);
        self.log.push((Timestamp::from_millis(time), vec![self.random.bits() as u8; bytes]));
    }

    fn append(&mut self, writer: &mut Writer, n: usize) -> Result<(), Error> {
        let (time, record) = &self.log[n];
        assert_eq!(writer.append(*time, record)?, n as Offset);
        if self.random.chance(30) { writer.flush() } else { Ok(()) }
    }

    /// The end is recorded only after the sync, and sometimes the node dies in between.
    fn checkpoint(&mut self, writer: &mut Writer) -> Result<(), Error> {
        let cut = writer.cut()?;
        if self.random.chance(30) {
            self.commit();
            self.append(writer, self.log.len() - 1)?;
        }
        let end = cut.sync()?;
        if self.random.chance(90) {
            self.recorded = end;
        }
        Ok(())
    }

    /// Reads a little at a random place.
    fn look(&mut self, reader: &Reader) -> Result<(), Error> {
        let from = reader.earliest() + self.random.below(reader.end() - reader.earliest() + 2);
        let batch =
            reader.read(from, 1 + self.random.below(9) as usize, 1 + self.random.below(9000) as usize)?;
        assert_eq!(batch.items.is_empty(), from >= reader.end());
        self.compare(from, &batch);

        let time = Timestamp::from_millis(self.random.below(self.log.len() as u64 * 2 + 2));
        let flushed = &self.log[..reader.end() as usize];
        let first = flushed.partition_point(|(before, _)| *before < time) as Offset;
        assert_eq!(reader.seek(time)?, first.max(reader.earliest()));
        Ok(())
    }

    /// Reads everything.
    fn check(&self, reader: &Reader) -> Result<(), Error> {
        assert!(reader.earliest() <= self.trimmed, "no more was trimmed than was asked for");
        let mut from = reader.earliest();
        while from < reader.end() {
            let batch = reader.read(from, 1000, 1 << 20)?;
            self.compare(from, &batch);
            assert!(batch.next > from);
            from = batch.next;
        }
        Ok(())
    }

    fn compare(&self, from: Offset, batch: &Batch) {
        assert_eq!(batch.next, from + batch.items.len() as u64);
        for (item, offset) in batch.items.iter().zip(from..) {
            let (time, record) = &self.log[offset as usize];
            assert_eq!((item.offset, item.time), (offset, *time));
            assert!(item.record == record, "record {offset} has other bytes");
        }
    }

    /// Asks for something to go wrong.
    fn trouble(&mut self) {
        match self.random.below(4) {
            0 | 1 => self.disk.cut_power_after(self.random.below(80)),
            2 => self.disk.fail_sync_after(self.random.below(5)),
            _ => self.disk.set_capacity(self.disk.used() + self.random.below(20_000)),
        }
    }
}

fn run(seed: u64) -> bool {
    let mut node = Node::new(seed);
    let mut failed = false;
    for _ in 0..4 {
        node.trouble();
        let ended = node.live(40);
        let is_damage = matches!(ended, Err(Error::Damaged { .. } | Error::Missing { .. }));
        assert!(!is_damage, "nothing that was synced is lost: {ended:?}");
        failed |= ended.is_err();
        // A process that only ends leaves the files as they were seen, and faults that were not met.
        if node.random.chance(80) {
            node.disk.crash();
        } else {
            node.disk.cut_power_after(u64::MAX);
        }
        node.disk.set_capacity(u64::MAX);
    }

    node.disk.crash();
    node.live(40).expect("nothing was asked to fail");
    node.disk.crash();
    node.live(0).expect("nothing was asked to fail");
    failed
}

#[test]
fn nothing_that_a_checkpoint_recorded_is_lost_and_the_log_makes_the_rest_whole() {
    let failed = (0..SEEDS).filter(|seed| {
        let caught = std::panic::catch_unwind(|| run(*seed));
        caught.unwrap_or_else(|_| panic!("seed {seed} failed"))
    });

    assert!(failed.count() as u64 > SEEDS / 2, "faults are met");
}
