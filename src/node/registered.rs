//! What a node tells the meta group when it starts, and what it takes from there: who it is, and which shard has a key.

use std::path::Path;
use std::sync::Arc;

use cluster::SHARDS;
use cluster::meta::{Command, Meta, NodeState, Refusal};
use gateway::trust::vault::Vault;

use super::{Error, LONE};

/// The placement domain of a node that serves one.
const DOMAIN: &str = "default";

/// A node that has started.
pub(super) struct Started {
    pub(super) node: u64,
    pub(super) generation: u64,
    /// Where other nodes reach it, as far as it knows.
    pub(super) address: Option<String>,
    /// Where it stands, where that is said.
    pub(super) location: Option<String>,
}

/// Makes this node known and active, and the domain of its shards; returns the shard of each slot. Blocks.
pub(super) fn register(meta: &Meta, started: Started) -> Result<Arc<[u32]>, Refusal> {
    let Started { node, generation, address, location } = started;
    let known = meta.state().nodes.get(&node).map(|known| known.location.clone());
    let register = Command::RegisterNode {
        node,
        generation,
        location: location.or(known).unwrap_or_default(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        address,
        fingerprint: None,
        feature: None,
    };
    let is_draining = |state: NodeState| matches!(state, NodeState::Draining | NodeState::Gone);
    let stays = meta.state().nodes.get(&node).is_some_and(|known| is_draining(known.state));
    let active = (!stays).then_some(Command::SetNodeState { node, state: NodeState::Active });
    let domain = Command::CreateDomain { name: DOMAIN.into(), shards: SHARDS };
    for command in [register, domain].into_iter().chain(active) {
        meta.execute_blocking(command, meta.state().version)?;
    }
    let state = meta.state();
    let domain = &state.domains[DOMAIN];
    Ok((0..=u16::MAX).map(|slot| domain.shard(slot)).collect())
}

/// Makes the node of a folder known that does not run, with the master key that its secrets are sealed under. Blocks.
pub(crate) fn make_known(data: &Path, meta: &Meta, generation: u64, vault: &Vault) -> Result<(), Error> {
    register(meta, Started { node: LONE, generation, address: None, location: None })?;
    match meta.state().sealed_under {
        Some(check) if check != vault.check() => Err(Error::OtherMasterKey(data.to_owned())),
        Some(_) => Ok(()),
        None => Ok(seal_under(meta, vault.check())?),
    }
}

/// Lets nothing be sealed under another master key from now on. Blocks.
pub(super) fn seal_under(meta: &Meta, check: [u8; 32]) -> Result<(), Refusal> {
    meta.execute_blocking(Command::SealUnder { check }, meta.state().version).map(drop)
}
