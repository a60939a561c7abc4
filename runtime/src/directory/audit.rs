//! The audit of the directory: every entry in one hash chain, so that none can be changed, left out or put in between
//! without all after it being others.
//!
//! `hash(n) = SHA-256(hash(n - 1) || SHA-256(entry(n)))`, and `hash(0)` is 32 zeros. Of an entry its
//! [canonical](super::Entry::canonical) bytes are hashed, which hold no secret; and the chain is over their hashes, so
//! that somebody who may not read an entry, since it is another tenant's, can check the chain all the same.

use std::fmt;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::change::Entry;

/// A cryptographic hash of 256 bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, minicbor::Encode, minicbor::Decode)]
#[cbor(transparent)]
pub struct Fingerprint(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 32]);

/// What was encrypted, or is not for everybody to read.
#[derive(Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
#[cbor(transparent)]
pub struct Sealed(#[cbor(n(0), with = "octets")] pub Bytes);

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

impl Chain {
    /// One without a link.
    pub const NEW: Self = Self { length: 0, head: Fingerprint([0; 32]) };

    /// Adds a link.
    pub fn add(&mut self, link: &[u8]) {
        let hash = Sha256::new_with_prefix(self.head.0).chain_update(link);
        *self = Self { length: self.length + 1, head: Fingerprint(hash.finalize().into()) };
    }

    /// Checks that a line is the next one, and adds it.
    ///
    /// # Errors
    /// Why it is not.
    pub fn follow(&mut self, line: &Line) -> Result<(), Broken> {
        if line.n != self.length + 1 {
            return Err(Broken::Missing { expected: self.length + 1, found: line.n });
        }
        if line.entry.as_ref().is_some_and(|entry| hash(entry) != line.digest) {
            return Err(Broken::Changed(line.n));
        }
        let mut next = *self;
        next.add(&line.digest.0);
        if next.head != line.hash {
            return Err(Broken::Unlinked(line.n));
        }
        *self = next;
        Ok(())
    }
}

impl Line {
    /// The line that an entry adds to a chain.
    pub(super) fn after(chain: &Chain, entry: &Entry) -> (Self, Chain) {
        let bytes = entry.canonical();
        let (digest, mut next) = (hash(&bytes), *chain);
        next.add(&digest.0);
        (Self { n: next.length, digest, hash: next.head, entry: Some(bytes) }, next)
    }
}

/// Sixty-four hexadecimal digits.
impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The start of it is enough to tell one from another.
impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str("...")
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes, sealed", self.0.len())
    }
}

/// `Bytes` as a byte string.
mod octets {
    use bytes::Bytes;
    use minicbor::decode::Error as DecodeError;
    use minicbor::encode::{Error as EncodeError, Write};
    use minicbor::{Decoder, Encoder};

    pub(super) fn encode<C, W: Write>(
        bytes: &Bytes,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        e.bytes(bytes)?.ok()
    }

    pub(super) fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Bytes, DecodeError> {
        Ok(d.bytes()?.to_vec().into())
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
        lines.iter().try_for_each(|line| chain.follow(line)).map(|()| chain)
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
