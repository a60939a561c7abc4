//! The nodes, as they know each other: their life-cycle, and what each of them is able to do.

use super::{Command, NodeState, State};
use crate::transport::authority::Fingerprint;
use crate::transport::{Enrolled, Roll};

/// The longest location or address of a node, in bytes.
const TEXT_MAX: usize = 256;

/// A node as the group knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// How often it was started; 0 before the first time.
    pub generation: u64,
    /// Where it stands.
    pub location: String,
    /// The version of its software.
    pub version: String,
    /// Where it is in its life-cycle.
    pub state: NodeState,
    /// Where the others reach it, `host:port`; empty of a node that is in no cluster.
    pub address: String,
    /// Its certificate, in a cluster.
    pub fingerprint: Option<Fingerprint>,
    /// The newest feature level that it knows.
    pub feature: u32,
}

impl Node {
    /// What its location says of its zone: `zone=a` among others like `rack=3`, separated by commas, or all of it where
    /// nothing is named. Nodes of which nothing is known stand in one zone.
    #[must_use]
    pub fn zone(&self) -> &str {
        let mut parts = self.location.split(',').map(str::trim);
        match parts.find_map(|part| part.strip_prefix("zone=")) {
            Some(zone) => zone,
            None => &self.location,
        }
    }
}

impl State {
    /// The number of the node that joins next: numbers never come back.
    #[must_use]
    pub fn next_node(&self) -> u64 {
        self.nodes.last_key_value().map_or(1, |(last, _)| last + 1)
    }

    /// The nodes that may hold shards, in their order.
    pub fn active(&self) -> impl Iterator<Item = u64> {
        self.nodes.iter().filter(|(_, node)| node.state == NodeState::Active).map(|(n, _)| *n)
    }

    /// What a node's wire is told of the others.
    #[must_use]
    pub fn roll(&self) -> Roll {
        let enrolled = |node: &Node| Enrolled {
            address: node.address.clone(),
            fingerprint: node.fingerprint,
            generation: node.generation,
            is_gone: node.state == NodeState::Gone,
        };
        let nodes = self.nodes.iter().map(|(n, node)| (*n, enrolled(node)));
        Roll { nodes: nodes.collect(), revoked: self.revoked.clone() }
    }

    pub(super) fn has_registered(&self, command: &Command) -> bool {
        let Command::RegisterNode { node, generation, location, version, address, fingerprint, feature } =
            command
        else {
            return false;
        };
        self.nodes.get(node).is_some_and(|known| {
            (known.generation, &known.location, &known.version) == (*generation, location, version)
                && address.as_ref().is_none_or(|address| *address == known.address)
                && fingerprint.is_none_or(|fingerprint| known.fingerprint == Some(fingerprint.0))
                && known.feature == feature.unwrap_or(0)
        })
    }

    pub(super) fn register(&mut self, command: &Command) -> Result<(), String> {
        let Command::RegisterNode { node, generation, location, version, address, fingerprint, feature } =
            command
        else {
            return Ok(());
        };
        let known = self.nodes.get(node);
        if known.is_none() && self.cluster.is_some() {
            return Err(format!("node {node} is none of the cluster; it joins by a token"));
        }
        let mut after = Node {
            generation: *generation,
            location: location.clone(),
            version: version.clone(),
            state: NodeState::Provisioning,
            address: String::new(),
            fingerprint: None,
            feature: feature.unwrap_or(0),
        };
        if let Some(known) = known {
            if known.state == NodeState::Gone {
                return Err(format!("node {node} has left for good; give the new one a new number"));
            }
            if *generation <= known.generation {
                let seen = known.generation;
                return Err(format!(
                    "node {node} has generation {generation}, but {seen} was seen: is its disk an old image?"
                ));
            }
            if after.feature < self.feature {
                let (knows, feature) = (after.feature, self.feature);
                return Err(format!(
                    "node {node} knows feature level {knows}, the cluster is at {feature}; give it newer software"
                ));
            }
            after = Node { state: known.state, ..after };
            after.address.clone_from(&known.address);
            after.fingerprint = known.fingerprint;
        }
        let shown = fingerprint.map(|fingerprint| fingerprint.0);
        if shown.is_some() && after.fingerprint.is_some() && shown != after.fingerprint {
            return Err(format!("node {node} shows another certificate than it joined with; join anew"));
        }
        after.fingerprint = shown.or(after.fingerprint);
        if let Some(address) = address {
            after.address.clone_from(address);
        }
        check_texts(&after.location, &after.address)?;
        self.nodes.insert(*node, after);
        Ok(())
    }

    pub(super) fn set_node_state(&mut self, node: u64, state: NodeState) -> Result<(), String> {
        let held = self.shards_of(node).count();
        let known = self.nodes.get_mut(&node).ok_or_else(|| format!("node {node} is not registered"))?;
        if known.state == NodeState::Gone {
            return Err(format!("node {node} has left for good"));
        }
        if state == NodeState::Gone && held > 0 {
            return Err(format!(
                "node {node} has {held} shards; drain it first, and remove it when it has none"
            ));
        }
        known.state = state;
        if state == NodeState::Gone {
            // Whatever is still on its disk, it never comes back with it.
            for placement in self.shards.values_mut() {
                placement.former.remove(&node);
            }
        }
        Ok(())
    }

    pub(super) fn raise_feature_level(&mut self, level: u32) -> Result<(), String> {
        let is_behind = |node: &Node| node.state != NodeState::Gone && node.feature < level;
        if let Some((n, node)) = self.nodes.iter().find(|(_, node)| is_behind(node)) {
            let knows = node.feature;
            return Err(format!(
                "node {n} knows feature level {knows}, not {level}; give it newer software, or remove it"
            ));
        }
        self.feature = level;
        Ok(())
    }
}

/// Whether a node may stand there and be reached so.
pub(super) fn check_texts(location: &str, address: &str) -> Result<(), String> {
    let is_long = |text: &str| text.len() > TEXT_MAX;
    match is_long(location) || is_long(address) {
        true => Err(format!("the location and the address of a node have at most {TEXT_MAX} bytes each")),
        false => Ok(()),
    }
}
