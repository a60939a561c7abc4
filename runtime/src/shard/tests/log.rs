//! The log of a shard under test.

use std::sync::{Arc, Mutex};

use crate::log::{Done, Ear, Entry, Error, ShardLog, Standing, Tenure};

/// A log that keeps every entry, so that the whole history can be told again. Replicas share it.
#[derive(Default)]
pub(super) struct History {
    pub(super) entries: Vec<Entry>,
    /// The term, and who leads in it.
    pub(super) tenure: Tenure,
}

/// A replica of a log; what it has purged it will not read.
#[derive(Default)]
pub(super) struct Log {
    pub(super) history: Arc<Mutex<History>>,
    pub(super) purged: Mutex<u64>,
    pub(super) follows: bool,
    pub(super) needs_confirming: bool,
}

impl Log {
    pub(super) fn last(&self) -> u64 {
        self.history.lock().unwrap().entries.len() as u64
    }

    /// Leads from here on: in a new term, or again in the one before.
    pub(super) fn lead(&self, again: bool) -> Tenure {
        let mut history = self.history.lock().unwrap();
        let Tenure { term, number } = history.tenure;
        history.tenure = if again { Tenure { term, number: number + 1 } } else { Tenure::whole(term + 1) };
        history.tenure
    }

    /// Takes proposals.
    pub(super) fn leads(&self, tenure: Tenure) -> bool {
        !self.follows && self.history.lock().unwrap().tenure == tenure
    }
}

impl ShardLog for Log {
    fn listen(&self, _: Ear) -> Standing {
        let leads = (!self.follows).then(|| self.lead(false));
        Standing { through: self.last(), leads }
    }

    fn read(&self, after: u64, through: u64, bytes: usize) -> Result<Vec<Entry>, Error> {
        let purged = *self.purged.lock().unwrap();
        if after < purged {
            return Err(Error::Unreadable(format!("entries through {purged} are purged; restore it")));
        }
        let mut left = bytes;
        let wanted = |entry: &&Entry| entry.id.index > after && entry.id.index <= through;
        let history = self.history.lock().unwrap();
        let entries = history.entries.iter().filter(wanted).take_while(|entry| {
            let fits = left > 0;
            left = left.saturating_sub(entry.payload.len());
            fits
        });
        Ok(entries.cloned().collect())
    }

    fn propose(&self, _: Tenure, _: bytes::Bytes, _: Done) {
        unreachable!("the world carries out proposals itself")
    }

    fn propose_upkeep(&self, _: Tenure, _: bytes::Bytes, _: Done) {
        unreachable!("the world carries out proposals itself")
    }

    fn needs_confirming(&self) -> bool {
        self.needs_confirming
    }

    fn purge(&self, index: u64) {
        let mut purged = self.purged.lock().unwrap();
        *purged = (*purged).max(index);
    }
}
