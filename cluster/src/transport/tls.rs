//! TLS between nodes: 1.3 alone, both sides show a certificate, and nobody is believed but the cluster's authority.
//!
//! No session is resumed and no data is sent before the handshake's end: connections live for days, and what an old one
//! was allowed says nothing of a node that was removed since.
//!
//! Who wants to [join](super::join) has no certificate yet, and says so by the protocol that it names. It is asked for none,
//! and comes no further than to that protocol; so each handshake has a configuration of its own.

use rustls::client::Resumption;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{
    ClientConfig, DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};

use super::Error;
use super::authority::Identity;
use super::join;

/// What the nodes say that they speak. The versions within it are agreed on by their hello.
const ALPN: &[u8] = b"twinfold/1";

const SUITE: &str = "the provider has the suite that QUIC begins with";

/// What a node shows to those who dial it, and whom it believes.
#[derive(Debug)]
pub(super) struct Shown {
    certified: Arc<CertifiedKey>,
    nodes: Arc<dyn ClientCertVerifier>,
}

/// One handshake, of whoever dials: its first words say whether it wants to join.
#[derive(Debug)]
struct Handshake {
    certified: Arc<CertifiedKey>,
    nodes: Arc<dyn ClientCertVerifier>,
    joins: AtomicBool,
}

/// What a node listens and dials with.
pub(super) fn configured(identity: &Identity) -> Result<(Shown, Arc<QuicClientConfig>), Error> {
    let provider = Arc::new(default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(identity.authority.clone())).map_err(Error::Tls)?;
    let roots = Arc::new(roots);
    // With the authority: whoever wants to join knows its hash alone.
    let chain =
        [&identity.certificate, &identity.authority].map(|one| CertificateDer::from(one.clone())).to_vec();
    let key = || PrivateKeyDer::from(PrivatePkcs8KeyDer::from(identity.key.clone()));

    let nodes = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone()).build();
    let nodes = nodes.map_err(|error| Error::Tls(rustls::Error::General(error.to_string())))?;
    let certified = CertifiedKey::from_der(chain.clone(), key(), &provider).map_err(Error::Tls)?;

    let client = ClientConfig::builder_with_provider(provider);
    let client = client.with_protocol_versions(&[&TLS13]).map_err(Error::Tls)?;
    let client = client.with_root_certificates(roots);
    let mut client = client.with_client_auth_cert(chain[..1].to_vec(), key()).map_err(Error::Tls)?;
    client.alpn_protocols = vec![ALPN.to_vec()];
    client.resumption = Resumption::disabled();
    let shown = Shown { certified: Arc::new(certified), nodes };
    Ok((shown, Arc::new(QuicClientConfig::try_from(client).expect(SUITE))))
}

impl Shown {
    /// What one of those who dial is met with.
    pub(super) fn to_one(&self) -> Arc<QuicServerConfig> {
        let (certified, nodes) = (self.certified.clone(), self.nodes.clone());
        let handshake = Arc::new(Handshake { certified, nodes, joins: AtomicBool::new(false) });
        let server = ServerConfig::builder_with_provider(Arc::new(default_provider()));
        let server = server.with_protocol_versions(&[&TLS13]).expect("the provider has TLS 1.3");
        let server = server.with_client_cert_verifier(handshake.clone());
        let mut server = server.with_cert_resolver(handshake);
        // The first of them that both know is spoken, so that whoever names both is asked for a certificate.
        server.alpn_protocols = vec![ALPN.to_vec(), join::ALPN.to_vec()];
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        Arc::new(QuicServerConfig::try_from(server).expect(SUITE))
    }
}

impl Handshake {
    fn is_of_a_node(&self) -> bool {
        !self.joins.load(Ordering::Relaxed)
    }
}

/// It sees what a client says first, before it is decided whether the client is asked for a certificate.
impl ResolvesServerCert for Handshake {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let names = |protocol| hello.alpn().is_some_and(|mut named| named.any(|one| one == protocol));
        self.joins.store(names(join::ALPN) && !names(ALPN), Ordering::Relaxed);
        Some(self.certified.clone())
    }
}

impl ClientCertVerifier for Handshake {
    fn offer_client_auth(&self) -> bool {
        self.is_of_a_node()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.is_of_a_node()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.nodes.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.nodes.verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.nodes.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.nodes.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.nodes.supported_verify_schemes()
    }
}
