//! The meta state: a function of the commands that were committed, the same on all nodes.

use super::command::Entry;
use super::{Command, NodeState, Refusal};
use crate::{Error, SHARDS};
use runtime::directory::Directory;
use std::collections::BTreeMap;
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
}

/// A node as the group knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// How often it was started.
    pub generation: u64,
    /// Where it stands.
    pub location: String,
    /// The version of its software.
    pub version: String,
    /// Where it is in its life-cycle.
    pub state: NodeState,
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
    pub(super) fn apply(&mut self, expected: u64, command: &Command) -> Result<u64, Refusal> {
        if self.has(command) {
            return Ok(self.version);
        }
        if expected != self.version {
            return Err(Refusal::Stale { expected, current: self.version });
        }
        let outcome = match command {
            Command::RegisterNode { node, generation, location, version } => {
                self.register(*node, *generation, location, version)
            }
            Command::SetNodeState { node, state } => self.set_state(*node, *state),
            Command::CreateDomain { name, shards } => self.create_domain(name, *shards),
            // Who holds the directory of the version before keeps that.
            Command::Directory(entry) => {
                Arc::make_mut(&mut self.directory).apply(entry)?;
                Ok(())
            }
            Command::SealUnder { check } => self.seal_under(*check),
        };
        outcome.map_err(|reason| Refusal::Unfit { reason, current: self.version })?;
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

    /// Whether a command's effect is already there.
    fn has(&self, command: &Command) -> bool {
        match command {
            Command::RegisterNode { node, generation, location, version } => self
                .nodes
                .get(node)
                .is_some_and(|n| (n.generation, &n.location, &n.version) == (*generation, location, version)),
            Command::SetNodeState { node, state } => self.nodes.get(node).is_some_and(|n| n.state == *state),
            Command::CreateDomain { name, shards } => {
                self.domains.get(name).is_some_and(|d| d.shards == *shards)
            }
            // Each is a fact of its own in the audit.
            Command::Directory(_) => false,
            Command::SealUnder { check } => self.sealed_under == Some(*check),
        }
    }

    fn register(&mut self, node: u64, generation: u64, location: &str, version: &str) -> Result<(), String> {
        let mut state = NodeState::Provisioning;
        if let Some(known) = self.nodes.get(&node) {
            if known.state == NodeState::Gone {
                return Err(format!("node {node} has left for good; give the new one a new number"));
            }
            if generation <= known.generation {
                let seen = known.generation;
                return Err(format!(
                    "node {node} has generation {generation}, but {seen} was seen: is its disk an old image?"
                ));
            }
            state = known.state;
        }
        let (location, version) = (location.to_owned(), version.to_owned());
        self.nodes.insert(node, Node { generation, location, version, state });
        Ok(())
    }

    fn set_state(&mut self, node: u64, state: NodeState) -> Result<(), String> {
        let known = self.nodes.get_mut(&node).ok_or_else(|| format!("node {node} is not registered"))?;
        if known.state == NodeState::Gone {
            return Err(format!("node {node} has left for good"));
        }
        known.state = state;
        Ok(())
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
    use super::*;

    fn register(node: u64, generation: u64) -> Command {
        Command::RegisterNode { node, generation, location: "here".to_owned(), version: "0.1.0".to_owned() }
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
        assert!(matches!(state.apply(0, &create(32)), Err(Refusal::Unfit { .. })));
        state.apply(0, &create(SHARDS)).unwrap();

        let mut slots = BTreeMap::<u32, u32>::new();
        (0..=u16::MAX).for_each(|slot| *slots.entry(state.domains["default"].shard(slot)).or_default() += 1);

        assert_eq!(slots, (0..SHARDS).map(|shard| (shard, SLOTS / SHARDS)).collect());
    }
}
