//! A node in the open with a certificate of its own, its first admin, and clients that trust it.

#![allow(clippy::print_stderr, reason = "what a node says is shown with the test that fails")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion};
use tempfile::TempDir;

use super::process::Process;

const PROGRAM: &str = env!("CARGO_BIN_EXE_twinfold");
/// The flags of a node that listens in plain text, too.
pub const PLAIN: [&str; 5] = ["--mqtt", "127.0.0.1:0", "--http", "127.0.0.1:0", "--allow-plaintext"];
/// How long a node may take to say something.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running `serve`. Dropping it kills it and removes its data.
pub struct Served {
    pub process: Process,
    pub data: TempDir,
    /// The token of its first admin.
    pub token: String,
    /// What it shows.
    pub certificate: CertificateDer<'static>,
    pub mqtts: SocketAddr,
    pub https: SocketAddr,
    /// What it said when it was ready.
    pub ready: String,
}

/// A connection with TLS.
pub type Secured = StreamOwned<ClientConnection, TcpStream>;

impl Served {
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    pub fn start_with(flags: &[&str]) -> Self {
        Self::begin(flags, &[], |line| eprintln!("node: {line}"))
    }

    /// A new folder with its first admin, and a node on it in this environment; what it says is passed on, line by line.
    pub fn begin(flags: &[&str], environment: &[(&str, &str)], hear: impl Fn(&str) + Send + 'static) -> Self {
        let data = tempfile::tempdir().expect("a temporary folder");
        let node = data.path().join("node");
        let certificate = certify(data.path());
        let added = twinfold(&["user", "add", "ada", "--role", "admin", "--data", text(&node)]);
        let token = String::from_utf8(added.stdout).expect("a token is plain").trim().to_owned();
        Self::run(data, token, certificate, flags, environment, hear)
    }

    /// SIGKILL, and the same node again.
    pub fn kill_and_begin(
        self,
        flags: &[&str],
        environment: &[(&str, &str)],
        hear: impl Fn(&str) + Send + 'static,
    ) -> Self {
        let Self { process, data, token, certificate, .. } = self;
        process.kill();
        Self::run(data, token, certificate, flags, environment, hear)
    }

    fn run(
        data: TempDir,
        token: String,
        certificate: CertificateDer<'static>,
        flags: &[&str],
        environment: &[(&str, &str)],
        hear: impl Fn(&str) + Send + 'static,
    ) -> Self {
        let mut command = Command::new(PROGRAM);
        command.args(words(data.path())).args(flags).envs(environment.iter().copied());
        let (process, ready) = Process::heard(command, hear);
        let (mqtts, https) = (listens(&ready, "mqtts://"), listens(&ready, "https://"));
        Self { process, data, token, certificate, mqtts, https, ready }
    }

    /// Where it listens in plain text, of one that was [asked](PLAIN) to: MQTT, HTTP.
    pub fn plain(&self) -> (SocketAddr, SocketAddr) {
        (listens(&self.ready, "mqtt://"), listens(&self.ready, "http://"))
    }

    /// The data folder.
    pub fn folder(&self) -> PathBuf {
        self.data.path().join("node")
    }

    /// A handshake in one of these versions, with a client that trusts `trusted`.
    pub fn agree(
        &self,
        address: SocketAddr,
        trusted: &CertificateDer<'static>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Result<Secured, rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.add(trusted.clone()).expect("it is a certificate");
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()));
        let config = config.with_protocol_versions(versions)?.with_root_certificates(roots);
        let name = ServerName::try_from("localhost").expect("a name");
        let client = ClientConnection::new(Arc::new(config.with_no_client_auth()), name)?;
        let socket = TcpStream::connect(address).expect("the node listens");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        let mut stream = StreamOwned::new(client, socket);
        match stream.conn.complete_io(&mut stream.sock) {
            Ok(_) => Ok(stream),
            Err(error) => Err(rustls::Error::General(error.to_string())),
        }
    }

    /// A connection as most clients make it.
    pub fn secured(&self, address: SocketAddr) -> Secured {
        self.agree(address, &self.certificate, rustls::ALL_VERSIONS).expect("it shows its certificate")
    }

    /// Sends a request as it is written, but for the lines that all have, and reads the whole answer.
    pub fn asked(&self, request: &str) -> String {
        let mut stream = self.secured(self.https);
        stream.write_all(request.as_bytes()).expect("the node reads");
        let mut answer = Vec::new();
        // It may close without saying so to TLS when what it was sent is no HTTP.
        drop(stream.read_to_end(&mut answer));
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// A GET of the API as its admin.
    pub fn get(&self, path: &str) -> String {
        let token = &self.token;
        self.asked(&format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
        ))
    }
}

/// The words that run a node on `folder/node` with the certificate in `folder`.
pub fn words(folder: &Path) -> Vec<String> {
    let file = |name: &str| text(&folder.join(name)).to_owned();
    let words = [
        "serve",
        "--data",
        &file("node"),
        "--mqtt-tls",
        "127.0.0.1:0",
        "--https",
        "127.0.0.1:0",
        "--tls-certificate",
        &file("node.pem"),
        "--tls-key",
        &file("node.key"),
    ];
    words.map(str::to_owned).to_vec()
}

/// Where it says that it listens by this scheme.
fn listens(ready: &str, scheme: &str) -> SocketAddr {
    let from = ready.find(scheme).expect("it says where") + scheme.len();
    let end = ready[from..].find([' ', ',', '"']).map_or(ready.len(), |end| from + end);
    ready[from..end].parse().expect("an address")
}

/// Makes a certificate for `localhost` in a folder.
pub fn certify(folder: &Path) -> CertificateDer<'static> {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).expect("names are plain");
    std::fs::write(folder.join("node.pem"), cert.pem()).expect("the folder is there");
    std::fs::write(folder.join("node.key"), signing_key.serialize_pem()).expect("the folder is there");
    cert.der().clone()
}

/// Runs `twinfold` with these words, to its end.
pub fn twinfold<W: AsRef<std::ffi::OsStr>>(words: &[W]) -> Output {
    Command::new(PROGRAM).args(words).output().expect("the binary can be started")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary folders have plain names")
}
