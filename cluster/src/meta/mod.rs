//! The meta group: what the nodes agree on about themselves, which nodes there are and how keys map to shards; and the
//! [directory](runtime::directory), who may come in and what they may do.
//!
//! Its log is group 0, and its state is made by that log alone. The log is never purged: it holds some hundred bytes
//! for each start of a node and each change of an operator, and its tail is moved forward with the log's old segments.
//! So there is no snapshot to keep, a start replays it from the beginning, and it is the audit of the directory itself.
//!
//! Every node of a cluster takes part in the group, so that each has the [`State`] and answers from it by itself. A change
//! is a [`Command`], conditional on the version of the state that it was decided on: [`Meta::execute`] brings it to the
//! leader, whichever node that is, through the port [`Elsewhere`].

mod blocking;
mod command;
mod definitions;
mod describe;
mod elsewhere;
mod execute;
mod follow;
mod joining;
mod nodes;
mod refusal;
mod shards;
mod state;

pub use command::{Command, NodeState};
pub use describe::describe;
pub use elsewhere::{Elsewhere, NotAnswered};
pub use joining::{Cluster, Token};
pub use nodes::Node;
pub use refusal::Refusal;
pub use shards::{Placement, REPLICAS_MAX, deciding};
pub use state::{Domain, SLOTS, State};

use crate::Error;
use command::Entry;
use follow::Following;
use runtime::log::{ShardLog, Tenure};
use std::future::Future;
use std::sync::{Arc, OnceLock};
use tokio::sync::watch;

/// How much of the log is read at once, in bytes.
const READ_BYTES: usize = 1 << 20;

/// The meta group's state machine on this node, and the way to change it.
pub struct Meta {
    following: Arc<Following>,
    /// Held while a command waits for its commit.
    proposing: Arc<tokio::sync::Mutex<()>>,
    elsewhere: OnceLock<Arc<dyn Elsewhere>>,
}

/// What this node is to the meta group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It leads, and has applied all that was committed before.
    Leads(Tenure),
    /// It does not, or not yet.
    Follows {
        /// Who leads, where that is known.
        leader: Option<u64>,
    },
}

impl Meta {
    /// Makes the state of what is committed in the group's log, whether this node leads it or not. Blocks.
    ///
    /// # Errors
    /// [`Error::Log`] when the log cannot be read, [`Error::Meta`] when an entry is not understood.
    pub fn open(log: Arc<dyn ShardLog>) -> Result<Self, Error> {
        let following = Following::open(log)?;
        Ok(Self { following, proposing: Arc::default(), elsewhere: OnceLock::new() })
    }

    /// Carries out what other nodes propose, until the group is dropped: to be spawned before there are other nodes. A
    /// node that is alone needs no such task.
    pub fn follow(&self) -> impl Future<Output = ()> + Send + 'static {
        Following::follow(Arc::downgrade(&self.following))
    }

    /// How the leader is asked where this node does not lead. The first one stays.
    pub fn reach(&self, elsewhere: Arc<dyn Elsewhere>) {
        drop(self.elsewhere.set(elsewhere));
    }

    /// The state, as far as it is committed and applied here. It waits for nobody.
    #[must_use]
    pub fn state(&self) -> Arc<State> {
        self.following.state.borrow().clone()
    }

    /// Turns with every change of the state. Each is a newer one; what is in between may be left out.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<State>> {
        self.following.state.subscribe()
    }

    /// Turns when this node leads the group, and when it does not any more.
    #[must_use]
    pub fn role(&self) -> watch::Receiver<Role> {
        self.following.role.subscribe()
    }
}

/// Shows the entries of the log through an index, until `visit` returns false.
fn replay(log: &dyn ShardLog, through: u64, visit: &mut dyn FnMut(u64, Entry) -> bool) -> Result<(), Error> {
    let mut after = 0;
    loop {
        let entries = log.read(after, through, READ_BYTES)?;
        let Some(last) = entries.last() else { return Ok(()) };
        after = last.id.index;
        for entry in &entries {
            let (index, entry) = follow::decode(entry)?;
            if !visit(index, entry) {
                return Ok(());
            }
        }
    }
}
