//! The meta group: what the nodes agree on about themselves, which nodes there are and how keys map to shards; and the
//! [directory](runtime::directory), who may come in and what they may do.
//!
//! Its log is group 0, and its state is made by that log alone. The log is never purged: it holds some hundred bytes
//! for each start of a node and each change of an operator, and its tail is moved forward with the log's old segments.
//! So there is no snapshot to keep, a start replays it from the beginning, and it is the audit of the directory itself.

mod command;
mod definitions;
mod describe;
mod following;
mod joining;
mod nodes;
mod shards;
mod state;

pub use command::{Command, NodeState};
pub use describe::describe;
pub use joining::{Cluster, Token};
pub use nodes::Node;
pub use shards::{Placement, REPLICAS_MAX, deciding};
pub use state::{Domain, SLOTS, State};

use crate::Error;
use command::Entry;
use following::Heard;
use runtime::directory::{Changes, Refused};
use runtime::log::{Error as LogError, LogId, ShardLog, Tenure};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use tokio::sync::watch;

/// How much of the log is read at once, in bytes.
const READ_BYTES: usize = 1 << 20;

/// The meta group's state machine on this node, and the way to change it.
pub struct Meta {
    log: Arc<dyn ShardLog>,
    heard: Arc<watch::Sender<Heard>>,
    /// The last entry that the state has.
    through: AtomicU64,
    state: Mutex<Arc<State>>,
    /// Held by whoever brings the state forward.
    applying: Mutex<()>,
    changes: Changes,
    /// Held while a command waits for its commit, since each is decided on the state that the one before left.
    proposing: Mutex<()>,
}

/// Why a command was not carried out. Nothing has changed then, [`Refusal::Log`] with `Unknown` excepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The state is no longer the one that the command was decided on.
    #[error("the meta state has version {current}, not {expected}; read it again and decide again")]
    Stale {
        /// What the command was conditional on.
        expected: u64,
        /// What the state has.
        current: u64,
    },
    /// The command makes no sense in the state of this version.
    #[error("{reason} (meta version {current})")]
    Unfit {
        /// Why not.
        reason: String,
        /// The state's version.
        current: u64,
    },
    /// The change of the directory makes no sense there.
    #[error(transparent)]
    Directory(#[from] Refused),
    /// The log did not take it.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl Meta {
    /// Listens to the group and replays its log.
    ///
    /// # Errors
    /// [`Error::Log`] when the log cannot be read, [`Error::Meta`] when an entry is not understood.
    pub fn open(log: Arc<dyn ShardLog>) -> Result<Self, Error> {
        let heard = following::listen(&*log);
        let meta = Self {
            log,
            heard,
            through: AtomicU64::new(0),
            state: Mutex::default(),
            applying: Mutex::default(),
            changes: Changes::new(0),
            proposing: Mutex::default(),
        };
        meta.catch_up()?;
        Ok(meta)
    }

    /// The committed state.
    #[must_use]
    pub fn state(&self) -> Arc<State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Carries out a command if the state still has version `expected`, and answers the version after it. A command
    /// whose effect is already there is answered with the current version, whatever was expected, so it may be retried.
    ///
    /// Blocks until the commit: not for the thread of an async runtime.
    ///
    /// # Errors
    /// See [`Refusal`]; [`LogError::NotLeader`] where another node leads the group.
    pub fn execute(&self, command: Command, expected: u64) -> Result<u64, Refusal> {
        let _proposing = self.proposing.lock().unwrap_or_else(PoisonError::into_inner);
        let tenure = self.tenure().ok_or(LogError::NotLeader { term: 0 })?;
        self.catch_up().map_err(|error| LogError::Unreadable(error.to_string()))?;
        let before = self.state();
        let mut after = State::clone(&before);
        let version = after.apply(expected, &command)?;
        if version == before.version {
            return Ok(version);
        }
        let id = self.commit(tenure, &Entry { expected, command })?;
        // Nothing is between what it was decided on and the entry: nobody else proposes in this tenure.
        self.decided(id.index, after);
        Ok(version)
    }

    fn commit(&self, tenure: Tenure, entry: &Entry) -> Result<LogId, LogError> {
        let (sender, fate) = mpsc::channel();
        let done = Box::new(move |result| drop(sender.send(result)));
        self.log.propose(tenure, entry.encode().into(), done);
        fate.recv().unwrap_or_else(|_| Err(LogError::Unknown("the log dropped the entry".to_owned())))
    }
}

/// Shows the entries of the log behind an index and through another, until `visit` returns false.
fn replay(
    log: &dyn ShardLog,
    mut after: u64,
    through: u64,
    visit: &mut dyn FnMut(Entry) -> bool,
) -> Result<(), Error> {
    loop {
        let entries = log.read(after, through, READ_BYTES)?;
        let Some(last) = entries.last() else { return Ok(()) };
        after = last.id.index;
        for entry in entries {
            let index = entry.id.index;
            let decoded = Entry::decode(&entry.payload);
            if !visit(decoded.map_err(|error| Error::Meta { index, reason: error.to_string() })?) {
                return Ok(());
            }
        }
    }
}
