//! Three nodes of a cluster, each a process with a folder of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::load::{DEVICES, Doors, register_enrolled};
use crate::paths::Paths;
use crate::support::history::History;
use crate::support::http::Api;
use crate::support::process::{Addresses, Process};
use crate::support::served::certify;

/// How long a cluster may take to be whole again.
const PATIENCE: Duration = Duration::from_secs(300);
/// The group whose devices the load is.
const GROUP: &str = "fleet";

/// The nodes. Dropping them kills them and removes their data.
pub struct Trio {
    folder: TempDir,
    processes: [Option<Process>; 3],
    at: [Addresses; 3],
    token: String,
    pub paths: Paths,
}

impl Trio {
    /// The first node, which others may join.
    pub fn alone() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        certify(folder.path());
        let mut trio = Self {
            processes: [None, None, None],
            at: [(); 3].map(|()| Addresses::free()),
            token: String::new(),
            paths: Paths::new(),
            folder,
        };
        let added =
            run(["user", "add", "ada", "--role", "admin", "--data"].map(str::to_owned), &trio.data(0));
        trio.token = text(&added.stdout);
        trio.start(0);
        trio
    }

    /// Two more nodes join, and every shard is on all three in the end.
    pub fn grow(&mut self) {
        let url = format!("http://{}", self.at[0].http);
        let beside = ["--url", &url, "--token", &self.token].map(str::to_owned);
        for node in [1, 2] {
            let verb = if node == 1 { "init" } else { "token" };
            let words = [["cluster", verb].map(str::to_owned).to_vec(), beside.to_vec()].concat();
            let token = text(&done(&words).stdout);
            let token = token.lines().last().unwrap_or_default().to_owned();
            let (listens, reached) =
                (self.paths.nodes[node].to_string(), self.paths.fronts[node].to_string());
            let words =
                ["cluster", "join", &token, "--cluster", &listens, "--cluster-advertise", &reached, "--data"];
            run(words.map(str::to_owned), &self.data(node));
            self.start(node);
        }
        self.await_whole();
    }

    /// Lets the devices of the load in; what they and applications speak to.
    pub fn enrol(&self, history: &History) -> Doors {
        let api = self.api(0);
        let group = json!({"name": GROUP, "generate_key": true, "registers": true, "kind": "alarm"});
        let (status, body) = api.post("/enrolment-groups", &group).expect("it answers");
        assert_eq!(status, 201, "{body}");
        let key = |device: &&str| {
            let (status, body) = api
                .post(&format!("/enrolment-groups/{GROUP}/keys"), &json!({"device_id": device}))
                .expect("it answers");
            assert!(status < 300, "{body}");
            body["key"].as_str().expect("a key").to_owned()
        };
        let keys = DEVICES.iter().map(key).collect();
        register_enrolled(history);
        Doors { nodes: self.at.to_vec(), token: Some(self.token.clone()), keys, arm_every: 60 }
    }

    /// The API of a node, as the admin sees it.
    pub fn api(&self, node: usize) -> Api {
        Api::with_token(self.at[node].http, &self.token)
    }

    /// Starts a node that does not run, and waits until it is ready.
    pub fn start(&mut self, node: usize) {
        let at = self.at[node];
        let mut command = Command::new(std::env::current_exe().expect("this program is a file"));
        command.args(["serve", "serve", "--mqtt-tls", "127.0.0.1:0", "--https", "127.0.0.1:0"]);
        command.args(["--allow-plaintext", "--mqtt", &at.mqtt.to_string(), "--http", &at.http.to_string()]);
        command.args(["--cluster", &self.paths.nodes[node].to_string()]);
        command.args(["--cluster-advertise", &self.paths.fronts[node].to_string()]);
        command.args([
            "--checkpoint-every-ms",
            "200",
            "--checkpoint-bytes",
            "20000",
            "--shard-memory-bytes",
            "4000",
        ]);
        command.arg("--tls-certificate").arg(self.folder.path().join("node.pem"));
        command.arg("--tls-key").arg(self.folder.path().join("node.key"));
        command.arg("--data").arg(self.data(node));
        let (process, _) = Process::heard(command, move |line| eprintln!("node {}: {line}", node + 1));
        self.processes[node] = Some(process);
    }

    /// SIGKILL.
    pub fn kill(&mut self, node: usize) {
        self.processes[node].take().expect("it runs").kill();
    }

    /// SIGSTOP.
    pub fn stop(&self, node: usize) {
        self.processes[node].as_ref().expect("it runs").pause();
    }

    /// SIGCONT.
    pub fn go_on(&self, node: usize) {
        self.processes[node].as_ref().expect("it runs").go_on();
    }

    /// Waits until every shard is on all three nodes and has a leader, as each of them says.
    pub fn await_whole(&self) {
        let end = Instant::now() + PATIENCE;
        for node in 0..3 {
            loop {
                let status = self.api(node).get("/cluster");
                if status.as_ref().is_some_and(|(status, body)| *status == 200 && is_whole(body)) {
                    break;
                }
                assert!(Instant::now() < end, "node {} says that it is not whole: {status:?}", node + 1);
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }

    fn data(&self, node: usize) -> PathBuf {
        self.folder.path().join(format!("node-{}", node + 1))
    }
}

fn is_whole(status: &Value) -> bool {
    let shards = status["shards"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is_led = |shard: &Value| {
        shard["leader"].is_u64() && shard["replicas"].as_array().is_some_and(|all| all.len() == 3)
    };
    !shards.is_empty() && shards.iter().all(is_led)
}

fn run<const N: usize>(words: [String; N], data: &Path) -> Output {
    let data = data.to_str().expect("temporary folders have plain names").to_owned();
    done(&[words.to_vec(), vec![data]].concat())
}

/// Runs a verb of this program, which has to do what it says.
fn done(words: &[String]) -> Output {
    let mut command = Command::new(std::env::current_exe().expect("this program is a file"));
    let output = command.arg("serve").args(words).output().expect("it can be started");
    assert!(output.status.success(), "{words:?}: {}", text(&output.stderr));
    output
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}
