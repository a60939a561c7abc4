//! The side that asks: it dials, believes the one authority that the token names, and hears one answer.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, ConnectionError, Endpoint, VarInt};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::TLS13;
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::time::timeout;

use super::{ALPN, Answer, Ask, Grant, MESSAGE_BYTES_MAX, Token};
use crate::transport::authority::Name;
use crate::transport::refusal;
use runtime::directory::audit::hash;

/// How long all of it may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// What is dialled; whom it reaches is seen by the certificate.
const HOST: &str = "join.cluster";

/// Why nobody let this folder join. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address in the token is not found, or cannot be used.
    #[error(
        "the address {address} of the token cannot be used: {why}\nnext: see whether this machine finds that name, or make a token at another node: twinfold cluster token"
    )]
    Address {
        /// The address.
        address: String,
        /// Why.
        why: io::Error,
    },
    /// Nobody answers there.
    #[error(
        "no node of a cluster answers at {address}: {why}\nnext: see whether that node runs, and whether UDP gets there; then ask again, with the same token and folder"
    )]
    Unreached {
        /// The address.
        address: String,
        /// Why.
        why: String,
    },
    /// Whoever answers there is not who the token says.
    #[error(
        "who answers at {0} is not of the cluster that the token is for\nnext: make a token at the cluster that is to be joined: twinfold cluster token"
    )]
    OtherAuthority(String),
    /// It was refused.
    #[error("{address} does not let this folder join: {why}")]
    Refused {
        /// Who refused.
        address: String,
        /// Why, and what to do, in their words.
        why: String,
    },
    /// The answer is none.
    #[error("the answer of {0} cannot be read\nnext: run the same version on both nodes")]
    Malformed(String),
}

/// Asks the node that the token names. Within a tokio runtime.
///
/// # Errors
/// See [`Error`]. When nobody answered it may have been granted all the same: asking again with the same request tells.
pub async fn ask(token: &Token, ask: &Ask) -> Result<Grant, Error> {
    let address = token.address.clone();
    let unreached = |why: String| Error::Unreached { address: address.clone(), why };
    let asked = timeout(PATIENCE, asked(token, ask)).await;
    asked.unwrap_or_else(|_| Err(unreached(format!("nothing came within {PATIENCE:?}"))))
}

async fn asked(token: &Token, ask: &Ask) -> Result<Grant, Error> {
    let address = &token.address;
    let unusable = |why| Error::Address { address: address.clone(), why };
    let unreached = |why: String| Error::Unreached { address: address.clone(), why };
    let found = tokio::net::lookup_host(address).await.map_err(unusable)?.next();
    let found =
        found.ok_or_else(|| unusable(io::Error::new(io::ErrorKind::NotFound, "it has no address")))?;
    let any = if found.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let endpoint = Endpoint::client(any.parse::<SocketAddr>().expect("an address")).map_err(unusable)?;
    let connecting = endpoint.connect_with(config(token.pin), found, HOST);
    let connection = match connecting.map_err(|error| unreached(error.to_string()))?.await {
        Ok(connection) => connection,
        Err(error) if is_unbelieved(&error) => return Err(Error::OtherAuthority(address.clone())),
        Err(error) => return Err(unreached(refusal::text(error.to_string().as_bytes()))),
    };
    let told = async {
        let (mut out, mut answer) = connection.open_bi().await.map_err(|error| error.to_string())?;
        let question = minicbor::to_vec(ask).expect("a vector takes all bytes");
        out.write_all(&question).await.map_err(|error| error.to_string())?;
        drop(out.finish());
        answer.read_to_end(MESSAGE_BYTES_MAX).await.map_err(|error| error.to_string())
    };
    let told = told.await.map_err(|why| unreached(refusal::text(why.as_bytes())));
    connection.close(VarInt::from_u32(0), &[]);
    endpoint.wait_idle().await;
    match minicbor::decode(&told?) {
        Ok(Answer::Granted(grant)) => Ok(grant),
        Ok(Answer::Refused(why)) => Err(Error::Refused { address: address.clone(), why: lines(&why) }),
        Err(_) => Err(Error::Malformed(address.clone())),
    }
}

/// The words of another node, whose lines are lines and steer nothing.
fn lines(text: &str) -> String {
    text.lines().map(|line| refusal::text(line.as_bytes())).collect::<Vec<_>>().join("\n")
}

/// Whether we did not believe who is there.
fn is_unbelieved(error: &ConnectionError) -> bool {
    /// The alert `bad_certificate` and those of its kind, as QUIC numbers them (RFC 8446, section 6.2).
    const OF_CERTIFICATES: std::ops::RangeInclusive<u64> = 0x12a..=0x131;
    match error {
        ConnectionError::TransportError(error) => OF_CERTIFICATES.contains(&u64::from(error.code)),
        _ => false,
    }
}

fn config(pin: [u8; 32]) -> ClientConfig {
    let provider = Arc::new(default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider.clone());
    let client = client.with_protocol_versions(&[&TLS13]).expect("the provider has TLS 1.3");
    let client = client.dangerous().with_custom_certificate_verifier(Arc::new(Pinned { pin, provider }));
    let mut client = client.with_no_client_auth();
    client.alpn_protocols = vec![ALPN.to_vec()];
    client.resumption = Resumption::disabled();
    let client =
        QuicClientConfig::try_from(client).expect("the provider has the suite that QUIC begins with");
    ClientConfig::new(Arc::new(client))
}

/// Believes nodes that the authority with that hash has signed for, whichever they are. The authority comes with them.
#[derive(Debug)]
struct Pinned {
    pin: [u8; 32],
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let unknown = || rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let authority = intermediates.iter().find(|one| hash(one).0 == self.pin).ok_or_else(unknown)?;
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone().into_owned())?;
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), self.provider.clone()).build();
        let verifier = verifier.map_err(|error| rustls::Error::General(error.to_string()))?;
        // It has to be a node; any will do.
        let host = Name::of(end_entity).ok_or_else(unknown)?.host();
        let host = ServerName::try_from(host).map_err(|_| unknown())?;
        verifier.verify_server_cert(end_entity, &[], &host, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
