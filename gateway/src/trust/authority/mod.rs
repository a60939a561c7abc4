//! Certificates of devices: authorities of ours that sign them, and whom of all others a node believes.
//!
//! Of what a device asks for only its key is taken; everything else in its certificate is said by us. A certificate that
//! we gave lets its device in as long as its twin has it, by its hash: what is revoked is out with the commit that revokes
//! it, whatever the certificate says of itself. One of an operator's authority lets in the devices of the enrolment
//! groups that name that authority, and nobody else.
//!
//! No other place knows what stands in a certificate.

mod leaf;
mod request;
mod roots;
mod signer;

pub use leaf::Leaf;
pub use request::{Request, Unfit};
pub use roots::{Anchors, Chain, Roots, Unbelieved};
pub use signer::{Error, LIFE, LIFE_MAX, Signed, Signer, found, import, read_roots};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;

use runtime::directory::audit::hash;
use twins::time::Timestamp;
use twins::trust::Fingerprint;

/// How many certificates a chain has at most: more than there are in practice, and few enough to try them in any order.
pub const CHAIN_MAX: usize = 4;
/// How many bytes a chain has at most.
pub const CHAIN_BYTES_MAX: usize = 16 << 10;

/// A new key (PKCS #8) and the request for its certificate, both PEM, as a device would make them.
///
/// # Errors
/// When the system has no random numbers.
pub fn generate(device: &str) -> Result<(String, String), Error> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, device);
    let request = params.serialize_request(&key)?.pem()?;
    Ok((key.serialize_pem(), request))
}

/// What tells a certificate from others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// Whose it is.
    pub subject: String,
    /// When it ends.
    pub expires: Timestamp,
    /// SHA-256 of its DER form.
    pub fingerprint: Fingerprint,
}

/// What is to be seen of a certificate in DER. `None`: it is none.
pub fn describe(der: &[u8]) -> Option<Described> {
    let certificate = parse(der)?;
    let (subject, expires) = (certificate.subject().to_string(), moment(certificate.validity().not_after));
    Some(Described { subject, expires, fingerprint: hash(der) })
}

/// Certificates in DER, as they are read from here on.
pub fn read(shown: &[Bytes]) -> Vec<CertificateDer<'_>> {
    shown.iter().map(|one| CertificateDer::from(&one[..])).collect()
}

/// A certificate in PEM.
pub fn pem(der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let lines = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect::<Vec<_>>().join("\n");
    format!("-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n")
}

/// A certificate that is nothing but that.
fn parse(der: &[u8]) -> Option<X509Certificate<'_>> {
    let (rest, certificate) = X509Certificate::from_der(der).ok()?;
    rest.is_empty().then_some(certificate)
}

/// When something in a certificate begins or ends; before 1970 is 1970.
fn moment(time: ASN1Time) -> Timestamp {
    Timestamp::from_millis(u64::try_from(time.timestamp()).unwrap_or(0).saturating_mul(1_000))
}

#[cfg(test)]
mod tests;
