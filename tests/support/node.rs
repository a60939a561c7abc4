//! A `dev` node of the stock binary with a data folder of its own, and waiting for what it does.

use std::path::Path;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::http::Api;
use super::process::{Addresses, Process};

/// How long anything may take that a test waits for.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A running node. Dropping it kills it and removes its data.
pub struct Node {
    process: Process,
    data: TempDir,
    pub at: Addresses,
}

impl Node {
    pub fn start() -> Self {
        Self::with(tempfile::tempdir().expect("a temporary folder"), Addresses::free(), &[])
    }

    pub fn start_with(flags: &[&str]) -> Self {
        Self::with(tempfile::tempdir().expect("a temporary folder"), Addresses::free(), flags)
    }

    /// A node that may open so many files and connections, by the system's limit.
    pub fn with_descriptors(descriptors: u32) -> Self {
        let (data, at) = (tempfile::tempdir().expect("a temporary folder"), Addresses::free());
        let script = format!("ulimit -n {descriptors}; exec \"$0\" \"$@\"");
        let leading = ["-c", script.as_str(), env!("CARGO_BIN_EXE_twinfold")];
        let process = Process::dev(Path::new("/bin/sh"), &leading, data.path(), at, &[]);
        Self { process, data, at }
    }

    /// A node whose writes to files [can be made to fail](Self::fail_writes).
    pub fn whose_writes_may_fail() -> Self {
        let (data, at) = (tempfile::tempdir().expect("a temporary folder"), Addresses::free());
        // A signal that is ignored stays so: what would end the process then is an error of the write.
        let script = "trap '' XFSZ; exec \"$0\" \"$@\"";
        let leading = ["-c", script, env!("CARGO_BIN_EXE_twinfold")];
        let process = Process::dev(Path::new("/bin/sh"), &leading, data.path(), at, &[]);
        Self { process, data, at }
    }

    /// From now on each write to a file fails.
    pub fn fail_writes(&self) {
        self.process.fail_writes();
    }

    /// The one node that all tests of a process share, for as long as any of them runs.
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Node>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().expect("a node could be started");
        if let Some(node) = shared.upgrade() {
            return node;
        }
        let node = Arc::new(Self::start());
        *shared = Arc::downgrade(&node);
        node
    }

    fn with(data: TempDir, at: Addresses, flags: &[&str]) -> Self {
        let program = Path::new(env!("CARGO_BIN_EXE_twinfold"));
        let process = Process::dev(program, &[], data.path(), at, flags);
        Self { process, data, at }
    }

    /// SIGTERM, and the same node again: its exit code, and what comes up on the same data and addresses.
    pub fn restart(self) -> (Option<i32>, Self) {
        let Self { process, data, at } = self;
        let code = process.stop();
        (code, Self::with(data, at, &[]))
    }

    /// SIGKILL, and the same node again.
    pub fn kill_and_restart(self) -> Self {
        let Self { process, data, at } = self;
        process.kill();
        Self::with(data, at, &[])
    }

    /// The same, with flags.
    pub fn kill_and_restart_with(self, flags: &[&str]) -> Self {
        let Self { process, data, at } = self;
        process.kill();
        Self::with(data, at, flags)
    }

    /// The names of the files of a shard's stream.
    pub fn segments(&self, shard: &str) -> impl Fn() -> Vec<String> + use<> {
        let folder = self.data.path().join("streams").join(shard);
        move || {
            let files = std::fs::read_dir(&folder).expect("a shard has a stream");
            let names = files.map(|file| file.expect("it can be listed").file_name().into_string());
            names.map(|name| name.expect("names are plain")).collect()
        }
    }

    pub fn stop(self) -> Option<i32> {
        self.process.stop()
    }

    /// How much memory the process has, as the system counts it.
    pub fn resident_bytes(&self) -> u64 {
        self.process.resident_bytes()
    }

    /// How many descriptors the process has open.
    pub fn descriptors(&self) -> usize {
        let open = std::fs::read_dir(format!("/proc/{}/fd", self.process.id()));
        open.expect("the system tells of its processes").count()
    }

    /// Where its data is.
    pub fn data(&self) -> &Path {
        self.data.path()
    }

    pub fn api(&self) -> Api {
        Api::of(self.at.http)
    }

    /// The document of a twin that there is.
    pub fn twin(&self, id: &str) -> Value {
        let (status, twin) = self.api().get(&format!("/twins/{id}")).expect("the node answers");
        assert_eq!(status, 200, "{twin}");
        twin
    }

    /// The document of a twin, once it is as it should become.
    pub fn twin_that(&self, id: &str, is: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let found = eventually(|| {
            last = self.twin(id);
            is(&last).then(|| last.clone())
        });
        found.unwrap_or_else(|| panic!("the twin never became so: {last}"))
    }
}

/// What `look` finds, as soon as it finds something within [`PATIENCE`].
pub fn eventually<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + PATIENCE;
    loop {
        match look() {
            None if Instant::now() < end => std::thread::sleep(Duration::from_millis(10)),
            found => return found,
        }
    }
}
