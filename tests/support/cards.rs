//! Clients that show certificates, and those who sign them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion};
use serde_json::Value;

use super::node::PATIENCE;
use super::served::{Secured, Served, twinfold};
use super::wire::{CONNACK, Connect, PUBLISH, Packet, Wire, subscribe};

/// Most is said in 3.1.1, where a refusal at the door has a code of its own.
pub const V5: bool = false;
/// The code of a CONNACK: bad username or password.
pub const WRONG: u8 = 4;

/// A certificate with its key, PEM.
#[derive(Debug, Clone)]
pub struct Card {
    pub chain: String,
    pub key: String,
}

/// A device as a client of TLS: its sessions are resumed where the node lets it.
pub struct Client {
    config: Arc<ClientConfig>,
}

/// An authority that is not the node's.
pub struct Operator {
    pub issuer: Issuer<'static, KeyPair>,
    pub root: String,
}

impl Card {
    /// What `twinfold cert issue DEVICE --generate` wrote.
    pub fn issued(node: &Served, device: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (done, _, said) =
            cli(node, &["cert", "issue", device, "--generate", folder.path().to_str().unwrap()]);
        assert!(done, "{said}");
        let read =
            |end: &str| std::fs::read_to_string(folder.path().join(format!("{device}.{end}"))).unwrap();
        Self { chain: read("pem"), key: read("key") }
    }
}

/// A certificate request, and its key: the key first.
pub fn request() -> (String, String) {
    gateway::trust::authority::generate("whoever").unwrap()
}

impl Client {
    pub fn new(node: &Served, card: Option<&Card>) -> Self {
        Self::speaking(node, card, rustls::ALL_VERSIONS)
    }

    /// In one of these versions.
    pub fn speaking(
        node: &Served,
        card: Option<&Card>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(node.certificate.clone()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()));
        let config = config.with_protocol_versions(versions).unwrap().with_root_certificates(roots);
        let config = match card {
            None => config.with_no_client_auth(),
            Some(Card { chain, key }) => {
                let chain =
                    CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<_, _>>().unwrap();
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                config.with_client_auth_cert(chain, key).unwrap()
            }
        };
        Self { config: Arc::new(config) }
    }

    /// A connection on which the node has said something already, or ended it: in TLS 1.3 the client is done first.
    pub fn open(&self, address: SocketAddr) -> Secured {
        let name = ServerName::try_from("localhost").unwrap();
        let client = ClientConnection::new(self.config.clone(), name).unwrap();
        let socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        StreamOwned::new(client, socket)
    }

    /// Connects by MQTT as this user: the reason of the CONNACK; `None` where the handshake was refused.
    pub fn reason(&self, node: &Served, username: &str) -> Option<u8> {
        self.connect(node, username).map(|(_, answer)| answer.reason())
    }

    pub fn connect(&self, node: &Served, username: &str) -> Option<(Wire<Secured>, Packet)> {
        self.connect_as(node, &Connect { username, ..Connect::of(V5, "client") })
    }

    pub fn connect_as(&self, node: &Served, connect: &Connect<'_>) -> Option<(Wire<Secured>, Packet)> {
        let mut wire = Wire::over(self.open(node.mqtts), V5);
        let answer = wire.send(&connect.bytes()).next();
        answer.map(|answer| (wire, answer))
    }

    /// A connection that was let in.
    pub fn connected(&self, node: &Served, username: &str) -> Wire<Secured> {
        let (wire, answer) = self.connect(node, username).expect("the handshake is done");
        assert_eq!((answer.kind, answer.reason()), (CONNACK, 0), "{answer:?}");
        wire
    }

    /// A call of the own twin by HTTP: the status; 0 where the handshake was refused.
    pub fn call(&self, node: &Served, call: &str, body: &str) -> (u16, Value) {
        let mut stream = self.open(node.https);
        let length = body.len();
        drop(stream.write_all(
            format!(
                "{call} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            )
            .as_bytes(),
        ));
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer));
        let answer = String::from_utf8_lossy(&answer);
        let status = answer.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0);
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        (status, serde_json::from_str(body).unwrap_or(Value::Null))
    }

    pub fn report(&self, node: &Served) -> u16 {
        self.call(node, "PATCH /v1/twins/me/reported", r#"{"on":true}"#).0
    }
}

impl Wire<Secured> {
    /// Says something on the management lane; the reply.
    pub fn apply(&mut self, verb: &str, body: &Value) -> Value {
        let lane = "twins/me/credentials";
        self.send(&subscribe(V5, 1, &[(&format!("{lane}/+/+/reply"), 1)]));
        self.publish(&format!("{lane}/{verb}/r1"), body.to_string().as_bytes(), Some(7));
        loop {
            let packet = self.next().expect("it stays connected");
            if packet.kind == PUBLISH {
                return packet.message();
            }
        }
    }
}

impl Operator {
    pub fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = named(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let root = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), root }
    }

    /// A certificate for a device, by its common name.
    pub fn sign(&self, device: &str) -> Card {
        self.sign_with(device, |_| ())
    }

    pub fn sign_with(&self, device: &str, change: impl FnOnce(&mut CertificateParams)) -> Card {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = named(device);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        Card { chain: params.signed_by(&key, &self.issuer).unwrap().pem(), key: key.serialize_pem() }
    }

    /// The file with its root.
    pub fn file(&self, folder: &tempfile::TempDir) -> PathBuf {
        let file = folder.path().join("root.pem");
        std::fs::write(&file, &self.root).unwrap();
        file
    }
}

pub fn named(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

/// Runs `twinfold` as the node's admin.
pub fn cli(node: &Served, words: &[&str]) -> (bool, String, String) {
    let (url, ca) = (format!("https://localhost:{}", node.https.port()), node.data.path().join("node.pem"));
    let beside = ["--url", &url, "--token", &node.token, "--ca", ca.to_str().unwrap()];
    let output = twinfold(&[words, &beside].concat());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

/// The same, which has to be done; what it prints.
#[track_caller]
pub fn done(node: &Served, words: &[&str]) -> String {
    let (done, shown, said) = cli(node, words);
    assert!(done, "{words:?}: {said}");
    shown
}
