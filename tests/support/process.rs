//! A node as a process of its own, which can be killed as the power would.

#![allow(clippy::print_stderr, reason = "what a node says is shown with the test that fails")]

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};

/// A running node. Dropping it kills it.
pub struct Process {
    child: Child,
}

/// Where a node listens; the same over restarts, so that clients find it again.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    pub mqtt: SocketAddr,
    pub http: SocketAddr,
}

impl Addresses {
    /// Two that are free now.
    pub fn free() -> Self {
        let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("loopback has free ports"));
        let [mqtt, http] = listeners.map(|listener| listener.local_addr().expect("it is bound"));
        Self { mqtt, http }
    }
}

impl Process {
    /// Starts `program leading... dev` on a data folder, and waits until it says that it is ready.
    ///
    /// # Panics
    /// If it ends or is not ready within 30 s.
    pub fn dev(program: &Path, leading: &[&str], data: &Path, at: Addresses, more: &[&str]) -> Self {
        Self::ready(command(program, leading, data, at, more)).0
    }

    /// Starts a command that runs a node, and waits until it says that it is ready, and how.
    ///
    /// # Panics
    /// If it ends or is not ready within 30 s.
    pub fn ready(command: Command) -> (Self, String) {
        Self::heard(command, |line| eprintln!("node: {line}"))
    }

    /// The same; everything else that it says is passed to `hear`, line by line.
    pub fn heard(mut command: Command, hear: impl Fn(&str) + Send + 'static) -> (Self, String) {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the binary can be started");
        let stderr = BufReader::new(child.stderr.take().expect("it is piped"));
        // Killed, if it never becomes ready.
        let process = Self { child };
        let (ready, wait) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                // As text, or as the message of a line of JSON.
                if line.starts_with("ready") || line.contains(r#":"ready: "#) {
                    // Nobody waits any more once it was ready.
                    let _heard = ready.send(line);
                } else {
                    hear(&line);
                }
            }
        });
        let line = wait.recv_timeout(Duration::from_secs(30)).expect("the node becomes ready");
        (process, line)
    }

    /// Starts `program dev` on a data folder, and has what it logs, as `filter` selects, go to a file. Does not wait.
    pub fn logging(
        program: &Path,
        data: &Path,
        at: Addresses,
        more: &[&str],
        filter: &str,
        log: File,
    ) -> Self {
        let mut command = command(program, &[], data, at, more);
        let child = command.env("TWINFOLD_LOG", filter).stderr(log).spawn();
        Self { child: child.expect("the binary can be started") }
    }

    /// Has each further write of the process to a file fail, if it ignores the signal that comes with that.
    pub fn fail_writes(&self) {
        let limit = Rlimit { current: Some(0), maximum: None };
        let pid = Pid::from_child(&self.child);
        prlimit(Some(pid), Resource::Fsize, limit).expect("the limits of a child can be lowered");
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How much memory it has, as the system counts it.
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id()));
        let status = status.expect("the system tells of its processes");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it says how much");
        let kibibytes = line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number");
        kibibytes << 10
    }

    /// SIGKILL: nothing in it can do anything about it.
    pub fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it was a child");
    }

    /// SIGTERM: it stops as an operator would have it, with this exit code.
    pub fn stop(mut self) -> Option<i32> {
        self.terminate();
        self.end_within(Duration::from_secs(30))
    }

    /// SIGHUP: it reads its certificate again.
    pub fn hang_up(&self) {
        kill_process(Pid::from_child(&self.child), Signal::HUP).expect("it runs");
    }

    /// SIGSTOP: it does nothing from now on, and does not know.
    pub fn pause(&self) {
        kill_process(Pid::from_child(&self.child), Signal::STOP).expect("it runs");
    }

    /// SIGCONT: it goes on where it was.
    pub fn go_on(&self) {
        kill_process(Pid::from_child(&self.child), Signal::CONT).expect("it runs");
    }

    /// SIGTERM, without waiting for what comes of it.
    pub fn terminate(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("it runs");
    }

    /// Its exit code, if it ends within so long.
    pub fn end_within(&mut self, patience: Duration) -> Option<i32> {
        let end = Instant::now() + patience;
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait().expect("it was a child") {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        None
    }
}

fn command(program: &Path, leading: &[&str], data: &Path, at: Addresses, more: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(leading).arg("dev").arg("--data").arg(data);
    command.args(["--mqtt", &at.mqtt.to_string(), "--http", &at.http.to_string()]).args(more);
    command
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
