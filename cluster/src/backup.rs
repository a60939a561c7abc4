//! What a backup keeps of the log, and the log that a restored node begins with.
//!
//! The shards' entries are not kept: a backup has what they made of the state. Kept are the node's generation, the
//! whole log of the meta group, and of each shard its membership and its vote, so that terms never go back. Saved as
//! plain [records](crate::wal::record), one after the other.
//!
//! A restored shard begins as one that has dropped its entries through the one that its state contains.

use crate::meta::State;
use crate::storage::META_GROUP;
use crate::wal::{Kind, Record, Wal};
use crate::{Error, Options, SHARDS};
use runtime::backup::Definitions;
use runtime::files::Files;
use runtime::log::LogId;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, mpsc};

/// Saves the definitions of an open log.
pub(crate) struct Saver {
    pub(crate) wal: Arc<Wal>,
}

impl Definitions for Saver {
    fn save(&self) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        Record::generation(self.wal.generation()).encode(&mut bytes);
        let entries =
            self.wal.read(META_GROUP, 0..u64::MAX, usize::MAX).map_err(|error| error.to_string())?;
        for entry in entries {
            Record::entry(META_GROUP, entry.kind, entry.id, entry.payload).encode(&mut bytes);
        }
        for group in META_GROUP..=SHARDS {
            let state = self.wal.state(group);
            if let Some((id, membership)) = state.membership.filter(|_| group != META_GROUP) {
                Record::entry(group, Kind::Membership, id, membership).encode(&mut bytes);
            }
            if let Some(vote) = state.vote {
                Record::vote(group, vote).encode(&mut bytes);
            }
        }
        Ok(bytes)
    }
}

/// Makes the log of a restored node in a folder that holds none, durably; answers what its meta group agrees on. `applied`
/// says through which entry the state of a shard is there. Blocks.
///
/// # Errors
/// [`Error::Backup`] when `saved` is not what [`Storage::definitions`](crate::Storage::definitions) had saved; else
/// those of beginning a log.
pub fn restore(
    files: Arc<dyn Files>,
    folder: &Path,
    options: Options,
    saved: &[u8],
    applied: &[(u32, u64)],
) -> Result<State, Error> {
    let applied: BTreeMap<u32, u64> = applied.iter().map(|(shard, index)| (shard + 1, *index)).collect();
    let mut records = read(saved)?;
    let votes = records.iter().filter(|record| record.kind == Kind::Vote);
    let terms: BTreeMap<u32, u64> = votes.map(|record| (record.group, record.id.term)).collect();
    // The membership of a shard without state is written anew with its first entry.
    records.retain(|record| {
        record.kind != Kind::Membership || record.group == META_GROUP || applied.contains_key(&record.group)
    });
    for record in &mut records {
        // It lies before what is dropped.
        record.moved = record.kind == Kind::Membership && record.group != META_GROUP;
    }
    let mut state = State::default();
    let meta = records.iter().filter(|record| record.group == META_GROUP && record.kind == Kind::Normal);
    for record in meta {
        state.replay(record.id.index, &record.payload)?;
    }
    let mut all = Vec::new();
    for (group, index) in applied {
        let Some(term) = terms.get(&group) else {
            return Err(Error::Backup { reason: format!("it has state of group {group}, and no vote") });
        };
        all.push(Record::purged(group, LogId { term: *term, index }));
    }
    all.append(&mut records);
    files.create_folder(folder).map_err(|source| Error::io("making", folder, source))?;
    let wal = Wal::open(files, folder, options)?;
    let (sender, fate) = mpsc::channel();
    wal.append(all, Box::new(move |result| drop(sender.send(result))));
    fate.recv().expect("every job is answered")?;
    wal.close();
    Ok(state)
}

fn read(saved: &[u8]) -> Result<Vec<Record>, Error> {
    let mut records = Vec::new();
    let mut at = 0;
    while at < saved.len() {
        let record = Record::decode(&saved[at..]);
        let record = record.ok_or_else(|| Error::Backup { reason: format!("no record at byte {at}") })?;
        at += record.encoded_len();
        records.push(record);
    }
    let entries = records.iter().filter(|record| record.group == META_GROUP && record.kind.is_entry());
    if let Some((_, next)) = entries.zip(0..).find(|(entry, next)| entry.id.index != *next) {
        return Err(Error::Backup { reason: format!("the meta group lacks entry {next}") });
    }
    match records.first() {
        Some(first) if first.kind == Kind::Generation => Ok(records),
        _ => Err(Error::Backup { reason: "it does not begin with a generation".to_owned() }),
    }
}
