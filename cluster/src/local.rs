//! The local commit rule: in a group of one voter, the writer's fdatasync commits.
//!
//! What is written is what consensus would write for such a group: a membership as entry 0 of term 0; at each start a
//! vote for this node in a term one higher, which is a won election, and the blank entry of the new leader. So when a
//! second node joins, consensus opens the very same log. There it goes on as the leader of that term; a vote for the
//! next term, written before, makes it elect itself first.
//!
//! Everything found at a start counts as committed: recovery has made it durable, and no other voter exists. The start
//! notes that in a committed mark.

use crate::membership::Membership;
use crate::wal::{Kind, Record, State, Vote, Wal};
use bytes::Bytes;
use runtime::log::{Done, Ear, Entry, Error, LogId, ShardLog, Standing, Tenure, Told};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};

/// A shard's log under the local commit rule.
pub struct LocalLog {
    wal: Arc<Wal>,
    group: u32,
    tenure: Tenure,
    busy: Arc<Mutex<Busy>>,
}

/// What is under way.
#[derive(Default)]
struct Busy {
    proposal: bool,
    purge: bool,
    /// Whoever listens since the proposal was made: it was another's, and only when its fate is known, it can be read or
    /// never will be.
    waits: Option<Ear>,
}

/// Raises the node's generation and the term of each group, all in one batch, and leads the groups from then on.
///
/// # Errors
/// [`crate::Error::NotAlone`] when a group has other members; [`crate::Error::Log`] when nothing can be written.
pub(crate) fn lead(wal: &Arc<Wal>, node: u64, groups: &[u32]) -> Result<Vec<LocalLog>, crate::Error> {
    let mut records = vec![Record::generation(wal.generation() + 1)];
    let mut logs = Vec::new();
    for &group in groups {
        let state = wal.state(group);
        let seen = state.vote.map_or(0, |vote| vote.term).max(state.last.map_or(0, |last| last.term));
        let term = seen.saturating_add(1);
        records.extend(election(group, node, term, &state)?);
        logs.push(LocalLog { wal: wal.clone(), group, tenure: Tenure::whole(term), busy: Arc::default() });
    }
    let (sender, fate) = mpsc::channel();
    wal.append(records, Box::new(move |result| drop(sender.send(result))));
    fate.recv().expect("every job is answered")?;
    Ok(logs)
}

/// The records of a won election of the only voter, and those of the group's beginning before it.
fn election(group: u32, node: u64, term: u64, state: &State) -> Result<Vec<Record>, crate::Error> {
    let entry = |kind, term, index, payload| Record::entry(group, kind, LogId { term, index }, payload);
    let mut records = Vec::new();
    let next = match state.last {
        None => {
            let membership = Membership::alone(node).encode();
            records.push(entry(Kind::Membership, 0, 0, membership.into()));
            1
        }
        Some(last) => {
            let membership = state.membership.as_ref().and_then(|(_, bytes)| Membership::decode(bytes).ok());
            if !membership.is_some_and(|membership| membership.is_alone(node)) {
                return Err(crate::Error::NotAlone { group, node });
            }
            records.push(Record::committed(group, last));
            last.index.saturating_add(1)
        }
    };
    records.push(Record::vote(group, Vote { term, node, committed: true }));
    records.push(entry(Kind::Blank, term, next, Bytes::new()));
    Ok(records)
}

impl LocalLog {
    /// Appends an entry, in one way or the other.
    fn append(
        &self,
        tenure: Tenure,
        payload: Bytes,
        done: Done,
        append: fn(&Wal, Vec<Record>, crate::wal::Done),
    ) {
        let Tenure { term, .. } = tenure;
        if tenure != self.tenure {
            return done(Err(Error::NotLeader { term }));
        }
        let overlaps = std::mem::replace(&mut lock(&self.busy).proposal, true);
        assert!(!overlaps, "group {} has a proposal in flight", self.group);
        let id = LogId { term, index: self.wal.next(self.group) };
        let busy = self.busy.clone();
        let record = Record::entry(self.group, Kind::Normal, id, payload);
        let done = move |fate: Result<(), Error>| {
            let waits = {
                let mut busy = lock(&busy);
                busy.proposal = false;
                busy.waits.take()
            };
            let through = if fate.is_ok() { id.index } else { id.index - 1 };
            done(fate.map(|()| id));
            if let Some(ear) = waits {
                ear(Told::Leads { tenure, through });
            }
        };
        append(&self.wal, vec![record], Box::new(done));
    }
}

/// Only this node leads, so that nothing needs confirming, and an ear hears at most that it does.
impl ShardLog for LocalLog {
    fn listen(&self, ear: Ear) -> Standing {
        let mut busy = lock(&self.busy);
        let leads = (!busy.proposal).then_some(self.tenure);
        busy.waits = Some(ear).filter(|_| leads.is_none());
        Standing { through: self.wal.next(self.group).saturating_sub(1), leads }
    }

    fn read(&self, after: u64, through: u64, bytes: usize) -> Result<Vec<Entry>, Error> {
        let state = self.wal.state(self.group);
        if let Some(purged) = state.purged
            && after < purged.index
        {
            let Self { group, .. } = self;
            let purged = purged.index;
            return Err(Error::Unreadable(format!(
                "group {group} has dropped its entries through {purged}, but the state ends at {after}; restore it"
            )));
        }
        let (mut next, end) = (after.saturating_add(1), through.saturating_add(1));
        // Entries of the log's own may be all there is in one piece.
        while next < end {
            let entries = self.wal.read(self.group, next..end, bytes);
            let entries = entries.map_err(|error| Error::Unreadable(error.to_string()))?;
            let Some(last) = entries.last() else { break };
            next = last.id.index.saturating_add(1);
            let normal = entries.into_iter().filter(|entry| entry.kind == Kind::Normal);
            let normal: Vec<_> = normal.map(|entry| Entry { id: entry.id, payload: entry.payload }).collect();
            if !normal.is_empty() {
                return Ok(normal);
            }
        }
        Ok(Vec::new())
    }

    /// # Panics
    /// When the proposal before has not been answered: a group has one in flight.
    fn propose(&self, tenure: Tenure, payload: Bytes, done: Done) {
        self.append(tenure, payload, done, Wal::append);
    }

    /// # Panics
    /// As [`ShardLog::propose`].
    fn propose_upkeep(&self, tenure: Tenure, payload: Bytes, done: Done) {
        self.append(tenure, payload, done, Wal::append_upkeep);
    }

    fn purge(&self, index: u64) {
        // A purge that comes while one is being written is left to the next: the shard says so again soon.
        let Some(id) = self.wal.id(self.group, index) else { return };
        if std::mem::replace(&mut lock(&self.busy).purge, true) {
            return;
        }
        let busy = self.busy.clone();
        let done = move |_| lock(&busy).purge = false;
        self.wal.append(vec![Record::purged(self.group, id)], Box::new(done));
    }
}

fn lock(busy: &Mutex<Busy>) -> MutexGuard<'_, Busy> {
    // Nobody panics while holding it: what is done under it are moves.
    busy.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Options, Storage};
    use runtime::files::sim::Sim;
    use std::path::Path;

    #[test]
    fn whoever_listens_while_anothers_proposal_is_under_way_leads_when_its_fate_is_known() {
        let options = Options { segment_bytes: 64 << 10, reserve_bytes: 0, ..Options::default() };
        let storage = Storage::open(Arc::new(Sim::new(1)), Path::new("log"), options).unwrap();
        let log = storage.shard_log(3);
        let Standing { through, leads: Some(tenure) } = log.listen(Box::new(|_| {})) else {
            panic!("it is alone")
        };
        let (told, tells) = mpsc::channel();
        let (begin, begun) = mpsc::channel();
        let (go, may_go) = mpsc::channel::<()>();
        // The thread that answers is held up in another group's answer, so that this one's comes later.
        let other = storage.shard_log(4);
        let held = move |_| {
            begin.send(()).unwrap();
            may_go.recv().unwrap();
        };
        other.propose(tenure, Bytes::from_static(b"other"), Box::new(held));
        begun.recv().unwrap();
        log.propose(tenure, Bytes::from_static(b"of an incarnation that died"), Box::new(|_| {}));

        let standing = log.listen(Box::new(move |what| told.send(what).unwrap()));
        go.send(()).unwrap();

        assert_eq!(standing, Standing { through, leads: None });
        assert_eq!(tells.recv().unwrap(), Told::Leads { tenure, through: through + 1 });
        assert_eq!(log.read(through, through + 1, 1).unwrap().len(), 1);
        assert_eq!(log.listen(Box::new(|_| {})).leads, Some(tenure));
    }
}
