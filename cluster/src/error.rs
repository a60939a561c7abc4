//! What can go wrong when the storage is opened, closed or inspected.

use std::io;
use std::path::{Path, PathBuf};

/// Why the storage does not open, or cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused.
    #[error("{doing} {} failed: {source}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// Another process has the folder.
    #[error("{} is in use by another process; stop it, or give this node a folder of its own", folder.display())]
    InUse {
        /// The folder.
        folder: PathBuf,
    },
    /// What was once durable is no longer readable, though later batches are: this is no torn write.
    #[error("segment {segment} is damaged at byte {offset}; run `twinfold log verify` before restarting")]
    Damaged {
        /// The segment's number.
        segment: u64,
        /// Where its whole batches end.
        offset: u64,
    },
    /// A record cannot be read back.
    #[error("reading segment {segment} at byte {offset} failed: {source}")]
    Unread {
        /// The segment's number.
        segment: u64,
        /// The record's offset.
        offset: u64,
        /// What the operating system said.
        source: io::Error,
    },
    /// The numbers of the segments have a gap.
    #[error("segment {segment} is missing; restore its file, or restore the node from a backup")]
    Missing {
        /// The first missing number.
        segment: u64,
    },
    /// The records are whole, but an entry that they need is not among them.
    #[error("group {group} lacks entry {index}; run `twinfold log verify` before restarting")]
    Hole {
        /// The group.
        group: u32,
        /// The first missing index.
        index: u64,
    },
    /// The keys are spread over another number of shards, or over more than there may be.
    #[error("the option `shards` is {asked}, and there are {found}; that number stays")]
    Shards {
        /// What the options say.
        asked: u32,
        /// What is agreed on.
        found: u32,
    },
    /// Consensus does not start on a group.
    #[error("group {group} does not start: {reason}; run `twinfold log verify` before restarting")]
    Consensus {
        /// The group.
        group: u32,
        /// What it says.
        reason: String,
    },
    /// An option makes no sense.
    #[error("option `{option}` is too small: {value}, at least {min} is needed")]
    Option {
        /// Its name.
        option: &'static str,
        /// What was given.
        value: u64,
        /// What is needed.
        min: u64,
    },
    /// The log stopped while it was being started or used; see the message for what to do.
    #[error(transparent)]
    Log(#[from] runtime::log::Error),
    /// What a backup has of the log cannot be read.
    #[error("the log in the backup is damaged: {reason}; use another backup")]
    Backup {
        /// What is wrong with it.
        reason: String,
    },
    /// A definition in the meta group cannot be read.
    #[error("entry {index} of the meta group cannot be read: {reason}; was it written by a newer version?")]
    Meta {
        /// The entry.
        index: u64,
        /// What is wrong with it.
        reason: String,
    },
}

impl Error {
    pub(crate) fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { doing, path: path.to_owned(), source }
    }

    pub(crate) fn damaged(segment: u64, offset: usize) -> Self {
        Self::Damaged { segment, offset: offset as u64 }
    }
}
