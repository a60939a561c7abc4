//! A signed head of the audit: where its chain ended at a time, as the node says and cannot deny. Whoever keeps one
//! elsewhere can tell later that nothing before it was changed, cut off or rewritten. A chain can be made anew by
//! whoever may write to the data folder; a head of it that is signed by the same key cannot, without the master key. So
//! the master key belongs elsewhere too, and whoever checks a head compares its key with that of one that they kept.
//!
//! ```json
//! {"length": 7, "hash": "5f0c...", "at": "2026-11-21T09:30:00.000Z", "key": "base64url", "signature": "base64url"}
//! ```
//!
//! The signature is Ed25519 (RFC 8032) over `twinfold audit head 1`, the length, the hash and the time, each on a line of
//! its own. The key follows from the master key, and stays as long as that does.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use runtime::directory::audit::Chain;
use serde::{Deserialize, Serialize};
use twins::time::Timestamp;

use crate::audit::fingerprint;
use crate::trust::vault::{Purpose, Vault, is_signed};

/// Where the audit ends, signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedHead {
    /// How many entries it has.
    pub length: u64,
    /// The hash of the last.
    pub hash: String,
    /// When it was signed.
    pub at: String,
    /// The public key of the node: 32 bytes, base64url.
    pub key: String,
    /// The signature: 64 bytes, base64url.
    pub signature: String,
}

/// A head is not what was signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the head is not what its key has signed: it was changed")]
pub struct Forged;

impl SignedHead {
    /// Signs where a chain ends.
    pub fn sign(vault: &Vault, chain: &Chain, at: Timestamp) -> Self {
        let (length, hash, at) = (chain.length, chain.head.to_string(), at.to_string());
        let (key, signature) = vault.sign(Purpose::AuditHead, said(length, &hash, &at).as_bytes());
        let [key, signature] = [key, signature].map(|bytes| BASE64_URL_SAFE_NO_PAD.encode(bytes));
        Self { length, hash, at, key, signature }
    }

    /// Where the chain ended, if its key has signed that.
    ///
    /// # Errors
    /// [`Forged`].
    pub fn check(&self) -> Result<Chain, Forged> {
        let Self { length, hash, at, key, signature } = self;
        let read = |text: &str| BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| Forged);
        if !is_signed(&read(key)?, said(*length, hash, at).as_bytes(), &read(signature)?) {
            return Err(Forged);
        }
        Ok(Chain { length: *length, head: fingerprint(hash).ok_or(Forged)? })
    }
}

/// What is signed.
fn said(length: u64, hash: &str, at: &str) -> String {
    format!("twinfold audit head 1\n{length}\n{hash}\n{at}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed() -> SignedHead {
        let mut chain = Chain::NEW;
        chain.add(&[7; 32]);
        SignedHead::sign(&Vault::new([1; 32]), &chain, Timestamp::from_millis(60_000))
    }

    #[test]
    fn a_head_says_where_the_chain_ended() {
        let mut chain = Chain::NEW;
        chain.add(&[7; 32]);

        assert_eq!(signed().check(), Ok(chain));
        assert_eq!(signed(), signed(), "the key stays");
    }

    #[test]
    fn a_head_that_was_changed_is_found() {
        let other = SignedHead::sign(&Vault::new([2; 32]), &Chain::NEW, Timestamp::ZERO);
        for change in [
            |head: &mut SignedHead, _: &SignedHead| head.length = 0,
            |head: &mut SignedHead, _: &SignedHead| head.hash = "0".repeat(64),
            |head: &mut SignedHead, _: &SignedHead| head.at = "2026-11-21T09:30:00.000Z".into(),
            |head: &mut SignedHead, other: &SignedHead| head.key = other.key.clone(),
            |head: &mut SignedHead, other: &SignedHead| head.signature = other.signature.clone(),
            |head: &mut SignedHead, _: &SignedHead| head.signature = "?".into(),
            |head: &mut SignedHead, _: &SignedHead| head.key.clear(),
        ] {
            let mut changed = signed();
            change(&mut changed, &other);
            assert_eq!(changed.check(), Err(Forged), "{changed:?}");
        }
    }
}
