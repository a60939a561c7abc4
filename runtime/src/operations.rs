//! The port to the cluster for whoever operates it: how its nodes and shards are, and what they are told to do.
//!
//! Behind it nobody asks who is asking: that is done before, as is the audit. What is refused has changed nothing, and
//! says what to do next.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use twins::time::Timestamp;

/// A future of the port.
pub type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What an operator can see of a cluster and do to it, by way of any of its nodes. The cluster fills this port.
pub trait Operations: Send + Sync + 'static {
    /// How it is, as far as this node knows. It waits for no other one.
    fn status(&self) -> Boxed<Status>;

    /// Has it do something. It returns when that is decided, which is before it is done: [`Operations::status`] says how
    /// far it is.
    fn order(&self, order: Order) -> Boxed<Result<Outcome, Refused>>;
}

/// What an operator orders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Make this node, which is alone, the first of a cluster.
    Found,
    /// Make a token, with which one more node joins.
    Invite,
    /// Give a node's shards to others.
    Drain {
        /// The node.
        node: u64,
    },
    /// Have a node leave for good; its number never comes back.
    Remove {
        /// The node.
        node: u64,
    },
    /// Move a replica of a shard.
    Move {
        /// The shard.
        shard: u32,
        /// The node that has it.
        from: u64,
        /// The node that gets it.
        to: u64,
    },
    /// Move nothing by itself any more, or go on with it.
    Freeze {
        /// Whether nothing moves.
        frozen: bool,
    },
}

/// As the audit names it.
impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Found => f.write_str("init"),
            Self::Invite => f.write_str("token"),
            Self::Drain { node } => write!(f, "drain node {node}"),
            Self::Remove { node } => write!(f, "remove node {node}"),
            Self::Move { shard, from, to } => write!(f, "move shard {shard} from node {from} to node {to}"),
            Self::Freeze { frozen: true } => f.write_str("freeze"),
            Self::Freeze { frozen: false } => f.write_str("freeze off"),
        }
    }
}

/// What came of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is decided.
    Decided,
    /// A node may join with this.
    Invited(Invitation),
}

/// What one node may join with, once.
#[derive(Clone, PartialEq, Eq)]
pub struct Invitation {
    /// The cluster.
    pub cluster: String,
    /// The token, which is not kept.
    pub token: String,
    /// When it ends.
    pub expires: Timestamp,
}

/// The token never gets into a log by accident.
impl fmt::Debug for Invitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invitation").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

/// Why an order was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}\nnext: {next}")]
pub struct Refused {
    /// What kind of reason it is.
    pub reason: Reason,
    /// In words.
    pub why: String,
    /// What to do.
    pub next: String,
}

/// What kind of reason a refusal has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It contradicts what is there.
    Conflict,
    /// What it is about is not there.
    Unknown,
    /// It cannot be decided now: the same may be ordered later.
    NotNow,
    /// Nobody knows whether it was decided.
    OutcomeUnknown,
}

impl Refused {
    /// Says so.
    pub fn new(reason: Reason, why: impl Into<String>, next: impl Into<String>) -> Self {
        Self { reason, why: why.into(), next: next.into() }
    }
}

/// How a cluster is, as one of its nodes knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// Which cluster it is; `None` of a node that is alone.
    pub cluster: Option<String>,
    /// The node that says this.
    pub node: u64,
    /// Whether nothing moves by itself.
    pub frozen: bool,
    /// The nodes, by number.
    pub nodes: Vec<Node>,
    /// The shards, by number.
    pub shards: Vec<Shard>,
    /// What needs an eye, with what to do.
    pub warnings: Vec<String>,
}

/// A node of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its number.
    pub node: u64,
    /// Where others reach it, as far as that is known.
    pub address: Option<String>,
    /// Where it stands: `zone=a`.
    pub location: String,
    /// Where it is in its life-cycle.
    pub state: NodeState,
    /// How often it was started.
    pub generation: u64,
    /// Its software.
    pub version: String,
    /// Whether the node that says this hears it.
    pub contact: Contact,
}

/// Where a node is in its life-cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeState {
    /// It has joined, and holds nothing yet.
    Provisioning,
    /// It holds shards.
    Active,
    /// It gives its shards away.
    Draining,
    /// It has left.
    Gone,
}

impl NodeState {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Provisioning => "provisioning",
            Self::Active => "active",
            Self::Draining => "draining",
            Self::Gone => "gone",
        }
    }
}

/// Whether a node is heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contact {
    /// It is the one that says this.
    Itself,
    /// It is.
    Reached,
    /// It was not for so long.
    Silent(Duration),
}

/// A shard of a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shard {
    /// Its number.
    pub shard: u32,
    /// The nodes that hold it.
    pub replicas: Vec<u64>,
    /// The one that leads it, as far as that is known.
    pub leader: Option<u64>,
    /// The leader's term.
    pub term: u64,
    /// How many entries the last of its replicas is behind; the leader alone knows.
    pub lag: Option<u64>,
    /// The nodes that are to hold it, while it moves.
    pub moves_to: Option<Vec<u64>>,
    /// Why it takes nothing, where it does not.
    pub stuck: Option<Stuck>,
}

/// Why a shard takes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stuck {
    /// In words.
    pub why: String,
    /// Its nodes that are not heard.
    pub missing: Vec<u64>,
    /// What to do.
    pub next: String,
}

/// The operations of a node that has nothing of a cluster: it says that it is alone, and does nothing.
#[derive(Debug, Clone, Copy)]
pub struct Alone {
    /// Its number.
    pub node: u64,
}

impl Operations for Alone {
    fn status(&self) -> Boxed<Status> {
        Box::pin(std::future::ready(Status { node: self.node, ..Status::default() }))
    }

    fn order(&self, _: Order) -> Boxed<Result<Outcome, Refused>> {
        let next =
            "start it with serve --cluster ADDR, and make it the first of a cluster: twinfold cluster init";
        Box::pin(std::future::ready(Err(Refused::new(Reason::Conflict, "this node is alone", next))))
    }
}
