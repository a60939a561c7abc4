//! The node that is measured: one that runs already, or a process of this same binary, so that what it uses is told
//! apart from what its load uses.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::Error;

/// How long a node may take to become ready.
const START_TIMEOUT: Duration = Duration::from_secs(120);
/// What variables of the environment begin with that configure a node: a measurement is not to depend on them.
const VARIABLES: &str = "TWINFOLD_";
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
    /// Where MQTT and HTTP listen.
    pub(super) mqtt: SocketAddr,
    pub(super) http: SocketAddr,
    /// From the start of the process until it was ready.
    pub(super) started_in: Duration,
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
    /// Starts `twinfold dev` on a data folder, at addresses that are free, and waits until it is ready.
    pub(super) fn start(data: &Path) -> Result<Self, Error> {
        let free = || {
            let listener = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
            listener.map_err(Error::Start)
        };
        Self::start_at(data, free()?, free()?)
    }

    /// Kills it, and starts it again on the same data and addresses.
    pub(super) fn restart(self, data: &Path) -> Result<Self, Error> {
        let (mqtt, http) = (self.mqtt, self.http);
        drop(self);
        Self::start_at(data, mqtt, http)
    }

    fn start_at(data: &Path, mqtt: SocketAddr, http: SocketAddr) -> Result<Self, Error> {
        let begin = Instant::now();
        let mut command = of_this_binary()?;
        command.arg("dev").arg("--data").arg(data);
        command.args(["--mqtt", &mqtt.to_string(), "--http", &http.to_string()]);
        let mut child = command.stderr(Stdio::piped()).stdin(Stdio::null()).spawn().map_err(Error::Start)?;
        let lines = said(&mut child);
        let mut node = Self { child, mqtt, http, started_in: Duration::ZERO };
        wait_for(&lines, "ready")?;
        node.started_in = begin.elapsed();
        // Goes on reading, or the node would stop at a full pipe.
        std::thread::spawn(move || lines.into_iter().for_each(drop));
        Ok(node)
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Its log is made for that; what fails here has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
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
