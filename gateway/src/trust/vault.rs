//! The vault: seals the secrets that must be recovered, and hashes those that need not be, with keys that all come from
//! one master key.
//!
//! From the master key one key is derived for each purpose and each of the two uses (HKDF-SHA-256, RFC 5869), so that what
//! was made for one purpose is worth nothing for another. Sealing is AES-256-GCM under a random nonce of 96 bits, which
//! is good for 2^32 secrets of a purpose, and binds them to whose they are. A digest is HMAC-SHA-256: whoever has the data
//! folder but not the master key cannot even try guesses.
//!
//! Whoever loses the master key loses all that is sealed under it: every device and group has to be given a key again.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use aws_lc_rs::{hkdf, hmac, rand};
use twins::trust::{Fingerprint, Sealed};

/// The first byte of what is sealed: how the rest is to be read.
const VERSION: u8 = 1;
/// What GCM adds to prove that nothing was changed.
const TAG_LEN: usize = 16;
/// Parts these keys from those of other programs under the same master key.
const SALT: &[u8] = b"twinfold vault 1";

/// Seals and hashes under one master key. It is cheap to ask, and makes its keys anew each time.
pub struct Vault {
    root: hkdf::Prk,
}

/// What a secret is for. Its name is a part of its keys, and never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The key of a device.
    DeviceKey,
    /// An activation key that was generated.
    ActivationKey,
    /// The key of an enrolment group.
    GroupKey,
    /// The key of a device authority.
    AuthorityKey,
    /// The key of a cluster's authority, or of a node that it signed for.
    ClusterKey,
    /// The heads of the audit, which are signed.
    AuditHead,
    /// Nothing: it tells one master key from another.
    MasterKey,
}

/// Why the vault did not do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The system has no random numbers.
    #[error("the system gave no random numbers")]
    NoRandom,
    /// It was changed, is somebody else's, or was sealed for another purpose or under another master key.
    #[error("what is sealed does not open; start the node with the master key that it was sealed under")]
    Unopened,
}

impl Vault {
    /// Under this master key.
    pub fn new(master: [u8; 32]) -> Self {
        Self { root: hkdf::Salt::new(hkdf::HKDF_SHA256, SALT).extract(&master) }
    }

    /// Seals a secret of `owner`: of whoever asks to open it for somebody else, it stays closed.
    ///
    /// # Errors
    /// [`Error::NoRandom`].
    pub fn seal(&self, purpose: Purpose, owner: &[u8], secret: &[u8]) -> Result<Sealed, Error> {
        let nonce = random::<NONCE_LEN>()?;
        let mut sealed = Vec::with_capacity(1 + NONCE_LEN + secret.len() + TAG_LEN);
        sealed.push(VERSION);
        sealed.extend_from_slice(&nonce);
        let mut closed = secret.to_vec();
        let nonce = Nonce::assume_unique_for_key(nonce);
        let done = self.sealing(purpose).seal_in_place_append_tag(nonce, Aad::from(owner), &mut closed);
        done.expect("a secret is far shorter than what AES-GCM can seal");
        sealed.extend_from_slice(&closed);
        Ok(Sealed(sealed.into()))
    }

    /// Opens what was sealed for this purpose and owner.
    ///
    /// # Errors
    /// [`Error::Unopened`].
    pub fn open(&self, purpose: Purpose, owner: &[u8], sealed: &Sealed) -> Result<Vec<u8>, Error> {
        let rest = sealed.0.strip_prefix(&[VERSION]).ok_or(Error::Unopened)?;
        let (nonce, closed) = rest.split_first_chunk::<NONCE_LEN>().ok_or(Error::Unopened)?;
        let (nonce, mut closed) = (Nonce::assume_unique_for_key(*nonce), closed.to_vec());
        let opened = self.sealing(purpose).open_in_place(nonce, Aad::from(owner), &mut closed);
        let length = opened.map_err(|_| Error::Unopened)?.len();
        closed.truncate(length);
        Ok(closed)
    }

    /// The keyed hash of a secret that nobody could guess, which is all that need be kept of it.
    pub fn digest(&self, purpose: Purpose, secret: &[u8]) -> Fingerprint {
        hmac(&self.key("hash", purpose), &[secret])
    }

    /// What is the same for the same master key alone, and says nothing about it.
    pub fn check(&self) -> [u8; 32] {
        self.digest(Purpose::MasterKey, b"check").0
    }

    /// Signs what is said with the key of this purpose, which is always the same: the public key, and the signature
    /// (Ed25519, RFC 8032).
    ///
    /// # Panics
    /// Never: any 32 bytes are a key.
    pub fn sign(&self, purpose: Purpose, said: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let pair = Ed25519KeyPair::from_seed_unchecked(&self.key("sign", purpose));
        let pair = pair.expect("any 32 bytes are the seed of a key");
        (pair.public_key().as_ref().to_vec(), pair.sign(said).as_ref().to_vec())
    }

    fn sealing(&self, purpose: Purpose) -> LessSafeKey {
        let key = UnboundKey::new(&AES_256_GCM, &self.key("seal", purpose));
        LessSafeKey::new(key.expect("the key is as long as AES-256 wants it"))
    }

    fn key(&self, useful: &str, purpose: Purpose) -> [u8; 32] {
        let mut key = [0; 32];
        let info = [useful.as_bytes(), b" ", purpose.as_str().as_bytes()];
        let made = self.root.expand(&info, hkdf::HKDF_SHA256).and_then(|made| made.fill(&mut key));
        made.expect("HKDF gives up to 255 hashes");
        key
    }
}

impl Purpose {
    const fn as_str(self) -> &'static str {
        match self {
            Self::DeviceKey => "device key",
            Self::ActivationKey => "activation key",
            Self::GroupKey => "group key",
            Self::AuthorityKey => "authority key",
            Self::ClusterKey => "cluster key",
            Self::AuditHead => "audit head",
            Self::MasterKey => "master key",
        }
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vault")
    }
}

/// Whether this public key has signed what is said (Ed25519, RFC 8032).
pub fn is_signed(key: &[u8], said: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, key).verify(said, signature).is_ok()
}

/// So many random bytes.
///
/// # Errors
/// [`Error::NoRandom`].
pub fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| Error::NoRandom)?;
    Ok(bytes)
}

/// HMAC-SHA-256 (RFC 2104) of the parts, one after the other.
pub fn hmac(key: &[u8], parts: &[&[u8]]) -> Fingerprint {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    parts.iter().for_each(|part| context.update(part));
    let mut hash = [0; 32];
    hash.copy_from_slice(context.sign().as_ref());
    Fingerprint(hash)
}

/// Whether two secrets, or their hashes, are the same. It takes as long wherever they differ.
pub fn is_same(one: &[u8], other: &[u8]) -> bool {
    verify_slices_are_equal(one, other).is_ok()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const DEVICE: Purpose = Purpose::DeviceKey;

    #[test]
    fn what_is_sealed_opens_for_its_owner_purpose_and_master_key_alone() {
        let vault = Vault::new([7; 32]);
        let sealed = vault.seal(DEVICE, b"default/pump-1", b"s3cret").unwrap();

        assert_eq!(vault.open(DEVICE, b"default/pump-1", &sealed).unwrap(), b"s3cret");
        assert_eq!(vault.open(DEVICE, b"default/pump-2", &sealed), Err(Error::Unopened));
        assert_eq!(vault.open(Purpose::GroupKey, b"default/pump-1", &sealed), Err(Error::Unopened));
        assert_eq!(Vault::new([8; 32]).open(DEVICE, b"default/pump-1", &sealed), Err(Error::Unopened));
    }

    #[test]
    fn what_is_sealed_hides_its_content_and_shows_every_change() {
        let vault = Vault::new([7; 32]);
        let sealed = vault.seal(DEVICE, b"me", b"the same").unwrap();

        assert_ne!(sealed, vault.seal(DEVICE, b"me", b"the same").unwrap());
        assert!(!sealed.0.windows(8).any(|part| part == b"the same"));
        for place in 0..sealed.0.len() {
            let mut changed = sealed.0.to_vec();
            changed[place] ^= 1;
            assert_eq!(vault.open(DEVICE, b"me", &Sealed(changed.into())), Err(Error::Unopened), "{place}");
            let cut = Sealed(sealed.0.slice(..place));
            assert_eq!(vault.open(DEVICE, b"me", &cut), Err(Error::Unopened), "{place}");
        }
        assert_eq!(vault.open(DEVICE, b"me", &Sealed(Bytes::new())), Err(Error::Unopened));
    }

    #[test]
    fn a_digest_is_of_its_purpose_and_master_key() {
        let vault = Vault::new([7; 32]);
        let digest = vault.digest(DEVICE, b"s3cret");

        assert_eq!(vault.digest(DEVICE, b"s3cret"), digest);
        assert_ne!(vault.digest(DEVICE, b"s3creT"), digest);
        assert_ne!(vault.digest(Purpose::ActivationKey, b"s3cret"), digest);
        assert_ne!(Vault::new([8; 32]).digest(DEVICE, b"s3cret"), digest);
    }

    const EXPECTED: [&str; 2] = [
        "b12c319b5e7b75cfc425756b72dae3ded8663975cc3fe5b6cc7142cf32ac4a03",
        "ce0dfaf4c2c6a443c5575aabb4c1dae25a747964e08d3f3a03ea43b0d740d2cb",
    ];

    #[rustfmt::skip]
    const SEALED: [u8; 3 + TAG_LEN] = [
        0x94, 0x47, 0xa9, 0xab, 0x58, 0x42, 0x1b, 0x87, 0x7b, 0xfd,
        0xb1, 0xea, 0x3a, 0x0b, 0x03, 0x0b, 0x6e, 0x0e, 0xa9,
    ];

    /// What was sealed yesterday opens tomorrow: another library, or another name of a purpose, would lose every key.
    #[test]
    fn the_format_stays_as_it_is() {
        let vault = Vault::new([0; 32]);

        let digests = [Purpose::DeviceKey, Purpose::GroupKey].map(|purpose| vault.digest(purpose, b"key"));

        assert_eq!(digests.map(|digest| digest.to_string()), EXPECTED);
        let sealed = [&[VERSION][..], &[0; NONCE_LEN], &SEALED].concat();
        assert_eq!(vault.open(DEVICE, b"me", &Sealed(sealed.into())).unwrap(), b"key");
        // Test case 2 of RFC 4231.
        let hash = hmac(b"Jefe", &[b"what do ya want ", b"for nothing?"]);
        assert_eq!(hash.to_string(), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }
}
