//! Faults of single operations: what a disk may answer instead of doing what it was asked.

use std::io;

/// What happens to an operation that changes the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// This one fails, for want of space or otherwise; the next ones work again. A write leaves a part of itself, a
    /// failed [`sync_data`](super::File::sync_data) what [`Sim::fail_sync_after`](super::Sim::fail_sync_after) says.
    Once(io::ErrorKind),
    /// From this one on the disk is full: nothing is made and no file grows, until
    /// [`Sim::set_capacity`](super::Sim::set_capacity).
    Full,
}

/// An operation that changes the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// Making a folder.
    CreateFolder,
    /// Making a file.
    Create,
    /// Moving a file.
    Rename,
    /// Removing a file.
    Remove,
    /// Making the names of a folder durable.
    SyncFolder,
    /// Writing.
    Write,
    /// Cutting or lengthening a file.
    SetLen,
    /// Making a file's content durable.
    Sync,
}

/// A fault that waits for its operation, and the operation that it struck.
#[derive(Default)]
pub(super) struct Trap {
    armed: Option<(u64, Fault)>,
    struck: Option<Operation>,
}

impl Trap {
    pub(super) fn arm(&mut self, after: u64, fault: Fault) {
        *self = Self { armed: Some((after, fault)), struck: None };
    }

    pub(super) fn disarm(&mut self) {
        self.armed = None;
    }

    pub(super) fn struck(&self) -> Option<Operation> {
        self.struck
    }

    /// The fault of this operation, if its turn has come.
    pub(super) fn spring(&mut self, operation: Operation) -> Option<Fault> {
        let (left, fault) = self.armed?;
        if left > 0 {
            self.armed = Some((left - 1, fault));
            return None;
        }
        self.disarm();
        self.struck = Some(operation);
        Some(fault)
    }
}
