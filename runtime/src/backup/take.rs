//! Taking a backup: everything is read from one snapshot of the state store, and the streams up to where it ends.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use twins::time::Timestamp;

use crate::files::{File, Files};
use crate::shard::stream_place;
use crate::store::{Snapshot, Space, StateStore};
use crate::stream;

use super::archive::Packer;
use super::{Definitions, Error, Head, rows};

/// Bytes of rows after which the next file begins. A row may be longer.
const ROWS_BYTES: usize = 1 << 20;

/// What a backup is made of.
pub(crate) struct Source {
    pub(crate) node: (u64, u64),
    pub(crate) shards: u32,
    pub(crate) taken: Timestamp,
    pub(crate) store: Arc<dyn StateStore>,
    pub(crate) files: Arc<dyn Files>,
    pub(crate) streams: PathBuf,
    pub(crate) definitions: Option<Arc<dyn Definitions>>,
}

impl Source {
    /// Writes the archive. Blocks. At any time no more than a file of rows, or a piece of a stream, is in memory.
    pub(crate) fn write(&self, out: &mut impl Write) -> Result<(), Error> {
        let failed = Error::io("writing the backup");
        let snapshot = self.store.snapshot()?;
        let mut packer = Packer::new(out);
        let (node, generation) = self.node;
        let head = Head { node, generation, shards: self.shards, taken: self.taken }.to_string();
        packer.add("backup", head.len() as u64, head.as_bytes()).map_err(&failed)?;
        if let Some(definitions) = &self.definitions {
            let saved = definitions.save().map_err(Error::Log)?;
            packer.add("log", saved.len() as u64, saved.as_slice()).map_err(&failed)?;
        }
        for shard in 0..self.shards {
            let place = add_rows(&mut packer, &*snapshot, shard)?;
            self.add_stream(&mut packer, shard, place)?;
        }
        packer.finish().map_err(failed).map(drop)
    }

    /// The segments of a shard's stream up to the one that it wrote, newest first, so that what retention removes
    /// meanwhile leaves no hole. That one must be there, or a node could not start on what is restored.
    fn add_stream(
        &self,
        packer: &mut Packer<impl Write>,
        shard: u32,
        place: stream::Place,
    ) -> Result<(), Error> {
        let folder = self.streams.join(shard.to_string());
        let listed = stream::files(&*self.files, &folder, place.tail);
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

/// Adds all rows of a shard; answers where its stream stands.
fn add_rows(
    packer: &mut Packer<impl Write>,
    snapshot: &dyn Snapshot,
    shard: u32,
) -> Result<stream::Place, Error> {
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
        snapshot.each(shard, space, &mut |key, value| {
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

/// Where a stream's segment goes when it is restored, if the name is that of one.
pub(super) fn stream_path(folder: &Path, rest: &str) -> Option<PathBuf> {
    let (shard, name) = rest.split_once('/')?;
    let shard: u32 = shard.parse().ok()?;
    stream::is_file(name).then(|| folder.join("streams").join(shard.to_string()).join(name))
}
