//! The log as openraft writes it: one group's records in the node's log.
//!
//! openraft's core does nothing else while it waits for one of these calls, heartbeats included. So appending and the
//! committed mark return at once. A vote is awaited, as it must be durable before it is told; so are the rare truncation
//! and purge, after which a reader sees the rest alone.
//!
//! A change of the members is awaited as well. Whoever it removes elects nobody any more, once it has heard of it, and votes
//! for none who has not: were the leader to lose its power before it has the change itself, nobody could lead again.

use super::entries::Entries;
use super::reader::Reader;
use super::types::{self, RaftEntry, RaftLogId, RaftVote, Types};
use crate::wal::{Entry, Kind, Record, Wal};
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{LogState, OptionalSend};
use std::io;
use std::sync::Arc;

/// The log of one group.
pub struct Store {
    group: u32,
    entries: Entries,
}

impl Store {
    /// The log of a group. One store of a group is in use at a time, and the next is made only when all that the one
    /// before appended has been answered.
    #[must_use]
    pub fn new(wal: Arc<Wal>, group: u32) -> Self {
        Self::over(Entries::new(wal, group))
    }

    /// As [`Store::new`], over entries that others read as well.
    pub(super) fn over(entries: Entries) -> Self {
        Self { group: entries.group(), entries }
    }
}

impl RaftLogStorage<Types> for Store {
    type LogReader = Reader;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let state = self.entries.state();
        let (purged, last) = (state.purged.map(types::to_raft), state.last.map(types::to_raft));
        Ok(LogState { last_purged_log_id: purged, last_log_id: last })
    }

    async fn get_log_reader(&mut self) -> Reader {
        Reader { entries: self.entries.clone() }
    }

    async fn save_vote(&mut self, vote: &RaftVote) -> io::Result<()> {
        self.entries.write(Record::vote(self.group, types::vote_from_raft(vote))).await
    }

    async fn save_committed(&mut self, committed: Option<RaftLogId>) -> io::Result<()> {
        if let Some(id) = committed {
            self.entries.note_committed(types::from_raft(&id));
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<RaftLogId>> {
        Ok(self.entries.state().committed.map(types::to_raft))
    }

    async fn append<I>(&mut self, entries: I, flushed: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = RaftEntry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().map(types::entry_from_raft).collect();
        let changes_members = entries.iter().any(|entry| entry.kind == Kind::Membership);
        self.entries.append(entries, flushed);
        if changes_members { self.entries.settle().await } else { Ok(()) }
    }

    async fn truncate_after(&mut self, last: Option<RaftLogId>) -> io::Result<()> {
        self.entries.truncate(last.map_or(0, |last| last.index.saturating_add(1))).await
    }

    async fn purge(&mut self, through: RaftLogId) -> io::Result<()> {
        self.entries.purge(types::from_raft(&through)).await
    }
}
