//! A log that several nodes share in memory. Who leads is the test's to say.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use runtime::log::{Done, Ear, Entry, Error, LogId, ShardLog, Standing, Sure, Tenure, Told};

/// One shard's.
#[derive(Default)]
pub struct Group(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    entries: Vec<Entry>,
    term: u64,
    leader: Option<u64>,
    ears: BTreeMap<u64, Ear>,
    /// What is committed is not answered.
    is_mute: bool,
    unanswered: Option<Done>,
}

/// A node's replica of it.
pub struct Member {
    pub group: Arc<Group>,
    pub node: u64,
}

impl Group {
    pub fn leader(&self) -> Option<u64> {
        self.lock().leader
    }

    /// From now on nobody hears that an entry is committed, until another one leads.
    pub fn mute(&self) {
        self.lock().is_mute = true;
    }

    /// This node leads from now on, or nobody.
    pub fn lead(&self, by: Option<u64>) {
        let mut inner = self.lock();
        let before = std::mem::replace(&mut inner.leader, by);
        let term = inner.term;
        inner.is_mute = false;
        if let Some(done) = inner.unanswered.take() {
            done(Err(Error::Deposed { term }));
        }
        inner.term += 1;
        let (tenure, through) = (Tenure::whole(inner.term), inner.entries.len() as u64);
        for (node, ear) in &inner.ears {
            match Some(*node) {
                node if node == by => ear(Told::Leads { tenure, through }),
                node if node == before => ear(Told::Follows { leader: by }),
                _ => {}
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }
}

impl ShardLog for Member {
    fn listen(&self, ear: Ear) -> Standing {
        let mut inner = self.group.lock();
        inner.ears.insert(self.node, ear);
        let leads = inner.leader.filter(|leader| *leader == self.node).map(|_| Tenure::whole(inner.term));
        Standing { through: inner.entries.len() as u64, leads }
    }

    fn read(&self, after: u64, through: u64, _: usize) -> Result<Vec<Entry>, Error> {
        let inner = self.group.lock();
        let wanted = |entry: &&Entry| entry.id.index > after && entry.id.index <= through;
        Ok(inner.entries.iter().filter(wanted).cloned().collect())
    }

    fn propose(&self, Tenure { term, .. }: Tenure, payload: Bytes, done: Done) {
        let mut inner = self.group.lock();
        if inner.leader != Some(self.node) || inner.term != term {
            return done(Err(Error::NotLeader { term }));
        }
        let id = LogId { term, index: inner.entries.len() as u64 + 1 };
        inner.entries.push(Entry { id, payload });
        for (_, ear) in inner.ears.iter().filter(|(node, _)| **node != self.node) {
            ear(Told::Committed { through: id.index });
        }
        match inner.is_mute {
            true => inner.unanswered = Some(done),
            false => done(Ok(id)),
        }
    }

    fn propose_upkeep(&self, tenure: Tenure, payload: Bytes, done: Done) {
        self.propose(tenure, payload, done);
    }

    fn needs_confirming(&self) -> bool {
        true
    }

    fn confirm(&self, Tenure { term, .. }: Tenure, sure: Sure) {
        let inner = self.group.lock();
        let leads = inner.leader == Some(self.node) && inner.term == term;
        sure(if leads { Ok(()) } else { Err(Error::NotLeader { term }) });
    }

    fn purge(&self, _: u64) {}
}
