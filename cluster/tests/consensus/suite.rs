//! openraft's own suite for a log storage, over the simulated disk.

use crate::machine::Machine;
use crate::{GROUP, wal};
use cluster::consensus::types::{RaftEntry, RaftLogId, RaftVote, Types};
use cluster::consensus::{Reader, Store};
use cluster::wal::{Record, Wal};
use openraft::entry::RaftEntry as _;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::{LogState, OptionalSend, StorageError};
use runtime::files::sim::Sim;
use runtime::log::LogId;
use std::io;
use std::sync::{Arc, mpsc};

/// A log as the suite wants it: it may begin with any entry. Ours begins with entry 0, as consensus begins it; for the
/// suite, what lies before the first one is said to be dropped.
struct Beginning {
    wal: Arc<Wal>,
    store: Store,
    before: Option<u64>,
}

impl RaftLogStorage<Types> for Beginning {
    type LogReader = Reader;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let mut state = self.store.get_log_state().await?;
        let index = |id: Option<RaftLogId>| id.map(|id| id.index);
        if index(state.last_purged_log_id) == self.before {
            state.last_purged_log_id = None;
        }
        if index(state.last_log_id) == self.before {
            state.last_log_id = None;
        }
        Ok(state)
    }

    async fn get_log_reader(&mut self) -> Reader {
        self.store.get_log_reader().await
    }

    async fn save_vote(&mut self, vote: &RaftVote) -> io::Result<()> {
        self.store.save_vote(vote).await
    }

    async fn save_committed(&mut self, committed: Option<RaftLogId>) -> io::Result<()> {
        self.store.save_committed(committed).await
    }

    async fn read_committed(&mut self) -> io::Result<Option<RaftLogId>> {
        self.store.read_committed().await
    }

    async fn append<I>(&mut self, entries: I, flushed: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = RaftEntry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<RaftEntry> = entries.into_iter().collect();
        let first = entries[0].index();
        if self.store.get_log_state().await?.last_log_id.is_none() && first > 0 {
            self.before = Some(first - 1);
            let (sender, fate) = mpsc::channel();
            let before = Record::purged(GROUP, LogId { term: 0, index: first - 1 });
            self.wal.append(vec![before], Box::new(move |result| drop(sender.send(result))));
            fate.recv().unwrap().unwrap();
        }
        self.store.append(entries, flushed).await
    }

    async fn truncate_after(&mut self, last: Option<RaftLogId>) -> io::Result<()> {
        self.store.truncate_after(last).await
    }

    async fn purge(&mut self, through: RaftLogId) -> io::Result<()> {
        self.store.purge(through).await
    }
}

struct OnSimulatedDisk;

impl StoreBuilder<Types, Beginning, Machine> for OnSimulatedDisk {
    async fn build(&self) -> Result<((), Beginning, Machine), StorageError<Types>> {
        let wal = wal(&Sim::new(1));
        let store = Store::new(wal.clone(), GROUP);
        Ok(((), Beginning { wal, store, before: None }, Machine::default()))
    }
}

#[tokio::test(start_paused = true)]
async fn the_log_is_what_openraft_wants() {
    Suite::test_all(OnSimulatedDisk).await.unwrap();
}
