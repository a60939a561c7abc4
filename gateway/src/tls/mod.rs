//! TLS 1.2 and 1.3 for every door of a node, by rustls. What it shows is one value that is exchanged whole: a handshake
//! takes what is there when it begins, so that a new certificate needs no restart and cuts off nobody.
//!
//! Both protocols share the certificate and not the configuration: MQTT names itself `mqtt` and HTTP `http/1.1` when a
//! client asks (ALPN), so that what was meant for one is not spoken to the other.
//!
//! Of rustls' safe defaults nothing is taken back: no suite without forward secrecy, no renegotiation, no compression, no
//! data before the handshake's end. Sessions are resumed by tickets alone, whose keys live in memory for 6 h. Clients may
//! show a certificate, once anybody is believed who signs them.

mod clients;
mod files;

use std::io;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, ServerConnection};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

pub use files::{Error, Files};

use crate::trust::authority::Roots;
use clients::{Clients, Tickets, Verifier};
use files::Content;

/// How many handshakes of MQTT may be under way; more wait for their turn, in the time that they have for their CONNECT.
/// One takes at most 100 KiB, mostly 20.
pub(crate) const HANDSHAKES_MAX: usize = 1_024;

/// What a node shows to those who connect. Cheap to clone; all clones show the same.
///
/// ```no_run
/// # fn example() -> Result<(), gateway::tls::Error> {
/// use gateway::tls::{Files, Tls};
///
/// let files = Files { certificate: "node.pem".into(), key: "node.key".into() };
/// let tls = Tls::load(files)?;
/// // The files were replaced: from now on the new ones are shown, if they are whole.
/// let is_new = tls.reload()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Tls(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    files: Files,
    shown: Arc<Shown>,
    clients: Arc<Clients>,
    mqtt: Arc<ServerConfig>,
    http: ServerConfig,
}

/// The certificate and its key, and what they were read from.
#[derive(Debug)]
struct Shown(RwLock<(Content, Arc<CertifiedKey>)>);

impl Tls {
    /// Reads the files. Blocks.
    ///
    /// # Errors
    /// When one cannot be read, or they are not a certificate and its key.
    pub fn load(files: Files) -> Result<Self, Error> {
        let content = files.read()?;
        let key = Arc::new(content.certified(&files, &default_provider())?);
        let (shown, clients) = (Arc::new(Shown(RwLock::new((content, key)))), Arc::new(Clients::default()));
        let configured = |protocols: &[&[u8]]| -> Result<_, Error> {
            let config = ServerConfig::builder_with_provider(Arc::new(default_provider()));
            let config = config.with_protocol_versions(&[&TLS13, &TLS12]).map_err(Error::Unprepared)?;
            let config = config.with_client_cert_verifier(Arc::new(Verifier::new(clients.clone())));
            let mut config = config.with_cert_resolver(shown.clone());
            config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.ticketer = Arc::new(Tickets::new(clients.clone()).map_err(Error::Unprepared)?);
            config.send_tls13_tickets = 1;
            Ok(config)
        };
        // actix-web adds what it speaks.
        let (mqtt, http) = (Arc::new(configured(&[b"mqtt"])?), configured(&[])?);
        Ok(Self(Arc::new(Inner { files, shown, clients, mqtt, http })))
    }

    /// From now on asks clients for certificates, as long as there are any who sign them. Only the first call counts.
    pub fn believe(&self, roots: Arc<Roots>) {
        self.0.clients.believe(roots);
    }

    /// Reads the files again, and shows what is in them from now on; returns whether that is something else than before.
    /// Connections that are there go on. Blocks.
    ///
    /// # Errors
    /// As [`load`](Self::load); what was shown is shown further.
    pub fn reload(&self) -> Result<bool, Error> {
        let Inner { files, shown, .. } = &*self.0;
        let content = files.read()?;
        if shown.0.read().unwrap_or_else(PoisonError::into_inner).0 == content {
            return Ok(false);
        }
        let key = Arc::new(content.certified(files, &default_provider())?);
        *shown.0.write().unwrap_or_else(PoisonError::into_inner) = (content, key);
        Ok(true)
    }

    /// What HTTP is served with.
    pub(crate) fn http(&self) -> ServerConfig {
        self.0.http.clone()
    }

    /// Agrees with an MQTT client on keys. Whoever calls it says how long that may take.
    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        TlsAcceptor::from(self.0.mqtt.clone()).accept(stream).await
    }
}

/// What the client has shown of itself, its own certificate first, as the handshake has verified it; DER.
pub(crate) fn certificates(connection: &ServerConnection) -> Arc<[Bytes]> {
    let shown = connection.peer_certificates().unwrap_or_default();
    shown.iter().map(|certificate| Bytes::copy_from_slice(certificate)).collect()
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).1.clone())
    }
}

#[cfg(test)]
mod tests;
