//! Proofs that this node leads: one for all who asked before it was begun.
//!
//! A proof asks a quorum, so it costs messages whoever wants it. While one is under way, whoever asks waits for the next:
//! only a proof that is younger than the question answers it.

use super::leading;
use super::machine::Machine;
use super::types::Types;
use crate::group::Telling;
use openraft::Raft;
use runtime::log::{Error, Sure, Tenure};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The proofs of one group.
pub(super) struct Confirming {
    raft: Raft<Types, Machine>,
    telling: Arc<Telling>,
    patience: Duration,
    runtime: tokio::runtime::Handle,
    asked: Arc<Mutex<Asked>>,
}

/// Who waits. A shard asks once at a time, so these are few.
#[derive(Default)]
struct Asked {
    waiting: Vec<(Tenure, Sure)>,
    /// Somebody sees to those who wait.
    is_attended: bool,
}

impl Confirming {
    /// Asks on the runtime that this is called on.
    pub(super) fn new(raft: Raft<Types, Machine>, telling: Arc<Telling>, patience: Duration) -> Self {
        let runtime = tokio::runtime::Handle::current();
        Self { raft, telling, patience, runtime, asked: Arc::default() }
    }

    /// Answers when a quorum has said, after this call, that this node leads.
    pub(super) fn ask(&self, tenure: Tenure, sure: Sure) {
        let mut asked = lock(&self.asked);
        asked.waiting.push((tenure, sure));
        if std::mem::replace(&mut asked.is_attended, true) {
            return;
        }
        drop(asked);
        let (raft, telling, patience) = (self.raft.clone(), self.telling.clone(), self.patience);
        let asked = self.asked.clone();
        self.runtime.spawn(async move {
            while let Some(waiting) = next(&asked) {
                let confirmed = leading::confirmed(&raft, patience).await;
                for (tenure, sure) in waiting {
                    let leads = confirmed && telling.tenure() == Some(tenure);
                    sure(if leads { Ok(()) } else { Err(Error::NotLeader { term: tenure.term }) });
                }
            }
        });
    }
}

/// Those who wait now; none when nobody does, and then whoever asks next has to see to it.
fn next(asked: &Mutex<Asked>) -> Option<Vec<(Tenure, Sure)>> {
    let mut asked = lock(asked);
    let waiting = std::mem::take(&mut asked.waiting);
    asked.is_attended = !waiting.is_empty();
    asked.is_attended.then_some(waiting)
}

/// The lock guards memory only, and nothing that panics is left half done under it.
fn lock(asked: &Mutex<Asked>) -> MutexGuard<'_, Asked> {
    asked.lock().unwrap_or_else(PoisonError::into_inner)
}
