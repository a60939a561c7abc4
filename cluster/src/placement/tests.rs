//! Placement over random clusters: the plan on random states, the steps in groups that crash between any two.

mod driving;
mod groups;
mod orders;
mod planning;
mod stepping;

use crate::SHARDS;
use crate::meta::{Cluster, Command, Domain, Node, NodeState, Placement, State};
use crate::transport::authority::ClusterId;
use runtime::directory::audit::Sealed;
use std::collections::BTreeSet;

/// Numbers from a seed.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % end.max(1)
    }

    pub(super) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

pub(super) fn node(zone: &str, state: NodeState) -> Node {
    Node {
        generation: 1,
        location: format!("zone={zone}"),
        version: "1".to_owned(),
        state,
        address: String::new(),
        fingerprint: None,
        feature: 0,
    }
}

/// A cluster of active nodes in zones, numbered from 1; the first has all shards.
pub(super) fn cluster(zones: &[&str]) -> State {
    let cluster = Cluster { id: ClusterId(1), authority: Vec::new(), sealed_key: Sealed(Vec::new().into()) };
    let nodes = zones.iter().zip(1..).map(|(zone, n)| (n, node(zone, NodeState::Active)));
    State {
        nodes: nodes.collect(),
        domains: [("default".to_owned(), Domain { first: 0, shards: SHARDS })].into(),
        cluster: Some(cluster),
        shards: (0..SHARDS).map(|shard| (shard, Placement::on(vec![1]))).collect(),
        ..State::default()
    }
}

pub(super) fn tell(state: &mut State, command: &Command) {
    state.apply(state.version, command).unwrap_or_else(|error| panic!("{command:?}: {error}"));
}

pub(super) fn all(state: &State) -> BTreeSet<u64> {
    state.present().collect()
}
