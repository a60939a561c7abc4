//! Makes the indexes of sealed segments, one after the other, beside everything else.
//!
//! One thread serves all streams of a node, and lives while there is something to do. A segment that it is asked for and
//! cannot take, or whose index cannot be written, is asked for again by whoever reads it. Nothing waits for an index, and
//! one that fails stops nothing.

use super::rows::Rows;
use super::{DRAFT_SUFFIX, path, remove};
use crate::stream::extent::Extent;
use crate::stream::{Error, Offset};
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

/// How many segments wait at most; what is past it is asked for again by whoever reads it. 64 shards keep 9 each.
const WAITING_MAX: usize = 1_024;
/// So many bytes stay free on the disk: the log has its reserve, twice as much as it keeps by default, before an index.
pub(in crate::stream) const ROOM: u64 = 512 << 20;

/// Whoever makes indexes.
pub struct Indexer {
    has_thread: bool,
    state: Mutex<State>,
    rests: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<(Weak<Extent>, Offset)>,
    is_working: bool,
    is_closed: bool,
}

impl Indexer {
    /// One with a thread of its own.
    #[must_use]
    pub fn with_thread() -> Arc<Self> {
        Arc::new(Self { has_thread: true, state: Mutex::default(), rests: Condvar::new() })
    }

    /// One that does nothing but by [`Indexer::work`]: for tests, and where nobody reads the history of one twin.
    #[must_use]
    pub fn by_hand() -> Arc<Self> {
        Arc::new(Self { has_thread: false, state: Mutex::default(), rests: Condvar::new() })
    }

    /// Asks for the index of a segment. Returns whether it will be looked after.
    pub(in crate::stream) fn ask(self: &Arc<Self>, extent: &Arc<Extent>, first: Offset) -> bool {
        let mut state = self.state();
        if state.is_closed || state.waiting.len() >= WAITING_MAX {
            return false;
        }
        state.waiting.push_back((Arc::downgrade(extent), first));
        if self.has_thread && !state.is_working {
            let indexer = self.clone();
            let thread = std::thread::Builder::new().name("stream-index".to_owned());
            let spawned = thread.spawn(move || {
                let working = Working(indexer);
                while working.0.work() {}
            });
            state.is_working = spawned.is_ok();
        }
        true
    }

    /// Makes the next index, if there is one to be made. Blocks.
    pub fn work(&self) -> bool {
        let next = {
            let mut state = self.state();
            let next = state.waiting.pop_front();
            state.is_working &= next.is_some();
            next
        };
        let Some((extent, first)) = next else {
            self.rests.notify_all();
            return false;
        };
        // A stream that was closed needs nothing.
        if let Some(extent) = extent.upgrade() {
            let made = make(&extent, first);
            if let Err(error) = &made {
                let folder = extent.folder.display();
                tracing::warn!(%error, %folder, first, "a segment has no index; one twin's history reads all of it");
            }
            // Nothing would come of trying again.
            if !matches!(made, Err(Error::Damaged { .. })) {
                extent.answered(first);
            }
        }
        true
    }

    /// Takes nothing more, forgets what waits, and returns once nothing is written any more. Blocks.
    pub fn close(&self) {
        let mut state = self.state();
        state.is_closed = true;
        state.waiting.clear();
        while state.is_working {
            state = self.rests.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that panics is left half done under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A thread's work. One that panics is no longer waited for, and the next segment begins another.
struct Working(Arc<Indexer>);

impl Drop for Working {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.state().is_working = false;
            self.0.rests.notify_all();
        }
    }
}

/// Makes the index of a segment: it has its name once it is whole and durable.
fn make(extent: &Extent, first: Offset) -> Result<(), Error> {
    // Nobody may write the segment anew meanwhile.
    let _alone = extent.alone();
    let records = match extent.around(first) {
        Ok(Some(records)) => records,
        Ok(None) | Err(Error::Trimmed { .. }) => return Ok(()),
        Err(error) => return Err(error),
    };
    let segment = match extent.open(first) {
        Err(Error::Trimmed { .. }) => return Ok(()),
        opened => opened?,
    };
    let mut rows = Rows::default();
    let mut walk = segment.walk(|_| false)?;
    while walk.offset < records.end {
        // Whoever closes the stream waits for it.
        if extent.is_closed() {
            return Ok(());
        }
        let begin = walk.position;
        let step = walk.step()?;
        rows.note_record(walk.record(&step), begin..walk.position);
        walk.forget();
    }
    let bytes = rows.encode(&segment.identity(records.end)?);
    let (files, folder) = (&*extent.files, &extent.folder);
    let free = files.free_space(folder).map_err(Error::io("measuring", folder))?;
    if free < bytes.len() as u64 + ROOM {
        return Err(Error::Full { path: path(folder, first) });
    }
    let draft = folder.join(format!("{first:020}{DRAFT_SUFFIX}"));
    let written = match files.remove(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => files.create(&draft).and_then(|file| {
            file.write_at(&bytes, 0)?;
            file.sync_data()?;
            files.rename(&draft, &path(folder, first))
        }),
    };
    if written.is_err() {
        // Where it stays, the next start removes it.
        drop(files.remove(&draft));
    }
    written.map_err(Error::io("writing the index", &path(folder, first)))?;
    // The files of what was trimmed meanwhile are gone, or going.
    if first < extent.earliest() {
        remove(files, folder, first).map_err(Error::io("removing", &path(folder, first)))?;
    }
    Ok(())
}
