//! What an operator may ask for.

use super::super::orders::{Rejection, drain, freeze, move_shard, remove};
use super::super::{plan, wanted};
use super::{all, cluster, node, tell};
use crate::meta::{Command, NodeState};

#[test]
fn a_node_drains_unless_it_is_the_last() {
    let mut state = cluster(&["a", "b"]);

    let commands = drain(&state, 2).unwrap();

    assert_eq!(commands, [Command::SetNodeState { node: 2, state: NodeState::Draining }]);
    commands.iter().for_each(|command| tell(&mut state, command));
    assert_eq!(drain(&state, 2), Ok(Vec::new()), "once more changes nothing");
    assert_eq!(drain(&state, 1), Err(Rejection::LastNode { node: 1 }));
    assert_eq!(drain(&state, 9), Err(Rejection::UnknownNode { node: 9 }));
}

#[test]
fn a_node_is_removed_when_it_has_drained_and_its_certificate_with_it() {
    let mut state = cluster(&["a", "b"]);
    state.nodes.get_mut(&2).unwrap().fingerprint = Some([2; 32]);
    assert_eq!(remove(&state, 1), Err(Rejection::HasShards { node: 1, shards: 64 }));
    assert_eq!(remove(&state, 2), Err(Rejection::NotDrained { node: 2 }));
    drain(&state, 2).unwrap().iter().for_each(|command| tell(&mut state, command));

    let commands = remove(&state, 2).unwrap();

    commands.iter().for_each(|command| tell(&mut state, command));
    assert_eq!(state.nodes[&2].state, NodeState::Gone);
    assert!(state.revoked.contains(&[2; 32]));
    assert_eq!(remove(&state, 2), Ok(Vec::new()));
}

#[test]
fn a_shard_that_was_moved_by_hand_stays_there() {
    let mut state = cluster(&["a", "a", "a", "a"]);
    for (shard, replicas) in wanted(&state) {
        state.shards.get_mut(&shard).unwrap().replicas = replicas;
    }
    let replicas = state.shards[&7].replicas.clone();
    let other = (1..=4).find(|node| !replicas.contains(node)).unwrap();

    let commands = move_shard(&state, 7, replicas[1], other).unwrap();
    commands.iter().for_each(|command| tell(&mut state, command));
    tell(&mut state, &Command::AdvanceMove { shard: 7 });

    assert_eq!(state.shards[&7].replicas, [replicas[0], other, replicas[2]]);
    let commands = plan(&state, &all(&state));
    assert!(!commands.iter().any(|command| matches!(command, Command::ProposeMove { shard: 7, .. })));
}

#[test]
fn a_move_that_makes_no_sense_is_rejected_by_name() {
    let mut state = cluster(&["a", "b", "c"]);
    state.nodes.insert(4, node("d", NodeState::Draining));
    state.shards.get_mut(&0).unwrap().replicas = vec![1, 2];
    state.shards.get_mut(&1).unwrap().former = [3].into();
    let not_replica = Rejection::NotReplica { shard: 0, node: 3, replicas: vec![1, 2] };
    let not_active = Rejection::NotActive { node: 4, state: NodeState::Draining };
    let cases = [
        ((99, 1, 3), Rejection::UnknownShard { shard: 99 }),
        ((0, 1, 9), Rejection::UnknownNode { node: 9 }),
        ((0, 3, 3), not_replica),
        ((0, 1, 2), Rejection::Replica { shard: 0, node: 2 }),
        ((0, 1, 4), not_active),
        ((1, 1, 3), Rejection::Former { shard: 1, node: 3 }),
    ];
    for ((shard, from, to), rejection) in cases {
        assert_eq!(move_shard(&state, shard, from, to), Err(rejection));
    }

    tell(&mut state, &Command::ProposeMove { shard: 2, target: vec![1, 2], pinned: false });
    assert_eq!(move_shard(&state, 2, 1, 3), Err(Rejection::Moving { shard: 2, target: vec![1, 2] }));
    let commands = freeze(&state, true);
    commands.iter().for_each(|command| tell(&mut state, command));
    assert_eq!(move_shard(&state, 0, 1, 3), Err(Rejection::Frozen));
    assert_eq!(freeze(&state, true), []);
}
