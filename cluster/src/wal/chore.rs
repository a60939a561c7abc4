//! Work on files that the writer must not wait for: making the next segment, removing an old one.
//!
//! A chore is plain data, so that a thread runs it in production and a simulation whenever it likes. One is out at a
//! time; that keeps the oldest segment the first to go.

use super::segment::{self, Segment};
use runtime::files::Files;
use std::io;
use std::path::Path;

/// A piece of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chore {
    /// Make a segment of zeros, out of the file of an old one if there is one.
    Make { number: u64, salt: u64, capacity: u64, source: Option<u64> },
    /// Remove an old segment.
    Remove { number: u64 },
}

/// A chore that was run.
pub(crate) enum Finished {
    Made(io::Result<Segment>),
    Removed(io::Result<()>),
    /// It failed, and the old segment is still there under its number.
    Left {
        number: u64,
        error: io::Error,
    },
}

impl Chore {
    pub(crate) fn run(self, files: &dyn Files, folder: &Path) -> Finished {
        match self {
            Self::Make { number, salt, capacity, source } => {
                // One that failed before may have left its draft.
                let made = segment::remove_draft(files, folder)
                    .and_then(|()| Segment::make(files, folder, number, salt, capacity, source));
                match (made, source) {
                    (Err(error), Some(number)) if segment::exists(files, folder, number) => {
                        Finished::Left { number, error }
                    }
                    (Err(error), _) => {
                        // The draft takes room. Where it cannot be removed now, the next one does it.
                        drop(segment::remove_draft(files, folder));
                        Finished::Made(Err(error))
                    }
                    (made, _) => Finished::Made(made),
                }
            }
            Self::Remove { number } => match segment::remove(files, folder, number) {
                Err(error) if segment::exists(files, folder, number) => Finished::Left { number, error },
                removed => Finished::Removed(removed),
            },
        }
    }
}
