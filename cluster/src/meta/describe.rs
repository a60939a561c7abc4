//! What an entry of the meta group's log says, in words and without secrets.

use super::Command;
use super::command::Entry;

/// An entry in words; `None` where it is not readable.
pub fn describe(payload: &[u8]) -> Option<String> {
    let Entry { command, .. } = Entry::decode(payload).ok()?;
    Some(match command {
        Command::RegisterNode { node, generation, .. } => {
            format!("node {node} starts, generation {generation}")
        }
        Command::SetNodeState { node, state } => format!("node {node} is {state:?}"),
        Command::CreateDomain { name, shards } => format!("domain {name} has {shards} shards"),
        Command::SealUnder { .. } => "all secrets are sealed under one master key".to_owned(),
        Command::Directory(entry) => {
            let subject = entry.change.subject().map_or_else(String::new, |subject| format!(" {subject}"));
            format!("{}: {}{subject}, by {}", entry.tenant, entry.change.action(), entry.by)
        }
        Command::FoundCluster { id, node, .. } => {
            format!("node {node} begins cluster {:032x}", u128::from_be_bytes(id))
        }
        Command::AddToken { expires, .. } => format!("a token to join is made, until {expires}"),
        Command::Join { address, .. } => format!("a node joins at {address}"),
        Command::Place { shard, replicas } => format!("shard {shard} is placed on {replicas:?}"),
        Command::ProposeMove { shard, target, .. } => format!("shard {shard} is to move to {target:?}"),
        Command::AdvanceMove { shard } => format!("shard {shard} has moved"),
        Command::AbortMove { shard } => format!("the move of shard {shard} is undone"),
        Command::Dropped { shard, node } => format!("node {node} has nothing left of shard {shard}"),
        Command::SetLeaderPreference { shard, node } => format!("node {node} should lead shard {shard}"),
        Command::FreezePlacement(true) => "placement is frozen".to_owned(),
        Command::FreezePlacement(false) => "placement goes on".to_owned(),
        Command::RaiseFeatureLevel(level) => format!("the feature level is {level}"),
        Command::RevokeCert { fingerprint } => format!("certificate {fingerprint} is revoked"),
    })
}
