//! Which commands bring the map nearer to what is wanted, as few at a time as the nodes bear.

use super::leaders::balanced;
use super::rendezvous::{REPLICAS, active_zones, choose, wanted};
use crate::meta::{Command, NodeState, Placement, State};
use std::collections::{BTreeMap, BTreeSet};

/// How many shards a node gives, takes or leaves at a time.
pub const MOVES_PER_NODE_MAX: usize = 2;

/// What is to be done now, in this order: each is conditional on the version that the one before leaves. Nodes that are
/// not `reached` are given nothing. When nothing is to be done, the map is as it is [wanted](super::wanted).
#[must_use]
pub fn plan(state: &State, reached: &BTreeSet<u64>) -> Vec<Command> {
    if state.is_frozen || state.cluster.is_none() {
        return Vec::new();
    }
    let mut draft = Draft { state: state.clone(), commands: Vec::new() };
    draft.place();
    draft.undo();
    draft.prefer();
    draft.propose(reached);
    draft.commands
}

/// Who has a part in the move of a shard: whoever comes, goes, or gives the state to those who come.
pub(super) fn involved(placement: &Placement, target: &[u64]) -> BTreeSet<u64> {
    let before: BTreeSet<u64> = placement.replicas.iter().copied().collect();
    let after: BTreeSet<u64> = target.iter().copied().collect();
    let mut involved = &before ^ &after;
    if !after.is_subset(&before) {
        involved.extend(placement.replicas.first());
    }
    involved
}

/// In how many moves each node has a part.
pub(super) fn moves(state: &State) -> BTreeMap<u64, usize> {
    let mut moves = BTreeMap::new();
    for placement in state.shards.values() {
        let target = placement.target.iter();
        for node in target.flat_map(|target| involved(placement, target)) {
            *moves.entry(node).or_default() += 1;
        }
    }
    moves
}

/// The state as it will be, with what makes it so.
struct Draft {
    state: State,
    commands: Vec<Command>,
}

impl Draft {
    /// Adds a command, unless it would be refused.
    fn add(&mut self, command: Command) {
        if self.state.apply(self.state.version, &command).is_ok() {
            self.commands.push(command);
        }
    }

    /// Shards of a new domain are placed where they are wanted.
    fn place(&mut self) {
        let domains = self.state.domains.values();
        let all = domains.flat_map(|domain| domain.first..domain.first + domain.shards);
        let new: Vec<u32> = all.filter(|shard| !self.state.shards.contains_key(shard)).collect();
        for shard in new {
            let replicas = choose(shard, &active_zones(&self.state), REPLICAS);
            self.add(Command::Place { shard, replicas });
        }
    }

    /// A move to a node that is active no more goes back.
    fn undo(&mut self) {
        let is_active =
            |node: &u64| self.state.nodes.get(node).is_some_and(|node| node.state == NodeState::Active);
        let is_vain = |placement: &Placement| {
            let mut target = placement.target.iter().flatten();
            !placement.is_undone && target.any(|node| !placement.replicas.contains(node) && !is_active(node))
        };
        let vain = self.state.shards.iter().filter(|(_, placement)| is_vain(placement));
        for shard in vain.map(|(shard, _)| *shard).collect::<Vec<_>>() {
            self.add(Command::AbortMove { shard });
        }
    }

    fn prefer(&mut self) {
        for (shard, node) in balanced(&self.state) {
            if self.state.shards[&shard].preferred != Some(node) {
                self.add(Command::SetLeaderPreference { shard, node });
            }
        }
    }

    /// The most urgent moves for which the nodes have time.
    fn propose(&mut self, reached: &BTreeSet<u64>) {
        let mut moves = moves(&self.state);
        let mut wishes: Vec<_> = wanted(&self.state)
            .into_iter()
            .filter_map(|(shard, target)| {
                let placement = &self.state.shards[&shard];
                let is_wish = placement.target.is_none() && !is_same(&placement.replicas, &target);
                is_wish.then(|| (self.urgency(placement, &target), shard, target))
            })
            .collect();
        wishes.sort();
        for (_, shard, target) in wishes {
            let placement = &self.state.shards[&shard];
            let mut new = target.iter().filter(|node| !placement.replicas.contains(node));
            let comes = new.all(|node| reached.contains(node) && !placement.former.contains(node));
            let part = involved(placement, &target);
            let has_time = |node: &u64| moves.get(node).is_none_or(|count| *count < MOVES_PER_NODE_MAX);
            if comes && part.iter().all(has_time) {
                part.into_iter().for_each(|node| *moves.entry(node).or_default() += 1);
                self.add(Command::ProposeMove { shard, target, pinned: false });
            }
        }
    }

    /// First what leaves a node that drains, then what too few nodes have, then the rest.
    fn urgency(&self, placement: &Placement, target: &[u64]) -> u8 {
        let drains =
            |node: &u64| self.state.nodes.get(node).is_none_or(|node| node.state != NodeState::Active);
        match placement.replicas.iter().any(drains) {
            true => 0,
            false if placement.replicas.len() < target.len() => 1,
            false => 2,
        }
    }
}

/// Whether the same nodes have it, and the same ones decide.
fn is_same(one: &[u64], other: &[u64]) -> bool {
    let sets = [one, other].map(|nodes| nodes.iter().copied().collect::<BTreeSet<u64>>());
    let voters =
        [one, other].map(|nodes| crate::meta::deciding(nodes).iter().copied().collect::<BTreeSet<u64>>());
    sets[0] == sets[1] && voters[0] == voters[1]
}
