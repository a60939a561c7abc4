//! What a node tells the meta group when it starts, and what it takes from there: who it is, and which shard has a key.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cluster::SHARDS;
use cluster::meta::{Command, Domain, Meta, NodeState, Refusal, State};
use gateway::trust::vault::Vault;

use super::{Error, LONE};

/// The placement domain of a node that serves one.
const DOMAIN: &str = "default";

/// How long a node waits before it says again that it is there.
const AGAIN: Duration = Duration::from_millis(500);

/// A node that has started.
pub(super) struct Started {
    pub(super) node: u64,
    pub(super) generation: u64,
    /// Where other nodes reach it, as far as it knows.
    pub(super) address: Option<String>,
    /// Where it stands, where that is said.
    pub(super) location: Option<String>,
}

impl Started {
    /// What makes this node known and active, and the domain of its shards.
    fn commands(&self, state: &State) -> impl Iterator<Item = Command> + use<> {
        let Self { node, generation, address, location } = self;
        let known = state.nodes.get(node);
        let location = location.clone().or_else(|| known.map(|known| known.location.clone()));
        let register = Command::RegisterNode {
            node: *node,
            generation: *generation,
            location: location.unwrap_or_default(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            address: address.clone(),
            fingerprint: None,
            feature: None,
        };
        let domain = Command::CreateDomain { name: DOMAIN.into(), shards: SHARDS };
        let stays = known.is_some_and(|known| matches!(known.state, NodeState::Draining | NodeState::Gone));
        let active = (!stays).then_some(Command::SetNodeState { node: *node, state: NodeState::Active });
        [register, domain].into_iter().chain(active)
    }
}

/// The shard of each slot.
pub(super) fn slots() -> Arc<[u32]> {
    let domain = Domain { first: 0, shards: SHARDS };
    (0..=u16::MAX).map(|slot| domain.shard(slot)).collect()
}

/// Makes a node known that is alone. Blocks.
pub(super) fn register(meta: &Meta, started: &Started) -> Result<(), Refusal> {
    for command in started.commands(&meta.state()) {
        meta.execute_blocking(command, meta.state().version)?;
    }
    Ok(())
}

/// Makes a node known to the others, as soon as they can be asked.
pub(super) async fn announce(meta: Arc<Meta>, started: Started) {
    loop {
        match told(&meta, &started).await {
            Ok(()) => return,
            Err(error @ (Refusal::Unfit { .. } | Refusal::Directory(_))) => {
                return tracing::error!(node = started.node, %error, "the others do not take this node as it is");
            }
            // Nobody leads yet, or something else was decided in between.
            Err(error) => {
                tracing::debug!(node = started.node, %error, "the others were not told that this node is there")
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn told(meta: &Meta, started: &Started) -> Result<(), Refusal> {
    let mut version = meta.refresh().await?;
    for command in started.commands(&meta.state()) {
        version = meta.execute(command, version).await?;
    }
    Ok(())
}

/// Makes the node of a folder known that does not run, with the master key that its secrets are sealed under. Blocks.
pub(crate) fn make_known(data: &Path, meta: &Meta, generation: u64, vault: &Vault) -> Result<(), Error> {
    register(meta, &Started { node: LONE, generation, address: None, location: None })?;
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
