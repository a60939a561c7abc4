//! TLS between nodes: 1.3 alone, both sides show a certificate, and nobody is believed but the cluster's authority.
//!
//! No session is resumed and no data is sent before the handshake's end: connections live for days, and what an old one
//! was allowed says nothing of a node that was removed since.

use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::sync::Arc;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};

use super::Error;
use super::authority::Identity;

/// What the nodes say that they speak. The versions within it are agreed on by their hello.
const ALPN: &[u8] = b"twinfold/1";

/// What a node listens and dials with.
pub(super) fn configured(
    identity: &Identity,
) -> Result<(Arc<QuicServerConfig>, Arc<QuicClientConfig>), Error> {
    let provider = Arc::new(default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(identity.authority.clone())).map_err(Error::Tls)?;
    let roots = Arc::new(roots);
    let shown = || vec![CertificateDer::from(identity.certificate.clone())];
    let key = || PrivatePkcs8KeyDer::from(identity.key.clone()).into();

    let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone()).build();
    let verifier = verifier.map_err(|error| Error::Tls(rustls::Error::General(error.to_string())))?;
    let server = ServerConfig::builder_with_provider(provider.clone());
    let server = server.with_protocol_versions(&[&TLS13]).map_err(Error::Tls)?;
    let server = server.with_client_cert_verifier(verifier);
    let mut server = server.with_single_cert(shown(), key()).map_err(Error::Tls)?;
    server.alpn_protocols = vec![ALPN.to_vec()];
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.send_tls13_tickets = 0;

    let client = ClientConfig::builder_with_provider(provider);
    let client = client.with_protocol_versions(&[&TLS13]).map_err(Error::Tls)?;
    let client = client.with_root_certificates(roots);
    let mut client = client.with_client_auth_cert(shown(), key()).map_err(Error::Tls)?;
    client.alpn_protocols = vec![ALPN.to_vec()];
    client.resumption = Resumption::disabled();

    const SUITE: &str = "the provider has the suite that QUIC begins with";
    Ok((
        Arc::new(QuicServerConfig::try_from(server).expect(SUITE)),
        Arc::new(QuicClientConfig::try_from(client).expect(SUITE)),
    ))
}
