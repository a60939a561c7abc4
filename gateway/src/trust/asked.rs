//! What a device, or somebody for it, asks for: a key, or a certificate for a key that the device has; and what a repeat of
//! that is told by.

use std::sync::Arc;
use std::time::Duration;

use runtime::directory::audit::hash;
use runtime::directory::{Authority, Directory};
use twins::id::TwinId;
use twins::name::Name;
use twins::time::Timestamp;
use twins::trust::{Fingerprint, Sealed, Secret};

use super::authority::{self, LIFE, Signer};
use super::provisioning::Refused;
use super::vault::{Vault, random};

/// Bytes that a nonce has at least, and at most. It should be random: it is what a repeat is told by.
pub const NONCE_BYTES: (usize, usize) = (16, 128);

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub enum Asked<'a> {
    /// A key. Without a nonce the request is like no other.
    Key {
        /// What a repeat is told by.
        nonce: Option<&'a str>,
    },
    /// A certificate.
    Certificate {
        /// The certificate request, PEM.
        csr: &'a str,
        /// What parts this from other requests for the same key.
        nonce: Option<&'a str>,
        /// Who is to sign; the only one who does, where nobody says.
        authority: Option<&'a str>,
        /// How long it is valid.
        life: Duration,
    },
}

/// What was asked for, once nothing is wrong with it.
pub(super) struct Request<'a> {
    /// What it is told by.
    pub(super) hash: Fingerprint,
    pub(super) what: Wants<'a>,
}

pub(super) enum Wants<'a> {
    Key,
    Certificate(Application<'a>),
}

/// An application for a certificate.
pub(super) struct Application<'a> {
    csr: authority::Request,
    authority: Option<&'a str>,
    life: Duration,
}

impl<'a> Asked<'a> {
    /// A certificate for the key of this request, else a key, which takes a nonce.
    pub fn by_device(csr: Option<&'a str>, nonce: Option<&'a str>, authority: Option<&'a str>) -> Self {
        match csr {
            Some(csr) => Self::Certificate { csr, nonce, authority, life: LIFE },
            // An empty nonce is none, and is refused as such.
            None => Self::Key { nonce: Some(nonce.unwrap_or_default()) },
        }
    }
}

impl<'a> Request<'a> {
    pub(super) fn of(verb: &str, asked: Asked<'a>) -> Result<Self, Refused> {
        let (Asked::Key { nonce } | Asked::Certificate { nonce, .. }) = asked;
        if nonce.is_some_and(|nonce| !(NONCE_BYTES.0..=NONCE_BYTES.1).contains(&nonce.len())) {
            return Err(Refused::BadNonce);
        }
        let said = format!("{verb} {}", nonce.unwrap_or_default()).into_bytes();
        match asked {
            Asked::Key { nonce: None } => Ok(Self { hash: Fingerprint(random()?), what: Wants::Key }),
            Asked::Key { .. } => Ok(Self { hash: hash(&said), what: Wants::Key }),
            Asked::Certificate { csr, authority, life, .. } => {
                let csr = authority::Request::parse(csr)?;
                let signer = hash(authority.unwrap_or_default().as_bytes());
                let life_s = life.as_secs().to_be_bytes();
                let hash = hash(&[&said, &life_s[..], &signer.0, &hash(csr.bytes()).0].concat());
                Ok(Self { hash, what: Wants::Certificate(Application { csr, authority, life }) })
            }
        }
    }
}

impl Application<'_> {
    /// Has it signed; until when that is valid.
    pub(super) fn sign(
        &self,
        vault: &Vault,
        directory: &Directory,
        device: &TwinId,
        now: Timestamp,
    ) -> Result<(Secret, Timestamp), Refused> {
        let (name, known) = self.signer(directory, device.tenant())?;
        let signer = Signer::open(vault, device.tenant(), name, known)?;
        let signed = signer.sign(&self.csr, device, now, self.life)?;
        let (fingerprint, certificate) = (hash(&signed.certificate), Sealed(signed.certificate));
        Ok((Secret::Certificate { fingerprint, authority: name.clone(), certificate }, signed.expires))
    }

    /// The authority that is named, else the only one that signs.
    fn signer<'d>(
        &self,
        directory: &'d Directory,
        tenant: &str,
    ) -> Result<(&'d Name, &'d Arc<Authority>), Refused> {
        let all = directory.tenants.get(tenant).into_iter().flat_map(|tenant| &tenant.authorities);
        let mut all = all.filter(|(name, authority)| {
            !authority.retired && self.authority.is_none_or(|wanted| wanted == name.as_str())
        });
        match (all.next(), all.next()) {
            (Some(only), None) => Ok(only),
            (None, _) => {
                let none = "no authority of the tenant signs certificates, or not the one that is named";
                Err(Refused::NoSigner(none))
            }
            (Some(_), Some(_)) => Err(Refused::NoSigner("several authorities sign; name one as `authority`")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_told_by_its_verb_and_nonce_and_one_without_is_like_no_other() {
        let nonce = Some("0123456789abcdef");
        let of = |verb, nonce| Request::of(verb, Asked::Key { nonce }).map(|request| request.hash);

        assert_eq!(of("activate", nonce).unwrap(), of("activate", nonce).unwrap());
        assert_ne!(of("activate", nonce).unwrap(), of("rotate", nonce).unwrap());
        assert_ne!(of("rotate", None).unwrap(), of("rotate", None).unwrap());
        for bad in ["", "0123456789abcde", &"x".repeat(129)] {
            assert!(matches!(of("rotate", Some(bad)), Err(Refused::BadNonce)), "{bad}");
        }
    }

    #[test]
    fn a_certificate_request_is_told_by_its_bytes_and_a_nonce() {
        let [first, other] = [(); 2].map(|()| authority::generate("pump-1").unwrap().1);
        let of = |csr, nonce| {
            let asked = Asked::by_device(Some(csr), nonce, None);
            Request::of("activate", asked).map(|request| request.hash).unwrap()
        };

        assert_eq!(of(&first, None), of(&first, None));
        assert_ne!(of(&first, None), of(&other, None));
        assert_ne!(of(&first, None), of(&first, Some("0123456789abcdef")));
        let keyless = Request::of("activate", Asked::by_device(None, None, None));
        assert!(matches!(keyless, Err(Refused::BadNonce)));
    }
}
