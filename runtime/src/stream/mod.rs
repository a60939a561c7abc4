//! Streams: what happened to the twins of a shard, in order, to be read from any point again.
//!
//! A shard's stream is a folder of append-only segment files. Nothing in it is acknowledged by itself: it follows from
//! the log, and the log makes it whole again. A checkpoint syncs the stream and records where it stands; after a restart
//! [`open`] cuts it there, and the shard appends, seals and trims again as the log says. So before the recorded end
//! everything is durable, and behind it nothing needs to be.
//!
//! Where a segment ends and which ones go is decided by `retention` and told by entries of the log. What is trimmed is
//! gone for readers at once; its file goes once no recovery can ask for it ([`Sweep`]).
//!
//! A segment is cut into pages, which carry a time and an offset index in their headers: a file is its own index,
//! no index is kept in memory, and opening reads the last page. The bodies of the pages, one after the other, hold one
//! frame for each record.
//!
//! Beside a sealed segment lies an index of the twins in it (`index`), which the [`Indexer`] makes once a checkpoint
//! has made the segment durable. It is derived: whoever lacks it reads more.
//!
//! One [`Writer`] appends; [`Reader`]s read beside it, from any thread. All calls block.

use std::io;
use std::path::Path;

use crate::files::Files;

mod cursor;
mod cut;
mod erase;
mod error;
mod extent;
mod folder;
mod frame;
pub(crate) mod growth;
mod index;
mod merge;
mod options;
mod page;
mod reader;
mod recovery;
pub(crate) mod retention;
mod segment;
mod selection;
#[cfg(test)]
mod simulation;
mod sweep;
mod tail;
#[cfg(test)]
mod tests;
mod trail;
mod unread;
mod verify;
mod walk;
mod writer;

pub use cursor::{Cursor, NotACursor};
pub use cut::{Cut, Place};
pub use erase::Erase;
pub(crate) use erase::{ERASURES_MAX, Erasure};
pub use error::Error;
pub use folder::folders;
pub(crate) use folder::{folder, remove, remove_one};
pub use frame::RECORD_BYTES_MAX;
pub use index::indexer::Indexer;
pub(crate) use merge::read;
pub use options::Options;
pub use reader::{Batch, Item, Reader};
pub use recovery::open;
pub use selection::{From, Page, Placed, Selection};
pub use sweep::Sweep;
pub use unread::Unread;
pub use verify::{Fault, Report, Verdict, verify};
pub use writer::Writer;

/// The files of the segments in a folder that begin at `tail` or before, each with where it begins, oldest first; none where
/// there is no folder.
pub(crate) fn files(files: &dyn Files, folder: &Path, tail: Offset) -> io::Result<Vec<(Offset, String)>> {
    let names = match files.list(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed?,
    };
    let firsts = names.into_iter().filter_map(|name| segment::first(&name).map(|first| (first, name)));
    Ok(firsts.filter(|(first, _)| *first <= tail).collect())
}

/// Whether a file is a segment's.
pub(crate) fn is_file(name: &str) -> bool {
    segment::first(name).is_some()
}

/// A record's place in its shard's stream: how many came before it, also of those that were trimmed. The same on every
/// replica.
pub type Offset = u64;
