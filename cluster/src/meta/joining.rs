//! How a cluster begins, and how nodes come into it: by tokens, each of which is worth one node.

use super::nodes::{Node, check_texts};
use super::shards::Placement;
use super::{Command, NodeState, State};
use crate::transport::authority::{ClusterId, Fingerprint};
use runtime::clock::Timestamp;
use runtime::directory::audit::Sealed;

/// How many tokens may be there at once, used ones included until they expire.
const TOKENS_MAX: usize = 256;

/// The cluster, as its nodes know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// Its number.
    pub id: ClusterId,
    /// The certificate of its authority, DER.
    pub authority: Vec<u8>,
    /// The authority's key, sealed under the master key.
    pub sealed_key: Sealed,
}

/// A token by which a node may join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    /// From when it is worth nothing.
    pub expires: Timestamp,
    /// Who has joined by it.
    pub used_by: Option<u64>,
}

impl State {
    /// The node that joined by a token with a certificate.
    #[must_use]
    pub fn joined_by(&self, token: &Fingerprint, fingerprint: &Fingerprint) -> Option<u64> {
        let node = self.tokens.get(token)?.used_by?;
        (self.nodes.get(&node)?.fingerprint.as_ref() == Some(fingerprint)).then_some(node)
    }

    pub(super) fn found(&mut self, command: &Command) -> Result<(), String> {
        let Command::FoundCluster { id, authority, sealed_key, node, address, fingerprint } = command else {
            return Ok(());
        };
        if let Some(cluster) = &self.cluster {
            return Err(format!("the node is in cluster {} already", cluster.id));
        }
        let others: Vec<u64> = self.present().filter(|other| other != node).collect();
        if !others.is_empty() {
            return Err(format!("node {node} is not alone: {others:?} are there"));
        }
        check_texts("", address)?;
        let founder = self.nodes.get_mut(node).filter(|known| known.state == NodeState::Active);
        let founder = founder.ok_or_else(|| format!("node {node} is not active; start it first"))?;
        founder.address.clone_from(address);
        founder.fingerprint = Some(fingerprint.0);
        let shards = self.domains.values().flat_map(|domain| domain.first..domain.first + domain.shards);
        self.shards = shards.map(|shard| (shard, Placement::on(vec![*node]))).collect();
        let id = ClusterId(u128::from_be_bytes(*id));
        let (authority, sealed_key) = (authority.clone(), sealed_key.clone());
        self.cluster = Some(Cluster { id, authority, sealed_key });
        Ok(())
    }

    pub(super) fn add_token(
        &mut self,
        digest: Fingerprint,
        expires: Timestamp,
        at: Timestamp,
    ) -> Result<(), String> {
        if self.cluster.is_none() {
            return Err("there is no cluster to join; begin one first".to_owned());
        }
        self.tokens.retain(|_, token| at < token.expires);
        if self.tokens.len() >= TOKENS_MAX {
            return Err(format!("there are {TOKENS_MAX} tokens; wait until some of them have expired"));
        }
        self.tokens.insert(digest, Token { expires, used_by: None });
        Ok(())
    }

    pub(super) fn join(&mut self, command: &Command) -> Result<(), String> {
        let Command::Join { token, fingerprint, address, location, at } = command else { return Ok(()) };
        let node = self.next_node();
        let known = self.tokens.get(&token.0).filter(|token| *at < token.expires);
        let known = known.ok_or("the token is unknown or has expired; make another one")?;
        if let Some(other) = known.used_by {
            return Err(format!("node {other} has joined by this token; make another one"));
        }
        let shown = fingerprint.0;
        if self.revoked.contains(&shown) || self.nodes.values().any(|known| known.fingerprint == Some(shown))
        {
            return Err("the certificate was revoked, or is another node's; ask for a new one".to_owned());
        }
        check_texts(location, address)?;
        let joined = Node {
            generation: 0,
            location: location.clone(),
            version: String::new(),
            state: NodeState::Provisioning,
            address: address.clone(),
            fingerprint: Some(shown),
            feature: 0,
        };
        self.nodes.insert(node, joined);
        self.tokens.entry(token.0).and_modify(|token| token.used_by = Some(node));
        Ok(())
    }

    /// The nodes that have not left.
    pub fn present(&self) -> impl Iterator<Item = u64> {
        self.nodes.iter().filter(|(_, node)| node.state != NodeState::Gone).map(|(n, _)| *n)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Refusal;
    use super::*;
    use crate::SHARDS;
    use runtime::directory::audit::Fingerprint as Hash;

    fn founded() -> State {
        let mut state = State::default();
        for command in [
            Command::register(1, 1, "zone=a".to_owned(), "1".to_owned()),
            Command::CreateDomain { name: "default".to_owned(), shards: SHARDS },
            Command::SetNodeState { node: 1, state: NodeState::Active },
            found(1),
        ] {
            state.apply(state.version, &command).unwrap();
        }
        state
    }

    fn found(node: u64) -> Command {
        Command::FoundCluster {
            id: [9; 16],
            authority: vec![1],
            sealed_key: Sealed(vec![2].into()),
            node,
            address: "a:1".to_owned(),
            fingerprint: Hash([1; 32]),
        }
    }

    fn token(byte: u8, expires: u64) -> Command {
        let at = Timestamp::from_millis(1);
        Command::AddToken { digest: Hash([byte; 32]), expires: Timestamp::from_millis(expires), at }
    }

    fn join(token: u8, fingerprint: u8, at: u64) -> Command {
        Command::Join {
            token: Hash([token; 32]),
            fingerprint: Hash([fingerprint; 32]),
            address: "b:1".to_owned(),
            location: "zone=b".to_owned(),
            at: Timestamp::from_millis(at),
        }
    }

    fn told(state: &mut State, command: &Command) -> Result<u64, String> {
        state.apply(state.version, command).map_err(|refusal| match refusal {
            Refusal::Unfit { reason, .. } => reason,
            other => other.to_string(),
        })
    }

    #[test]
    fn a_cluster_begins_on_a_node_that_is_alone_and_has_all_shards() {
        let state = founded();

        assert_eq!(state.shards.len(), SHARDS as usize);
        assert!(state.shards.values().all(|placement| *placement == Placement::on(vec![1])));
        assert_eq!((state.nodes[&1].address.as_str(), state.nodes[&1].fingerprint), ("a:1", Some([1; 32])));
        let mut again = state.clone();
        assert_eq!(again.apply(0, &found(1)), Ok(state.version));
        assert_eq!(again, state);
    }

    #[test]
    fn a_token_is_worth_one_node_until_it_expires() {
        let mut state = founded();
        told(&mut state, &token(5, 100)).unwrap();

        assert!(told(&mut state, &join(6, 2, 50)).unwrap_err().contains("unknown or has expired"));
        assert!(told(&mut state, &join(5, 2, 100)).unwrap_err().contains("unknown or has expired"));
        assert_eq!(state.next_node(), 2);
        told(&mut state, &join(5, 2, 99)).unwrap();
        assert!(told(&mut state, &join(5, 3, 99)).unwrap_err().contains("node 2 has joined by this token"));

        assert_eq!(state.joined_by(&[5; 32], &[2; 32]), Some(2));
        assert_eq!((state.nodes[&2].state, state.nodes[&2].zone()), (NodeState::Provisioning, "b"));
    }

    #[test]
    fn a_join_that_is_asked_for_again_takes_no_second_number() {
        let mut state = founded();
        told(&mut state, &token(5, 100)).unwrap();
        let expected = state.version;
        let version = state.apply(expected, &join(5, 2, 50)).unwrap();

        assert_eq!(state.apply(expected, &join(5, 2, 51)), Ok(version));

        assert_eq!(state.next_node(), 3);
    }

    #[test]
    fn nobody_joins_with_a_certificate_that_was_revoked_or_is_anothers() {
        let mut state = founded();
        told(&mut state, &token(5, 100)).unwrap();
        told(&mut state, &Command::RevokeCert { fingerprint: Hash([8; 32]) }).unwrap();

        assert!(told(&mut state, &join(5, 8, 50)).unwrap_err().contains("was revoked"));
        assert!(told(&mut state, &join(5, 1, 50)).unwrap_err().contains("is another node's"));
    }

    #[test]
    fn whoever_did_not_join_is_not_registered_in_a_cluster() {
        let mut state = founded();
        let stranger = Command::register(7, 1, String::new(), "1".to_owned());

        assert!(told(&mut state, &stranger).unwrap_err().contains("joins by a token"));
    }

    #[test]
    fn tokens_that_have_expired_make_room_for_new_ones() {
        let mut state = founded();
        for byte in 0..=255 {
            told(&mut state, &token(byte, 10)).unwrap();
        }
        let (digest, expires) = (Hash([1; 32]), Timestamp::from_millis(99));
        let fresh = |at| {
            let mut digest = digest;
            digest.0[0] = 2;
            Command::AddToken { digest, expires, at: Timestamp::from_millis(at) }
        };

        assert!(told(&mut state, &fresh(9)).unwrap_err().contains("256 tokens"));
        told(&mut state, &fresh(10)).unwrap();

        assert_eq!(state.tokens.len(), 1);
    }
}
