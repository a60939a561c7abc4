//! Erasing: what a device ever said is overwritten, wherever it lies in the stream.
//!
//! An erased record keeps its place, its length and its time; its bytes become zeros, which is no record. So offsets, pages
//! and cursors stay what they are. Nothing is changed in place: a copy of the segment takes its name once it is whole and
//! durable, so that a crash leaves the one or the other, and doing it again changes nothing.
//!
//! Readers leave out what is to be erased from the commit on that decides it ([`Erasures`]). The files follow once a
//! checkpoint has recorded that the stream goes on behind them: until then a recovery would append the records again.

use super::extent::Extent;
use super::index::Index;
use super::index::indexer::ROOM;
use super::page::in_file;
use super::segment::{self, Segment};
use super::{Error, Offset, frame, index, page};
use crate::files::{File, Files};
use crate::record::Record;
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use twins::id::TwinId;

/// How many devices may be waiting to be erased from a stream.
pub(crate) const ERASURES_MAX: usize = 1_000;
/// What is copied at a time.
const PART: usize = 1 << 20;
/// What follows the number of a segment that is being written anew.
const DRAFT_SUFFIX: &str = ".stream.new";

/// Whose records are to be erased and are not all yet.
#[derive(Default)]
pub(super) struct Erasures {
    /// How many there are: where there are none, readers look no further.
    count: AtomicUsize,
    all: Mutex<Arc<BTreeMap<TwinId, Erasure>>>,
}

/// What of a device is to be erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub(crate) struct Erasure {
    /// Its records before this sequence of its twin.
    #[n(0)]
    pub(crate) sequence: u64,
    /// They lie before this offset.
    #[n(1)]
    pub(crate) end: Offset,
}

impl Erasures {
    pub(super) fn add(&self, twin: TwinId, erasure: Erasure) {
        self.change(|all| {
            all.insert(twin, erasure);
        });
    }

    /// These are done, unless more was asked for since.
    fn done(&self, done: &BTreeMap<TwinId, Erasure>) {
        self.change(|all| all.retain(|twin, erasure| done.get(twin) != Some(erasure)));
    }

    /// All of them. Whoever reads asks before it reads: what was done since is in what it read all the same.
    pub(super) fn all(&self) -> Arc<BTreeMap<TwinId, Erasure>> {
        self.lock().clone()
    }

    pub(super) fn len(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Where the last of the records lie that are to be erased.
    pub(super) fn end(&self) -> Option<Offset> {
        if self.len() == 0 {
            return None;
        }
        self.lock().values().map(|erasure| erasure.end).max()
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<TwinId, Erasure>)) {
        let mut all = self.lock();
        change(Arc::make_mut(&mut all));
        self.count.store(all.len(), Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, Arc<BTreeMap<TwinId, Erasure>>> {
        // Nobody panics while holding it.
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Erasure {
    /// Whether a record is not to be seen any more.
    pub(super) fn has(all: &BTreeMap<TwinId, Self>, record: &Record) -> bool {
        all.get(&record.twin).is_some_and(|erasure| record.sequence < erasure.sequence)
    }
}

/// Files to be rewritten, on any thread.
#[must_use = "the bytes are gone only after `run`"]
pub struct Erase {
    extent: Arc<Extent>,
    erasures: BTreeMap<TwinId, Erasure>,
}

impl Erase {
    pub(super) fn new(extent: Arc<Extent>, erasures: BTreeMap<TwinId, Erasure>) -> Self {
        Self { extent, erasures }
    }

    /// Overwrites the records. It may be tried again where it fails.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::Damaged`], [`Error::Io`], [`Error::Stopped`].
    pub fn run(self) -> Result<(), Error> {
        let Self { extent, erasures } = self;
        let end = erasures.values().map(|erasure| erasure.end).max().unwrap_or(0);
        let mut failed = None;
        for records in extent.segments().into_iter().filter(|records| records.start < end) {
            extent.running()?;
            // A sweep would find its file again; an index would be made of what is being replaced.
            let _alone = extent.alone();
            if extent.is_closed() {
                return Ok(());
            }
            if records.start < extent.earliest() {
                continue;
            }
            // One that cannot be read or written keeps nobody from the others.
            if let Err(error) = rewrite(&extent, &records, &erasures) {
                failed.get_or_insert(error);
            }
        }
        if extent.is_closed() {
            return Ok(());
        }
        match failed {
            Some(error) => Err(error),
            None => {
                extent.erasures.done(&erasures);
                Ok(())
            }
        }
    }
}

/// Removes what was not finished.
pub(super) fn clean(files: &dyn Files, folder: &Path) -> Result<(), Error> {
    for name in files.list(folder).map_err(Error::io("listing", folder))? {
        if name.strip_suffix(DRAFT_SUFFIX).and_then(segment::number).is_some() {
            let path = folder.join(name);
            files.remove(&path).map_err(Error::io("removing", &path))?;
        }
    }
    Ok(())
}

/// Writes a segment anew, if it holds something that is to be erased.
fn rewrite(
    extent: &Arc<Extent>,
    records: &Range<Offset>,
    erasures: &BTreeMap<TwinId, Erasure>,
) -> Result<(), Error> {
    let first = records.start;
    let segment = extent.open(first)?;
    if may_be_passed_over(extent, &segment, records.end, erasures) {
        return Ok(());
    }
    let mut holds = false;
    each(extent, &segment, records.end, erasures, |_, _, _| {
        holds = true;
        Ok(false)
    })?;
    if !holds {
        return Ok(());
    }
    let (files, folder) = (&*extent.files, &extent.folder);
    let (path, draft) = (segment::path(folder, first), folder.join(format!("{first:020}{DRAFT_SUFFIX}")));
    if files.free_space(folder).map_err(Error::io("measuring", folder))? < segment.len + ROOM {
        return Err(Error::Full { path });
    }
    let written = copy(extent, &segment, &draft).and_then(|copy| {
        let mut blanked = Ok(());
        each(extent, &segment, records.end, erasures, |offset, begin, blank| {
            blanked = put(&*copy, begin, &blank.encode(offset));
            Ok(blanked.is_ok())
        })
        .map_err(io::Error::other)?;
        blanked?;
        still_open(extent)?;
        copy.sync_data()?;
        // The index tells where the records were; another one is made.
        index::remove(files, folder, first)?;
        files.rename(&draft, &path)?;
        files.sync_folder(folder)
    });
    if written.is_err() {
        // Where it stays, the next start removes it.
        drop(files.remove(&draft));
    }
    written.map_err(Error::io("writing anew", &path))?;
    extent.answered(first);
    extent.ask(first);
    Ok(())
}

/// Whether the index of a segment says that nothing in it is to be erased.
fn may_be_passed_over(
    extent: &Extent,
    segment: &Segment,
    end: Offset,
    erasures: &BTreeMap<TwinId, Erasure>,
) -> bool {
    let Ok(index) = Index::open(&*extent.files, &extent.folder, segment, end) else { return false };
    let is_elsewhere =
        |twin: &TwinId| index.pages(Record::key_of(twin.as_str())).is_ok_and(|pages| pages.is_empty());
    erasures.keys().all(is_elsewhere)
}

/// Whoever closes the stream waits for the step that is under way, and for no more.
fn still_open(extent: &Extent) -> io::Result<()> {
    match extent.is_closed() {
        true => Err(io::Error::new(io::ErrorKind::Interrupted, "the stream was closed")),
        false => Ok(()),
    }
}

/// What takes the place of a record.
struct Blank {
    time: twins::time::Timestamp,
    len: usize,
}

impl Blank {
    fn encode(&self, offset: Offset) -> Vec<u8> {
        let zeros = vec![0; self.len];
        [&frame::Header::new(offset, self.time, &zeros).encode()[..], &zeros].concat()
    }
}

/// Calls `visit` with the offset, the position and what takes the place of each record that is to be erased, until it says
/// that this is enough.
fn each(
    extent: &Extent,
    segment: &Segment,
    end: Offset,
    erasures: &BTreeMap<TwinId, Erasure>,
    mut visit: impl FnMut(Offset, u64, Blank) -> Result<bool, Error>,
) -> Result<(), Error> {
    let mut walk = segment.walk(|_| false)?;
    while walk.offset < end {
        still_open(extent).map_err(Error::io("reading", &segment.path))?;
        let begin = walk.position;
        let step = walk.step()?;
        let bytes = walk.record(&step);
        let twin = Record::twin_of(bytes).and_then(|twin| TwinId::parse(twin).ok());
        let erasure = twin.and_then(|twin| erasures.get(&twin));
        let is_of = |erasure: &Erasure| {
            minicbor::decode::<Record>(bytes).is_ok_and(|record| record.sequence < erasure.sequence)
        };
        if erasure.is_some_and(is_of)
            && !visit(step.offset, begin, Blank { time: step.time, len: bytes.len() })?
        {
            return Ok(());
        }
        walk.forget();
    }
    Ok(())
}

/// A copy of a segment under another name.
fn copy(extent: &Extent, segment: &Segment, draft: &Path) -> io::Result<Arc<dyn File>> {
    let files = &*extent.files;
    match files.remove(draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let copy = files.create(draft)?;
    let (mut part, mut at) = (vec![0; PART], 0);
    while at < segment.len {
        still_open(extent)?;
        let part = &mut part[..PART.min((segment.len - at) as usize)];
        segment.file.read_at(part, at)?;
        copy.write_at(part, at)?;
        at += part.len() as u64;
    }
    Ok(copy)
}

/// Writes bytes at a position in the bodies of the pages.
fn put(file: &dyn File, mut position: u64, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let left = page::BODY - position % page::BODY;
        let (now, later) = bytes.split_at(bytes.len().min(left as usize));
        file.write_at(now, in_file(position))?;
        position += now.len() as u64;
        bytes = later;
    }
    Ok(())
}
