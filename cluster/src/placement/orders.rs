//! What an operator may ask of placement, as commands that bring it about, or as the reason why they are not given.
//!
//! The commands are decided on the state that was given, and are executed one after the other from its version on.

use crate::meta::{Command, NodeState, State};

/// Why an order is not carried out. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// There is no such node.
    #[error("there is no node {node}; `twinfold cluster status` lists them")]
    UnknownNode {
        /// Its number.
        node: u64,
    },
    /// It has left.
    #[error("node {node} has left for good")]
    Gone {
        /// Its number.
        node: u64,
    },
    /// It takes no shards.
    #[error("node {node} is {state:?}, and only an active node is given shards")]
    NotActive {
        /// Its number.
        node: u64,
        /// What it is.
        state: NodeState,
    },
    /// Nobody could take its shards.
    #[error("node {node} is the only active one; join another one first, to which its shards can go")]
    LastNode {
        /// Its number.
        node: u64,
    },
    /// It has shards still.
    #[error(
        "node {node} has {shards} shards still; run `twinfold cluster drain {node}`, and wait until it has none"
    )]
    HasShards {
        /// Its number.
        node: u64,
        /// How many.
        shards: usize,
    },
    /// It was not drained, and would be given shards again at once.
    #[error("node {node} is active; run `twinfold cluster drain {node}` first")]
    NotDrained {
        /// Its number.
        node: u64,
    },
    /// There is no such shard.
    #[error("there is no shard {shard}, or it is placed nowhere yet")]
    UnknownShard {
        /// Its number.
        shard: u32,
    },
    /// One thing at a time.
    #[error("shard {shard} is being moved to nodes {target:?}; wait until it is there")]
    Moving {
        /// The shard.
        shard: u32,
        /// Where it goes.
        target: Vec<u64>,
    },
    /// It cannot be taken from there.
    #[error("node {node} does not have shard {shard}; nodes {replicas:?} do")]
    NotReplica {
        /// The shard.
        shard: u32,
        /// The node.
        node: u64,
        /// Who has it.
        replicas: Vec<u64>,
    },
    /// It cannot be given there.
    #[error("node {node} has shard {shard} already")]
    Replica {
        /// The shard.
        shard: u32,
        /// The node.
        node: u64,
    },
    /// What it had of the shard before is still there.
    #[error(
        "node {node} has not dropped yet what it had of shard {shard}; it does so as soon as it runs, try again"
    )]
    Former {
        /// The shard.
        shard: u32,
        /// The node.
        node: u64,
    },
    /// Nothing may move.
    #[error("placement is frozen; run `twinfold cluster freeze --off` first")]
    Frozen,
}

/// A node gives its shards away, and takes no more.
///
/// # Errors
/// [`Rejection::LastNode`] where nobody could take them; `UnknownNode`, `Gone`.
pub fn drain(state: &State, node: u64) -> Result<Vec<Command>, Rejection> {
    match known(state, node)? {
        NodeState::Draining => Ok(Vec::new()),
        _ if state.active().all(|other| other == node) => Err(Rejection::LastNode { node }),
        _ => Ok(vec![Command::SetNodeState { node, state: NodeState::Draining }]),
    }
}

/// A node that was drained leaves for good: it is believed no more, and its number never comes back.
///
/// # Errors
/// [`Rejection::HasShards`], [`Rejection::NotDrained`], `UnknownNode`.
pub fn remove(state: &State, node: u64) -> Result<Vec<Command>, Rejection> {
    let is = match known(state, node) {
        Err(Rejection::Gone { .. }) => return Ok(Vec::new()),
        known => known?,
    };
    let shards = state.shards_of(node).count();
    if shards > 0 {
        return Err(Rejection::HasShards { node, shards });
    }
    if is == NodeState::Active {
        return Err(Rejection::NotDrained { node });
    }
    let gone = Command::SetNodeState { node, state: NodeState::Gone };
    let fingerprint = state.nodes.get(&node).and_then(|node| node.fingerprint);
    let fingerprint = fingerprint.map(runtime::directory::audit::Fingerprint);
    let revoke = fingerprint.map(|fingerprint| Command::RevokeCert { fingerprint });
    Ok([gone].into_iter().chain(revoke).collect())
}

/// A shard goes from one node to another, and stays there as long as it can.
///
/// # Errors
/// What is wrong with the shard, or with either node.
pub fn move_shard(state: &State, shard: u32, from: u64, to: u64) -> Result<Vec<Command>, Rejection> {
    let placement = state.shards.get(&shard).ok_or(Rejection::UnknownShard { shard })?;
    let replicas = placement.goal();
    let stands = known(state, to)?;
    if state.is_frozen {
        return Err(Rejection::Frozen);
    }
    if let Some(target) = &placement.target {
        return Err(Rejection::Moving { shard, target: target.clone() });
    }
    if !replicas.contains(&from) {
        return Err(Rejection::NotReplica { shard, node: from, replicas: replicas.to_vec() });
    }
    if replicas.contains(&to) {
        return Err(Rejection::Replica { shard, node: to });
    }
    if stands != NodeState::Active {
        return Err(Rejection::NotActive { node: to, state: stands });
    }
    if placement.former.contains(&to) {
        return Err(Rejection::Former { shard, node: to });
    }
    let target = replicas.iter().map(|node| if *node == from { to } else { *node }).collect();
    Ok(vec![Command::ProposeMove { shard, target, pinned: true }])
}

/// Nothing moves until it is thawed.
#[must_use]
pub fn freeze(state: &State, is_frozen: bool) -> Vec<Command> {
    match state.is_frozen == is_frozen {
        true => Vec::new(),
        false => vec![Command::FreezePlacement(is_frozen)],
    }
}

fn known(state: &State, node: u64) -> Result<NodeState, Rejection> {
    match state.nodes.get(&node).ok_or(Rejection::UnknownNode { node })?.state {
        NodeState::Gone => Err(Rejection::Gone { node }),
        state => Ok(state),
    }
}
