//! Bugs that are put in to see that they are found.

use bytes::Bytes;
use runtime::log::{Done, Ear, Entry, Error, ShardLog, Standing, Sure, Tenure};
use std::sync::Arc;

/// What is wrong, if anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planted {
    Nothing,
    /// The disk says that it has synced, and does so later.
    EarlyAck,
    /// Whoever leads, as far as it knows, answers at once.
    NoBarrier,
}

/// A log that needs no proof of anybody's lead.
pub struct Unguarded(pub Arc<dyn ShardLog>);

impl ShardLog for Unguarded {
    fn listen(&self, ear: Ear) -> Standing {
        self.0.listen(ear)
    }

    fn read(&self, after: u64, through: u64, bytes: usize) -> Result<Vec<Entry>, Error> {
        self.0.read(after, through, bytes)
    }

    fn recent(&self, after: u64, through: u64, bytes: usize) -> Option<Vec<Entry>> {
        self.0.recent(after, through, bytes)
    }

    fn propose(&self, tenure: Tenure, payload: Bytes, done: Done) {
        self.0.propose(tenure, payload, done);
    }

    fn propose_upkeep(&self, tenure: Tenure, payload: Bytes, done: Done) {
        self.0.propose_upkeep(tenure, payload, done);
    }

    fn needs_confirming(&self) -> bool {
        false
    }

    fn confirm(&self, _tenure: Tenure, sure: Sure) {
        sure(Ok(()));
    }

    fn purge(&self, index: u64) {
        self.0.purge(index);
    }
}
