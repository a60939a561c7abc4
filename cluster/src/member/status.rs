//! How a cluster is, as one of its nodes knows it: what was agreed on, and what it hears itself.

use std::collections::BTreeMap;
use std::time::Duration;

use runtime::operations::{self, Contact, Node, Shard, Status, Stuck};

use super::{Inner, Parts};
use crate::group::View;
use crate::meta::{NodeState, Placement, State};
use crate::transport::Transport;
use crate::wire::Wire;

/// A clock that is further off than this is not trusted.
const CLOCK_OFF_MS: i64 = 5_000;
/// Of the refusals of lately the last ones are shown.
const REFUSALS_SHOWN: usize = 5;

impl Inner {
    pub(super) fn status(&self) -> Status {
        let Parts { node, meta, shards, .. } = &self.parts;
        let state = meta.state();
        let wire = self.wire.get();
        let contacts = contacts(*node, &state, wire.map(|wire| &**wire));
        let views = shards.iter().map(|group| group.view());
        let shown = views
            .zip(0_u32..)
            .map(|(view, number)| shard(number, *node, state.shards.get(&number), &view, &contacts));
        Status {
            cluster: state.cluster.as_ref().map(|cluster| cluster.id.to_string()),
            node: *node,
            frozen: state.is_frozen,
            shards: shown.collect(),
            warnings: warnings(&state, *node, &contacts, wire.map(|wire| &**wire)),
            nodes: nodes(&state, &contacts),
        }
    }
}

/// Whom this node hears, of those who have not left.
fn contacts(me: u64, state: &State, wire: Option<&Transport>) -> BTreeMap<u64, Contact> {
    let silent: BTreeMap<u64, Duration> = wire.map(Wire::silent).into_iter().flatten().collect();
    let contact = |node: u64| match wire {
        _ if node == me => Contact::Itself,
        Some(wire) if wire.contact(node).is_some() => Contact::Reached,
        _ => Contact::Silent(silent.get(&node).copied().unwrap_or_default()),
    };
    state.present().map(|node| (node, contact(node))).collect()
}

fn nodes(state: &State, contacts: &BTreeMap<u64, Contact>) -> Vec<Node> {
    let shown = contacts.iter().filter_map(|(number, contact)| {
        let known = state.nodes.get(number)?;
        Some(Node {
            node: *number,
            address: Some(known.address.clone()).filter(|address| !address.is_empty()),
            location: known.location.clone(),
            state: life(known.state),
            generation: known.generation,
            version: known.version.clone(),
            contact: *contact,
        })
    });
    shown.collect()
}

fn life(state: NodeState) -> operations::NodeState {
    match state {
        NodeState::Provisioning => operations::NodeState::Provisioning,
        NodeState::Active => operations::NodeState::Active,
        NodeState::Draining => operations::NodeState::Draining,
        NodeState::Gone => operations::NodeState::Gone,
    }
}

/// A shard, as its group here and the map say.
fn shard(
    shard: u32,
    me: u64,
    placement: Option<&Placement>,
    view: &View,
    contacts: &BTreeMap<u64, Contact>,
) -> Shard {
    let of_group = || view.voters.union(&view.learners).copied().collect();
    let replicas = placement.map_or_else(of_group, |placement| placement.replicas.clone());
    let voters: Vec<u64> = match placement {
        Some(placement) if view.voters.is_empty() => placement.voters().to_vec(),
        _ => view.voters.iter().copied().collect(),
    };
    let behind = view.matched.values().min().zip(view.last).map(|(least, last)| last.saturating_sub(*least));
    Shard {
        shard,
        leader: view.leader,
        term: view.term,
        lag: behind.filter(|_| view.leader == Some(me)),
        moves_to: placement.and_then(|placement| placement.target.clone()),
        stuck: stuck(&voters, contacts),
        replicas,
    }
}

/// Why nobody can lead a shard with these voters.
fn stuck(voters: &[u64], contacts: &BTreeMap<u64, Contact>) -> Option<Stuck> {
    let is_heard = |node: &u64| matches!(contacts.get(node), Some(Contact::Itself | Contact::Reached));
    let missing: Vec<u64> = voters.iter().filter(|node| !is_heard(node)).copied().collect();
    if voters.is_empty() || missing.len() * 2 < voters.len() {
        return None;
    }
    let (all, listed) = (voters.len(), list(&missing));
    let why = format!("{} of the {all} nodes that decide are not heard here: {listed}", missing.len());
    let next = format!("start what is down of node {listed}, and see whether this node reaches it");
    Some(Stuck { why, missing, next })
}

fn list(nodes: &[u64]) -> String {
    nodes.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")
}

fn warnings(
    state: &State,
    me: u64,
    contacts: &BTreeMap<u64, Contact>,
    wire: Option<&Transport>,
) -> Vec<String> {
    let mut warnings = Vec::new();
    if state.cluster.is_none() {
        return warnings;
    }
    match state.active().count() {
        1 => warnings.push(
            "one node is active: what it has is on its disk alone; let others join: twinfold cluster token"
                .to_owned(),
        ),
        2 => warnings.push(
            "two nodes are active, and two cannot fail over: let a third one join: twinfold cluster token"
                .to_owned(),
        ),
        _ => {}
    }
    for (node, contact) in contacts {
        if let Contact::Silent(since) = contact {
            let since = since.as_secs();
            warnings.push(format!(
                "node {node} is not heard here, for {since} s; see whether it runs, and whether UDP gets there"
            ));
        }
        let offset = wire.filter(|_| *node != me).and_then(|wire| wire.offset_ms(*node));
        if let Some(offset) = offset.filter(|offset| offset.abs() > CLOCK_OFF_MS) {
            warnings.push(format!("the clock of node {node} is {offset} ms off that of node {me}; set both"));
        }
    }
    let refusals = wire.map(|wire| wire.refusals().borrow().clone()).unwrap_or_default();
    warnings.extend(refusals.iter().rev().take(REFUSALS_SHOWN).map(ToString::to_string));
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(silent: &[u64]) -> BTreeMap<u64, Contact> {
        let contact = |node| match node {
            1 => Contact::Itself,
            node if silent.contains(&node) => Contact::Silent(Duration::from_secs(9)),
            _ => Contact::Reached,
        };
        (1..=3).map(|node| (node, contact(node))).collect()
    }

    #[test]
    fn a_shard_whose_majority_is_not_heard_says_who_is_missing_and_what_to_do() {
        assert_eq!(stuck(&[1, 2, 3], &heard(&[2])), None);

        let stuck = stuck(&[1, 2, 3], &heard(&[2, 3])).unwrap();

        assert_eq!(stuck.missing, [2, 3]);
        assert_eq!(stuck.why, "2 of the 3 nodes that decide are not heard here: 2, 3");
        assert!(stuck.next.starts_with("start what is down of node 2, 3"));
    }

    #[test]
    fn a_shard_of_a_lone_node_is_led_by_it() {
        let view = View { term: 3, leader: Some(1), voters: [1].into(), last: Some(9), ..View::default() };

        let shown = shard(5, 1, None, &view, &heard(&[]));

        assert_eq!((shown.shard, shown.replicas, shown.leader, shown.stuck), (5, vec![1], Some(1), None));
    }

    #[test]
    fn the_leader_says_how_far_the_last_of_its_replicas_is_behind() {
        let matched = [(1, 20), (2, 17), (3, 20)].into();
        let view =
            View { leader: Some(1), voters: [1, 2, 3].into(), last: Some(20), matched, ..View::default() };

        assert_eq!(shard(0, 1, None, &view, &heard(&[])).lag, Some(3));
        assert_eq!(shard(0, 2, None, &view, &heard(&[])).lag, None);
    }
}
