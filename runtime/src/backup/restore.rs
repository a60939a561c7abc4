//! Restoring: state and streams go to a new folder, and nothing of it counts before the manifest was compared.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;

use crate::files::Files;
use crate::shard::reconcile;
use crate::store::Home;
use crate::store::fjall::{Fjall, Options};

use super::archive::{Summary, unpack};
use super::part::Target;
use super::{Error, Head};

/// The head may have so many bytes.
const HEAD_BYTES: u64 = 4 << 10;

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
    let streams = folder.join("streams");
    let mut target = Target::new(&store, files, &streams, 0);
    let (mut head, mut definitions) = (None, Vec::new());
    let summary = unpack(from, &mut |name, length, content| {
        if head.is_none() {
            head = Some(read_head(name, length, content)?);
            return Ok(());
        }
        match name.split_once('/') {
            None if name == "log" => {
                content.read_to_end(&mut definitions).map_err(Error::io("reading the backup")).map(drop)
            }
            _ => target.take(name, length, content, |shard| Some(Home::first(shard))),
        }
    })?;
    let marks = target.applied;
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
