//! The hello: what two nodes say of themselves before anything else, and whether each lets the other one in.
//!
//! The judgement is pure. It stands on what TLS has proved (the certificate), what the cluster knows (the roll), and what
//! this node has seen of the other one before. The last is what keeps consensus safe: a node that comes back with less
//! than it had acknowledged, or twice, would break promises that others count on, so it is shut out before it says a word.

use minicbor::{Decode, Encode};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use super::authority::{ClusterId, Fingerprint, Name};
use super::refusal::Refusal;
use crate::wire::Contact;

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Hello {
    /// The oldest protocol version that it speaks.
    #[n(0)]
    pub version_min: u8,
    /// The newest one.
    #[n(1)]
    pub version_max: u8,
    /// Its cluster's id, big-endian.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub cluster: [u8; 16],
    /// Its number.
    #[n(3)]
    pub node: u64,
    /// Which start of its folder this is.
    #[n(4)]
    pub generation: u64,
    /// A random number of this start: two starts of one generation are two copies of a folder.
    #[n(5)]
    pub start: u64,
    /// The number of the last batch of its log that is durable.
    #[n(6)]
    pub durable: u64,
    /// The newest feature level that it knows.
    #[n(7)]
    pub feature: u32,
    /// Its software, for people.
    #[n(8)]
    pub software: String,
    /// Where others reach it.
    #[n(9)]
    pub address: String,
    /// Its wall clock, milliseconds since 1970.
    #[n(10)]
    pub clock: u64,
}

/// A sign of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Ping {
    /// The wall clock, milliseconds since 1970.
    #[n(0)]
    pub clock: u64,
    /// The number of the last batch of the log that is durable.
    #[n(1)]
    pub durable: u64,
}

/// What the cluster knows of its nodes, from the meta group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roll {
    /// Its nodes. One that is not here yet may speak all the same: a node that lags does not know the newest ones.
    pub nodes: BTreeMap<u64, Enrolled>,
    /// Keys whose certificates are believed no more.
    pub revoked: BTreeSet<Fingerprint>,
}

/// A node of the roll.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Enrolled {
    /// Where it is dialled, `host:port`; empty: it is not.
    pub address: String,
    /// The key of its certificate, where the cluster knows it.
    pub fingerprint: Option<Fingerprint>,
    /// The newest start that the cluster knows of.
    pub generation: u64,
    /// It was removed.
    pub is_gone: bool,
}

/// What was seen of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Its newest generation.
    pub generation: u64,
    /// The random number of that start.
    pub start: u64,
    /// The most that it said to be durable.
    pub durable: u64,
}

/// What TLS has proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    /// Whom the certificate names.
    pub name: Name,
    /// Which key it is for.
    pub fingerprint: Fingerprint,
}

impl Hello {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        minicbor::to_vec(self).expect("a vector takes all bytes")
    }

    /// From the bytes of anybody.
    ///
    /// # Errors
    /// When it is none.
    pub fn decode(bytes: &[u8]) -> Result<Self, Refusal> {
        minicbor::decode(bytes).map_err(|_| Refusal::Malformed("a hello that cannot be read"))
    }

    /// Who says it.
    pub fn contact(&self) -> Contact {
        Contact { node: self.node, generation: self.generation }
    }

    /// The versions it speaks.
    pub fn versions(&self) -> RangeInclusive<u8> {
        self.version_min..=self.version_max
    }

    fn name(&self) -> Name {
        Name { cluster: ClusterId(u128::from_be_bytes(self.cluster)), node: self.node }
    }

    /// Whether a node that says `theirs` and showed that certificate is let in: the version to speak with it.
    ///
    /// # Errors
    /// What it is refused with.
    pub fn judge(
        &self,
        theirs: &Self,
        shown: &Shown,
        roll: &Roll,
        seen: Option<&Seen>,
    ) -> Result<u8, Refusal> {
        let (ours, name) = (self.name(), theirs.name());
        // The version first: of another one nothing else is sure to mean what it says.
        let version = self.version_max.min(theirs.version_max);
        if !self.versions().contains(&version) || !theirs.versions().contains(&version) {
            return Err(Refusal::NoCommonVersion {
                ours: (self.version_min, self.version_max),
                theirs: (theirs.version_min, theirs.version_max),
            });
        }
        if name.cluster != ours.cluster {
            let (ours, theirs) = (ours.cluster.to_string(), name.cluster.to_string());
            return Err(Refusal::OtherCluster { ours, theirs });
        }
        if name != shown.name {
            return Err(Refusal::OtherName { shown: shown.name.to_string(), said: name.to_string() });
        }
        if name.node == ours.node {
            return Err(Refusal::SameNumber(name.node));
        }
        roll.admits(name.node, &shown.fingerprint)?;
        let known = roll.nodes.get(&name.node).map_or(0, |enrolled| enrolled.generation);
        let is_other_start = |seen: &Seen| theirs.generation == seen.generation && theirs.start != seen.start;
        let newest = seen.map_or(known, |seen| seen.generation.max(known));
        if theirs.generation < newest || seen.is_some_and(is_other_start) {
            return Err(Refusal::OldGeneration { node: name.node, theirs: theirs.generation, seen: newest });
        }
        match seen {
            // Of one start a ping may have overtaken the hello.
            Some(seen) if theirs.start != seen.start && theirs.durable < seen.durable => {
                Err(Refusal::WentBack { node: name.node, theirs: theirs.durable, seen: seen.durable })
            }
            _ => Ok(version),
        }
    }

    /// What is seen of the node by it.
    pub fn seen(&self) -> Seen {
        Seen { generation: self.generation, start: self.start, durable: self.durable }
    }
}

impl Roll {
    /// Whether a node with that certificate may speak.
    ///
    /// # Errors
    /// When it was removed, or its certificate is not the one.
    pub fn admits(&self, node: u64, fingerprint: &Fingerprint) -> Result<(), Refusal> {
        let enrolled = self.nodes.get(&node);
        if enrolled.is_some_and(|enrolled| enrolled.is_gone) {
            return Err(Refusal::Gone(node));
        }
        let is_other = |known: Fingerprint| known != *fingerprint;
        let is_another = enrolled.and_then(|enrolled| enrolled.fingerprint).is_some_and(is_other);
        match is_another || self.revoked.contains(fingerprint) {
            true => Err(Refusal::OtherCertificate(node)),
            false => Ok(()),
        }
    }
}

impl Ping {
    /// As bytes.
    pub fn encode(self) -> Vec<u8> {
        minicbor::to_vec(self).expect("a vector takes all bytes")
    }

    /// From the bytes of anybody.
    ///
    /// # Errors
    /// When it is none.
    pub fn decode(bytes: &[u8]) -> Result<Self, Refusal> {
        minicbor::decode(bytes).map_err(|_| Refusal::Malformed("a ping that cannot be read"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTER: ClusterId = ClusterId(0xC1);
    const SHOWN: Shown = Shown { name: Name { cluster: CLUSTER, node: 2 }, fingerprint: [2; 32] };

    fn hello(node: u64) -> Hello {
        Hello {
            version_min: 1,
            version_max: 2,
            cluster: CLUSTER.0.to_be_bytes(),
            node,
            generation: 5,
            start: 77,
            durable: 1_000,
            feature: 1,
            software: "twinfold 0.1.0".into(),
            address: "n2:7400".into(),
            clock: 1,
        }
    }

    fn judged(change: impl FnOnce(&mut Hello, &mut Roll, &mut Option<Seen>)) -> Result<u8, Refusal> {
        let (mut theirs, mut roll, mut seen) = (hello(2), Roll::default(), None);
        change(&mut theirs, &mut roll, &mut seen);
        hello(1).judge(&theirs, &SHOWN, &roll, seen.as_ref())
    }

    #[test]
    fn what_is_said_comes_back_as_it_was() {
        let said = hello(9);

        assert_eq!(Hello::decode(&said.encode()).unwrap(), said);
    }

    #[test]
    fn the_newest_version_that_both_speak_is_spoken() {
        let older = judged(|theirs, _, _| theirs.version_max = 1);
        let newer = judged(|theirs, _, _| theirs.version_max = 9);

        assert_eq!((older, newer), (Ok(1), Ok(2)));
    }

    #[test]
    fn each_ground_has_its_refusal() {
        let seen = Seen { generation: 5, start: 77, durable: 1_000 };
        let enrolled = |change: fn(&mut Enrolled)| {
            let mut enrolled = Enrolled::default();
            change(&mut enrolled);
            Roll { nodes: [(2, enrolled)].into(), ..Roll::default() }
        };
        let cases: [(u32, Result<u8, Refusal>); 12] = [
            (3, judged(|theirs, _, _| (theirs.version_min, theirs.version_max) = (3, 4))),
            (3, judged(|theirs, _, _| (theirs.version_min, theirs.version_max) = (2, 1))),
            (4, judged(|theirs, _, _| theirs.cluster = [9; 16])),
            (5, judged(|theirs, _, _| theirs.node = 3)),
            (5, judged(|theirs, _, _| theirs.node = 1)),
            (7, judged(|_, roll, _| *roll = enrolled(|enrolled| enrolled.is_gone = true))),
            (8, judged(|_, roll, _| *roll = enrolled(|enrolled| enrolled.fingerprint = Some([9; 32])))),
            (8, judged(|_, roll, _| roll.revoked = [[2; 32]].into())),
            (9, judged(|_, roll, _| *roll = enrolled(|enrolled| enrolled.generation = 6))),
            (9, judged(|_, _, saw| *saw = Some(Seen { generation: 6, ..seen }))),
            (9, judged(|_, _, saw| *saw = Some(Seen { start: 78, ..seen }))),
            (10, judged(|_, _, saw| *saw = Some(Seen { generation: 4, start: 76, durable: 1_001 }))),
        ];

        for (number, (code, judged)) in cases.into_iter().enumerate() {
            assert_eq!(judged.as_ref().map_err(Refusal::code), Err(code), "case {number}: {judged:?}");
        }
    }

    #[test]
    fn a_node_with_my_number_is_refused_though_its_certificate_is_good() {
        let shown = Shown { name: Name { cluster: CLUSTER, node: 1 }, fingerprint: [1; 32] };

        let judged = hello(1).judge(&hello(1), &shown, &Roll::default(), None);

        assert_eq!(judged, Err(Refusal::SameNumber(1)));
    }

    #[test]
    fn the_same_start_comes_again_and_a_newer_one_comes_with_a_longer_log() {
        let seen = Seen { generation: 5, start: 77, durable: 1_000 };

        let again = judged(|_, _, saw| *saw = Some(seen));
        let restarted = judged(|theirs, _, saw| {
            (theirs.generation, theirs.start, theirs.durable) = (6, 1, 1_001);
            *saw = Some(seen);
        });

        assert_eq!((again, restarted), (Ok(2), Ok(2)));
    }
}
