//! Room: whether the next batch can be appended for sure, and the segments that are made so that it can.
//!
//! A segment's room was taken from the disk when it was filled with zeros, so a batch that fits into one cannot run out
//! of space. What can is the making of the next: that is tried early, and what does not fit is refused before a byte of
//! it is written.

use super::chore::{Chore, Finished};
use super::segment::HEADER;
use super::writer::Writer;
use std::io;
use std::path::Path;

/// Unused segments that the writer wants ready: one to go on with, and one for marks alone when the disk is full.
const SPARES: usize = 2;

/// Whether there is room for a batch.
pub(super) enum Room {
    Ready,
    /// As soon as a chore is finished.
    Soon,
    Full(String),
}

impl Writer {
    /// Whether a batch can be appended for sure. Into the last spare segment proposals do not go.
    pub(super) fn room(&self, bytes: u64, proposes: bool) -> Room {
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

    pub(super) fn fits(&self, bytes: u64) -> bool {
        let capacity = self.active().capacity;
        self.offset + bytes <= capacity || self.offset == HEADER as u64
    }

    fn beyond_reserve(&self, bytes: u64) -> Result<(), String> {
        let beyond = (HEADER as u64 + bytes).saturating_sub(self.active().capacity);
        let needed = self.options.reserve_bytes + beyond;
        beyond_reserve(&self.folder, self.files.free_space(&self.folder), needed)
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
            // What failed for want of room is tried again with the next segment, or the next refusal.
            Some(_) if self.cramped => None,
            Some(source) if self.spares.len() < self.options.spare_segments => make(Some(*source)),
            Some(oldest) => Some(Chore::Remove { number: *oldest }),
            None if self.spares.len() < SPARES && self.can_make() => make(None),
            None => None,
        }
    }

    /// Whether another segment may take room. The first spare is what the reserve is for.
    fn can_make(&self) -> bool {
        let reserve = if self.spares.is_empty() { 0 } else { self.options.reserve_bytes };
        let free = self.files.free_space(&self.folder);
        !self.cramped && free.is_ok_and(|free| free >= self.options.segment_bytes + reserve)
    }

    /// Takes a chore's result back.
    pub(crate) fn finish(&mut self, finished: Finished) {
        self.chore_is_out = false;
        match finished {
            Finished::Made(Ok(segment)) => {
                self.cramped = false;
                super::lock(&self.shared.index).add_file(segment.number, segment.file.clone());
                self.spares.push_back(segment);
                self.show();
            }
            Finished::Made(Err(error)) | Finished::Removed(Err(error)) if is_full(&error) => self.cramp(),
            // Segments go oldest first, so this one waits at its place.
            Finished::Left { number, error } if is_full(&error) => {
                self.retired.push_front(number);
                self.cramp();
            }
            Finished::Made(Err(error)) => drop(self.stop(&format!("making a segment failed: {error}"))),
            Finished::Removed(Ok(())) => {}
            Finished::Removed(Err(error)) | Finished::Left { error, .. } => {
                drop(self.stop(&format!("removing a segment failed: {error}")));
            }
        }
    }

    fn cramp(&mut self) {
        tracing::warn!("the disk has no room for the log's next segment");
        self.cramped = true;
    }
}

/// Whether a disk has as much free as is needed.
pub(super) fn beyond_reserve(folder: &Path, free: io::Result<u64>, needed: u64) -> Result<(), String> {
    match free {
        Ok(free) if free >= needed => Ok(()),
        Ok(free) => Err(format!("{} has {free} bytes free, {needed} are needed", folder.display())),
        Err(error) => Err(format!("the free space of {} is not known: {error}", folder.display())),
    }
}

fn is_full(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::StorageFull
}
