//! `twinfold bench`: what a node takes, and what a broker beside it takes, measured in the same way.
//!
//! A node is measured from outside, by clients that use far less of the processor than it does; where no target is
//! named, a node is started in a process of its own, so that what it uses can be told apart. Latencies are histograms,
//! never samples, and under a rate they count from when a message was meant to be sent. Each report has the histogram
//! of the disk's fdatasync beside it, since a figure about durability means nothing without.

mod activate;
mod client;
pub(crate) mod cluster;
mod connect;
mod credentials;
mod disk;
mod feed;
mod fill;
mod inproc;
mod latency;
mod load;
mod mqtt;
mod node;
mod process;
mod progress;
mod replay;
pub(crate) mod report;
mod storm;
mod swarm;
mod way;
mod wire;

use std::io;
use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use client::About;
pub(crate) use credentials::Credentials;
use report::Report;

/// The smallest payload in bytes: a JSON object with a number in it.
pub(crate) const PAYLOAD_BYTES_MIN: usize = wire::PAYLOAD_BYTES_MIN;

/// What is measured, and how.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    /// Whom to load; a node of its own where nobody is named.
    pub(crate) target: Option<SocketAddr>,
    /// The process of that target, where it is on this machine.
    pub(crate) pid: Option<u32>,
    /// Where the node keeps its data, and which disk is probed.
    pub(crate) data: Option<PathBuf>,
    /// How long it is measured.
    pub(crate) duration: Duration,
    pub(crate) connections: NonZeroUsize,
    /// Of the generator.
    pub(crate) threads: NonZeroUsize,
    /// In bytes, at least [`PAYLOAD_BYTES_MIN`].
    pub(crate) payload: usize,
    /// 0, 1 or 2.
    pub(crate) qos: u8,
    /// How many messages of a connection may be in flight.
    pub(crate) window: NonZeroU16,
    /// Messages a second of all connections together: an open loop. A closed one without.
    pub(crate) rate: Option<f64>,
    /// How many twins there are.
    pub(crate) twins: NonZeroU64,
    /// How many updates are in the log that is replayed.
    pub(crate) updates: u64,
    /// What the devices show.
    pub(crate) credentials: Credentials,
    /// What the others do in a storm.
    pub(crate) scenario: Scenario,
}

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    Mqtt,
    Loop,
    Inproc,
    Activate,
    Replay,
    Storm,
    Connect,
}

/// What many others do while one device is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Scenario {
    /// The node is killed and starts again, and all come back at once
    #[default]
    Reconnect,
    /// They are connected and say nothing
    Idle,
    /// They open a connection and never send a CONNECT
    Silent,
    /// They report as fast as they can and never read an answer
    Slow,
    /// One device reports as fast as it can
    Flood,
}

/// Why nothing was measured. Each says what to do next.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the folder {} cannot be used: {}\nnext: name another with --data DIR", .0.display(), .1)]
    Data(PathBuf, io::Error),
    #[error("a node could not be started: {0}\nnext: start one, and name it: --target 127.0.0.1:1883")]
    Start(io::Error),
    #[error(
        "the node did not become ready; it said:\n{0}\nnext: see what it says, or name a node with --target"
    )]
    NotReady(String),
    #[error(
        "nobody at {0} lets a device in: {1}\nnext: see whether a node or a broker listens there: twinfold dev --mqtt {0}"
    )]
    Nobody(SocketAddr, String),
    #[error("the devices cannot be given what they show: {0}\nnext: leave --credentials out")]
    Credentials(String),
    #[error("there is nobody to load\nnext: name one: --target 127.0.0.1:1883")]
    NoTarget,
    #[error(
        "connections could not be made: {0}\nnext: allow more descriptors (ulimit -n), or ask for fewer: --connections"
    )]
    Sockets(io::Error),
    #[error(
        "this binary's twins do not answer a sample with a command: {0}\nnext: use the stock binary, which has thermostats"
    )]
    NoLoop(String),
    #[error(
        "this measurement kills its node, or registers twins or a group of its own there\nnext: leave --target out"
    )]
    OwnNodeOnly,
    #[error(
        "the cluster does not do what it is to do: {0}\nnext: see what its nodes say: TWINFOLD_LOG=info, or start them by hand"
    )]
    Cluster(String),
    #[error("what the target uses cannot be read: {0}\nnext: see whether --pid names a process that runs")]
    Process(io::Error),
}

/// Measures.
pub(crate) fn run(what: What, setting: &Setting) -> Result<Report, Error> {
    if setting.target.is_some() && setting.credentials != Credentials::None {
        return Err(Error::OwnNodeOnly);
    }
    match what {
        What::Mqtt => mqtt::run(setting, About::Reports),
        What::Loop => mqtt::run(setting, About::Loop),
        What::Inproc => inproc::run(setting),
        What::Activate => activate::run(setting),
        What::Replay => replay::run(setting),
        What::Storm => storm::run(setting),
        What::Connect => connect::run(setting),
    }
}

/// Fills a data folder with twins, says so, and stops when stdin ends: a part of `activate` and `replay`.
pub(crate) fn fill(setting: &Setting) -> Result<(), Error> {
    let data = setting.data.as_deref().unwrap_or(std::path::Path::new("."));
    fill::run(data, setting, setting.updates)
}

impl Setting {
    /// How many inputs may be unanswered where there are no connections.
    fn window_of_all(&self) -> usize {
        usize::from(self.window.get()) * self.connections.get()
    }

    /// Reports what was asked for.
    fn report(&self, report: &mut Report) {
        report.set("seconds", self.duration.as_secs_f64());
        report.set("connections", self.connections.get());
        report.set("threads", self.threads.get());
        report.set("payload", self.payload);
        report.set("qos", self.qos);
        report.set("window", self.window.get());
        report.set("rate", self.rate.unwrap_or(0.0));
    }
}
