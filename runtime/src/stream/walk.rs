//! A walk over the frames of a segment, from the start of a page on.

use super::page::{self, BODY, PAGE};
use super::segment::Segment;
use super::{Error, Offset, frame};
use bytes::Bytes;
use std::ops::Range;
use twins::time::Timestamp;

/// The place before a record. Positions count the bytes of the pages' bodies.
pub(super) struct Walk<'a> {
    segment: &'a Segment,
    /// The next record's offset and position.
    pub(super) offset: Offset,
    pub(super) position: u64,
    /// The latest time of all records before it.
    pub(super) latest: Timestamp,
    /// The bodies' bytes from `start` on, as far as they were needed.
    buffer: Vec<u8>,
    start: u64,
}

/// A record that was passed, and where its bytes are in [`Walk::into_bytes`].
pub(super) struct Step {
    pub(super) offset: Offset,
    pub(super) time: Timestamp,
    pub(super) record: Range<usize>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(segment: &'a Segment, page: u64, header: page::Header) -> Self {
        let position = page * BODY + u64::from(header.skip);
        Self {
            segment,
            offset: header.offset,
            position,
            latest: header.latest,
            buffer: Vec::new(),
            start: position,
        }
    }

    /// Passes one record. There must be one: where it is not whole, the segment is damaged.
    pub(super) fn step(&mut self) -> Result<Step, Error> {
        let step = self.find()?.ok_or_else(|| self.segment.damaged(self.offset))?;
        self.offset += 1;
        self.position = self.start + step.record.end as u64;
        self.latest = self.latest.max(step.time);
        Ok(step)
    }

    /// The bytes of the record that was just passed.
    pub(super) fn record(&self, step: &Step) -> &[u8] {
        &self.buffer[step.record.clone()]
    }

    /// Passes records up to an offset and forgets their bytes.
    pub(super) fn skip_to(&mut self, offset: Offset) -> Result<(), Error> {
        while self.offset < offset {
            self.step()?;
            self.forget();
        }
        Ok(())
    }

    /// Forgets the bytes of the records that were passed, once they are worth it.
    pub(super) fn forget(&mut self) {
        let passed = self.position - self.start;
        if passed >= BODY {
            self.buffer.drain(..passed as usize);
            self.start = self.position;
        }
    }

    /// The bytes that the steps since the last [`Walk::forget`] speak of.
    pub(super) fn into_bytes(self) -> Bytes {
        self.buffer.into()
    }

    fn find(&mut self) -> Result<Option<Step>, Error> {
        let begin = (self.position - self.start) as usize;
        let from = begin + frame::HEADER;
        if !self.fill(from)? {
            return Ok(None);
        }
        let Some(header) = frame::Header::decode(&self.buffer[begin..from]) else { return Ok(None) };
        let record = from..from + header.length;
        if !self.fill(record.end)? || !header.fits(self.offset, &self.buffer[record.clone()]) {
            return Ok(None);
        }
        Ok(Some(Step { offset: self.offset, time: header.time, record }))
    }

    /// Reads on, page by page, until the buffer has a length. False when the file ends before.
    fn fill(&mut self, len: usize) -> Result<bool, Error> {
        while self.buffer.len() < len {
            let held = self.buffer.len();
            let position = self.start + held as u64;
            let page = position / BODY * PAGE;
            let from = page + page::HEADER as u64 + position % BODY;
            let to = self.segment.len.min(page + PAGE);
            if from >= to {
                return Ok(false);
            }
            self.buffer.resize(held + (to - from) as usize, 0);
            let read = self.segment.file.read_at(&mut self.buffer[held..], from);
            read.map_err(Error::io("reading", &self.segment.path))?;
        }
        Ok(true)
    }
}
