//! Joining: how a folder becomes a node of a cluster, over the port between nodes.
//!
//! Whoever joins has a [`Token`]. By it they know the cluster's authority, and ask nobody else; and by its secret the
//! cluster knows them. They send one [`Ask`] with a [`Request`](super::authority::Request) for a certificate, and are sent
//! one answer: a [`Grant`], or why not. The token is used up by the key of the request: the same key is granted the same
//! again for as long as the token lives, so that who never heard the answer can ask once more.
//!
//! ```text
//! ALPN "twinfold-join/1", one stream: Ask as CBOR to its end, at most 16 KiB -> Answer as CBOR to its end, the same
//! ```
//!
//! The secrets that a grant brings (the master key) travel in TLS 1.3, to the one who showed the secret of the token.

mod ask;
mod door;
mod token;

pub use ask::{Error, ask};
pub use door::Admits;
pub use token::{Malformed, NoRandom, Token, is_address};

pub(crate) use token::random;

pub(super) use door::{Door, answer, is_asked_for};

use minicbor::bytes::ByteArray;
use minicbor::{Decode, Encode};
use runtime::directory::audit::Fingerprint;
use std::collections::BTreeMap;
use std::fmt;

/// What those who join say that they speak.
pub(super) const ALPN: &[u8] = b"twinfold-join/1";
/// The longest message, either way.
const MESSAGE_BYTES_MAX: usize = 16 << 10;

/// What somebody who joins says.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct Ask {
    /// The cluster that the token is of, big-endian.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub cluster: [u8; 16],
    /// The token's secret.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub secret: [u8; 32],
    /// The request for a certificate, PKCS #10 in DER.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub request: Vec<u8>,
    /// Where others will reach the node, `host:port`; empty: it says so when it starts.
    #[n(3)]
    pub address: String,
    /// Where the node stands.
    #[n(4)]
    pub location: String,
    /// Its software, for people.
    #[n(5)]
    pub software: String,
    /// What whoever has the master key knows, where it has one already.
    #[n(6)]
    pub check: Option<Fingerprint>,
}

/// What somebody who joins is given.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct Grant {
    /// The certificate of the cluster's authority, DER.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub authority: Vec<u8>,
    /// The node's certificate, DER. Its number is in it.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub certificate: Vec<u8>,
    /// Where the other nodes are dialled.
    #[n(2)]
    pub peers: BTreeMap<u64, String>,
    /// The master key, of whoever has none.
    #[n(3)]
    pub master_key: Option<ByteArray<32>>,
}

/// What comes back.
#[derive(Encode, Decode)]
enum Answer {
    #[n(0)]
    Granted(#[n(0)] Grant),
    /// Why not, and what to do, for people.
    #[n(1)]
    Refused(#[n(0)] String),
}

/// Why somebody is not let join; they are told the same words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    /// The token is of another cluster.
    #[error(
        "the token is of cluster {theirs}, this is cluster {ours}\nnext: make a token at the cluster that it is to join: twinfold cluster token"
    )]
    OtherCluster {
        /// Of the one who is asked.
        ours: String,
        /// Of the token.
        theirs: String,
    },
    /// Nobody made that token, or it was long ago.
    #[error("the token is not known\nnext: make another one: twinfold cluster token")]
    UnknownToken,
    /// It has ended.
    #[error("the token has expired: it is good for an hour\nnext: make another one: twinfold cluster token")]
    ExpiredToken,
    /// Another node has joined by it.
    #[error(
        "the token is used up: another node has joined by it\nnext: make another one: twinfold cluster token"
    )]
    UsedToken,
    /// The two master keys differ.
    #[error(
        "the master key is not the one that the cluster's secrets are sealed under\nnext: name the right one with --master-key-file, or none, and the cluster gives it"
    )]
    OtherMasterKey,
    /// What was sent is not what it should be.
    #[error("{0}\nnext: run the same version on both nodes")]
    Malformed(String),
    /// Several others join at the moment.
    #[error("several nodes are joining at the moment\nnext: try again in some seconds, with the same token")]
    Busy,
    /// The cluster cannot decide it now.
    #[error(
        "{0}\nnext: try again, with the same token and folder; how the cluster is: twinfold cluster status"
    )]
    NotNow(String),
}

impl NotAdmitted {
    /// Whether it may have been a guess.
    fn may_be_a_guess(&self) -> bool {
        matches!(self, Self::UnknownToken | Self::OtherCluster { .. } | Self::ExpiredToken | Self::UsedToken)
    }
}

/// Neither the secret nor the key gets into a log by accident.
impl fmt::Debug for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ask").field("address", &self.address).finish_non_exhaustive()
    }
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant").field("peers", &self.peers).finish_non_exhaustive()
    }
}
