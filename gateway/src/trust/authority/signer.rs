//! An authority of ours: a key that is sealed in the directory, and the certificate that says whose it is.
//!
//! It begins as its own root. An operator who has a root of their own has it sign the authority's request, and brings the
//! certificates that come of it: then devices can be believed by whoever believes that root. The key stays the same, so
//! that what was signed before is believed further.
//!
//! A certificate of a device has a random serial of 128 bits, names its device by `urn:twinfold:TENANT:DEVICE` (and as
//! common name, where that is not too long for one), is for client authentication alone, and ends before its authority.

use std::time::Duration;

use bytes::Bytes;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType, SerialNumber, date_time_ymd,
};
use runtime::directory::{Authority, Directory, Trust};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use twins::id::TwinId;
use twins::time::Timestamp;
use x509_parser::certificate::X509Certificate;

use super::leaf::urn;
use super::{CHAIN_BYTES_MAX, CHAIN_MAX, Request, Unfit, moment, parse};
use crate::trust::vault::{self, Purpose, Vault, random};

/// How long a certificate of a device is valid where nobody says: a year.
pub const LIFE: Duration = Duration::from_secs(365 * 24 * 3_600);
/// The longest life of a device's certificate: ten years.
pub const LIFE_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 3_600);
/// How long an authority lives that is its own root: twenty years.
const ROOT_LIFE: Duration = Duration::from_secs(20 * 365 * 24 * 3_600);
/// A certificate begins so long before it is made: the clocks of devices are not exact.
const SKEW: Duration = Duration::from_secs(3_600);
/// The longest common name (RFC 5280, appendix A.1).
const COMMON_NAME_MAX: usize = 64;

/// An authority that can sign.
pub struct Signer {
    issuer: Issuer<'static, KeyPair>,
    until: Timestamp,
}

/// A certificate that was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// It, as DER.
    pub certificate: Bytes,
    /// When it ends.
    pub expires: Timestamp,
}

/// Why an authority did not do it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its name does not fit into a certificate.
    #[error("the name of an authority has at most {COMMON_NAME_MAX} bytes")]
    LongName,
    /// Its own certificate has ended.
    #[error("the authority's own certificate ended at {0}")]
    Over(Timestamp),
    /// What was brought is not its certificates.
    #[error("these are not the authority's certificates: {0}")]
    Foreign(&'static str),
    /// What was brought cannot sign for a group's devices.
    #[error("these cannot sign for the devices of a group: {0}")]
    NoRoots(&'static str),
    /// The request is not one.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// The vault did not give its key.
    #[error(transparent)]
    Vault(#[from] vault::Error),
    /// The certificate could not be made.
    #[error("making a certificate: {0}")]
    Unmade(#[from] rcgen::Error),
}

/// A new authority, which is its own root.
///
/// # Errors
/// When its name is too long, or there are no random numbers.
pub fn found(vault: &Vault, tenant: &str, name: &str, now: Timestamp) -> Result<Authority, Error> {
    if name.len() > COMMON_NAME_MAX {
        return Err(Error::LongName);
    }
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = between(now - SKEW, now + ROOT_LIFE)?;
    params.distinguished_name.push(DnType::OrganizationName, tenant);
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params.self_signed(&key)?;
    let sealed = vault.seal(Purpose::AuthorityKey, &owner(tenant, name), key.serialized_der())?;
    let certificates = vec![Bytes::copy_from_slice(certificate.der())];
    Ok(Authority { certificates, sealed, retired: false })
}

impl Signer {
    /// The authority with its key.
    ///
    /// # Errors
    /// When its key was sealed for another one, or under another master key.
    pub fn open(vault: &Vault, tenant: &str, name: &str, authority: &Authority) -> Result<Self, Error> {
        let key = vault.open(Purpose::AuthorityKey, &owner(tenant, name), &authority.sealed)?;
        let key =
            KeyPair::from_pkcs8_der_and_sign_algo(&PrivatePkcs8KeyDer::from(key), &PKCS_ECDSA_P256_SHA256)?;
        let own = own(authority)?;
        let until = moment(parse(own).ok_or(NO_CERTIFICATE)?.validity().not_after);
        let issuer = Issuer::from_ca_cert_der(&CertificateDer::from(&own[..]), key)?;
        Ok(Self { issuer, until })
    }

    /// Signs for the key of a device; for `life`, and not longer than the authority's own certificate.
    ///
    /// # Errors
    /// When that is over, or the request is not signed with its key.
    pub fn sign(
        &self,
        request: &Request,
        device: &TwinId,
        now: Timestamp,
        life: Duration,
    ) -> Result<Signed, Error> {
        if self.until <= now {
            return Err(Error::Over(self.until));
        }
        let expires = (now + life.min(LIFE_MAX)).min(self.until);
        let mut params = between(now - SKEW, expires)?;
        params.distinguished_name.push(DnType::OrganizationName, device.tenant());
        if device.id().len() <= COMMON_NAME_MAX {
            params.distinguished_name.push(DnType::CommonName, device.id());
        }
        params.subject_alt_names = vec![SanType::URI(urn(device).try_into()?)];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&request.key()?, &self.issuer)?;
        let whole_seconds = Timestamp::from_millis(expires.as_millis() / 1_000 * 1_000);
        Ok(Signed { certificate: Bytes::copy_from_slice(certificate.der()), expires: whole_seconds })
    }

    /// The authority's own request, PEM, for a root that is to sign it.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn request(&self, authority: &Authority) -> Result<String, Error> {
        let mut params = CertificateParams::default();
        let certificate = parse(own(authority)?).ok_or(NO_CERTIFICATE)?;
        params.distinguished_name = DistinguishedName::new();
        for (sort, names) in [
            (DnType::OrganizationName, certificate.subject().iter_organization().next()),
            (DnType::CommonName, certificate.subject().iter_common_name().next()),
        ] {
            let name = names.and_then(|name| name.as_str().ok()).ok_or(NO_CERTIFICATE)?;
            params.distinguished_name.push(sort, name);
        }
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Ok(params.serialize_request(self.issuer.key())?.pem()?)
    }
}

const NO_CERTIFICATE: Error = Error::Foreign("the authority's own cannot be read");

/// The authority with the certificates that a root of the operator's gave it: PEM, its own one first.
///
/// # Errors
/// When they are not its own, not in order, or over.
pub fn import(authority: &Authority, pem: &str, now: Timestamp) -> Result<Authority, Error> {
    let certificates = read_chain(pem).ok_or(Error::Foreign("it is no chain of certificates in PEM"))?;
    let chain: Option<Vec<_>> = certificates.iter().map(|one| parse(one)).collect();
    let chain = chain.ok_or(Error::Foreign("one of them cannot be read"))?;
    let (before, first) = (parse(own(authority)?).ok_or(NO_CERTIFICATE)?, &chain[0]);
    if before.public_key().raw != first.public_key().raw
        || before.subject().as_raw() != first.subject().as_raw()
    {
        return Err(Error::Foreign(
            "the first one has another key or another name; sign the authority's request",
        ));
    }
    for one in &chain {
        if !may_sign(one) {
            return Err(Error::Foreign("one of them may not sign certificates"));
        }
        if !(moment(one.validity().not_before)..moment(one.validity().not_after)).contains(&now) {
            return Err(Error::Foreign("one of them has expired, or is not valid yet"));
        }
    }
    let is_signed = |pair: &[X509Certificate<'_>]| {
        let (one, above) = (&pair[0], &pair[1]);
        one.issuer().as_raw() == above.subject().as_raw()
            && one.verify_signature(Some(above.public_key())).is_ok()
    };
    if !chain.windows(2).all(is_signed) {
        return Err(Error::Foreign("each has to be signed by the next one"));
    }
    Ok(Authority { certificates, ..authority.clone() })
}

/// The certificates of those who sign for the devices of a group: PEM. None may sign for somebody already, since one key
/// stands for one tenant and one group; nor be one of the node, whose certificates are good only as long as a twin has them.
///
/// # Errors
/// When one of them may not sign, is over, or is known.
pub fn read_roots(pem: &str, directory: &Directory, now: Timestamp) -> Result<Vec<Bytes>, Error> {
    let certificates = read_chain(pem).ok_or(Error::NoRoots("they are no certificates in PEM"))?;
    let of_node = directory.tenants.values().flat_map(|tenant| tenant.authorities.values());
    let of_node: Vec<_> = of_node.flat_map(|authority| authority.certificates.first()).collect();
    let of_groups = directory.tenants.values().flat_map(|tenant| tenant.groups.values());
    let of_groups: Vec<_> = of_groups
        .flat_map(|group| match &group.trust {
            Trust::Authority { certificates } => &certificates[..],
            Trust::Key { .. } => &[],
        })
        .collect();
    let has_key = |known: &Bytes, one: &X509Certificate<'_>| {
        parse(known).is_some_and(|known| known.public_key().raw == one.public_key().raw)
    };
    for one in &certificates {
        let one = parse(one).ok_or(Error::NoRoots("one of them cannot be read"))?;
        if !may_sign(&one) {
            return Err(Error::NoRoots("one of them may not sign certificates"));
        }
        if moment(one.validity().not_after) <= now {
            return Err(Error::NoRoots("one of them has expired"));
        }
        if of_node.iter().any(|known| has_key(known, &one)) {
            return Err(Error::NoRoots("one of them is an authority of this node"));
        }
        if of_groups.iter().any(|known| has_key(known, &one)) {
            return Err(Error::NoRoots("one of them signs for another group already"));
        }
    }
    Ok(certificates)
}

/// The certificates of a text, if it has 1 to [`CHAIN_MAX`] of them and nothing else in PEM.
fn read_chain(pem: &str) -> Option<Vec<Bytes>> {
    if pem.len() > 2 * CHAIN_BYTES_MAX {
        return None;
    }
    let read = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>().ok()?;
    let all: Vec<_> = read.iter().map(|one| Bytes::copy_from_slice(one)).collect();
    (1..=CHAIN_MAX).contains(&all.len()).then_some(all)
}

fn may_sign(one: &X509Certificate<'_>) -> bool {
    let usage = one.key_usage().ok().flatten();
    one.is_ca() && usage.is_none_or(|usage| usage.value.key_cert_sign())
}

fn own(authority: &Authority) -> Result<&Bytes, Error> {
    authority.certificates.first().ok_or(NO_CERTIFICATE)
}

fn owner(tenant: &str, name: &str) -> Vec<u8> {
    format!("{tenant}/{name}").into_bytes()
}

/// What all certificates of ours have.
fn between(since: Timestamp, until: Timestamp) -> Result<CertificateParams, Error> {
    let seconds = |time: Timestamp| date_time_ymd(1970, 1, 1) + Duration::from_secs(time.as_millis() / 1_000);
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    (params.not_before, params.not_after) = (seconds(since), seconds(until));
    params.serial_number = Some(SerialNumber::from_slice(&random::<16>()?));
    Ok(params)
}
