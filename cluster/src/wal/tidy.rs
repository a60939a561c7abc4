//! Dropping the oldest segment: what still lives in it is first written again at the log's end.
//!
//! Segments go strictly oldest first. That makes a record's disappearance simple: whatever came before it is gone too,
//! so a truncation or a mark never goes before what it is about. The oldest goes when little lives in it, or when the
//! log has grown to more than twice what lives in all of it; so an entry is moved about once for each time that as much
//! again is written.

use super::index::Located;
use super::read;
use super::record::Record;
use super::writer::Writer;

/// What is moved in one batch, so that proposals wait for no more than that.
const MOVE_BYTES: usize = 1 << 20;

/// Segments that a log may have before it must be half empty to lose one.
const FREE_SEGMENTS: u64 = 4;

impl Writer {
    /// Does a step towards dropping the oldest segment; false when there is nothing to do now.
    pub(crate) fn tidy(&mut self) -> bool {
        if self.stopped.is_some() || self.used.len() < 2 || !self.oldest_may_go() {
            return false;
        }
        let oldest = self.used[0].number;
        let (entries, marks) = {
            let index = super::lock(&self.shared.index);
            (index.entries_in(oldest, MOVE_BYTES), index.marks_in(oldest))
        };
        if entries.is_empty() && marks.is_empty() {
            self.retire_oldest();
            return true;
        }
        let mut records: Vec<Record> = marks.into_iter().map(moved).collect();
        for located in entries {
            let Located { group, kind, id, .. } = located;
            match read::payload(&self.shared.index, located) {
                Ok(Some(payload)) => records.push(moved(Record::entry(group, kind, id, payload))),
                Ok(None) => {}
                Err(error) => {
                    self.stop(&error.to_string());
                    return false;
                }
            }
        }
        self.append_own(&records)
    }

    fn oldest_may_go(&self) -> bool {
        let oldest = &self.used[0];
        let (live, live_all) = super::lock(&self.shared.index).live(oldest.number);
        let total: u64 = self.used.iter().map(|segment| segment.capacity).sum();
        live * 4 <= oldest.capacity || total > 2 * live_all + FREE_SEGMENTS * self.options.segment_bytes
    }

    fn retire_oldest(&mut self) {
        let oldest = self.used.pop_front().expect("there are two or more");
        super::lock(&self.shared.index).remove_file(oldest.number);
        self.retired.push_back(oldest.number);
        self.show();
    }
}

fn moved(record: Record) -> Record {
    Record { moved: true, ..record }
}
