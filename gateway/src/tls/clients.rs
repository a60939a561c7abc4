//! What clients show of themselves: a certificate is asked for where anybody could have one, and never demanded, since
//! people, and devices with keys, come by the same doors.
//!
//! A certificate that nobody believes ends the handshake. Whether the device that it names is let in by it is asked
//! later, with its twin. What is believed is asked with each handshake; no names of authorities are sent, since they are
//! those of all tenants.
//!
//! A session that is resumed is not verified again, so that the keys of tickets are thrown away when others are believed
//! than before: whoever was believed by what is gone shows everything anew.

use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::aws_lc_rs::{Ticketer, default_provider};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::ProducesTickets;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use twins::time::Timestamp;
use twins::trust::Fingerprint;

use crate::trust::authority::{Chain, Roots, Unbelieved};

/// Who signs for clients, once that is known: a node has its certificate before it has its directory.
#[derive(Debug, Default)]
pub(super) struct Clients {
    roots: OnceLock<Arc<Roots>>,
}

/// Verifies what clients show.
#[derive(Debug)]
pub(super) struct Verifier {
    clients: Arc<Clients>,
    algorithms: WebPkiSupportedAlgorithms,
}

/// Seals tickets, under keys of their own for each set of those who are believed.
#[derive(Debug)]
pub(super) struct Tickets {
    clients: Arc<Clients>,
    keys: RwLock<(Option<Fingerprint>, Arc<dyn ProducesTickets>)>,
}

impl Clients {
    /// From now on certificates are asked for. Only the first call counts.
    pub(super) fn believe(&self, roots: Arc<Roots>) {
        // There is one directory, and it is the same for as long as the node runs.
        drop(self.roots.set(roots));
    }

    fn mark(&self) -> Option<Fingerprint> {
        self.roots.get().map(|roots| roots.current().mark())
    }
}

impl Verifier {
    pub(super) fn new(clients: Arc<Clients>) -> Self {
        Self { clients, algorithms: default_provider().signature_verification_algorithms }
    }
}

impl Tickets {
    pub(super) fn new(clients: Arc<Clients>) -> Result<Self, Error> {
        let keys = RwLock::new((clients.mark(), Ticketer::new()?));
        Ok(Self { clients, keys })
    }

    /// The keys of now. `None`, and no session is resumed, where there is no randomness for new ones.
    fn keys(&self) -> Option<Arc<dyn ProducesTickets>> {
        let mark = self.clients.mark();
        {
            let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
            if keys.0 == mark {
                return Some(keys.1.clone());
            }
        }
        let fresh = Ticketer::new().ok()?;
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        if keys.0 != mark {
            *keys = (mark, fresh);
        }
        Some(keys.1.clone())
    }
}

impl ClientCertVerifier for Verifier {
    fn offer_client_auth(&self) -> bool {
        self.clients.roots.get().is_some_and(|roots| !roots.current().is_empty())
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        first: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let roots = self.clients.roots.get().ok_or(CertificateError::UnknownIssuer)?.current();
        let now = Timestamp::from_millis(now.as_secs().saturating_mul(1_000));
        match roots.believe(Chain { first, others }, now) {
            Ok(()) => Ok(ClientCertVerified::assertion()),
            Err(Unbelieved::TooLong) => Err(CertificateError::BadEncoding.into()),
            Err(Unbelieved::NoDevice) => Err(CertificateError::InvalidPurpose.into()),
            Err(Unbelieved::NotNow) => Err(CertificateError::Expired.into()),
            Err(Unbelieved::Unknown) => Err(CertificateError::UnknownIssuer.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        self.keys().map_or(0, |keys| keys.lifetime())
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.keys()?.encrypt(plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.keys()?.decrypt(cipher)
    }
}
