//! Consensus' log storage over one group of the log.

use crate::types::{self, RaftEntry, RaftLogId, RaftVote, Types};
use cluster::wal::{Record, Wal};
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{LogState, OptionalSend, RaftLogReader};
use runtime::log::Error;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;
use tokio::sync::oneshot;

#[derive(Clone)]
pub(crate) struct Store {
    pub(crate) wal: Arc<Wal>,
    pub(crate) group: u32,
}

impl Store {
    async fn durable(&self, records: Vec<Record>) -> io::Result<()> {
        let (sender, fate) = oneshot::channel();
        self.wal.append(records, Box::new(move |result: Result<(), Error>| drop(sender.send(result))));
        fate.await.expect("every job is answered").map_err(io::Error::other)
    }
}

impl RaftLogReader<Types> for Store {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> io::Result<Vec<RaftEntry>> {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(before) => before + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(last) => last + 1,
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        let entries = self.wal.read(self.group, start..end, usize::MAX).map_err(io::Error::other)?;
        entries.into_iter().map(types::entry).collect()
    }

    async fn read_vote(&mut self) -> io::Result<Option<RaftVote>> {
        Ok(self.wal.state(self.group).vote.map(types::vote_to_raft))
    }
}

impl RaftLogStorage<Types> for Store {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let state = self.wal.state(self.group);
        let (purged, last) = (state.purged.map(types::to_raft), state.last.map(types::to_raft));
        Ok(LogState { last_purged_log_id: purged, last_log_id: last })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &RaftVote) -> io::Result<()> {
        self.durable(vec![Record::vote(self.group, types::vote_from_raft(vote))]).await
    }

    async fn save_committed(&mut self, committed: Option<RaftLogId>) -> io::Result<()> {
        match committed {
            Some(id) => self.durable(vec![Record::committed(self.group, types::from_raft(&id))]).await,
            None => Ok(()),
        }
    }

    async fn read_committed(&mut self) -> io::Result<Option<RaftLogId>> {
        Ok(self.wal.state(self.group).committed.map(types::to_raft))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = RaftEntry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let group = self.group;
        let records: Vec<Record> = entries.into_iter().map(|entry| types::record(group, entry)).collect();
        // What is appended must be readable when this returns, and the log shows only what is durable.
        let fate = self.durable(records).await;
        callback.io_completed(fate);
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<RaftLogId>) -> io::Result<()> {
        self.durable(vec![Record::truncate(self.group, last.map_or(0, |last| last.index + 1))]).await
    }

    async fn purge(&mut self, id: RaftLogId) -> io::Result<()> {
        self.durable(vec![Record::purged(self.group, types::from_raft(&id))]).await
    }
}
