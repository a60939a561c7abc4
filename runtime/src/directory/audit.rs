//! The audit of the directory: every entry in one hash chain, so that none can be changed, left out or put in between
//! without all after it being others.
//!
//! `hash(n) = SHA-256(hash(n - 1) || SHA-256(entry(n)))`, and `hash(0)` is 32 zeros. Of an entry its
//! [canonical](super::Entry::canonical) bytes are hashed, which hold no secret; and the chain is over their hashes, so
//! that somebody who may not read an entry, since it is another tenant's, can check the chain all the same.

use sha2::{Digest, Sha256};
pub use twins::trust::{Chain, Fingerprint, Sealed};

use super::change::Entry;

/// An entry of the audit, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its place, from 1.
    pub n: u64,
    /// The hash of its bytes.
    pub digest: Fingerprint,
    /// The chain's hash with it.
    pub hash: Fingerprint,
    /// Its canonical bytes; `None` of an entry that is not for the reader.
    pub entry: Option<Vec<u8>>,
}

/// Why lines are no audit. The number is that of the first line that does not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// Lines are missing, or in another order.
    #[error("entry {expected} is missing: entry {found} stands in its place")]
    Missing {
        /// What should come.
        expected: u64,
        /// What came.
        found: u64,
    },
    /// It is not what was hashed.
    #[error("entry {0} was changed: its bytes have another hash")]
    Changed(u64),
    /// The chain does not lead to it.
    #[error("entry {0} does not follow from those before it: one of them was changed, or its hash was")]
    Unlinked(u64),
}

/// The hash of some bytes.
pub fn hash(bytes: &[u8]) -> Fingerprint {
    Fingerprint(Sha256::digest(bytes).into())
}

impl Line {
    /// The line that an entry adds to a chain, and the chain with it.
    pub(super) fn after(chain: &Chain, entry: &Entry) -> (Self, Chain) {
        let bytes = entry.canonical();
        let (digest, mut next) = (hash(&bytes), *chain);
        next.add(&digest.0);
        (Self { n: next.length, digest, hash: next.head, entry: Some(bytes) }, next)
    }

    /// Checks that it is the next one of a chain, and adds it.
    ///
    /// # Errors
    /// Why it is not.
    pub fn follow(&self, chain: &mut Chain) -> Result<(), Broken> {
        if self.n != chain.length + 1 {
            return Err(Broken::Missing { expected: chain.length + 1, found: self.n });
        }
        if self.entry.as_ref().is_some_and(|entry| hash(entry) != self.digest) {
            return Err(Broken::Changed(self.n));
        }
        let mut next = *chain;
        next.add(&self.digest.0);
        if next.head != self.hash {
            return Err(Broken::Unlinked(self.n));
        }
        *chain = next;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use twins::name::Name;
    use twins::time::Timestamp;

    use super::super::{By, Change, TokenId};
    use super::*;

    fn lines() -> Vec<Line> {
        let mut chain = Chain::NEW;
        let entry = |n: u64| Entry {
            at: Timestamp::from_millis(n),
            by: By::Folder,
            reason: None,
            tenant: "default".into(),
            change: Change::RemoveToken { id: TokenId(n) },
        };
        let mut lines = Vec::new();
        for n in 0..4 {
            let (line, next) = Line::after(&chain, &entry(n));
            lines.push(line);
            chain = next;
        }
        lines
    }

    fn follow(lines: &[Line]) -> Result<Chain, Broken> {
        let mut chain = Chain::NEW;
        lines.iter().try_for_each(|line| line.follow(&mut chain)).map(|()| chain)
    }

    #[test]
    fn a_whole_audit_is_whole_also_for_who_may_not_read_all_of_it() {
        let mut lines = lines();
        let whole = follow(&lines).unwrap();

        lines[1].entry = None;

        assert_eq!((follow(&lines), whole.length), (Ok(whole), 4));
    }

    #[test]
    fn a_changed_a_missing_and_a_moved_entry_are_found() {
        let whole = lines();
        let changed = |change: fn(&mut Vec<Line>)| {
            let mut lines = whole.clone();
            change(&mut lines);
            follow(&lines).unwrap_err()
        };

        assert_eq!(changed(|lines| lines[1].entry.as_mut().unwrap()[3] ^= 1), Broken::Changed(2));
        assert_eq!(changed(|lines| drop(lines.remove(1))), Broken::Missing { expected: 2, found: 3 });
        assert_eq!(changed(|lines| lines.swap(0, 1)), Broken::Missing { expected: 1, found: 2 });
        // With its digest made to fit, and even with its own hash: what follows does not.
        let forge = |lines: &mut Vec<Line>| {
            lines[1].entry.as_mut().unwrap()[3] ^= 1;
            lines[1].digest = hash(lines[1].entry.as_ref().unwrap());
        };
        let mut forged = whole.clone();
        forge(&mut forged);
        assert_eq!(follow(&forged), Err(Broken::Unlinked(2)));
        let mut chain = follow(&forged[..1]).unwrap();
        chain.add(&forged[1].digest.0);
        forged[1].hash = chain.head;
        assert_eq!(follow(&forged), Err(Broken::Unlinked(3)));
        // A cut end has another head.
        assert_ne!(follow(&whole[..3]).unwrap().head, follow(&whole).unwrap().head);
    }

    #[test]
    fn no_secret_and_no_digest_stands_in_what_is_hashed() {
        let digest = Fingerprint([0xab; 32]);
        let (id, owner, expires) = (TokenId(7), Name::fixed("ada"), Timestamp::ZERO);
        let change = Change::AddToken { id, owner, digest, scope: None, expires };
        let entry = Entry { at: Timestamp::ZERO, by: By::Folder, reason: None, tenant: "t".into(), change };

        let (line, _) = Line::after(&Chain::NEW, &entry);

        let bytes = line.entry.unwrap();
        assert!(!bytes.windows(8).any(|window| window == [0xab; 8]));
        assert_eq!(minicbor::decode::<Entry>(&bytes).unwrap(), entry.redacted());
    }
}
