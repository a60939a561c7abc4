//! What waits for the writer's thread.
//!
//! It has no limit of its own. Under the local rule a group has one proposal in flight and waits for its fate, so at most
//! one for each group is queued, and their bytes are bounded by the runtime's admission. Under consensus a follower has
//! queued what its leader has on the way to it, which consensus bounds. Of notes the latest of each group is kept.

use super::chore::Finished;
use super::job::Job;
use super::record::Record;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex};
use tokio::sync::Notify;

#[derive(Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    bell: Bell,
}

/// Wakes whoever drives the writer.
enum Bell {
    Thread(Condvar),
    Task(Notify),
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    notes: BTreeMap<u32, Record>,
    finished: Option<Finished>,
    closed: bool,
}

/// What the writer's thread found.
pub(crate) struct Taken {
    /// By group; they are about nothing later than the jobs taken so far.
    pub(crate) notes: BTreeMap<u32, Record>,
    pub(crate) finished: Option<Finished>,
    pub(crate) closed: bool,
}

impl Queue {
    /// A queue that a task waits at, and no thread.
    pub(crate) fn of_a_task() -> Self {
        Self { bell: Bell::Task(Notify::new()), ..Self::default() }
    }

    /// Adds a job, unless the queue is closed: then the job is answered by being dropped.
    pub(crate) fn push(&self, job: Job) {
        let mut state = super::lock(&self.state);
        if state.closed {
            drop(state);
            drop(job);
            return;
        }
        state.jobs.push_back(job);
        drop(state);
        self.bell.ring();
    }

    /// Leaves a record for the next batch, in the place of an earlier one of its group. It wakes nobody.
    pub(crate) fn note(&self, record: Record) {
        let mut state = super::lock(&self.state);
        if !state.closed {
            state.notes.insert(record.group, record);
        }
    }

    /// Brings the result of a chore.
    pub(crate) fn finish(&self, finished: Finished) {
        super::lock(&self.state).finished = Some(finished);
        self.bell.ring();
    }

    /// Takes no more jobs; those that wait are still done.
    pub(crate) fn close(&self) {
        super::lock(&self.state).closed = true;
        self.bell.ring();
    }

    /// Moves all that waits to the end of `jobs`. Waits until there is something to do, on a thread; a task that has
    /// [to wait](Queue::rung) does that before.
    pub(crate) fn take(&self, jobs: &mut VecDeque<Job>, wait: Wait) -> Taken {
        let mut state = super::lock(&self.state);
        if let Bell::Thread(wake) = &self.bell {
            let is_idle = |state: &mut State| match wait {
                Wait::No => false,
                Wait::ForChore => state.finished.is_none(),
                Wait::ForAnything => state.jobs.is_empty() && state.finished.is_none() && !state.closed,
            };
            state = wake.wait_while(state, is_idle).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        jobs.append(&mut state.jobs);
        let notes = std::mem::take(&mut state.notes);
        Taken { notes, finished: state.finished.take(), closed: state.closed }
    }
}

impl Queue {
    /// Waits, on a task, until something has come since the last time.
    pub(crate) async fn rung(&self) {
        match &self.bell {
            Bell::Task(notify) => notify.notified().await,
            Bell::Thread(_) => unreachable!("a thread waits where it takes"),
        }
    }
}

impl Bell {
    fn ring(&self) {
        match self {
            Self::Thread(wake) => wake.notify_one(),
            Self::Task(notify) => notify.notify_one(),
        }
    }
}

impl Default for Bell {
    fn default() -> Self {
        Self::Thread(Condvar::new())
    }
}

/// What the writer's thread waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    No,
    ForChore,
    ForAnything,
}
