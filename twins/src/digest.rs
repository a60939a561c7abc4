//! What stands for a text that need not be kept: 128 bits that differ when the texts do, but for chance.
//!
//! It is *not* a signature: whoever may choose both texts can make them meet. So it only tells apart what one sender
//! has said to one twin.

use twox_hash::XxHash3_128;

use crate::rejection::{Code, Rejection};

/// A hash of 128 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, minicbor::Encode, minicbor::Decode)]
#[cbor(transparent)]
pub struct Digest(#[cbor(n(0), with = "minicbor::bytes")] [u8; 16]);

impl Digest {
    /// Of several parts, in order; where one ends counts.
    pub fn of(parts: &[&[u8]]) -> Self {
        let mut text = Vec::with_capacity(parts.iter().map(|part| part.len() + 8).sum());
        for part in parts {
            text.extend((part.len() as u64).to_be_bytes());
            text.extend(*part);
        }
        Self(XxHash3_128::oneshot(&text).to_be_bytes())
    }

    /// Of a device's message id.
    ///
    /// # Errors
    /// When it is empty: all messages that have it would be one.
    pub fn of_mid(mid: &str) -> Result<Self, Rejection> {
        match mid {
            "" => Err(Rejection::new(Code::Malformed, "the `mid` is empty")),
            mid => Ok(Self::of(&[mid.as_bytes()])),
        }
    }

    /// What tells most digests apart, in a place where they have to be looked through.
    pub(crate) fn print(&self) -> u16 {
        u16::from_be_bytes([self.0[0], self.0[1]])
    }

    /// Its bytes, as a part of another.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_part_ends_counts() {
        assert_eq!(Digest::of(&[b"ab", b"c"]), Digest::of(&[b"ab", b"c"]));
        assert_ne!(Digest::of(&[b"ab", b"c"]), Digest::of(&[b"a", b"bc"]));
        assert_ne!(Digest::of(&[b""]), Digest::of(&[]));
    }
}
