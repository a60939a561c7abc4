//! One shard in an archive: its rows and the segments of its stream, as they are put in and taken out.
//!
//! A backup has a part for each shard, a replica's state that goes to another node is one.

use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

use crate::files::{File, Files};
use crate::replica;
use crate::shard::{applied, stream_place};
use crate::store::{Batch, Home, KEY_BYTES_MAX, Snapshot, Space, StateStore};
use crate::stream;

use super::Error;
use super::archive::Packer;
use super::rows::{self, ROWS_BYTES};

/// The longest file of rows that is taken: one ends with the row that makes it longer than a MiB.
const STATE_BYTES_MAX: u64 = 64 << 20;
/// What is copied at a time.
const PIECE: usize = 256 << 10;

/// What parts are made of.
pub(crate) struct Source<'a> {
    pub(crate) snapshot: &'a dyn Snapshot,
    pub(crate) files: &'a dyn Files,
    pub(crate) streams: &'a Path,
}

impl Source<'_> {
    /// Adds all of a shard.
    pub(crate) fn add(&self, packer: &mut Packer<impl Write>, shard: u32) -> Result<(), Error> {
        let place = self.add_rows(packer, shard)?;
        self.add_stream(packer, shard, place)
    }

    /// Adds all rows of a shard; answers where its stream stands.
    fn add_rows(&self, packer: &mut Packer<impl Write>, shard: u32) -> Result<stream::Place, Error> {
        let mut place = stream::Place::default();
        for space in Space::EACH {
            let (mut bytes, mut number) = (Vec::new(), 0);
            let mut add = |bytes: &mut Vec<u8>| {
                let name = format!("state/{shard}/{}/{number}", space.as_str());
                number += 1;
                let added = packer.add(&name, bytes.len() as u64, bytes.as_slice());
                bytes.clear();
                added.map_err(Error::io("writing the backup"))
            };
            let mut outcome = Ok(());
            self.snapshot.each(shard, space, &mut |key, value| {
                // Where this node has the state from is no part of it.
                if replica::is_origin(space, key) {
                    return true;
                }
                place = stream_place(space, key, value).unwrap_or(place);
                rows::put(&mut bytes, key, value);
                if bytes.len() >= ROWS_BYTES {
                    outcome = add(&mut bytes);
                }
                outcome.is_ok()
            })?;
            outcome?;
            if !bytes.is_empty() {
                add(&mut bytes)?;
            }
        }
        Ok(place)
    }

    /// The segments of a shard's stream up to the one that it wrote, newest first, so that what retention removes
    /// meanwhile leaves no hole. That one must be there, or a node could not start on what is restored.
    fn add_stream(
        &self,
        packer: &mut Packer<impl Write>,
        shard: u32,
        place: stream::Place,
    ) -> Result<(), Error> {
        let folder = stream::folder(self.streams, self.snapshot.home(shard));
        let listed = stream::files(self.files, &folder, place.tail);
        let mut names = listed.map_err(Error::io("listing a stream"))?;
        let mut has_tail = place.end == 0;
        while let Some((first, name)) = names.pop() {
            let opened = self.files.open(&folder.join(&name)).and_then(|file| Ok((file.len()?, file)));
            let (length, file) = match opened {
                // Retention has removed it, and so those before it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                opened => opened.map_err(Error::io("reading a stream"))?,
            };
            let content = Content { file, at: 0, length };
            packer
                .add(&format!("streams/{shard}/{name}"), length, content)
                .map_err(Error::io("copying a stream"))?;
            has_tail |= first == place.tail;
        }
        if has_tail { Ok(()) } else { Err(Error::Overtaken { shard }) }
    }
}

/// A file's content, as long as it was when it was opened.
struct Content {
    file: Arc<dyn File>,
    at: u64,
    length: u64,
}

impl Read for Content {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.length - self.at).unwrap_or(usize::MAX);
        let part = left.min(buffer.len());
        self.file.read_at(&mut buffer[..part], self.at)?;
        self.at += part as u64;
        Ok(part)
    }
}

/// Where parts go.
pub(crate) struct Target<'a> {
    pub(crate) store: &'a dyn StateStore,
    pub(crate) files: &'a dyn Files,
    pub(crate) streams: &'a Path,
    /// So many bytes stay free on the disk.
    pub(crate) spare: u64,
    /// The last entry that the state of each shard contains, as far as it was taken.
    pub(crate) applied: Vec<(u32, u64)>,
}

impl<'a> Target<'a> {
    pub(crate) fn new(
        store: &'a dyn StateStore,
        files: &'a dyn Files,
        streams: &'a Path,
        spare: u64,
    ) -> Self {
        Self { store, files, streams, spare, applied: Vec::new() }
    }

    /// Takes a file of a part, whose rows and stream go to the home that `home` answers for its shard, durably where that
    /// is the current one.
    pub(crate) fn take(
        &mut self,
        name: &str,
        length: u64,
        content: &mut dyn Read,
        home: impl Fn(u32) -> Option<Home>,
    ) -> Result<(), Error> {
        let damaged = |why: &str| Error::damaged(name, why);
        let home = |shard| home(shard).ok_or_else(|| damaged("it is another shard's"));
        match name.split_once('/') {
            Some(("state", rest)) => {
                let (shard, space) = place(rest).ok_or_else(|| damaged("it has the name of no state"))?;
                let home = home(shard)?;
                if length > STATE_BYTES_MAX {
                    return Err(damaged("it has more rows than a file of state"));
                }
                self.take_rows(name, home, space, content)
            }
            Some(("streams", rest)) => {
                let (shard, file) =
                    stream_file(rest).ok_or_else(|| damaged("it has the name of no stream"))?;
                let folder = stream::folder(self.streams, home(shard)?);
                self.take_segment(content, length, &folder, file)
            }
            _ => Err(damaged("a backup has no such file")),
        }
    }

    fn take_rows(
        &mut self,
        name: &str,
        home: Home,
        space: Space,
        content: &mut dyn Read,
    ) -> Result<(), Error> {
        let mut bytes = Vec::new();
        let content = &mut content.take(STATE_BYTES_MAX);
        content.read_to_end(&mut bytes).map_err(Error::io("reading the backup"))?;
        let mut batch = Batch::new();
        for (key, value) in rows::read(&bytes).map_err(|why| Error::damaged(name, why))? {
            if key.len() > KEY_BYTES_MAX {
                return Err(Error::damaged(name, "a key is too long"));
            }
            self.applied.extend(applied(space, &key, &value).map(|index| (home.shard, index)));
            batch.put(space, key, value);
        }
        Ok(self.store.write(home, batch)?)
    }

    fn take_segment(
        &self,
        content: &mut dyn Read,
        length: u64,
        folder: &Path,
        name: &str,
    ) -> Result<(), Error> {
        let failed = Error::io("writing a stream");
        self.files.create_folder(folder).map_err(&failed)?;
        let free = self.files.free_space(folder).map_err(&failed)?;
        if free < length.saturating_add(self.spare) {
            return Err(failed(io::ErrorKind::StorageFull.into()));
        }
        let file = self.files.create(&folder.join(name)).map_err(&failed)?;
        let (mut piece, mut at) = (vec![0; PIECE], 0);
        loop {
            let length = content.read(&mut piece).map_err(Error::io("reading the backup"))?;
            if length == 0 {
                break;
            }
            file.write_at(&piece[..length], at).map_err(&failed)?;
            at += length as u64;
        }
        file.sync_data().and_then(|()| self.files.sync_folder(folder)).map_err(failed)
    }
}

/// Which rows a file of state holds.
fn place(rest: &str) -> Option<(u32, Space)> {
    let mut parts = rest.split('/');
    let shard = parts.next()?.parse().ok()?;
    let space = parts.next()?;
    Some((shard, Space::EACH.into_iter().find(|each| each.as_str() == space)?))
}

/// Whose segment a file is, and its name.
fn stream_file(rest: &str) -> Option<(u32, &str)> {
    let (shard, name) = rest.split_once('/')?;
    let shard = shard.parse().ok()?;
    stream::is_file(name).then_some((shard, name))
}
