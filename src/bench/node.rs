//! The node that is measured: one that runs already, or a process of this same binary, so that what it uses is told
//! apart from what its load uses.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::cli::client::Target;

use super::Error;
use super::credentials::{Credentials, Giver, HOST, OwnCertificate};

/// How long a node may take to become ready.
const START_TIMEOUT: Duration = Duration::from_secs(120);
/// What variables of the environment begin with that configure a node: a measurement is not to depend on them.
const VARIABLES: &str = "TWINFOLD_";
/// An address that nobody asks at.
const ANY: &str = "127.0.0.1:0";
/// As much as a limit can be.
const UNLIMITED: &str = "4294967295";
/// The variable that says what the node logs.
const LOG: &str = "TWINFOLD_LOG";

/// Where a measured node keeps its data: a folder that was named, or one that goes with this.
pub(super) enum Data {
    Named(PathBuf),
    Temporary(TempDir),
}

/// A node in a process of its own. Dropping it kills it.
pub(super) struct Node {
    child: Child,
    kind: Kind,
    /// What else it is told.
    flags: Vec<String>,
    /// Where MQTT and HTTP listen.
    pub(super) mqtt: SocketAddr,
    http: SocketAddr,
    /// Its API.
    pub(super) api: Target,
    /// Who gives devices what they show to it.
    pub(super) giver: Giver,
    /// From the start of the process until it was ready.
    pub(super) started_in: Duration,
}

/// How a node is run.
enum Kind {
    Dev(PathBuf),
    Open(Open),
}

/// `serve`: its folder, which goes with it, its certificate, and the token of its admin.
pub(super) struct Open {
    folder: TempDir,
    credentials: Credentials,
    certificate: OwnCertificate,
    pub(super) token: String,
}

impl Data {
    pub(super) fn new(named: Option<&Path>) -> Result<Self, Error> {
        Ok(match named {
            Some(folder) => {
                std::fs::create_dir_all(folder).map_err(|why| Error::Data(folder.to_owned(), why))?;
                Self::Named(folder.to_owned())
            }
            None => {
                let made = tempfile::Builder::new().prefix("twinfold-bench-").tempdir();
                Self::Temporary(made.map_err(|why| Error::Data(std::env::temp_dir(), why))?)
            }
        })
    }

    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Named(folder) => folder,
            Self::Temporary(folder) => folder.path(),
        }
    }
}

impl Node {
    /// Starts a node at addresses that are free, and waits until it is ready: `twinfold dev` on a data folder; or, where
    /// devices show something, `twinfold serve` on a new folder in there, with a group that lets them in.
    pub(super) fn start(data: &Path, credentials: Credentials, flags: &[&str]) -> Result<Self, Error> {
        let flags = flags.iter().map(|&flag| flag.to_owned()).collect();
        match credentials {
            Credentials::None => Self::start_at(Kind::Dev(data.to_owned()), flags, free()?, free()?),
            Credentials::Key | Credentials::Certificate => {
                Self::serve(Open::new(data, credentials)?, flags)?.enrolling()
            }
        }
    }

    /// Starts `twinfold serve` at addresses that are free, and waits until it is ready.
    pub(super) fn serve(open: Open, flags: Vec<String>) -> Result<Self, Error> {
        Self::start_at(Kind::Open(open), flags, free()?, free()?)
    }

    /// With a group that lets devices in, where it is in the open.
    pub(super) fn enrolling(mut self) -> Result<Self, Error> {
        if let Kind::Open(open) = &self.kind {
            self.giver = Giver::enrol(open.credentials, &self.api, &open.certificate)?;
        }
        Ok(self)
    }

    /// Kills it, and starts it again on the same data and addresses.
    pub(super) fn restart(mut self) -> Result<Self, Error> {
        self.kill();
        let kind = std::mem::replace(&mut self.kind, Kind::Dev(PathBuf::new()));
        let flags = std::mem::take(&mut self.flags);
        let mut again = Self::start_at(kind, flags, self.mqtt, self.http)?;
        again.giver = self.giver.clone();
        Ok(again)
    }

    fn start_at(kind: Kind, flags: Vec<String>, mqtt: SocketAddr, http: SocketAddr) -> Result<Self, Error> {
        let begin = Instant::now();
        let mut command = of_this_binary()?;
        let api = match &kind {
            Kind::Dev(data) => {
                command.arg("dev").arg("--data").arg(data);
                command.args(["--mqtt", &mqtt.to_string(), "--http", &http.to_string()]);
                target(&format!("http://{http}"), None, PathBuf::new())?
            }
            Kind::Open(open) => open.serve(&mut command, mqtt, http)?,
        };
        let mut child =
            command.args(&flags).stderr(Stdio::piped()).stdin(Stdio::null()).spawn().map_err(Error::Start)?;
        let lines = said(&mut child);
        let giver = Giver::Nobody;
        let mut node = Self { child, kind, flags, mqtt, http, api, giver, started_in: Duration::ZERO };
        wait_for(&lines, "ready")?;
        node.started_in = begin.elapsed();
        // Goes on reading, or the node would stop at a full pipe.
        std::thread::spawn(move || lines.into_iter().for_each(drop));
        Ok(node)
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as the power would, and returns when it has ended.
    pub(super) fn kill(&mut self) {
        // Its log is made for that; what fails here has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Open {
    /// A new folder with its first admin.
    pub(super) fn new(data: &Path, credentials: Credentials) -> Result<Self, Error> {
        let mut open = Self::empty(data, credentials, String::new())?;
        open.token = open.made_by(&["user", "add", "bench", "--role", "admin"])?;
        Ok(open)
    }

    /// A new folder, where nothing is yet, of a node that knows a token.
    pub(super) fn empty(within: &Path, credentials: Credentials, token: String) -> Result<Self, Error> {
        let folder = tempfile::Builder::new().prefix("open-").tempdir_in(within);
        let folder = folder.map_err(|why| Error::Data(within.to_owned(), why))?;
        let certificate = OwnCertificate::make(folder.path())?;
        Ok(Self { folder, credentials, certificate, token })
    }

    /// Runs a verb on the node's data; what it printed.
    pub(super) fn made_by(&self, words: &[&str]) -> Result<String, Error> {
        let mut verb = of_this_binary()?;
        verb.args(words).arg("--data").arg(self.folder.path().join("node"));
        let done = verb.stdin(Stdio::null()).output().map_err(Error::Start)?;
        if !done.status.success() {
            return Err(Error::NotReady(String::from_utf8_lossy(&done.stderr).into_owned()));
        }
        Ok(String::from_utf8_lossy(&done.stdout).trim().to_owned())
    }

    /// The words that run it, and its API. All devices come from one address here, as no fleet does, and are to show what
    /// the node bears, not what its limits for one address and one device are.
    fn serve(&self, command: &mut Command, mqtt: SocketAddr, http: SocketAddr) -> Result<Target, Error> {
        command.arg("serve").arg("--data").arg(self.folder.path().join("node"));
        for limit in ["address-connections", "address-connects-per-s", "each-device-messages-per-s"] {
            command.args([&format!("--{limit}"), UNLIMITED]);
        }
        command.args(["--each-device-bytes-per-s", UNLIMITED]);
        let (mqtt, port, http) = (mqtt.to_string(), http.port(), http.to_string());
        let token = Some(self.token.clone());
        command.arg("--tls-certificate").arg(&self.certificate.chain);
        command.arg("--tls-key").arg(&self.certificate.key);
        if self.credentials == Credentials::Key {
            command.args(["--mqtt-tls", ANY, "--https", ANY, "--allow-plaintext"]);
            command.args(["--mqtt", &mqtt, "--http", &http]);
            return target(&format!("http://{http}"), token, PathBuf::new());
        }
        command.args(["--mqtt-tls", &mqtt, "--https", &http]);
        target(&format!("https://{HOST}:{port}"), token, self.certificate.chain.clone())
    }
}

/// An address on loopback that is free now.
fn free() -> Result<SocketAddr, Error> {
    TcpListener::bind(ANY).and_then(|listener| listener.local_addr()).map_err(Error::Start)
}

fn target(url: &str, token: Option<String>, authorities: PathBuf) -> Result<Target, Error> {
    let url = url.parse().map_err(|_| Error::NoTarget)?;
    Ok(Target { url, token, authorities })
}

/// A command of this binary, that no variable configures.
pub(super) fn of_this_binary() -> Result<Command, Error> {
    let mut command = Command::new(std::env::current_exe().map_err(Error::Start)?);
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with(VARIABLES) && name != LOG) {
            command.env_remove(name);
        }
    }
    Ok(command)
}

/// What a child says on its stderr, line by line.
pub(super) fn said(child: &mut Child) -> mpsc::Receiver<String> {
    // Full means that nobody listens for the moment: the child waits, as it would at a full pipe.
    let (say, said) = mpsc::sync_channel(64);
    if let Some(stderr) = child.stderr.take() {
        std::thread::spawn(move || {
            let lines = BufReader::new(stderr).lines().map_while(Result::ok);
            lines.map(|line| say.send(line)).take_while(Result::is_ok).for_each(drop);
        });
    }
    said
}

/// Waits for a line that begins so. What was said before is in the error, if it does not come.
pub(super) fn wait_for(lines: &mpsc::Receiver<String>, beginning: &str) -> Result<String, Error> {
    let end = Instant::now() + START_TIMEOUT;
    let mut before = Vec::new();
    loop {
        match lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(line) if line.starts_with(beginning) => return Ok(line),
            Ok(line) => before.push(line),
            Err(_) => return Err(Error::NotReady(before.join("\n"))),
        }
    }
}
