//! The key that makes a registered device an active one: it is used once, for one answer.

use super::Fingerprint;
use crate::time::Timestamp;

/// An activation key, of which only what verifies it is kept.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Activation {
    /// Its number among the credentials and activation keys of the id.
    #[n(0)]
    pub issue: u64,
    /// What verifies it.
    #[n(1)]
    pub verifier: Verifier,
    /// From when on it is not taken any more.
    #[n(2)]
    pub expires: Option<Timestamp>,
    /// What it was used for.
    #[n(3)]
    pub used: Option<Used>,
}

/// What verifies an activation key.
#[derive(Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub enum Verifier {
    /// Of a generated key, which cannot be guessed: its keyed hash.
    #[n(0)]
    Generated(#[n(0)] Fingerprint),
    /// Of a key that a person chose: its slow hash, as a PHC string.
    #[n(1)]
    Chosen(#[n(0)] String),
}

/// What an activation key was used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Used {
    /// The request: the hash of its nonce or of its certificate request. Only the same one is answered again.
    #[n(0)]
    pub request: Fingerprint,
    /// The number of the credential that it was answered with.
    #[n(1)]
    pub issue: u64,
}

impl Activation {
    /// Whether it may be used, also again by whoever used it.
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.used.is_some() || self.expires.is_none_or(|expires| now < expires)
    }

    pub(super) fn bytes(&self) -> usize {
        match &self.verifier {
            Verifier::Generated(_) => 0,
            Verifier::Chosen(phc) => phc.len(),
        }
    }
}

/// A slow hash is no secret, and no reading either.
impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Generated(_) => "Generated",
            Self::Chosen(_) => "Chosen",
        })
    }
}
