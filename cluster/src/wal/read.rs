//! Reads entries back, checked.

use super::group::Place;
use super::index::{Index, Located};
use super::record::{Kind, Record};
use crate::Error;
use bytes::Bytes;
use runtime::log::LogId;
use std::ops::Range;
use std::sync::Mutex;

/// An entry of a group's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is: blank, normal or a membership.
    pub kind: Kind,
    /// Its place.
    pub id: LogId,
    /// Its content.
    pub payload: Bytes,
}

/// Reads the entries of a group from the start of a range, up to a sum of bytes, but at least one where there is one.
pub(crate) fn read(
    index: &Mutex<Index>,
    group: u32,
    range: Range<u64>,
    bytes: usize,
) -> Result<Vec<Entry>, Error> {
    let located = super::lock(index).locate(group, range, bytes);
    let mut entries = Vec::with_capacity(located.len());
    for located in located {
        let Located { kind, id, .. } = located;
        // An entry that was dropped meanwhile ends what is found.
        let Some(payload) = payload(index, located)? else { break };
        entries.push(Entry { kind, id, payload });
    }
    Ok(entries)
}

/// As [`read`], where all of that is in memory.
pub(crate) fn recent(
    index: &Mutex<Index>,
    group: u32,
    range: Range<u64>,
    bytes: usize,
) -> Option<Vec<Entry>> {
    let located = super::lock(index).locate(group, range, bytes);
    let entry = |located: Located| {
        let Located { kind, id, payload, .. } = located;
        Some(Entry { kind, id, payload: payload? })
    };
    located.into_iter().map(entry).collect()
}

/// The payload of an entry: none when it was dropped since it was located.
pub(crate) fn payload(index: &Mutex<Index>, mut located: Located) -> Result<Option<Bytes>, Error> {
    loop {
        if let Some(payload) = located.payload {
            return Ok(Some(payload));
        }
        let found = from_file(&located);
        // Its file may have been used again while it was read. It was not, if the entry still lies there.
        let place = located.place;
        let again = super::lock(index).locate_one(located.group, located.id.index);
        match again {
            Some(again) if again.place == place && again.id == located.id => return found.map(Some),
            Some(again) if again.id == located.id => located = again,
            _ => return Ok(None),
        }
    }
}

fn from_file(located: &Located) -> Result<Bytes, Error> {
    let Place { segment, offset, length } = located.place;
    let damaged = Error::Damaged { segment, offset };
    let mut bytes = vec![0; length as usize];
    if let Err(source) = located.file.read_at(&mut bytes, offset) {
        return Err(Error::Unread { segment, offset, source });
    }
    let record = Record::decode(&bytes).ok_or(damaged)?;
    if (record.group, record.id) != (located.group, located.id) {
        return Err(Error::Damaged { segment, offset });
    }
    Ok(record.payload)
}
