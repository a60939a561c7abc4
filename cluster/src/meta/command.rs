//! What the meta group can be told, and its bytes in the log: minicbor, fields and variants by number, never reused.

use minicbor::{Decode, Encode};

/// A change of the meta state.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Command {
    /// A node has started: it joins as `Provisioning`, or comes back in the state it had.
    #[n(0)]
    RegisterNode {
        /// Its number.
        #[n(0)]
        node: u64,
        /// How often it was started; must be higher than what was seen.
        #[n(1)]
        generation: u64,
        /// Where it stands, for placement.
        #[n(2)]
        location: String,
        /// The version of its software.
        #[n(3)]
        version: String,
    },
    /// A node goes on in its life-cycle.
    #[n(1)]
    SetNodeState {
        /// Its number.
        #[n(0)]
        node: u64,
        /// Its state from now on.
        #[n(1)]
        state: NodeState,
    },
    /// Makes a placement domain; its shards are fixed for ever.
    #[n(2)]
    CreateDomain {
        /// Its name.
        #[n(0)]
        name: String,
        /// How many shards it has; [`crate::SHARDS`] is the only number yet.
        #[n(1)]
        shards: u32,
    },
    /// Changes who may come in and what they may do.
    #[n(3)]
    Directory(#[n(0)] runtime::directory::Entry),
    /// All secrets are sealed under one master key from now on, and never under another.
    #[n(4)]
    SealUnder {
        /// What is known by whoever has the key, and does not give it away.
        #[cbor(n(0), with = "minicbor::bytes")]
        check: [u8; 32],
    },
}

/// Where a node is in its life-cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum NodeState {
    /// Known, but it holds nothing yet.
    #[n(0)]
    Provisioning,
    /// Holds shards.
    #[n(1)]
    Active,
    /// Gives its shards away.
    #[n(2)]
    Draining,
    /// Has left, and its number never comes back.
    #[n(3)]
    Gone,
}

/// A command in the log, with the version it is conditional on.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Entry {
    #[n(0)]
    pub(super) expected: u64,
    #[n(1)]
    pub(crate) command: Command,
}

impl Entry {
    pub(super) fn encode(&self) -> Vec<u8> {
        minicbor::to_vec(self).expect("encoding into memory cannot fail")
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, minicbor::decode::Error> {
        minicbor::decode(bytes)
    }
}
