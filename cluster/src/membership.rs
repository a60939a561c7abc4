//! Who takes part in a group, as the payload of a membership entry.

use minicbor::{Decode, Encode};
use std::collections::{BTreeMap, BTreeSet};

/// The voters of a group and the addresses of its nodes, as consensus knows them.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Membership {
    /// One set of voters; two while the group changes from one to the other.
    #[n(0)]
    pub configs: Vec<BTreeSet<u64>>,
    /// Every node with its address, voters and learners; the address of a lone node is empty.
    #[n(1)]
    pub nodes: BTreeMap<u64, String>,
}

impl Membership {
    /// The group of one voter.
    #[must_use]
    pub fn alone(node: u64) -> Self {
        Self { configs: vec![BTreeSet::from([node])], nodes: BTreeMap::from([(node, String::new())]) }
    }

    /// Whether a node is the only one in the group.
    #[must_use]
    pub fn is_alone(&self, node: u64) -> bool {
        self.configs == [BTreeSet::from([node])] && self.nodes.keys().eq([&node])
    }

    /// Who decides, in either set while there are two.
    #[must_use]
    pub fn voters(&self) -> BTreeSet<u64> {
        self.configs.iter().flatten().copied().collect()
    }

    /// Who has the log and does not decide.
    #[must_use]
    pub fn learners(&self) -> BTreeSet<u64> {
        let voters = self.voters();
        self.nodes.keys().copied().filter(|node| !voters.contains(node)).collect()
    }

    /// Its bytes: minicbor, fields by number.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        minicbor::to_vec(self).expect("encoding into memory cannot fail")
    }

    /// Reads its bytes.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn decode(bytes: &[u8]) -> Result<Self, minicbor::decode::Error> {
        minicbor::decode(bytes)
    }
}
