//! The meta state: a function of the commands that were committed, the same on all nodes.

use super::command::Entry;
use super::joining::{Cluster, Token};
use super::nodes::Node;
use super::shards::Placement;
use super::{Command, Refusal};
use crate::transport::authority::Fingerprint;
use crate::{Error, SHARDS};
use runtime::directory::Directory;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How many slots a domain's keys hash to.
pub const SLOTS: u32 = 1 << 16;

/// What the nodes agree on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// How many commands have changed the state.
    pub version: u64,
    /// The nodes, by number.
    pub nodes: BTreeMap<u64, Node>,
    /// The placement domains, by name.
    pub domains: BTreeMap<String, Domain>,
    /// Who may come in, and what they may do.
    pub directory: Arc<Directory>,
    /// What whoever has the master key knows, once something may be sealed under it.
    pub sealed_under: Option<[u8; 32]>,
    /// The cluster, once it is founded.
    pub cluster: Option<Cluster>,
    /// The tokens to join by, by the hash of their secret. Those that have expired go with the next command about tokens.
    pub tokens: BTreeMap<Fingerprint, Token>,
    /// Certificates that are believed no more.
    pub revoked: BTreeSet<Fingerprint>,
    /// Where the shards are, once the cluster is founded. The numbers of the shards of all domains are different.
    pub shards: BTreeMap<u32, Placement>,
    /// Whether no move may begin.
    pub is_frozen: bool,
    /// The feature level that all nodes know.
    pub feature: u32,
}

/// A placement domain: 65,536 slots spread over consecutive shards in equal runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Domain {
    /// Its first shard.
    pub first: u32,
    /// How many it has.
    pub shards: u32,
}

impl Domain {
    /// The shard of a slot.
    #[must_use]
    pub fn shard(&self, slot: u16) -> u32 {
        self.first + u32::from(slot) * self.shards / SLOTS
    }
}

impl State {
    /// Carries out a command that was decided on version `expected`, and answers the version after it.
    pub(crate) fn apply(&mut self, expected: u64, command: &Command) -> Result<u64, Refusal> {
        if self.has(command) {
            return Ok(self.version);
        }
        if expected != self.version {
            return Err(Refusal::Stale { expected, current: self.version });
        }
        self.carry_out(command)?;
        self.version += 1;
        Ok(self.version)
    }

    /// Carries out the entry that the log has at an index. One whose condition failed is in the log all the same, and
    /// changes nothing here either.
    pub(crate) fn replay(&mut self, index: u64, payload: &[u8]) -> Result<(), Error> {
        let decoded = Entry::decode(payload);
        let entry = decoded.map_err(|error| Error::Meta { index, reason: error.to_string() })?;
        drop(self.apply(entry.expected, &entry.command));
        Ok(())
    }

    /// What becomes of a command that was decided on a version that is no more.
    pub(super) fn judge(&self, entry: &Entry) -> Result<u64, Refusal> {
        match self.has(&entry.command) {
            true => Ok(self.version),
            false => Err(Refusal::Stale { expected: entry.expected, current: self.version }),
        }
    }

    fn carry_out(&mut self, command: &Command) -> Result<(), Refusal> {
        let outcome = match command {
            Command::RegisterNode { .. } => self.register(command),
            Command::SetNodeState { node, state } => self.set_node_state(*node, *state),
            Command::CreateDomain { name, shards } => self.create_domain(name, *shards),
            // Who holds the directory of the version before keeps that.
            Command::Directory(entry) => {
                Arc::make_mut(&mut self.directory).apply(entry)?;
                Ok(())
            }
            Command::SealUnder { check } => self.seal_under(*check),
            Command::FoundCluster { .. } => self.found(command),
            Command::AddToken { digest, expires, at } => self.add_token(digest.0, *expires, *at),
            Command::Join { .. } => self.join(command),
            Command::Place { shard, replicas } => self.place(*shard, replicas),
            Command::ProposeMove { shard, target, pinned } => self.propose_move(*shard, target, *pinned),
            Command::AdvanceMove { shard } => self.advance_move(*shard),
            Command::AbortMove { shard } => self.abort_move(*shard),
            Command::Dropped { shard, node } => self.dropped(*shard, *node),
            Command::SetLeaderPreference { shard, node } => self.prefer(*shard, *node),
            Command::FreezePlacement(is_frozen) => {
                self.is_frozen = *is_frozen;
                Ok(())
            }
            Command::RaiseFeatureLevel(level) => self.raise_feature_level(*level),
            Command::RevokeCert { fingerprint } => {
                self.revoked.insert(fingerprint.0);
                Ok(())
            }
        };
        outcome.map_err(|reason| Refusal::Unfit { reason, current: self.version })
    }

    /// Whether a command's effect is already there.
    fn has(&self, command: &Command) -> bool {
        match command {
            Command::RegisterNode { .. } => self.has_registered(command),
            Command::SetNodeState { node, state } => self.nodes.get(node).is_some_and(|n| n.state == *state),
            Command::CreateDomain { name, shards } => {
                self.domains.get(name).is_some_and(|d| d.shards == *shards)
            }
            // Each is a fact of its own in the audit.
            Command::Directory(_) => false,
            Command::SealUnder { check } => self.sealed_under == Some(*check),
            Command::FoundCluster { id, .. } => {
                self.cluster.as_ref().is_some_and(|cluster| cluster.id.0 == u128::from_be_bytes(*id))
            }
            Command::AddToken { digest, .. } => self.tokens.contains_key(&digest.0),
            Command::Join { token, fingerprint, .. } => self.joined_by(&token.0, &fingerprint.0).is_some(),
            Command::Place { shard, replicas } => {
                self.shards.get(shard).is_some_and(|placement| placement.goal() == replicas)
            }
            Command::ProposeMove { shard, target, .. } => self.is_moving_to(*shard, target),
            Command::AdvanceMove { shard } => self.is_at_rest(*shard),
            Command::AbortMove { shard } => {
                self.is_at_rest(*shard) || self.shards.get(shard).is_some_and(|placement| placement.is_undone)
            }
            Command::Dropped { shard, node } => {
                self.shards.get(shard).is_some_and(|placement| !placement.former.contains(node))
            }
            Command::SetLeaderPreference { shard, node } => {
                self.shards.get(shard).is_some_and(|placement| placement.preferred == Some(*node))
            }
            Command::FreezePlacement(is_frozen) => self.is_frozen == *is_frozen,
            Command::RaiseFeatureLevel(level) => self.feature >= *level,
            Command::RevokeCert { fingerprint } => self.revoked.contains(&fingerprint.0),
        }
    }

    fn seal_under(&mut self, check: [u8; 32]) -> Result<(), String> {
        if self.sealed_under.is_some() {
            return Err("its secrets are sealed under another master key".to_owned());
        }
        self.sealed_under = Some(check);
        Ok(())
    }

    fn create_domain(&mut self, name: &str, shards: u32) -> Result<(), String> {
        if !(1..=SHARDS).contains(&shards) {
            return Err(format!("a domain has {SHARDS} shards at most, not {shards}"));
        }
        // The shards of a node are those of one domain yet.
        if let Some(other) = self.domains.keys().next() {
            return Err(format!("the domain {other:?} has all shards"));
        }
        self.domains.insert(name.to_owned(), Domain { first: 0, shards });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::NodeState;
    use super::*;

    fn register(node: u64, generation: u64) -> Command {
        Command::register(node, generation, "here".to_owned(), "0.1.0".to_owned())
    }

    #[test]
    fn a_command_on_an_old_version_is_refused_with_the_current_one() {
        let mut state = State::default();
        assert_eq!(state.apply(0, &register(1, 1)), Ok(1));

        let refused = state.apply(0, &register(1, 2));

        assert_eq!(refused, Err(Refusal::Stale { expected: 0, current: 1 }));
        assert_eq!(state.nodes[&1].generation, 1);
    }

    #[test]
    fn a_repeat_changes_nothing_and_succeeds() {
        let mut state = State::default();
        state.apply(0, &register(1, 1)).unwrap();
        state.apply(1, &Command::SetNodeState { node: 1, state: NodeState::Active }).unwrap();
        let before = state.clone();

        assert_eq!(state.apply(0, &register(1, 1)), Ok(2));

        assert_eq!(state, before);
    }

    #[test]
    fn a_node_never_comes_back_with_an_old_generation_or_after_it_left() {
        let mut state = State::default();
        state.apply(0, &register(1, 5)).unwrap();
        assert!(matches!(state.apply(1, &register(1, 4)), Err(Refusal::Unfit { current: 1, .. })));
        assert_eq!(state.apply(1, &register(1, 6)), Ok(2));

        state.apply(2, &Command::SetNodeState { node: 1, state: NodeState::Gone }).unwrap();

        assert!(matches!(state.apply(3, &register(1, 7)), Err(Refusal::Unfit { current: 3, .. })));
    }

    #[test]
    fn what_is_sealed_under_one_master_key_is_never_sealed_under_another() {
        let mut state = State::default();
        let seal = |byte| Command::SealUnder { check: [byte; 32] };
        assert_eq!(state.apply(0, &seal(1)), Ok(1));

        assert_eq!(state.apply(0, &seal(1)), Ok(1));
        assert!(matches!(state.apply(1, &seal(2)), Err(Refusal::Unfit { current: 1, .. })));

        assert_eq!(state.sealed_under, Some([1; 32]));
    }

    #[test]
    fn every_slot_has_a_shard_and_every_shard_as_many_slots() {
        let mut state = State::default();
        let create = |shards| Command::CreateDomain { name: "default".to_owned(), shards };
        assert!(matches!(state.apply(0, &create(SHARDS + 1)), Err(Refusal::Unfit { .. })));
        state.apply(0, &create(SHARDS)).unwrap();

        let mut slots = BTreeMap::<u32, u32>::new();
        (0..=u16::MAX).for_each(|slot| *slots.entry(state.domains["default"].shard(slot)).or_default() += 1);

        assert_eq!(slots, (0..SHARDS).map(|shard| (shard, SLOTS / SHARDS)).collect());
    }
}
