//! The log as openraft's tasks read it: those that send entries to followers, and the one that applies them.

use super::entries::Entries;
use super::types::{self, RaftEntry, RaftLogId, RaftVote, Types};
use crate::wal::Entry;
use futures_util::{Stream, TryStreamExt, stream};
use openraft::OptionalSend;
use openraft::storage::RaftLogReader;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, Range, RangeBounds, RangeInclusive};

/// How many bytes of entries are read at once, which is also what one message to a follower has at most, or one entry.
const READ_BYTES: usize = 1 << 20;

/// A reader of one group's log.
pub struct Reader {
    pub(super) entries: Entries,
}

impl RaftLogReader<Types> for Reader {
    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = io::Result<RaftEntry>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let entries = self.entries.clone();
        let chunks = stream::try_unfold((bounds(&range), true), move |(range, begins)| {
            let entries = entries.clone();
            async move {
                let chunk = entries.read(range.clone(), READ_BYTES).await?;
                let (Some(first), Some(last)) = (chunk.first(), chunk.last()) else { return Ok(None) };
                // Entries may be missing before the first: those were dropped.
                if !begins && first.id.index != range.start {
                    let reason = format!("entry {} was dropped while it was read", range.start);
                    return Err(io::Error::other(reason));
                }
                let next = last.id.index + 1..range.end;
                Ok(Some((stream::iter(chunk.into_iter().map(types::entry_to_raft)), (next, false))))
            }
        });
        chunks.try_flatten()
    }

    async fn try_get_log_entries<RB>(&mut self, range: RB) -> io::Result<Vec<RaftEntry>>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        self.entries_stream(range).await.try_collect().await
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<RaftEntry>> {
        let entries: Vec<Entry> = self.entries.read(start..end, READ_BYTES).await?;
        entries.into_iter().map(types::entry_to_raft).collect()
    }

    async fn read_vote(&mut self) -> io::Result<Option<RaftVote>> {
        Ok(self.entries.state().vote.map(types::vote_to_raft))
    }

    /// The last entry of each term: openraft finds the term of any entry by them.
    async fn get_key_log_ids(&mut self, range: RangeInclusive<RaftLogId>) -> io::Result<Vec<RaftLogId>> {
        let indices = range.start().index..range.end().index.saturating_add(1);
        Ok(self.entries.terms(indices).into_iter().map(types::to_raft).collect())
    }
}

fn bounds(range: &impl RangeBounds<u64>) -> Range<u64> {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(last) => last.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    start..end
}
