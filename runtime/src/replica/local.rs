//! The states of this node's shards, packed and staged: the state store and the streams, as a backup has them.
//!
//! What is packed is the archive of a backup with one shard in it, and a file `replica` at its head that says whose it is.
//! What is staged is a generation of the state store and a folder of a stream that nobody looks at; the switch of the store
//! makes both the shard's. The stream of the state before is removed by the shard when it reads the new one.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::backup::archive::{Packer, unpack};
use crate::backup::{Error, part};
use crate::blocking;
use crate::fault;
use crate::files::Files;
use crate::shard::{MARKS, applied, stream_place};
use crate::store::{self, Batch, Home, Snapshot, Space, StateStore};
use crate::stream::{self, Indexer};

use super::origin::Row;
use super::{Origin, Replicas, Saved, Staged};

/// The name of the first file, and what it says.
const HEAD: &str = "replica";
const HEAD_BYTES: u64 = 256;
/// The format that this version packs, and the only one that it stages.
const FORMAT: u32 = 1;
/// So many bytes stay free on the disk: the log has its reserve before another replica's state.
const SPARE: u64 = 512 << 20;

/// The states of the shards in a state store and a folder of streams. Clones share them.
#[derive(Clone)]
pub struct Local(Arc<Place>);

struct Place {
    store: Arc<dyn StateStore>,
    files: Arc<dyn Files>,
    streams: PathBuf,
}

impl Local {
    /// Those of a store and the folder in which the streams are. Made once, before the shards run: the streams that a
    /// crash has left of states that are not current are removed. Blocks.
    #[must_use]
    pub fn new(store: Arc<dyn StateStore>, files: Arc<dyn Files>, streams: &Path) -> Self {
        let is_needed = |home: Home| store.home(home.shard).map_or(true, |current| current == home);
        if let Err(error) = stream::remove(&*files, streams, is_needed) {
            tracing::warn!(%error, "streams of states that are not current stay until the next start");
        }
        Self(Arc::new(Place { store, files, streams: streams.to_owned() }))
    }
}

impl Replicas for Local {
    fn saved(&self, shard: u32) -> Result<Option<Saved>, String> {
        let Place { store, .. } = &*self.0;
        let unread = |error: store::Error| error.to_string();
        let home = store.home(shard).map_err(unread)?;
        let Some(marks) = store.get(home, Space::Mark, MARKS).map_err(unread)? else { return Ok(None) };
        let applied = applied(Space::Mark, MARKS, &marks);
        let applied = applied.ok_or_else(|| format!("the marks of shard {shard} cannot be read"))?;
        let (space, key) = Row::KEY;
        let origin = store.get(home, space, key).map_err(unread)?;
        let origin = origin.map(|row| Row::read(&row, applied)).transpose()?.flatten();
        Ok(Some(Saved { applied, origin }))
    }

    fn pack(&self, shard: u32, out: &mut dyn Write) -> Result<u64, String> {
        let failed = |why: String| format!("the state of shard {shard} was not packed: {why}");
        let packed = self.0.pack(shard, out).map_err(|error| failed(said(error)))?;
        packed.ok_or_else(|| failed("it has no checkpoint yet".to_owned()))
    }

    fn stage(&self, shard: u32, from: &mut dyn Read) -> Result<Box<dyn Staged>, String> {
        match self.stage_one(shard, from) {
            Ok(staged) => Ok(Box::new(staged)),
            Err(error) => Err(format!("a state of shard {shard} was not taken: {}", said(error))),
        }
    }

    fn forget(&self, shard: u32) -> Result<(), String> {
        let forgotten = self.begin(shard).and_then(Aside::switch);
        forgotten.map_err(|error| format!("the state of shard {shard} was not forgotten: {}", said(error)))
    }
}

impl Local {
    /// An empty state beside the current one.
    fn begin(&self, shard: u32) -> Result<Aside, Error> {
        let home = self.0.store.stage(shard)?;
        let aside = Aside { place: self.0.clone(), home, is_over: false };
        // A crash may have left another one with this number.
        stream::remove_one(&*self.0.files, &aside.folder()).map_err(Error::io("removing a stream"))?;
        Ok(aside)
    }

    fn stage_one(&self, shard: u32, from: &mut dyn Read) -> Result<Whole, Error> {
        let Place { store, files, streams } = &*self.0;
        let aside = self.begin(shard)?;
        let home = |of: u32| (of == shard).then_some(aside.home);
        let mut target = part::Target::new(&**store, &**files, streams, SPARE);
        let mut has_head = false;
        unpack(from, &mut |name, length, content| {
            if !has_head {
                has_head = true;
                return read_head(name, length, content, shard);
            }
            fault::point("replica.staging");
            target.take(name, length, content, home)
        })?;
        let applied = target.applied.first().map(|(_, applied)| *applied);
        let applied = applied.ok_or_else(|| Error::damaged("the archive", "it has no marks"))?;
        aside.check()?;
        fault::point("replica.staged");
        Ok(Whole { aside, applied })
    }
}

impl Place {
    /// None where the shard has no checkpoint.
    fn pack(&self, shard: u32, out: &mut dyn Write) -> Result<Option<u64>, Error> {
        let snapshot = self.store.snapshot()?;
        let Some(applied) = applied_in(&*snapshot, shard)? else { return Ok(None) };
        let failed = Error::io("writing it");
        let mut packer = Packer::new(out);
        let head = format!("format {FORMAT}\nshard {shard}\n");
        packer.add(HEAD, head.len() as u64, head.as_bytes()).map_err(&failed)?;
        let part = part::Source { snapshot: &*snapshot, files: &*self.files, streams: &self.streams };
        part.add(&mut packer, shard)?;
        packer.finish().map_err(failed)?;
        Ok(Some(applied))
    }
}

/// The last entry that the state of a shard contains; none where it has no checkpoint.
fn applied_in(snapshot: &dyn Snapshot, shard: u32) -> Result<Option<u64>, store::Error> {
    let mut found = None;
    snapshot.each(shard, Space::Mark, &mut |key, value| {
        found = applied(Space::Mark, key, value);
        found.is_none()
    })?;
    Ok(found)
}

/// What is wrong, of a state that is no backup.
fn said(error: Error) -> String {
    match error {
        Error::CutOff { files } => format!("it is cut off after {files} whole files"),
        Error::Damaged { name, why } => format!("`{name}` in it is damaged: {why}"),
        Error::Overtaken { .. } => "retention was faster than the copy of its stream".to_owned(),
        error => error.to_string(),
    }
}

/// Refuses what is no state of this shard.
fn read_head(name: &str, length: u64, content: &mut dyn Read, shard: u32) -> Result<(), Error> {
    let mut text = String::new();
    if name != HEAD || length > HEAD_BYTES {
        return Err(Error::damaged(name, "it is not the head of a packed state"));
    }
    content.take(HEAD_BYTES).read_to_string(&mut text).map_err(Error::io("reading it"))?;
    let expected = format!("format {FORMAT}\nshard {shard}\n");
    if text == expected {
        return Ok(());
    }
    let said = text.trim_end().replace('\n', ", ");
    Err(Error::damaged(name, format!("it says `{said}`, and shard {shard} in format {FORMAT} was expected")))
}

/// A state beside the current one. Dropped, it is discarded.
struct Aside {
    place: Arc<Place>,
    home: Home,
    /// It is current, or nobody knows.
    is_over: bool,
}

impl Aside {
    fn folder(&self) -> PathBuf {
        stream::folder(&self.place.streams, self.home)
    }

    /// Makes sure that a shard can begin from it.
    fn check(&self) -> Result<(), Error> {
        let Place { store, files, .. } = &*self.place;
        let marks = store.get(self.home, Space::Mark, MARKS)?;
        let place = marks.and_then(|marks| stream_place(Space::Mark, MARKS, &marks));
        let place = place.ok_or_else(|| Error::damaged("state", "its marks cannot be read"))?;
        let opened = stream::open(files.clone(), &self.folder(), place, &Indexer::by_hand());
        opened.map(drop).map_err(|error| Error::damaged("streams", error.to_string()))
    }

    /// Makes it the current one.
    fn switch(mut self) -> Result<(), Error> {
        let store = self.place.store.clone();
        let former = store.home(self.home.shard)?;
        let switched = store.switch(self.home);
        // Where it failed, the next start finds out which one is current.
        self.is_over = !matches!(switched, Err(store::Error::Superseded { .. }));
        switched?;
        fault::point("replica.switched");
        if let Err(error) = store.discard(former) {
            let shard = former.shard;
            tracing::warn!(shard, %error, "the rows of a former state stay until the next start");
        }
        fault::point("replica.cleared");
        Ok(())
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let (place, home, folder) = (self.place.clone(), self.home, self.folder());
        let discard = move || {
            let gone = place.store.discard(home).map_err(Error::from).and_then(|()| {
                stream::remove_one(&*place.files, &folder).map_err(Error::io("removing a stream"))
            });
            if let Err(error) = gone {
                let shard = home.shard;
                tracing::warn!(shard, %error, "a state that was not installed stays until the next start");
            }
        };
        // It blocks, and whoever lets go of it may not.
        match tokio::runtime::Handle::try_current() {
            Ok(_) => drop(blocking::run(discard)),
            Err(_) => discard(),
        }
    }
}

/// A state that can be installed.
struct Whole {
    aside: Aside,
    applied: u64,
}

impl Staged for Whole {
    fn install(self: Box<Self>, applied: u64, origin: Origin) -> Result<(), String> {
        let Self { aside, applied: contained } = *self;
        let shard = aside.home.shard;
        if applied != contained {
            return Err(format!(
                "the state of shard {shard} contains everything through entry {contained}, not {applied}"
            ));
        }
        let mut batch = Batch::new();
        let (space, key) = Row::KEY;
        batch.put(space, key, Row::of(applied, origin));
        let written = aside.place.store.write(aside.home, batch).map_err(Error::from);
        let installed = written.and_then(|()| aside.switch());
        installed.map_err(|error| format!("the state of shard {shard} was not installed: {}", said(error)))
    }
}
