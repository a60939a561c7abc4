//! The key of a device: 32 random bytes, which its device has as 43 characters of base64url and shows as its password, or
//! signs tokens with.
//!
//! Of a key the twin keeps its digest, which a password is compared with, and the key itself sealed for that twin, which
//! a signature is checked with. Devices of an enrolment group have keys that are derived from the group's and their id,
//! so that a factory can give them without asking anybody.

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use twins::id::TwinId;
use twins::trust::{Fingerprint, Sealed, Secret};

use super::vault::{self, Purpose, Vault, hmac, is_same, random};

/// A key, of a device or of an enrolment group.
#[derive(Clone)]
pub struct Key([u8; 32]);

impl Key {
    /// A new one.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn new() -> Result<Self, vault::Error> {
        Ok(Self(random()?))
    }

    /// Reads one. `None` where the text is none.
    pub fn parse(text: &str) -> Option<Self> {
        Some(Self(BASE64_URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?))
    }

    /// The text of it, for its device alone.
    pub fn reveal(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(self.0)
    }

    /// The key of a device of the group that has this one: HMAC-SHA-256 of the device's id.
    pub fn derive(&self, twin: &TwinId) -> Self {
        Self(self.sign(&[twin.id().as_bytes()]).0)
    }

    /// What its twin keeps of it.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn keep(&self, vault: &Vault, twin: &TwinId) -> Result<Secret, vault::Error> {
        let sealed = vault.seal(Purpose::DeviceKey, twin.as_str().as_bytes(), &self.0)?;
        Ok(Secret::Key { digest: self.digest(vault), sealed })
    }

    /// The key that a twin keeps.
    ///
    /// # Errors
    /// When it was kept for another twin, or under another master key.
    pub fn recover(vault: &Vault, twin: &TwinId, sealed: &Sealed) -> Result<Self, vault::Error> {
        Self::open(vault, Purpose::DeviceKey, twin.as_str().as_bytes(), sealed)
    }

    /// What the directory keeps of the key of a group of this tenant.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn keep_for_group(&self, vault: &Vault, tenant: &str, group: &str) -> Result<Sealed, vault::Error> {
        vault.seal(Purpose::GroupKey, format!("{tenant}/{group}").as_bytes(), &self.0)
    }

    /// The key of a group that the directory keeps.
    ///
    /// # Errors
    /// When it was kept for another group, or under another master key.
    pub fn recover_of_group(
        vault: &Vault,
        tenant: &str,
        group: &str,
        sealed: &Sealed,
    ) -> Result<Self, vault::Error> {
        Self::open(vault, Purpose::GroupKey, format!("{tenant}/{group}").as_bytes(), sealed)
    }

    /// Whether it is the one that this digest is kept of.
    pub fn is(&self, vault: &Vault, digest: &Fingerprint) -> bool {
        is_same(&self.digest(vault).0, &digest.0)
    }

    /// Signs the parts, one after the other.
    pub fn sign(&self, parts: &[&[u8]]) -> Fingerprint {
        hmac(&self.0, parts)
    }

    fn digest(&self, vault: &Vault) -> Fingerprint {
        vault.digest(Purpose::DeviceKey, &self.0)
    }

    fn open(vault: &Vault, purpose: Purpose, owner: &[u8], sealed: &Sealed) -> Result<Self, vault::Error> {
        let key = vault.open(purpose, owner, sealed)?;
        Ok(Self(key.try_into().map_err(|_| vault::Error::Unopened)?))
    }
}

/// Compared in constant time.
impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        is_same(&self.0, &other.0)
    }
}

impl Eq for Key {}

/// A key never gets into a log by accident.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn twin(id: &str) -> TwinId {
        TwinId::in_default_tenant(id).unwrap()
    }

    #[test]
    fn a_key_is_read_as_it_was_revealed() {
        let key = Key::new().unwrap();
        let text = key.reveal();

        assert_eq!(text.len(), 43);
        assert_eq!(Key::parse(&text), Some(key.clone()));
        assert_ne!(Key::new().unwrap(), key);
        for other in ["", &text[..42], &format!("{text}A"), &format!("{text}="), &format!("{}!", &text[..42])]
        {
            assert_eq!(Key::parse(other), None, "{other}");
        }
    }

    #[test]
    fn what_a_twin_keeps_is_good_for_that_twin_and_shows_no_key() {
        let (vault, key) = (Vault::new([7; 32]), Key::new().unwrap());
        let Secret::Key { digest, sealed } = key.keep(&vault, &twin("pump-1")).unwrap() else {
            panic!("no key")
        };

        assert!(key.is(&vault, &digest));
        assert!(!Key::new().unwrap().is(&vault, &digest));
        assert_eq!(Key::recover(&vault, &twin("pump-1"), &sealed), Ok(key.clone()));
        assert_eq!(Key::recover(&vault, &twin("pump-2"), &sealed), Err(vault::Error::Unopened));
        assert!(!sealed.0.windows(32).any(|part| part == key.0));
    }

    #[test]
    fn a_groups_key_gives_each_device_another_one() {
        let (vault, group) = (Vault::new([7; 32]), Key::new().unwrap());
        let sealed = group.keep_for_group(&vault, "default", "pumps").unwrap();
        let recovered = Key::recover_of_group(&vault, "default", "pumps", &sealed).unwrap();

        assert_eq!(recovered.derive(&twin("pump-1")), group.derive(&twin("pump-1")));
        assert_ne!(recovered.derive(&twin("pump-1")), group.derive(&twin("pump-2")));
        for (tenant, name) in [("default", "valves"), ("acme", "pumps")] {
            assert!(Key::recover_of_group(&vault, tenant, name, &sealed).is_err());
        }
    }
}
