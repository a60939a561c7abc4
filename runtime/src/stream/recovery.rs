//! Opening a stream: it is cut where the last checkpoint says that it ends.
//!
//! What is behind may be torn, and the shard appends it again. What is before was synced by that checkpoint, so where
//! it is not readable, something else went wrong, and the stream does not open. Only the last page before the end is
//! looked at; other damage is found by whoever reads it.

use super::extent::Extent;
use super::segment::{self, Segment};
use super::tail::Tail;
use super::{Error, Offset, Options, Reader, Writer, page};
use crate::files::Files;
use std::path::Path;
use std::sync::Arc;
use twins::time::Timestamp;

/// Opens the stream in a folder, or begins one when `end` is 0, and cuts it at `end`: the end that the last durable
/// checkpoint recorded. Nobody else may have it open.
///
/// # Errors
/// [`Error::Damaged`] or [`Error::Missing`] when records before `end` are not there, [`Error::Io`].
pub fn open(
    files: Arc<dyn Files>,
    folder: &Path,
    end: Offset,
    options: Options,
) -> Result<(Writer, Reader), Error> {
    files.create_folder(folder).map_err(Error::io("making", folder))?;
    let mut firsts = segment::firsts(&*files, folder)?;
    if firsts.first().map_or(end > 0, |earliest| *earliest > end) {
        return Err(Error::Missing { folder: folder.to_owned(), end });
    }
    while let [_, .., last] = firsts[..]
        && last >= end
    {
        let path = segment::path(folder, last);
        files.remove(&path).map_err(Error::io("removing", &path))?;
        firsts.pop();
    }
    let tail = match firsts.last() {
        Some(first) => resume(&*files, folder, *first, end)?,
        None => {
            firsts.push(0);
            begin(&*files, folder)?
        }
    };
    // A removed name that came back would pass for a segment once the stream has grown past it.
    files.sync_folder(folder).map_err(Error::io("syncing", folder))?;
    let extent = Arc::new(Extent::new(files, folder, firsts.into(), end));
    Ok((Writer::new(extent.clone(), options, tail), Reader::new(extent)))
}

fn begin(files: &dyn Files, folder: &Path) -> Result<Tail, Error> {
    let path = segment::path(folder, 0);
    let file = files.create(&path).map_err(Error::io("making", &path))?;
    Ok(Tail { first: 0, file, end: 0, body: 0, latest: Timestamp::ZERO })
}

/// Finds the end in the last segment, and cuts it there.
fn resume(files: &dyn Files, folder: &Path, first: Offset, end: Offset) -> Result<Tail, Error> {
    let segment = Segment::open(files, folder, first)?;
    // A segment that was begun but never synced may hold anything.
    let (body, latest) = if first == end {
        (0, Timestamp::ZERO)
    } else {
        let mut walk = segment.walk(|page| page.offset < end)?;
        walk.skip_to(end)?;
        (walk.position, walk.latest)
    };
    let cut = segment.file.set_len(page::file_len(body));
    cut.map_err(Error::io("cutting", &segment.path))?;
    Ok(Tail { first, file: segment.file, end, body, latest })
}
