//! Restoring: state and streams go to a new folder, and nothing of it counts before the manifest was compared.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;

use crate::files::Files;
use crate::shard::{applied, reconcile};
use crate::store::fjall::{Fjall, Options};
use crate::store::{Batch, Space, StateStore};

use super::archive::{Summary, unpack};
use super::take::stream_path;
use super::{Error, Head, rows};

/// The head may have so many bytes.
const HEAD_BYTES: u64 = 4 << 10;
/// What is copied at a time.
const PIECE: usize = 256 << 10;

/// What a backup held, and what is still to be made of it.
#[derive(Debug)]
pub struct Restored {
    /// What it says of itself.
    pub head: Head,
    /// How much it held.
    pub summary: Summary,
    /// What the log's room had added.
    pub definitions: Vec<u8>,
    /// The last entry that the state of each shard contains; shards without state are not named.
    pub applied: Vec<(u32, u64)>,
}

/// What a backup says of itself. Reads no more than that.
///
/// # Errors
/// [`Error::NotABackup`], [`Error::Format`].
pub fn head(from: impl Read) -> Result<Head, Error> {
    let mut head = None;
    let read = unpack(from, &mut |name, length, content| {
        head = Some(read_head(name, length, content)?);
        // Enough was read.
        Err(Error::NotABackup)
    });
    match (head, read) {
        (Some(head), _) => Ok(head),
        (None, Err(Error::Damaged { .. } | Error::CutOff { .. }) | Ok(_)) => Err(Error::NotABackup),
        (None, Err(error)) => Err(error),
    }
}

/// Reads a backup to its end, and says whether it is whole.
///
/// # Errors
/// As [`restore`], but for those of writing.
pub fn verify(from: impl Read) -> Result<(Head, Summary), Error> {
    let mut head = None;
    let summary = unpack(from, &mut |name, length, content| {
        if head.is_none() {
            head = Some(read_head(name, length, content)?);
        }
        Ok(())
    })?;
    Ok((head.ok_or(Error::NotABackup)?, summary))
}

/// Makes `state` and `streams` in a folder that holds neither, durably. Blocks. Where it fails, remove the folder.
///
/// # Errors
/// When the backup is not whole, or the folder cannot be written.
pub fn restore(from: impl Read, files: &dyn Files, folder: &Path) -> Result<Restored, Error> {
    let store = Fjall::open(&folder.join("state"), Options::default())?;
    let (mut head, mut definitions, mut marks) = (None, Vec::new(), Vec::new());
    let summary = unpack(from, &mut |name, length, content| {
        if head.is_none() {
            head = Some(read_head(name, length, content)?);
            return Ok(());
        }
        let damaged = |why: &str| Error::damaged(name, why);
        match name.split_once('/') {
            None if name == "log" => {
                content.read_to_end(&mut definitions).map_err(Error::io("reading the backup")).map(drop)
            }
            Some(("state", rest)) => {
                let (shard, space) = place(rest).ok_or_else(|| damaged("it has the name of no state"))?;
                let mut bytes = Vec::new();
                content.read_to_end(&mut bytes).map_err(Error::io("reading the backup"))?;
                let mut batch = Batch::new();
                for (key, value) in rows::read(&bytes).map_err(|why| damaged(&why))? {
                    if key.len() > crate::store::KEY_BYTES_MAX {
                        return Err(damaged("a key is too long"));
                    }
                    marks.extend(applied(space, &key, &value).map(|index| (shard, index)));
                    batch.put(space, key, value);
                }
                Ok(store.write(shard, batch)?)
            }
            Some(("streams", rest)) => {
                let path =
                    stream_path(folder, rest).ok_or_else(|| damaged("it has the name of no stream"))?;
                copy(content, files, &path)
            }
            _ => Err(damaged("a backup has no such file")),
        }
    })?;
    let shards: BTreeSet<u32> = marks.iter().map(|(shard, _)| *shard).collect();
    reconcile(&store, shards.into_iter()).map_err(|why| Error::damaged("state", &why))?;
    Ok(Restored { head: head.ok_or(Error::NotABackup)?, summary, definitions, applied: marks })
}

fn read_head(name: &str, length: u64, content: &mut dyn Read) -> Result<Head, Error> {
    if name != "backup" || length > HEAD_BYTES {
        return Err(Error::NotABackup);
    }
    let mut text = String::new();
    content.read_to_string(&mut text).map_err(Error::io("reading the backup"))?;
    Head::parse(&text)
}

/// Which rows a file of state holds.
fn place(rest: &str) -> Option<(u32, Space)> {
    let mut parts = rest.split('/');
    let shard = parts.next()?.parse().ok()?;
    let space = parts.next()?;
    Some((shard, Space::EACH.into_iter().find(|each| each.as_str() == space)?))
}

fn copy(content: &mut dyn Read, files: &dyn Files, path: &Path) -> Result<(), Error> {
    let failed = Error::io("writing a stream");
    let folder = path.parent().unwrap_or(Path::new("."));
    files.create_folder(folder).map_err(&failed)?;
    let file = files.create(path).map_err(&failed)?;
    let (mut piece, mut at) = (vec![0; PIECE], 0);
    loop {
        let length = content.read(&mut piece).map_err(Error::io("reading the backup"))?;
        if length == 0 {
            break;
        }
        file.write_at(&piece[..length], at).map_err(&failed)?;
        at += length as u64;
    }
    file.sync_data().and_then(|()| files.sync_folder(folder)).map_err(failed)
}
