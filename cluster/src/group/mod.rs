//! A group: one shard's log on this node, whichever rule commits it.
//!
//! A group whose only node is this one commits by the local rule: the log's own fdatasync. One of several nodes commits by
//! [consensus](crate::consensus). A [`Group`] is the log that the shard knows for the life of the
//! process, and changes from one rule to the other under it: in the same term and tenure, with at most one proposal that
//! waits for a moment, so that the shard notices nothing. `switch` is how.
//!
//! At a start the rule follows from the log and never from configuration: a group whose membership is this node alone
//! is led by the local rule at once, any other has to [join](Group::join) the other nodes first. That is safe in a crash at any
//! moment: until another node has a vote, this one is a quorum by itself; and when a change to this node alone is
//! durable here, nobody is elected without it, since whoever has not heard of it needs this node's vote.
//!
//! What the shard hears passes through one `Telling` under both rules. Entries are read in one way as well: from the log,
//! and before they are durable from memory.

mod change;
mod forgetting;
mod keeper;
mod local;
mod rule;
mod switch;
mod telling;

pub use change::{Change, Stuck, View};
pub(crate) use telling::Telling;

use crate::consensus::{Desk, Duty, Entries, Machine};
use crate::membership::Membership;
use crate::wal::{self, Kind, Record, Wal};
use bytes::Bytes;
use rule::{Proposal, Rule, Use};
use runtime::log::{Done, Ear, Entry, Error, ShardLog, Standing, Sure, Tenure};
use std::ops::Range;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard, Weak};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The log of one shard on one node.
pub struct Group {
    me: Weak<Group>,
    wal: Arc<Wal>,
    number: u32,
    node: u64,
    entries: Entries,
    telling: Arc<Telling>,
    rule: RwLock<Rule>,
    desk: OnceLock<Arc<Desk<Machine>>>,
    /// Held by whoever changes the rule.
    changing: tokio::sync::Mutex<()>,
    /// Tells the shard who leads, and begins again when consensus fails.
    keeper: Mutex<Option<JoinHandle<()>>>,
    /// What this node may do in it under consensus.
    duty: watch::Sender<Duty>,
    /// Whether a purge is being written, by the local rule.
    purging: Arc<AtomicBool>,
}

/// Opens the groups of a node: raises the node's generation, and leads every group that is this node's alone in a new
/// term, all in one batch. On a node that `begins`, groups without a log are begun too. Blocks.
///
/// # Errors
/// [`crate::Error::Log`] when nothing can be written.
pub fn open(
    wal: &Arc<Wal>,
    node: u64,
    groups: &[u32],
    begins: bool,
) -> Result<Vec<Arc<Group>>, crate::Error> {
    let mut records = vec![Record::generation(wal.generation() + 1)];
    let mut terms = Vec::new();
    for &group in groups {
        let state = wal.state(group);
        let term = local::is_alone(node, &state, begins).then(|| local::next_term(&state));
        records.extend(term.into_iter().flat_map(|term| local::election(group, node, term, &state)));
        terms.push((group, term));
    }
    wal.append_blocking(records)?;
    Ok(terms.into_iter().map(|(group, term)| Group::new(wal.clone(), node, group, term)).collect())
}

impl Group {
    fn new(wal: Arc<Wal>, node: u64, number: u32, term: Option<u64>) -> Arc<Self> {
        let entries = Entries::new(wal.clone(), number);
        let state = entries.state();
        let conveyed = if term.is_some() { state.last } else { state.committed.max(state.purged) };
        let telling = Telling::new(node, conveyed.map_or(0, |id| id.index), term.map(Tenure::whole));
        Arc::new_cyclic(|me| Self {
            me: me.clone(),
            wal,
            number,
            node,
            entries,
            telling: Arc::new(telling),
            rule: RwLock::new(term.map_or(Rule::Absent, |term| Rule::Local { term })),
            desk: OnceLock::new(),
            changing: tokio::sync::Mutex::default(),
            keeper: Mutex::default(),
            duty: watch::Sender::new(Duty::default()),
            purging: Arc::default(),
        })
    }

    /// Its number in the log.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// How it is, as far as this node knows.
    #[must_use]
    pub fn view(&self) -> View {
        let leads = match &*self.rule() {
            Rule::Consensus(running) => return running.view(),
            Rule::Local { .. } | Rule::Held(_) => true,
            Rule::Absent => false,
        };
        let state = self.entries.state();
        let membership = state.membership.as_ref().and_then(|(_, bytes)| Membership::decode(bytes).ok());
        let committed = if leads { state.last } else { state.committed };
        View {
            by_consensus: false,
            term: state.vote.map_or(0, |vote| vote.term),
            leader: leads.then_some(self.node),
            voters: membership.as_ref().map(Membership::voters).unwrap_or_default(),
            learners: membership.as_ref().map(Membership::learners).unwrap_or_default(),
            is_joint: membership.is_some_and(|membership| membership.configs.len() > 1),
            last: state.last.map(|id| id.index),
            committed: committed.map(|id| id.index),
            matched: Default::default(),
            quorum_acked_ms: None,
        }
    }

    /// Whether this node has the group, or waits for a leader who wants it to.
    #[must_use]
    pub fn is_here(&self) -> bool {
        !matches!(&*self.rule(), Rule::Absent)
    }

    /// Who leads, as far as this node knows, and each change of that: this node from when its shard is told that it does.
    #[must_use]
    pub fn leader(&self) -> watch::Receiver<Option<u64>> {
        self.telling.leader()
    }

    /// Whether this node stands for election under consensus; it does unless it is told not to. A node does not until its
    /// shard has recovered, as it would lead and not serve. It votes for others all the same.
    pub fn elects(&self, may: bool) {
        self.duty.send_if_modified(|duty| std::mem::replace(&mut duty.elects, may) != may);
    }

    /// Whether this node may lead under consensus; it may unless it is told not to. One that leads and may not any more
    /// refuses what its shard proposes, and hands the lead over.
    pub fn fit(&self, is_fit: bool) {
        self.duty.send_if_modified(|duty| std::mem::replace(&mut duty.is_fit, is_fit) != is_fit);
    }

    fn take(&self, tenure: Tenure, payload: Bytes, made: Use, done: Done) {
        let rule = self.rule();
        let Some(number) = self.telling.begin(tenure, done) else { return };
        self.hand_on(&rule, tenure.term, Proposal { number, payload, made });
    }

    /// Gives the rule a proposal. The rule does not change meanwhile, as its lock is held.
    fn hand_on(&self, rule: &Rule, term: u64, proposal: Proposal) {
        match rule {
            Rule::Local { term } => self.append(*term, proposal),
            Rule::Consensus(running) => {
                // Consensus ends where an append is refused, so that its own may use the reserve.
                let room = if proposal.made == Use::Any { self.wal.room() } else { Ok(()) };
                match room {
                    Ok(()) => running.submit(proposal.number, term, proposal.payload),
                    Err(reason) => self.telling.refused(proposal.number, Error::Full(reason)),
                }
            }
            Rule::Held(parked) => parked.put(term, proposal),
            Rule::Absent => self.telling.refused(proposal.number, Error::NotLeader { term }),
        }
    }

    /// Through where entries were dropped, if some after an index were.
    fn purged_past(&self, after: u64) -> Option<u64> {
        self.wal.state(self.number).purged.map(|id| id.index).filter(|purged| after < *purged)
    }

    fn rule(&self) -> RwLockReadGuard<'_, Rule> {
        // Nothing that panics leaves it half changed: it is replaced as a whole.
        self.rule.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What it started ends with it.
impl Drop for Group {
    fn drop(&mut self) {
        if let Some(keeper) = self.keeper.get_mut().unwrap_or_else(PoisonError::into_inner) {
            keeper.abort();
        }
    }
}

impl ShardLog for Group {
    fn listen(&self, ear: Ear) -> Standing {
        let rule = self.rule();
        self.telling.listen(ear, matches!(&*rule, Rule::Local { .. } | Rule::Held(_)))
    }

    /// An entry may be committed by other nodes before this one's disk has it: those are read from memory.
    fn read(&self, after: u64, through: u64, bytes: usize) -> Result<Vec<Entry>, Error> {
        if let Some(purged) = self.purged_past(after) {
            let group = self.number;
            return Err(Error::Unreadable(format!(
                "group {group} has dropped its entries through {purged}, but the state ends at {after}; restore it"
            )));
        }
        let committed = self.telling.conveyed();
        let read = |range| self.entries.read_blocking(range, bytes).map_err(|error| error.to_string());
        proposed(after, through, committed, read).map_err(Error::Unreadable)
    }

    fn recent(&self, after: u64, through: u64, bytes: usize) -> Option<Vec<Entry>> {
        if self.purged_past(after).is_some() {
            return None;
        }
        let read = |range| self.entries.recent(range, bytes).map_err(|_| String::new());
        proposed(after, through, self.telling.conveyed(), read).ok()
    }

    fn propose(&self, tenure: Tenure, payload: Bytes, done: Done) {
        self.take(tenure, payload, Use::Any, done);
    }

    fn propose_upkeep(&self, tenure: Tenure, payload: Bytes, done: Done) {
        self.take(tenure, payload, Use::Upkeep, done);
    }

    /// By the local rule nobody else can lead, nor can anybody while the rule changes.
    fn needs_confirming(&self) -> bool {
        matches!(&*self.rule(), Rule::Consensus(_) | Rule::Absent)
    }

    fn confirm(&self, tenure: Tenure, sure: Sure) {
        match &*self.rule() {
            Rule::Consensus(running) => running.confirm(tenure, sure),
            Rule::Local { .. } | Rule::Held(_) if self.telling.tenure() == Some(tenure) => sure(Ok(())),
            _ => sure(Err(Error::NotLeader { term: tenure.term })),
        }
    }

    /// Under consensus the end of the log is kept for whoever is late.
    fn purge(&self, index: u64) {
        match &*self.rule() {
            Rule::Local { .. } => self.drop_through(index),
            Rule::Consensus(running) => running.purge(index),
            Rule::Held(_) | Rule::Absent => {}
        }
    }
}

/// The first entries of a shard between two indices, of what `read` finds there piece by piece. Entries of the log's own
/// may be all that there is in one piece. Of what is committed nothing may be missing: a shard that finds none takes it
/// that there is none.
fn proposed(
    after: u64,
    through: u64,
    committed: u64,
    read: impl Fn(Range<u64>) -> Result<Vec<wal::Entry>, String>,
) -> Result<Vec<Entry>, String> {
    let (mut next, end) = (after.saturating_add(1), through.saturating_add(1));
    while next < end {
        let entries = read(next..end)?;
        let is_missing = match entries.first() {
            Some(first) => first.id.index != next,
            None => next <= committed,
        };
        if is_missing {
            return Err(format!("entry {next} is committed, and not in the log of this node now"));
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn found(indices: Range<u64>) -> impl Fn(Range<u64>) -> Result<Vec<wal::Entry>, String> {
        move |range| {
            let there = indices.clone().filter(|index| range.contains(index));
            let entry = |index| wal::Entry {
                kind: if index % 2 == 0 { Kind::Normal } else { Kind::Blank },
                id: runtime::log::LogId { term: 1, index },
                payload: Bytes::new(),
            };
            Ok(there.map(entry).collect())
        }
    }

    #[test]
    fn a_committed_entry_that_is_missing_is_never_read_as_none() {
        let indices = |read: Result<Vec<Entry>, String>| {
            read.map(|entries| entries.iter().map(|entry| entry.id.index).collect::<Vec<_>>()).ok()
        };

        assert_eq!(indices(proposed(4, 8, 8, found(0..9))), Some(vec![6, 8]));
        assert_eq!(indices(proposed(8, 9, 9, found(0..10))), Some(vec![]), "all of it is the log's own");
        assert_eq!(indices(proposed(4, u64::MAX, 4, found(0..5))), Some(vec![]), "there is no more");
        assert_eq!(indices(proposed(4, 8, 8, found(6..9))), None, "one at the start");
        assert_eq!(indices(proposed(8, 9, 9, found(0..9))), None, "one at the end");
    }
}
