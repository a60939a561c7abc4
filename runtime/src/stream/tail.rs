//! The tail of a stream: where the next record goes, and how it looks there.

use super::page::{self, BODY};
use super::{Offset, frame};
use crate::files::File;
use std::sync::Arc;
use twins::time::Timestamp;

/// The segment that is written, and where its records end.
pub(super) struct Tail {
    pub(super) first: Offset,
    pub(super) file: Arc<dyn File>,
    /// The next record's offset.
    pub(super) end: Offset,
    /// The length of the pages' bodies.
    pub(super) body: u64,
    /// The latest time of all records.
    pub(super) latest: Timestamp,
    /// The time of its first record; none while it has none.
    pub(super) begun: Option<Timestamp>,
}

impl Tail {
    /// Puts a record's frame, and the headers of the pages that it begins, as they follow in the file.
    pub(super) fn put(&mut self, buffer: &mut Vec<u8>, header: frame::Header, record: &[u8]) {
        let before = page::Header { offset: self.end, latest: self.latest, skip: 0 };
        self.end += 1;
        self.begun.get_or_insert(header.time);
        self.latest = self.latest.max(header.time);
        let whole = frame::HEADER + record.len();
        let mut left = whole;
        for mut part in [&header.encode()[..], record] {
            while !part.is_empty() {
                let within = self.body % BODY;
                if within == 0 {
                    let after = page::Header { offset: self.end, latest: self.latest, skip: left as u32 };
                    let header = if left == whole { before } else { after };
                    buffer.extend_from_slice(&header.encode(self.body / BODY));
                }
                let (now, later) = part.split_at(part.len().min((BODY - within) as usize));
                buffer.extend_from_slice(now);
                self.body += now.len() as u64;
                left -= now.len();
                part = later;
            }
        }
    }
}
