//! How many devices come in without each being named: enrolment groups, and the authorities that sign for devices.
//!
//! What is secret is sealed before it comes here, and what is a certificate is bytes here: the gateway reads both.

use bytes::Bytes;
use twins::json::Document;
use twins::name::Name;
use twins::time::Timestamp;

use super::audit::Sealed;

/// Devices that come in by what they have in common, and what they begin with.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Group {
    /// What its devices begin with.
    #[n(0)]
    pub template: Template,
    /// What they prove that they belong to it.
    #[n(1)]
    pub trust: Trust,
    /// Whether an id that is unknown is registered when it proves that; else it must be registered before.
    #[n(2)]
    pub registers: bool,
    /// None of its devices is let in by it.
    #[n(3)]
    pub disabled: bool,
    /// What was issued before lets nobody in: derived keys, and certificates by their beginning.
    #[n(4)]
    pub barred: Option<Timestamp>,
}

/// What a device begins with.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Template {
    /// As what kind it is registered.
    #[n(0)]
    pub kind: Name,
    /// Its tags.
    #[n(1)]
    pub tags: Document,
    /// Its desired section.
    #[n(2)]
    pub desired: Document,
}

/// What a device of a group proves.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub enum Trust {
    /// That it has the key derived from this one and its id.
    #[n(0)]
    Key {
        /// The group's key.
        #[n(0)]
        sealed: Sealed,
        /// How often the key was changed.
        #[n(1)]
        issue: u32,
    },
    /// That one of these signed for it.
    #[n(1)]
    Authority {
        /// The certificates, DER.
        #[cbor(n(0), with = "octets")]
        certificates: Vec<Bytes>,
    },
}

/// An authority of ours that signs certificates of devices.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Authority {
    /// Its certificate and those that it stands on, DER.
    #[cbor(n(0), with = "octets")]
    pub certificates: Vec<Bytes>,
    /// Its key.
    #[n(1)]
    pub sealed: Sealed,
    /// It signs no more; what it signed goes on until it expires or is revoked.
    #[n(2)]
    pub retired: bool,
}

impl Group {
    /// The most bytes that one may have.
    pub const BYTES_MAX: usize = 64 << 10;

    /// Whether what is valid since then lets its device in. What is derived from its key has no date: where anything is
    /// barred, all of it is.
    pub fn admits(&self, issued: Option<Timestamp>) -> bool {
        let is_barred = self.barred.is_some_and(|barred| issued.is_none_or(|issued| issued <= barred));
        !self.disabled && !is_barred
    }
}

impl Authority {
    /// The most bytes that one may have.
    pub const BYTES_MAX: usize = 16 << 10;
}

/// `Vec<Bytes>` as an array of byte strings.
mod octets {
    use bytes::Bytes;
    use minicbor::bytes::ByteVec;
    use minicbor::decode::Error as DecodeError;
    use minicbor::encode::{Error as EncodeError, Write};
    use minicbor::{Decode, Decoder, Encoder};

    pub(super) fn encode<C, W: Write>(
        all: &[Bytes],
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        e.array(all.len() as u64)?;
        all.iter().try_for_each(|one| e.bytes(one)?.ok())
    }

    pub(super) fn decode<C>(d: &mut Decoder<'_>, context: &mut C) -> Result<Vec<Bytes>, DecodeError> {
        let all = Vec::<ByteVec>::decode(d, context)?;
        Ok(all.into_iter().map(|one| Vec::from(one).into()).collect())
    }
}
