//! A certificate request (PKCS #10, RFC 2986). Of all that it says its key is taken, once it has shown that whoever asks
//! has that key; what it wants to be called, and what else it wants to be, is not looked at.
//!
//! What can be seen at a glance is checked at once. The signature costs time, and is verified where the key is taken:
//! whoever asks has been paced by then, and has shown who they are.

use rcgen::SubjectPublicKeyInfo;
use rustls::pki_types::CertificateSigningRequestDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_PKCS1_SHA1WITHRSA, OID_SHA1_WITH_RSA,
    OID_SIG_ED25519,
};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo as Key;

/// The longest request, as PEM.
pub const REQUEST_BYTES_MAX: usize = 8 << 10;
/// Bits that an RSA key has at least, and at most.
const RSA_BITS: (usize, usize) = (2_048, 4_096);

/// A request whose key is of a sort that may be signed.
#[derive(Debug)]
pub struct Request(Vec<u8>);

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It has too many bytes.
    #[error("a certificate request has at most {REQUEST_BYTES_MAX} bytes")]
    TooLong,
    /// It is not one.
    #[error(
        "it is no certificate request: PKCS #10 in PEM, which begins with -----BEGIN CERTIFICATE REQUEST-----"
    )]
    Malformed,
    /// Its key is of a sort that is not signed.
    #[error("its key is none of ECDSA P-256 or P-384, Ed25519, RSA of {} to {} bits", RSA_BITS.0, RSA_BITS.1)]
    Key,
    /// It is not signed with its key.
    #[error("the certificate request is not signed with its own key")]
    Signature,
}

impl Request {
    /// Reads one in PEM.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Unfit> {
        if text.len() > REQUEST_BYTES_MAX {
            return Err(Unfit::TooLong);
        }
        let der = CertificateSigningRequestDer::from_pem_slice(text.as_bytes());
        Self::read(&der.map_err(|_| Unfit::Malformed)?)
    }

    /// Reads one in DER.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(der: &[u8]) -> Result<Self, Unfit> {
        if der.len() > REQUEST_BYTES_MAX {
            return Err(Unfit::TooLong);
        }
        let (rest, request) = X509CertificationRequest::from_der(der).map_err(|_| Unfit::Malformed)?;
        if !rest.is_empty() {
            return Err(Unfit::Malformed);
        }
        let key = &request.certification_request_info.subject_pki;
        if !is_signable(key) {
            return Err(Unfit::Key);
        }
        // SHA-1 proves nothing any more.
        if [OID_PKCS1_SHA1WITHRSA, OID_SHA1_WITH_RSA].contains(&request.signature_algorithm.algorithm) {
            return Err(Unfit::Signature);
        }
        Ok(Self(der.to_vec()))
    }

    /// The key that is to be certified, once it is proved that whoever asks has it.
    ///
    /// # Errors
    /// When it is not.
    pub fn key(&self) -> Result<SubjectPublicKeyInfo, Unfit> {
        let (_, request) = X509CertificationRequest::from_der(&self.0).map_err(|_| Unfit::Malformed)?;
        request.verify_signature().map_err(|_| Unfit::Signature)?;
        let key = &request.certification_request_info.subject_pki;
        SubjectPublicKeyInfo::from_der(key.raw).map_err(|_| Unfit::Key)
    }

    /// Its bytes: the same ones are the same request.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

fn is_signable(key: &Key<'_>) -> bool {
    let algorithm = &key.algorithm.algorithm;
    if *algorithm == OID_SIG_ED25519 {
        return true;
    }
    if *algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY {
        let curve = key.algorithm.parameters.as_ref().and_then(|curve| curve.as_oid().ok());
        return curve.is_some_and(|curve| curve == OID_EC_P256 || curve == OID_NIST_EC_P384);
    }
    match key.parsed() {
        Ok(PublicKey::RSA(key)) => (RSA_BITS.0..=RSA_BITS.1).contains(&key.key_size()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ECDSA_P521_SHA512};
    use rcgen::{PKCS_ED25519, PKCS_RSA_SHA256, RsaKeySize, SignatureAlgorithm};

    use super::*;

    fn request(key: &KeyPair) -> Vec<u8> {
        let request = rcgen::CertificateParams::default().serialize_request(key).unwrap();
        request.der().to_vec()
    }

    fn made_with(algorithm: &'static SignatureAlgorithm) -> Vec<u8> {
        request(&KeyPair::generate_for(algorithm).unwrap())
    }

    #[test]
    fn keys_that_will_last_are_taken_and_no_others() {
        for algorithm in [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384, &PKCS_ED25519] {
            assert!(Request::read(&made_with(algorithm)).unwrap().key().is_ok(), "{algorithm:?}");
        }
        let rsa = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
        assert!(Request::read(&request(&rsa)).unwrap().key().is_ok());
        assert_eq!(Request::read(&made_with(&PKCS_ECDSA_P521_SHA512)).unwrap_err(), Unfit::Key);
    }

    #[test]
    fn who_does_not_have_the_key_gets_no_certificate_for_it() {
        let whole = made_with(&PKCS_ED25519);
        let mut forged = whole.clone();
        *forged.last_mut().unwrap() ^= 1;

        assert_eq!(Request::read(&forged).unwrap().key().unwrap_err(), Unfit::Signature);
        assert_eq!(Request::read(&[&whole[..], b"x"].concat()).unwrap_err(), Unfit::Malformed);
        assert_eq!(Request::parse(&"-".repeat(REQUEST_BYTES_MAX + 1)).unwrap_err(), Unfit::TooLong);
        for text in
            ["", "request", "-----BEGIN CERTIFICATE REQUEST-----\n!\n-----END CERTIFICATE REQUEST-----"]
        {
            assert_eq!(Request::parse(text).unwrap_err(), Unfit::Malformed, "{text}");
        }
    }

    /// Bytes of a request with an Ed25519 key that are surely signed: all but the algorithm and the signature at its end.
    const SIGNED: usize = 64;

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..2_048)) {
            prop_assert!(Request::read(&bytes).is_err());
            prop_assert!(Request::parse(&String::from_utf8_lossy(&bytes)).is_err());
        }

        /// Most arbitrary bytes are refused at the first one; those of a real request with some changed go far.
        #[test]
        fn no_change_of_a_real_one_makes_it_panic(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
            cut in any::<prop::sample::Index>(),
        ) {
            let whole = made_with(&PKCS_ED25519);
            let mut changed = whole.clone();
            for (place, byte) in &changes {
                *place.get_mut(&mut changed) = *byte;
            }

            let is_taken = Request::read(&changed).and_then(|request| request.key()).is_ok();

            // A few bits, of padding say, are of no meaning; but of what is signed none is.
            prop_assert!(is_taken || changed != whole);
            prop_assert!(!is_taken || changed[..SIGNED] == whole[..SIGNED]);
            prop_assert!(Request::read(&whole[..cut.index(whole.len())]).is_err());
        }
    }
}
