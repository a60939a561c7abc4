//! What a device proves itself with. Two of each sort may be valid at once, so that the next one can be tried before the
//! last one ends.

use super::{Fingerprint, Sealed};
use crate::name::Name;
use crate::time::Timestamp;

/// How many credentials of one sort a device may have.
pub const SLOTS: usize = 2;

/// A credential, as far as it may be kept.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Credential {
    /// Its number among the credentials and activation keys of the id: never given twice.
    #[n(0)]
    pub issue: u64,
    /// Since when it is valid.
    #[n(1)]
    pub since: Timestamp,
    /// From when on it is not.
    #[n(2)]
    pub expires: Option<Timestamp>,
    /// What it is.
    #[n(3)]
    pub secret: Secret,
    /// The hash of the request that it answered: the same one again is answered with it again.
    #[n(4)]
    pub request: Fingerprint,
}

/// What a credential is.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub enum Secret {
    /// A symmetric key.
    #[n(0)]
    Key {
        /// Its keyed hash, which a password is compared with.
        #[n(0)]
        digest: Fingerprint,
        /// The key itself, sealed: what verifies a token that it signed.
        #[n(1)]
        sealed: Sealed,
    },
    /// An X.509 certificate.
    #[n(1)]
    Certificate {
        /// SHA-256 of its DER form.
        #[n(0)]
        fingerprint: Fingerprint,
        /// The authority that signed it.
        #[n(1)]
        authority: Name,
        /// Its DER form, for whoever asks for it again.
        #[n(2)]
        certificate: Sealed,
    },
}

/// The sorts of credentials, each with slots of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum Sort {
    /// A symmetric key.
    #[n(0)]
    Key,
    /// An X.509 certificate.
    #[n(1)]
    Certificate,
}

impl Credential {
    /// Whether it is valid now.
    pub fn is_valid(&self, now: Timestamp) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }

    /// Its sort.
    pub fn sort(&self) -> Sort {
        self.secret.sort()
    }

    pub(super) fn bytes(&self) -> usize {
        let more = match &self.secret {
            Secret::Key { sealed, .. } => sealed.0.len(),
            Secret::Certificate { certificate, .. } => certificate.0.len(),
        };
        size_of::<Self>() + more
    }
}

impl Secret {
    /// Its sort.
    pub fn sort(&self) -> Sort {
        match self {
            Self::Key { .. } => Sort::Key,
            Self::Certificate { .. } => Sort::Certificate,
        }
    }
}

impl Sort {
    /// Its name in documents and events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Certificate => "certificate",
        }
    }
}
