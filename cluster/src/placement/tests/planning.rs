//! What the map comes to.

use super::super::plan::{MOVES_PER_NODE_MAX, moves};
use super::super::{REPLICAS, balanced, plan, wanted};
use super::{Dice, all, cluster, node, tell};
use crate::SHARDS;
use crate::meta::{Command, NodeState, State, deciding};
use std::collections::{BTreeMap, BTreeSet};

const ZONES: [&str; 4] = ["a", "b", "c", ""];

/// A cluster of some nodes in some zones, of which some drain.
fn random(dice: &mut Dice) -> State {
    let zones: Vec<&str> = (0..1 + dice.below(7)).map(|_| dice.pick(&ZONES)).collect();
    let mut state = cluster(&zones);
    let nodes: Vec<u64> = state.nodes.keys().copied().collect();
    for shard in 0..SHARDS {
        let mut replicas = nodes.clone();
        (0..replicas.len()).for_each(|at| replicas.swap(at, dice.below(nodes.len())));
        replicas.truncate(1 + dice.below(3));
        let placement = state.shards.get_mut(&shard).unwrap();
        placement.replicas = replicas;
        placement.is_pinned = dice.below(10) == 0;
    }
    for n in nodes {
        if dice.below(4) == 0 {
            state.nodes.get_mut(&n).unwrap().state = NodeState::Draining;
        }
    }
    state
}

/// Carries out plans and moves in a random order until nothing is left to do; looks at every state.
fn settle(state: &mut State, dice: &mut Dice) {
    for _ in 0..10_000 {
        let commands = plan(state, &all(state));
        let is_idle = commands.is_empty();
        commands.iter().for_each(|command| tell(state, command));
        let busiest = moves(state).into_values().max().unwrap_or(0);
        assert!(busiest <= MOVES_PER_NODE_MAX, "a node has {busiest} moves");
        let moving: Vec<u32> =
            state.shards.iter().filter(|(_, p)| p.target.is_some()).map(|(shard, _)| *shard).collect();
        let leaving: Vec<(u32, u64)> =
            state.shards.iter().flat_map(|(shard, p)| p.former.iter().map(|n| (*shard, *n))).collect();
        if is_idle && moving.is_empty() && leaving.is_empty() {
            return;
        }
        if !moving.is_empty() {
            tell(state, &Command::AdvanceMove { shard: dice.pick(&moving) });
        }
        if !leaving.is_empty() {
            let (shard, node) = dice.pick(&leaving);
            tell(state, &Command::Dropped { shard, node });
        }
    }
    panic!("it never comes to rest: {:?}", plan(state, &all(state)));
}

fn sets(map: impl IntoIterator<Item = (u32, Vec<u64>)>) -> BTreeMap<u32, BTreeSet<u64>> {
    map.into_iter().map(|(shard, nodes)| (shard, nodes.into_iter().collect())).collect()
}

fn replicas(state: &State) -> impl Iterator<Item = (u32, Vec<u64>)> {
    state.shards.iter().map(|(shard, placement)| (*shard, placement.replicas.clone()))
}

fn loads(state: &State) -> Vec<usize> {
    let mut loads: BTreeMap<u64, usize> = state.active().map(|node| (node, 0)).collect();
    for placement in state.shards.values() {
        *loads.entry(placement.preferred.unwrap()).or_default() += 1;
    }
    loads.into_values().collect()
}

#[test]
fn the_map_comes_to_what_is_wanted_by_few_moves_at_a_time_and_rests_there() {
    for seed in 0..40 {
        let mut dice = Dice::new(seed);
        let mut state = random(&mut dice);

        settle(&mut state, &mut dice);

        assert_eq!(sets(replicas(&state)), sets(wanted(&state)), "seed {seed}");
        assert_eq!(plan(&state, &all(&state)), [], "seed {seed}");
    }
}

#[test]
fn shards_have_as_many_nodes_in_as_many_zones_as_can_be_and_none_that_drains() {
    for seed in 0..40 {
        let mut dice = Dice::new(seed);
        let mut state = random(&mut dice);
        let active: BTreeSet<u64> = state.active().collect();
        if active.is_empty() {
            continue;
        }
        let zone = |node: &u64| state.nodes[node].zone().to_owned();
        let zones = active.iter().map(zone).collect::<BTreeSet<_>>().len();
        let count = REPLICAS.min(active.len());
        let zone_of: BTreeMap<u64, String> = active.iter().map(|node| (*node, zone(node))).collect();

        settle(&mut state, &mut dice);

        for (shard, placement) in &state.shards {
            let taken: BTreeSet<&String> = placement.replicas.iter().map(|node| &zone_of[node]).collect();
            assert_eq!(placement.replicas.len(), count, "seed {seed}, shard {shard}");
            assert_eq!(taken.len(), zones.min(count), "seed {seed}, shard {shard}");
        }
    }
}

#[test]
fn whoever_comes_takes_shards_and_nothing_else_moves() {
    for others in 3..9 {
        let before = cluster(&vec!["a"; others]);
        let newcomer = u64::try_from(others).unwrap() + 1;
        let mut after = before.clone();
        after.nodes.insert(newcomer, node("a", NodeState::Active));

        let (old, new) = (sets(wanted(&before)), sets(wanted(&after)));

        let taken = old.iter().filter(|(shard, nodes)| new[*shard] != **nodes).count();
        assert!(taken > 0);
        for (shard, nodes) in old {
            assert!(new[&shard].difference(&nodes).all(|node| *node == newcomer), "shard {shard}");
        }
    }
}

#[test]
fn a_shard_of_two_nodes_is_decided_by_whoever_decided_it() {
    let mut state = cluster(&["a", "b"]);

    settle(&mut state, &mut Dice::new(1));

    assert!(state.shards.values().all(|placement| placement.replicas == [1, 2]));
    assert!(state.shards.values().all(|placement| deciding(&placement.replicas) == [1]));
}

#[test]
fn nodes_lead_as_many_shards_each_and_few_change_when_one_comes() {
    for nodes in 3..=7 {
        let mut dice = Dice::new(7);
        let mut state = cluster(&["a", "b", "c", "d", "e", "f", "g"][..nodes]);

        settle(&mut state, &mut dice);

        let loads = loads(&state);
        assert!(loads.iter().max().unwrap() - loads.iter().min().unwrap() <= 1, "{nodes} nodes: {loads:?}");
        let preferred: BTreeMap<u32, u64> =
            state.shards.iter().filter_map(|(shard, p)| Some((*shard, p.preferred?))).collect();
        assert_eq!(balanced(&state), preferred);
    }
}

#[test]
fn nothing_moves_while_placement_is_frozen() {
    for seed in 0..50 {
        let mut state = random(&mut Dice::new(seed));

        tell(&mut state, &Command::FreezePlacement(true));

        assert_eq!(plan(&state, &all(&state)), []);
    }
}

#[test]
fn what_leaves_a_node_that_drains_goes_first() {
    let mut state = cluster(&["a", "b", "c", "d"]);
    settle(&mut state, &mut Dice::new(3));
    state.nodes.insert(5, node("e", NodeState::Active));
    tell(&mut state, &Command::SetNodeState { node: 2, state: NodeState::Draining });

    let commands = plan(&state, &all(&state));

    let moved = commands.iter().filter_map(|command| match command {
        Command::ProposeMove { shard, .. } => Some(state.shards[shard].replicas.contains(&2)),
        _ => None,
    });
    assert_eq!(moved.take(2).collect::<Vec<_>>(), [true, true]);
}

#[test]
fn a_node_that_is_not_heard_is_given_nothing() {
    let state = cluster(&["a", "b"]);

    let commands = plan(&state, &[1].into());

    assert!(!commands.iter().any(|command| matches!(command, Command::ProposeMove { .. })), "{commands:?}");
}

#[test]
fn a_move_to_a_node_that_drains_meanwhile_goes_back() {
    let mut state = cluster(&["a", "b", "c", "d"]);
    settle(&mut state, &mut Dice::new(3));
    let (shard, placement) = state.shards.iter().next().map(|(shard, p)| (*shard, p.clone())).unwrap();
    let other = (1..=4).find(|node| !placement.replicas.contains(node)).unwrap();
    let target = vec![placement.replicas[0], placement.replicas[1], other];
    tell(&mut state, &Command::ProposeMove { shard, target, pinned: false });
    tell(&mut state, &Command::SetNodeState { node: other, state: NodeState::Draining });

    let commands = plan(&state, &all(&state));

    assert!(commands.contains(&Command::AbortMove { shard }), "{commands:?}");
}

#[test]
fn shards_of_a_new_domain_are_placed() {
    let mut state = cluster(&["a", "b", "c"]);
    state.shards.clear();

    settle(&mut state, &mut Dice::new(1));

    assert_eq!(state.shards.len(), SHARDS as usize);
}
