//! Opening a stream: it is cut where the last checkpoint says that it stood.
//!
//! What is behind may be torn, and the shard appends it again. What is before was synced by that checkpoint, so where
//! it is not readable, something else went wrong, and the stream does not open. Only the beginnings of the segments and
//! the last page before the end are looked at; other damage is found by whoever reads it.

use super::extent::Extent;
use super::retention::Sealed;
use super::segment::{self, Segment};
use super::tail::Tail;
use super::{Error, Indexer, Offset, Place, Reader, Writer, erase, index, page};
use crate::files::Files;
use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use twins::time::Timestamp;

/// Opens the stream in a folder, or begins one, and cuts it at the place that the last durable checkpoint recorded; the
/// default for none. Nobody else may have it open. What has no index yet, the indexer is asked for.
///
/// # Errors
/// [`Error::Damaged`] or [`Error::Missing`] when records before the end are not there, [`Error::Io`].
pub fn open(
    files: Arc<dyn Files>,
    folder: &Path,
    place: Place,
    indexer: &Arc<Indexer>,
) -> Result<(Writer, Reader), Error> {
    files.create_folder(folder).map_err(Error::io("making", folder))?;
    let mut firsts: VecDeque<_> = segment::firsts(&*files, folder)?.into();
    let Place { end, tail, earliest } = place;
    let is_new = firsts.is_empty() && end == 0;
    if !is_new && !firsts.contains(&tail) {
        return Err(Error::Missing { folder: folder.to_owned(), end });
    }
    let remove = |first| {
        let path = segment::path(folder, first);
        files.remove(&path).map_err(Error::io("removing", &path))
    };
    // Begun after the checkpoint; the log says so again.
    while let Some(last) = firsts.pop_back_if(|last| *last > tail) {
        remove(last)?;
    }
    // Trimmed before it.
    while firsts.get(1).is_some_and(|next| *next <= earliest) {
        firsts.pop_front().map(remove).transpose()?;
    }
    let sealed = sealed(&*files, folder, &firsts)?;
    let tail = if is_new {
        firsts.push_back(0);
        begin(&*files, folder)?
    } else {
        resume(&*files, folder, place, sealed.back())?
    };
    erase::clean(&*files, folder)?;
    let before: Vec<_> = firsts.iter().copied().take(sealed.len()).collect();
    let indexed = index::clean(&*files, folder, &before)?;
    // A removed name that came back would pass for a segment once the stream has grown past it.
    files.sync_folder(folder).map_err(Error::io("syncing", folder))?;
    let extent = Arc::new(Extent::new(files, folder, firsts, end, indexer.clone()));
    for first in before.into_iter().filter(|first| indexed.binary_search(first).is_err()) {
        extent.ask(first);
    }
    Ok((Writer::new(extent.clone(), sealed, tail), Reader::new(extent)))
}

fn begin(files: &dyn Files, folder: &Path) -> Result<Tail, Error> {
    let path = segment::path(folder, 0);
    let file = files.create(&path).map_err(Error::io("making", &path))?;
    Ok(Tail { first: 0, file, end: 0, body: 0, latest: Timestamp::ZERO, begun: None })
}

/// All segments but the last.
fn sealed(files: &dyn Files, folder: &Path, firsts: &VecDeque<Offset>) -> Result<VecDeque<Sealed>, Error> {
    let segments = firsts.iter().zip(firsts.iter().skip(1));
    let segments = segments.map(|(first, end)| {
        let segment = Segment::open(files, folder, *first)?;
        // Each begins by telling of those before it; the last may be empty, or torn.
        let latest = if firsts.back() == Some(end) {
            let mut walk = segment.walk(|page| page.offset < *end)?;
            walk.skip_to(*end)?;
            walk.latest
        } else {
            Segment::open(files, folder, *end)?.begin()?.latest
        };
        Ok(Sealed { end: *end, bytes: segment.len, latest })
    });
    segments.collect()
}

/// Finds the end in the last segment, and cuts it there.
fn resume(files: &dyn Files, folder: &Path, place: Place, before: Option<&Sealed>) -> Result<Tail, Error> {
    let Place { end, tail: first, .. } = place;
    let segment = Segment::open(files, folder, first)?;
    // A segment that was begun but never synced may hold anything.
    let (body, latest, begun) = if first == end {
        (0, before.map_or(Timestamp::ZERO, |before| before.latest), None)
    } else {
        let mut walk = segment.walk(|page| page.offset < end)?;
        walk.skip_to(end)?;
        let begun = segment.walk(|_| false)?.step()?.time;
        (walk.position, walk.latest, Some(begun))
    };
    let cut = segment.file.set_len(page::file_len(body));
    cut.map_err(Error::io("cutting", &segment.path))?;
    Ok(Tail { first, file: segment.file, end, body, latest, begun })
}
