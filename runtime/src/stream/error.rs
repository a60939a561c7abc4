//! Why a stream was not opened, written or read.

use super::Offset;
use super::frame::RECORD_BYTES_MAX;
use std::io;
use std::path::{Path, PathBuf};

/// What can go wrong with a stream.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The records asked for were dropped by retention.
    #[error("the stream begins at offset {earliest}; read from there")]
    Trimmed {
        /// The first that is kept.
        earliest: Offset,
    },
    /// The record was not appended.
    #[error("a record has {bytes} bytes, at most {RECORD_BYTES_MAX} are allowed")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Readers see nothing new, and the writer keeps what it has: flush again when there is room.
    #[error("{} cannot grow, the disk is full; free some space, then writing goes on by itself", path.display())]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// A write or a sync failed, now or earlier: what is durable is not known until the stream is opened again.
    #[error("the stream stopped: {why}; restart the node")]
    Stopped {
        /// What failed first.
        why: String,
    },
    /// What a checkpoint made durable is no longer readable.
    #[error("{} is damaged where record {offset} should be; restore the file from a backup", path.display())]
    Damaged {
        /// The segment.
        path: PathBuf,
        /// The first record that cannot be read.
        offset: Offset,
    },
    /// The bytes are whole, and no record that this version knows.
    #[error("record {offset} cannot be read: {why}; read it with the version that wrote it")]
    Unreadable {
        /// Its place.
        offset: Offset,
        /// What does not fit.
        why: String,
    },
    /// A file that a checkpoint made durable is gone.
    #[error("{} lacks the records before offset {end}; restore the folder from a backup", folder.display())]
    Missing {
        /// The stream's folder.
        folder: PathBuf,
        /// Where the checkpoint says that the stream ends.
        end: Offset,
    },
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
}

impl Error {
    /// For `map_err`.
    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, path: path.to_owned(), source }
    }
}
