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
use runtime::log::{Done, Entry, Error, LogId, ShardLog};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// How much [`LocalLog::replay`] reads at a time, in bytes.
const REPLAY_BYTES: usize = 1 << 20;

/// How long a shard that begins again waits before it looks again whether its last proposal was answered.
const FATE_PAUSE: Duration = Duration::from_millis(1);

/// A shard's log under the local commit rule.
pub struct LocalLog {
    wal: Arc<Wal>,
    group: u32,
    term: u64,
    busy: Arc<Busy>,
}

/// Which of the two calls that write are under way.
#[derive(Default)]
struct Busy {
    proposal: AtomicBool,
    purge: AtomicBool,
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
        logs.push(LocalLog { wal: wal.clone(), group, term, busy: Arc::default() });
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
    fn append(&self, term: u64, payload: Bytes, done: Done, append: fn(&Wal, Vec<Record>, crate::wal::Done)) {
        if term != self.term {
            return done(Err(Error::NotLeader { term }));
        }
        let overlaps = self.busy.proposal.swap(true, Ordering::AcqRel);
        assert!(!overlaps, "group {} has a proposal in flight", self.group);
        let id = LogId { term, index: self.wal.next(self.group) };
        let busy = self.busy.clone();
        let record = Record::entry(self.group, Kind::Normal, id, payload);
        let done = move |fate: Result<(), Error>| {
            busy.proposal.store(false, Ordering::Release);
            done(fate.map(|()| id));
        };
        append(&self.wal, vec![record], Box::new(done));
    }
}

impl ShardLog for LocalLog {
    fn lead(&self) -> Result<u64, Error> {
        // A shard that failed may have left a proposal in flight: only when its fate is known, replaying shows it or
        // nobody ever will.
        while self.busy.proposal.load(Ordering::Acquire) {
            std::thread::sleep(FATE_PAUSE);
        }
        Ok(self.term)
    }

    fn replay(&self, after: u64, visit: &mut dyn FnMut(Entry) -> bool) -> Result<(), Error> {
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
        let mut next = after.saturating_add(1);
        loop {
            let entries = self.wal.read(self.group, next..u64::MAX, REPLAY_BYTES);
            let entries = entries.map_err(|error| Error::Unreadable(error.to_string()))?;
            let Some(last) = entries.last() else { return Ok(()) };
            next = last.id.index.saturating_add(1);
            for entry in entries {
                if entry.kind == Kind::Normal && !visit(Entry { id: entry.id, payload: entry.payload }) {
                    return Ok(());
                }
            }
        }
    }

    fn last(&self) -> Option<u64> {
        self.wal.next(self.group).checked_sub(1)
    }

    /// # Panics
    /// When the proposal before has not been answered: a group has one in flight.
    fn propose(&self, term: u64, payload: Bytes, done: Done) {
        self.append(term, payload, done, Wal::append);
    }

    /// # Panics
    /// As [`ShardLog::propose`].
    fn propose_upkeep(&self, term: u64, payload: Bytes, done: Done) {
        self.append(term, payload, done, Wal::append_upkeep);
    }

    fn purge(&self, index: u64) {
        // A purge that comes while one is being written is left to the next: the shard says so again soon.
        let Some(id) = self.wal.id(self.group, index) else { return };
        if self.busy.purge.swap(true, Ordering::AcqRel) {
            return;
        }
        let busy = self.busy.clone();
        let done = move |_| busy.purge.store(false, Ordering::Release);
        self.wal.append(vec![Record::purged(self.group, id)], Box::new(done));
    }
}
