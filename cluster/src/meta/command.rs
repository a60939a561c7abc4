//! What the meta group can be told, and its bytes in the log: minicbor, fields and variants by number, never reused.

use minicbor::{Decode, Encode};
use runtime::clock::Timestamp;
use runtime::directory::audit::{Fingerprint, Sealed};

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
        /// Where the others reach it, `host:port`; without, it stays what it was.
        #[n(4)]
        address: Option<String>,
        /// Its certificate; without, it stays what it was. It is never another one than the cluster knows.
        #[n(5)]
        fingerprint: Option<Fingerprint>,
        /// The newest feature level that it knows; entries of old versions have none, which is 0.
        #[n(6)]
        feature: Option<u32>,
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
    /// A node that is alone begins a cluster, of which it is the first. All shards are placed on it.
    #[n(5)]
    FoundCluster {
        /// The cluster's number, big-endian.
        #[cbor(n(0), with = "minicbor::bytes")]
        id: [u8; 16],
        /// The certificate of its authority, DER.
        #[cbor(n(1), with = "minicbor::bytes")]
        authority: Vec<u8>,
        /// The authority's key, sealed under the master key.
        #[n(2)]
        sealed_key: Sealed,
        /// The node.
        #[n(3)]
        node: u64,
        /// Where others reach it, `host:port`.
        #[n(4)]
        address: String,
        /// Its certificate.
        #[n(5)]
        fingerprint: Fingerprint,
    },
    /// A node may join once by a token.
    #[n(6)]
    AddToken {
        /// The hash of the token's secret.
        #[n(0)]
        digest: Fingerprint,
        /// From when it is worth nothing.
        #[n(1)]
        expires: Timestamp,
        /// When it was made.
        #[n(2)]
        at: Timestamp,
    },
    /// A node joins by a token, as `Provisioning`. Its number is [`State::next_node`](super::State::next_node) of the state
    /// that this is conditional on.
    #[n(7)]
    Join {
        /// The hash of the token's secret; the token is used up.
        #[n(0)]
        token: Fingerprint,
        /// The certificate that it is given.
        #[n(1)]
        fingerprint: Fingerprint,
        /// Where the others reach it, `host:port`.
        #[n(2)]
        address: String,
        /// Where it stands, for placement.
        #[n(3)]
        location: String,
        /// When it asked, by the clock of the node that it asked.
        #[n(4)]
        at: Timestamp,
    },
    /// Says who has a shard that is placed nowhere yet.
    #[n(8)]
    Place {
        /// The shard.
        #[n(0)]
        shard: u32,
        /// Who has it; see [`Placement`](super::Placement) for the order.
        #[n(1)]
        replicas: Vec<u64>,
    },
    /// A shard is to be on other nodes. Whoever leads it carries that out.
    #[n(9)]
    ProposeMove {
        /// The shard.
        #[n(0)]
        shard: u32,
        /// Who has it then, in the order of [`Placement`](super::Placement).
        #[n(1)]
        target: Vec<u64>,
        /// It stays there as long as it can: somebody wanted it so.
        #[n(2)]
        pinned: bool,
    },
    /// The move of a shard is done: those who are no target have nothing more to do with its group.
    #[n(10)]
    AdvanceMove {
        /// The shard.
        #[n(0)]
        shard: u32,
    },
    /// The shard that is being moved goes back to where it was.
    #[n(11)]
    AbortMove {
        /// The shard.
        #[n(0)]
        shard: u32,
    },
    /// A node has dropped what it had of a shard that was moved away, and may be given it again.
    #[n(12)]
    Dropped {
        /// The shard.
        #[n(0)]
        shard: u32,
        /// The node.
        #[n(1)]
        node: u64,
    },
    /// Who should lead a shard while it can.
    #[n(13)]
    SetLeaderPreference {
        /// The shard.
        #[n(0)]
        shard: u32,
        /// The node; it decides in the shard's group, or will.
        #[n(1)]
        node: u64,
    },
    /// While placement is frozen, no move begins and nobody is preferred anew. What has begun is brought to its end.
    #[n(14)]
    FreezePlacement(#[n(0)] bool),
    /// The nodes may use what this feature level has, for all of them know it. It never goes back.
    #[n(15)]
    RaiseFeatureLevel(#[n(0)] u32),
    /// A certificate is believed no more.
    #[n(16)]
    RevokeCert {
        /// Which.
        #[n(0)]
        fingerprint: Fingerprint,
    },
}

impl Command {
    /// That a node has started which is in no cluster.
    #[must_use]
    pub fn register(node: u64, generation: u64, location: String, version: String) -> Self {
        let (address, fingerprint, feature) = (None, None, None);
        Self::RegisterNode { node, generation, location, version, address, fingerprint, feature }
    }
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
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
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

#[cfg(test)]
mod tests {
    use super::*;

    /// As versions before clusters wrote it.
    #[derive(Encode)]
    enum Old {
        #[n(0)]
        RegisterNode {
            #[n(0)]
            node: u64,
            #[n(1)]
            generation: u64,
            #[n(2)]
            location: String,
            #[n(3)]
            version: String,
        },
    }

    #[test]
    fn an_entry_of_a_version_before_clusters_is_read() {
        let (location, version) = ("lab".to_owned(), "0.1.0".to_owned());
        let old = Old::RegisterNode {
            node: 1,
            generation: 3,
            location: location.clone(),
            version: version.clone(),
        };

        let read: Command = minicbor::decode(&minicbor::to_vec(old).unwrap()).unwrap();

        assert_eq!(read, Command::register(1, 3, location, version));
    }

    #[test]
    fn every_command_is_read_as_it_was_written() {
        let fingerprint = Fingerprint([7; 32]);
        let commands = [
            Command::RegisterNode {
                node: 2,
                generation: 1,
                location: "zone=a".to_owned(),
                version: "1".to_owned(),
                address: Some("a:1".to_owned()),
                fingerprint: Some(fingerprint),
                feature: Some(3),
            },
            Command::FoundCluster {
                id: [1; 16],
                authority: vec![2; 40],
                sealed_key: Sealed(vec![3; 50].into()),
                node: 1,
                address: "a:1".to_owned(),
                fingerprint,
            },
            Command::AddToken { digest: fingerprint, expires: Timestamp::MAX, at: Timestamp::ZERO },
            Command::Join {
                token: fingerprint,
                fingerprint,
                address: "b:2".to_owned(),
                location: String::new(),
                at: Timestamp::ZERO,
            },
            Command::Place { shard: 3, replicas: vec![1] },
            Command::ProposeMove { shard: 3, target: vec![1, 2, 3], pinned: true },
            Command::AdvanceMove { shard: 3 },
            Command::AbortMove { shard: 3 },
            Command::Dropped { shard: 3, node: 4 },
            Command::SetLeaderPreference { shard: 3, node: 1 },
            Command::FreezePlacement(true),
            Command::RaiseFeatureLevel(2),
            Command::RevokeCert { fingerprint },
        ];

        for command in commands {
            let entry = Entry { expected: 4, command };
            assert_eq!(Entry::decode(&entry.encode()).unwrap(), entry);
        }
    }
}
