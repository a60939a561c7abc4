//! The cluster's authority: a key of its own that says which nodes belong to the cluster, and what it writes into their
//! certificates. It has nothing to do with the authorities of devices; neither is believed at the other's door.
//!
//! A node's certificate names it twice: by `twinfold:cluster/ID/node/N`, which is read, and as host
//! `nN.ID.cluster`, which TLS itself compares when another node dials it. So who dials knows whom it reached before it
//! says a word. The key of a node never leaves it: it sends a [`Request`], and the authority signs for that key.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData,
    SanType, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer, PrivatePkcs8KeyDer};
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use runtime::directory::audit::hash;

/// How long an authority and what it signs are valid: twenty years. A node is shut out by its fingerprint, not by time.
const LIFE: Duration = Duration::from_secs(20 * 365 * 24 * 3_600);
/// A certificate begins so long before it is made: the clocks of nodes are not exact.
const SKEW: Duration = Duration::from_secs(3_600);
/// The longest request that is read.
const REQUEST_BYTES_MAX: usize = 4 << 10;

/// What tells a node's key from all others: SHA-256 of its public half, as certificates and requests have it (SPKI, DER). A
/// certificate that is issued again for the same key has the same one.
pub type Fingerprint = [u8; 32];

/// Which cluster this is: a random number, given when it is founded. Written as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId(pub u128);

/// A node of a cluster, as its certificate names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name {
    /// Its cluster.
    pub cluster: ClusterId,
    /// Its number.
    pub node: u64,
}

/// What a node shows of itself, and whom it believes.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// Whom the certificate names.
    pub name: Name,
    /// The authority's certificate, DER.
    pub authority: Vec<u8>,
    /// The node's certificate, DER.
    pub certificate: Vec<u8>,
    /// The node's key, PKCS #8. It is in no log and no error.
    pub key: Vec<u8>,
}

/// The authority of a cluster, with its key.
pub struct Authority {
    cluster: ClusterId,
    certificate: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
}

/// A new key of a node, and what its certificate is asked for with.
pub struct Request {
    key: KeyPair,
    der: Vec<u8>,
}

/// Why a certificate was not made or not read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It was not made, or its key cannot be read.
    #[error("making a certificate of the cluster: {0}")]
    Unmade(#[from] rcgen::Error),
    /// It is not what it should be.
    #[error("{0} is not one of a cluster; restore the folder's cluster files, or join with an empty folder")]
    Foreign(&'static str),
    /// A key and a certificate do not belong together.
    #[error("the key and the certificate of {0} do not belong together; restore both of the same time")]
    Apart(&'static str),
    /// A request for a certificate is too long.
    #[error("a request of {0} bytes for a certificate; {REQUEST_BYTES_MAX} is the most")]
    LongRequest(usize),
}

impl Authority {
    /// A new one, which is its own root.
    ///
    /// # Errors
    /// When there are no random numbers.
    pub fn found(cluster: ClusterId, now: SystemTime) -> Result<Self, Error> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = valid(now);
        params.distinguished_name.push(DnType::CommonName, format!("twinfold cluster {cluster}"));
        params.subject_alt_names = vec![SanType::URI(format!("{SCHEME}{cluster}").try_into()?)];
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key)?.der().to_vec();
        Ok(Self { cluster, certificate, issuer: Issuer::new(params, key) })
    }

    /// The authority that was found before: its certificate (DER) and its key (PKCS #8).
    ///
    /// # Errors
    /// When they cannot be read, or do not belong together.
    pub fn open(certificate: &[u8], key: &[u8]) -> Result<Self, Error> {
        const WHAT: &str = "the authority's certificate";
        let key = read_key(key)?;
        let read = parse(certificate).ok_or(Error::Foreign(WHAT))?;
        let name = uri(&read).ok_or(Error::Foreign(WHAT))?;
        let cluster = name.strip_prefix(SCHEME).and_then(|id| id.parse().ok()).ok_or(Error::Foreign(WHAT))?;
        fit(&read, &key, "the authority")?;
        let issuer = Issuer::from_ca_cert_der(&CertificateDer::from(certificate), key)?;
        Ok(Self { cluster, certificate: certificate.to_vec(), issuer })
    }

    /// Its cluster.
    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// Its certificate, DER: what nodes believe.
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// Its key, PKCS #8, to be sealed by whoever keeps it.
    pub fn key(&self) -> Vec<u8> {
        self.issuer.key().serialize_der()
    }

    /// Signs for the key of a request; nothing else of the request is taken over. Returns the certificate, DER.
    ///
    /// # Errors
    /// When the request cannot be read, or is not signed with its own key.
    pub fn sign(&self, request: &[u8], node: u64, now: SystemTime) -> Result<Vec<u8>, Error> {
        let asked = read_request(request)?;
        let name = Name { cluster: self.cluster, node };
        let mut params = valid(now);
        params.distinguished_name.push(DnType::CommonName, format!("twinfold node {node}"));
        params.subject_alt_names =
            vec![SanType::URI(name.uri().try_into()?), SanType::DnsName(name.host().try_into()?)];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        Ok(params.signed_by(&asked.public_key, &self.issuer)?.der().to_vec())
    }

    /// A node of this machine: a new key, and the certificate for it.
    ///
    /// # Errors
    /// As [`sign`](Self::sign).
    pub fn issue(&self, node: u64, now: SystemTime) -> Result<Identity, Error> {
        let request = Request::new()?;
        let certificate = self.sign(request.der(), node, now)?;
        request.granted(self.certificate.clone(), certificate)
    }
}

impl Request {
    /// A new key, and the request for its certificate.
    ///
    /// # Errors
    /// When there are no random numbers.
    pub fn new() -> Result<Self, Error> {
        Self::of(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?)
    }

    /// The request for a key (PKCS #8) that was made before.
    ///
    /// # Errors
    /// When the key cannot be read.
    pub fn again(key: &[u8]) -> Result<Self, Error> {
        Self::of(read_key(key)?)
    }

    fn of(key: KeyPair) -> Result<Self, Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let der = params.serialize_request(&key)?.der().to_vec();
        Ok(Self { key, der })
    }

    /// The key, PKCS #8, to be kept by whoever asks again.
    pub fn key(&self) -> Vec<u8> {
        self.key.serialize_der()
    }

    /// What the authority is sent.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The identity that the authority's answer makes of it.
    ///
    /// # Errors
    /// When the certificate is not for this key, or not of a node.
    pub fn granted(&self, authority: Vec<u8>, certificate: Vec<u8>) -> Result<Identity, Error> {
        Identity::open(authority, certificate, self.key.serialize_der())
    }
}

impl Identity {
    /// An identity that was kept: the authority's certificate, the node's (DER), and its key (PKCS #8).
    ///
    /// # Errors
    /// When they cannot be read, or do not belong together.
    pub fn open(authority: Vec<u8>, certificate: Vec<u8>, key: Vec<u8>) -> Result<Self, Error> {
        let name = Name::of(&certificate).ok_or(Error::Foreign("the node's certificate"))?;
        let read = parse(&certificate).ok_or(Error::Foreign("the node's certificate"))?;
        fit(&read, &read_key(&key)?, "the node")?;
        Ok(Self { name, authority, certificate, key })
    }

    /// What tells its key from others.
    ///
    /// # Panics
    /// Never of one that was [opened](Self::open).
    pub fn fingerprint(&self) -> Fingerprint {
        fingerprint(&self.certificate).expect("it was read when it was opened")
    }
}

/// What tells the key of a certificate (DER) from others; `None` of what is no certificate.
pub fn fingerprint(certificate: &[u8]) -> Option<Fingerprint> {
    Some(hash(parse(certificate)?.public_key().raw).0)
}

/// What tells the key of a request from others, and so the certificate that is made of it.
///
/// # Errors
/// When the request cannot be read, or is not signed with its own key.
pub fn fingerprint_of_request(request: &[u8]) -> Result<Fingerprint, Error> {
    Ok(hash(&read_request(request)?.public_key.subject_public_key_info()).0)
}

/// What begins the names of ours.
const SCHEME: &str = "twinfold:cluster/";

impl Name {
    /// The name that TLS compares.
    pub fn host(&self) -> String {
        format!("n{}.{}.cluster", self.node, self.cluster)
    }

    fn uri(&self) -> String {
        format!("{SCHEME}{}/node/{}", self.cluster, self.node)
    }

    /// Whom a certificate (DER) names, if it is one of a node and names one alone.
    pub fn of(certificate: &[u8]) -> Option<Self> {
        let certificate = parse(certificate)?;
        let (cluster, node) = uri(&certificate)?.strip_prefix(SCHEME)?.split_once("/node/")?;
        let name = Self { cluster: cluster.parse().ok()?, node: node.parse().ok()? };
        // No other spelling of the same number.
        (name.uri() == uri(&certificate)?).then_some(name)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "node {} of cluster {}", self.node, self.cluster)
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:032x}", self.0)
    }
}

impl fmt::Debug for ClusterId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl FromStr for ClusterId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "the id of a cluster is 32 hexadecimal digits";
        match text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            true => u128::from_str_radix(text, 16).map(Self).map_err(|_| WRONG),
            false => Err(WRONG),
        }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Identity").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A certificate that is nothing but that.
fn parse(der: &[u8]) -> Option<X509Certificate<'_>> {
    let (rest, certificate) = X509Certificate::from_der(der).ok()?;
    rest.is_empty().then_some(certificate)
}

/// The one URI that a certificate names.
fn uri<'a>(certificate: &'a X509Certificate<'_>) -> Option<&'a str> {
    let names = &certificate.subject_alternative_name().ok()??.value.general_names;
    let mut uris = names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    uris.next().filter(|_| uris.next().is_none())
}

fn read_request(request: &[u8]) -> Result<CertificateSigningRequestParams, Error> {
    match request.len() {
        ..=REQUEST_BYTES_MAX => {
            Ok(CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(request))?)
        }
        length => Err(Error::LongRequest(length)),
    }
}

fn read_key(key: &[u8]) -> Result<KeyPair, Error> {
    Ok(KeyPair::from_pkcs8_der_and_sign_algo(&PrivatePkcs8KeyDer::from(key), &PKCS_ECDSA_P256_SHA256)?)
}

fn fit(certificate: &X509Certificate<'_>, key: &KeyPair, whose: &'static str) -> Result<(), Error> {
    match certificate.public_key().raw == key.subject_public_key_info() {
        true => Ok(()),
        false => Err(Error::Apart(whose)),
    }
}

/// What all certificates of ours have.
fn valid(now: SystemTime) -> CertificateParams {
    let since_1970 = |time: SystemTime| {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        date_time_ymd(1970, 1, 1) + Duration::from_secs(since.as_secs())
    };
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    (params.not_before, params.not_after) = (since_1970(now - SKEW), since_1970(now + LIFE));
    params
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authority() -> Authority {
        Authority::found(ClusterId(0xC1), SystemTime::now()).unwrap()
    }

    #[test]
    fn a_certificate_names_its_node_and_its_cluster() {
        let identity = authority().issue(7, SystemTime::now()).unwrap();

        let name = Name::of(&identity.certificate);

        assert_eq!(name, Some(Name { cluster: ClusterId(0xC1), node: 7 }));
        assert_eq!(identity.name.host(), "n7.000000000000000000000000000000c1.cluster");
    }

    #[test]
    fn an_authority_that_was_kept_signs_as_before() {
        let founded = authority();

        let opened = Authority::open(founded.certificate(), &founded.key()).unwrap();

        assert_eq!(opened.cluster(), ClusterId(0xC1));
        assert_eq!(opened.issue(2, SystemTime::now()).unwrap().authority, founded.certificate());
    }

    #[test]
    fn a_key_of_somebody_else_is_refused() {
        let (one, other) = (authority(), authority());
        let identity = one.issue(1, SystemTime::now()).unwrap();

        assert!(matches!(
            Authority::open(one.certificate(), &other.key()),
            Err(Error::Apart("the authority"))
        ));
        assert!(matches!(
            Identity::open(identity.authority, identity.certificate, other.key()),
            Err(Error::Apart("the node"))
        ));
    }

    #[test]
    fn the_authority_is_no_node_and_a_request_must_be_one() {
        let authority = authority();

        assert_eq!(Name::of(authority.certificate()), None);
        assert!(matches!(authority.sign(b"please", 1, SystemTime::now()), Err(Error::Unmade(_))));
        let long = authority.sign(&[0; REQUEST_BYTES_MAX + 1], 1, SystemTime::now());
        assert!(matches!(long, Err(Error::LongRequest(_))));
    }

    #[test]
    fn a_key_has_one_fingerprint_however_often_it_is_signed_for() {
        let authority = authority();
        let first = Request::new().unwrap();
        let again = Request::again(&first.key()).unwrap();

        let signed = [&first, &again].map(|request| {
            authority.sign(request.der(), 2, SystemTime::now()).map(|certificate| fingerprint(&certificate))
        });

        let asked = fingerprint_of_request(again.der()).unwrap();
        assert!(signed.into_iter().all(|signed| signed.unwrap() == Some(asked)));
        assert_ne!(fingerprint_of_request(Request::new().unwrap().der()).unwrap(), asked);
    }

    #[test]
    fn the_key_is_not_shown() {
        let identity = authority().issue(1, SystemTime::now()).unwrap();

        assert!(!format!("{identity:?}").contains("key"));
    }
}
