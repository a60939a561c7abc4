//! A hash chain over what changed: each link holds the hash of the one before, so that none can be changed, left out or
//! put in between without all after it being others.
//!
//! `hash(n) = SHA-256(hash(n - 1) || link(n))`, and `hash(0)` is 32 zeros. A link is what [`link`] makes of a change.

use sha2::{Digest, Sha256};

use super::{Change, Fingerprint};
use crate::header::Principal;
use crate::time::Timestamp;

/// Where a chain ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Chain {
    /// How many links it has.
    #[n(0)]
    pub length: u64,
    /// The hash of the last.
    #[n(1)]
    pub head: Fingerprint,
}

impl Chain {
    /// One without a link.
    pub const NEW: Self = Self { length: 0, head: Fingerprint([0; 32]) };

    /// Adds a link.
    pub fn add(&mut self, link: &[u8]) {
        let hash = Sha256::new_with_prefix(self.head.0).chain_update(link);
        *self = Self { length: self.length + 1, head: Fingerprint(hash.finalize().into()) };
    }
}

impl Default for Chain {
    fn default() -> Self {
        Self::NEW
    }
}

/// The bytes of a link: CBOR of the time, who did it, and the change, as an array of three.
pub(crate) fn link(at: Timestamp, by: &Principal, change: &Change) -> Vec<u8> {
    minicbor::to_vec((at, by, change)).expect("writing to memory does not fail")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::Standing;

    #[test]
    fn a_chain_shows_what_was_changed_left_out_or_moved() {
        let links = [Standing::Disabled, Standing::Enabled, Standing::Quarantined].map(|standing| {
            link(Timestamp::from_millis(7), &Principal::System, &Change::Stands(standing))
        });
        let head = |order: &[usize]| {
            let mut chain = Chain::NEW;
            order.iter().for_each(|index| chain.add(&links[*index]));
            chain
        };

        let whole = head(&[0, 1, 2]);

        assert_eq!(whole.length, 3);
        for other in [&[0, 1][..], &[1, 2], &[0, 2, 1], &[0, 1, 1], &[]] {
            assert_ne!(head(other).head, whole.head, "{other:?}");
        }
    }
}
