//! Where the shards should be, by rendezvous hashing: each node bids for each shard, and the highest bids win. A node that
//! comes takes what it wins, one that goes leaves what it had to the next bids, and nothing else moves.

use crate::meta::{NodeState, Placement, State, deciding};
use std::collections::{BTreeMap, BTreeSet};
use twox_hash::XxHash3_64;

/// How many nodes have each shard, where there are as many.
pub const REPLICAS: usize = 3;

/// Where every shard that is placed should be, in the order of [`Placement`]. Zones are apart as far as there are enough.
///
/// * Of two active nodes, whoever decides goes on to, and the other has the log: then a third is joined soon.
/// * A shard that is pinned stays, as long as as many active nodes have it in as many zones as could be.
/// * Where no node is active, everything stays.
#[must_use]
pub fn wanted(state: &State) -> BTreeMap<u32, Vec<u64>> {
    let zones = active_zones(state);
    let wanted_of = |shard: u32, placement: &Placement| {
        let is_kept = placement.is_pinned && is_good(placement.goal(), &zones);
        if zones.is_empty() || is_kept {
            return placement.goal().to_vec();
        }
        let mut chosen = choose(shard, &zones, REPLICAS);
        if chosen.len() == 2 {
            let first = decider(placement).find(|node| chosen.contains(node));
            chosen.sort_by_key(|node| Some(*node) != first);
        }
        chosen
    };
    state.shards.iter().map(|(shard, placement)| (*shard, wanted_of(*shard, placement))).collect()
}

/// The nodes that should have a shard, of those that may, best first.
pub(super) fn choose(shard: u32, zones: &BTreeMap<u64, &str>, count: usize) -> Vec<u64> {
    let mut bids: Vec<_> = zones.iter().map(|(node, zone)| (bid(shard, *node), *node, *zone)).collect();
    bids.sort_by(|one, other| other.cmp(one));
    let mut chosen: Vec<u64> = Vec::new();
    let mut crowds = BTreeMap::<&str, usize>::new();
    while chosen.len() < count.min(zones.len()) {
        let free = bids.iter().filter(|(_, node, _)| !chosen.contains(node));
        // The first of the least crowded zones: the highest bid there.
        let best = free.min_by_key(|(_, _, zone)| crowds.get(zone).copied().unwrap_or(0));
        let (_, node, zone) = best.expect("there are more nodes than were chosen");
        chosen.push(*node);
        *crowds.entry(zone).or_default() += 1;
    }
    chosen
}

/// The active nodes with their zones.
pub(super) fn active_zones(state: &State) -> BTreeMap<u64, &str> {
    let active = state.nodes.iter().filter(|(_, node)| node.state == NodeState::Active);
    active.map(|(n, node)| (*n, node.zone())).collect()
}

/// Who decides in the meta group, and who has its log only: all nodes that have not left take part. Those who decide are
/// active, an odd number up to five, in different zones as far as there are enough; the oldest first, so that few change.
pub(super) fn meta_group(state: &State) -> (BTreeSet<u64>, BTreeSet<u64>) {
    const DECIDING_MAX: usize = 5;
    let zones = active_zones(state);
    let mut chosen: Vec<u64> = Vec::new();
    let mut crowds = BTreeMap::<&str, usize>::new();
    while chosen.len() < DECIDING_MAX.min(zones.len()) {
        let free = zones.iter().filter(|(node, _)| !chosen.contains(node));
        let best = free.min_by_key(|(_, zone)| crowds.get(*zone).copied().unwrap_or(0));
        let (node, zone) = best.expect("there are more nodes than were chosen");
        chosen.push(*node);
        *crowds.entry(zone).or_default() += 1;
    }
    if chosen.is_empty() {
        chosen.extend(state.present().next());
    }
    let voters: BTreeSet<u64> = deciding(&chosen).iter().copied().collect();
    let learners = state.present().filter(|node| !voters.contains(node)).collect();
    (voters, learners)
}

fn bid(shard: u32, node: u64) -> u64 {
    let mut bytes = [0; 12];
    bytes[..4].copy_from_slice(&shard.to_le_bytes());
    bytes[4..].copy_from_slice(&node.to_le_bytes());
    XxHash3_64::oneshot(&bytes)
}

/// Whether nodes are as many, as active and as far apart as could be.
fn is_good(nodes: &[u64], zones: &BTreeMap<u64, &str>) -> bool {
    let all: BTreeSet<&str> = zones.values().copied().collect();
    let count = REPLICAS.min(zones.len());
    let taken: Option<BTreeSet<&str>> = nodes.iter().map(|node| zones.get(node).copied()).collect();
    nodes.len() == count && taken.is_some_and(|taken| taken.len() == count.min(all.len()))
}

/// Who should decide alone where two have the shard, best first.
fn decider(placement: &Placement) -> impl Iterator<Item = u64> {
    let decides = placement.voters().iter().copied();
    placement.preferred.into_iter().chain(decides).chain(placement.goal().iter().copied())
}
