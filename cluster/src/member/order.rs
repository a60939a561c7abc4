//! What operators order, as commands of the meta group.

use runtime::operations::{Order, Reason, Refused};

use super::execute;
use crate::meta::{Command, Meta, NodeState, State};

/// Has the meta group decide what an operator orders. Blocks.
pub(super) fn carry_out(meta: &Meta, order: &Order) -> Result<(), Refused> {
    execute(meta, |state| command(state, order).map(Some))
}

fn command(state: &State, order: &Order) -> Result<Command, Refused> {
    match order {
        Order::Drain { node } => {
            present(state, *node)?;
            if !state.active().any(|other| other != *node) {
                let why =
                    format!("node {node} is the only one that is active: nobody else can take its shards");
                return Err(Refused::new(
                    Reason::Conflict,
                    why,
                    "let another node join: twinfold cluster token",
                ));
            }
            Ok(Command::SetNodeState { node: *node, state: NodeState::Draining })
        }
        Order::Remove { node } => {
            present(state, *node)?;
            let held = state.shards_of(*node).count();
            if held > 0 {
                let why = format!("node {node} has {held} shards");
                let next = format!("give them to others first: twinfold cluster drain {node}");
                return Err(Refused::new(Reason::Conflict, why, next));
            }
            Ok(Command::SetNodeState { node: *node, state: NodeState::Gone })
        }
        Order::Move { shard, from, to } => moved(state, *shard, *from, *to),
        Order::Freeze { frozen } => Ok(Command::FreezePlacement(*frozen)),
        Order::Found | Order::Invite => Err(Refused::new(
            Reason::Conflict,
            "it is no order to the meta group",
            "order it by its own verb",
        )),
    }
}

fn moved(state: &State, shard: u32, from: u64, to: u64) -> Result<Command, Refused> {
    let conflict = |why: String| {
        Refused::new(Reason::Conflict, why, "see who has the shard: twinfold cluster status --shards")
    };
    let unknown = || Refused::new(Reason::Unknown, format!("there is no shard {shard}"), "they begin with 0");
    let placement = state.shards.get(&shard).ok_or_else(unknown)?;
    present(state, from)?;
    present(state, to)?;
    if !state.active().any(|active| active == to) {
        return Err(conflict(format!("node {to} is not active")));
    }
    let place = placement.replicas.iter().position(|node| *node == from);
    let place = place.ok_or_else(|| conflict(format!("node {from} does not have shard {shard}")))?;
    if placement.replicas.contains(&to) {
        return Err(conflict(format!("node {to} has shard {shard} already")));
    }
    let mut target = placement.replicas.clone();
    target[place] = to;
    Ok(Command::ProposeMove { shard, target, pinned: true })
}

fn present(state: &State, node: u64) -> Result<(), Refused> {
    let is_there = state.nodes.get(&node).is_some_and(|known| known.state != NodeState::Gone);
    match is_there {
        true => Ok(()),
        false => {
            let why = format!("there is no node {node}, or it has left");
            Err(Refused::new(Reason::Unknown, why, "see those that there are: twinfold cluster status"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meta::{Node, Placement};

    /// Nodes of which all but the last are active, and shard 0 on the first two.
    fn state(nodes: u64) -> State {
        let node = |state| Node {
            generation: 1,
            location: String::new(),
            version: "1".to_owned(),
            state,
            address: "a:1".to_owned(),
            fingerprint: None,
            feature: 0,
        };
        let mut known = State::default();
        known.nodes.extend((1..nodes).map(|number| (number, node(NodeState::Active))));
        known.nodes.insert(nodes, node(NodeState::Provisioning));
        known.shards.insert(0, Placement::on(vec![1, 2]));
        known
    }

    #[track_caller]
    fn refused(state: &State, order: Order, words: &str) {
        let refused = command(state, &order).unwrap_err();
        assert!(refused.to_string().contains(words) && !refused.next.is_empty(), "{refused}");
    }

    #[test]
    fn a_replica_moves_to_an_active_node_that_does_not_have_it() {
        let state = state(4);
        let order = |from, to| Order::Move { shard: 0, from, to };

        let moved = command(&state, &order(1, 3)).unwrap();

        assert_eq!(moved, Command::ProposeMove { shard: 0, target: vec![3, 2], pinned: true });
        refused(&state, order(3, 1), "node 3 does not have shard 0");
        refused(&state, order(1, 2), "node 2 has shard 0 already");
        refused(&state, order(1, 4), "node 4 is not active");
        refused(&state, order(1, 9), "there is no node 9");
        refused(&state, Order::Move { shard: 7, from: 1, to: 2 }, "there is no shard 7");
    }

    #[test]
    fn the_last_active_node_is_not_drained_and_one_with_shards_is_not_removed() {
        let (three, one) = (state(4), state(2));

        assert!(command(&three, &Order::Drain { node: 1 }).is_ok());
        refused(&one, Order::Drain { node: 1 }, "is the only one that is active");
        refused(&three, Order::Remove { node: 2 }, "twinfold cluster drain 2");
        assert_eq!(
            command(&three, &Order::Remove { node: 3 }),
            Ok(Command::SetNodeState { node: 3, state: NodeState::Gone })
        );
    }
}
