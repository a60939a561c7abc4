//! Who should lead which shard, so that all nodes lead as many: the fewest changes of what is preferred now.

use crate::meta::{NodeState, State};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Who should lead each shard. As far as the nodes of the shards allow, two active nodes differ by one shard at most; and
/// where that is so already, nothing changes.
#[must_use]
pub fn balanced(state: &State) -> BTreeMap<u32, u64> {
    let mut heirs = Heirs::new(state);
    heirs.fill(state);
    while heirs.improve() {}
    heirs.chosen
}

/// Who may lead the shards, and who should.
struct Heirs {
    eligible: BTreeMap<u32, Vec<u64>>,
    chosen: BTreeMap<u32, u64>,
    loads: BTreeMap<u64, usize>,
}

impl Heirs {
    fn new(state: &State) -> Self {
        let is_active =
            |node: &u64| state.nodes.get(node).is_some_and(|node| node.state == NodeState::Active);
        let eligible: BTreeMap<u32, Vec<u64>> = state
            .shards
            .iter()
            .map(|(shard, placement)| {
                let voters = placement.voters();
                let active: Vec<u64> = voters.iter().copied().filter(is_active).collect();
                (*shard, if active.is_empty() { voters.to_vec() } else { active })
            })
            .collect();
        let nodes: BTreeSet<u64> = eligible.values().flatten().copied().collect();
        let loads = nodes.into_iter().map(|node| (node, 0)).collect();
        Self { eligible, chosen: BTreeMap::new(), loads }
    }

    /// Keeps who is preferred, and gives every other shard to whoever leads least.
    fn fill(&mut self, state: &State) {
        for (shard, eligible) in &self.eligible {
            let preferred = state.shards[shard].preferred.filter(|node| eligible.contains(node));
            if let Some(node) = preferred {
                self.chosen.insert(*shard, node);
                *self.loads.entry(node).or_default() += 1;
            }
        }
        for (shard, eligible) in &self.eligible {
            if self.chosen.contains_key(shard) {
                continue;
            }
            let least = eligible.iter().copied().min_by_key(|node| (self.loads[node], *node));
            if let Some(node) = least {
                self.chosen.insert(*shard, node);
                *self.loads.entry(node).or_default() += 1;
            }
        }
    }

    /// Hands one shard each along a chain of nodes, from one that leads more to one that leads at least two fewer; whether
    /// there was such a chain.
    fn improve(&mut self) -> bool {
        let mut starts: Vec<u64> = self.loads.keys().copied().collect();
        starts.sort_by_key(|node| std::cmp::Reverse(self.loads[node]));
        let Some(chain) = starts.into_iter().find_map(|start| self.chain(start)) else { return false };
        for (shard, to) in chain {
            let from = self.chosen.insert(shard, to).expect("only chosen shards are in a chain");
            *self.loads.entry(from).or_default() -= 1;
            *self.loads.entry(to).or_default() += 1;
        }
        true
    }

    /// The shortest chain from a node that evens out: which shards go to whom.
    fn chain(&self, start: u64) -> Option<Vec<(u32, u64)>> {
        let mut came: BTreeMap<u64, (u32, u64)> = BTreeMap::new();
        let mut queue = VecDeque::from([start]);
        while let Some(node) = queue.pop_front() {
            if self.loads[&node] + 2 <= self.loads[&start] {
                let mut chain = Vec::new();
                let mut at = node;
                while at != start {
                    let (shard, from) = came[&at];
                    chain.push((shard, at));
                    at = from;
                }
                return Some(chain);
            }
            let led = self.chosen.iter().filter(|(_, leader)| **leader == node);
            for (shard, to) in led.flat_map(|(shard, _)| self.eligible[shard].iter().map(|to| (*shard, *to)))
            {
                if to != start && !came.contains_key(&to) {
                    came.insert(to, (shard, node));
                    queue.push_back(to);
                }
            }
        }
        None
    }
}
