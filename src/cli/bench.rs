//! `twinfold bench`: its flags; what is measured is in [`crate::bench`].

use std::io::Write;
use std::net::{SocketAddr, ToSocketAddrs};
use std::num::{NonZeroU16, NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::table::Table;
use super::{Error, note};
use crate::bench::cluster::Plan;
use crate::bench::report::Report;
use crate::bench::{self, Credentials, PAYLOAD_BYTES_MIN, Scenario, Setting, What};

/// Measure a node, or a broker beside it. It fails when something was refused or lost, or nothing was acknowledged.
#[derive(Subcommand)]
pub(super) enum Bench {
    /// Devices that report over MQTT 3.1.1, to a node or to any broker
    #[command(after_help = concat!(
        "Examples:\n",
        "  twinfold bench mqtt --connections 50 --window 32 --seconds 10\n",
        "  twinfold bench mqtt --rate 20000 --window 1000\n",
        "  twinfold bench mqtt --target 127.0.0.1:1883 --pid $(pidof mosquitto) --json",
    ))]
    Mqtt(Flags),
    /// From a device's sample over its twin's behaviour to the command that reaches the device; at half of what a
    /// calibration finds where no rate is given
    #[command(after_help = "Example:\n  twinfold bench loop --connections 50 --rate 5000")]
    Loop(Flags),
    /// Durable updates without a network, in this process
    #[command(after_help = "Example:\n  twinfold bench inproc --twins 100000 --payload 300")]
    Inproc(Flags),
    /// Twins that are nowhere in memory, each spoken to once
    #[command(after_help = "Example:\n  twinfold bench activate --twins 100000 --connections 1 --window 64")]
    Activate(Flags),
    /// Starts of a node, after a kill and after a stop
    #[command(after_help = "Example:\n  twinfold bench replay --twins 100000 --updates 1000000")]
    Replay(Flags),
    /// What one device feels while many others do what a node must bear
    #[command(after_help = concat!(
        "Examples:\n",
        "  twinfold bench storm --connections 10000 --scenario reconnect\n",
        "  twinfold bench storm --connections 10000 --scenario idle --seconds 5",
    ))]
    Storm(Flags),
    /// Devices that connect, are let in and leave, again and again: with whole handshakes, and with resumed ones
    #[command(
        after_help = "Example:\n  twinfold bench connect --credentials certificate --connections 16 --twins 1000"
    )]
    Connect(Flags),
    /// Three nodes, a fleet of devices, and the death of one node: what was acknowledged and lost, and for how long shards
    /// were silent. It fails when anything was lost, or is there twice
    #[command(after_help = concat!(
        "Examples:\n",
        "  twinfold bench cluster\n",
        "  twinfold bench cluster --connections 300 --seconds 6 --json",
    ))]
    Cluster(Cluster),
    /// Fill a data folder for `activate` and `replay`
    #[command(hide = true, after_help = "Example:\n  twinfold bench fill --data ./data --twins 1000")]
    Fill(Flags),
}

/// How it is measured.
#[derive(Args)]
pub(super) struct Flags {
    /// Whom to load; where nobody is named, a node is started, and ends with the measurement
    #[arg(long, value_name = "HOST:PORT", value_parser = address)]
    target: Option<SocketAddr>,
    /// The target's process on this machine, for its processor time and memory
    #[arg(long, value_name = "PID", requires = "target")]
    pid: Option<u32>,
    /// Where the started node keeps its data, and which disk is probed; else a temporary folder
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// How long it is measured, after a second that is not
    #[arg(long, value_name = "S", default_value_t = 10.0, value_parser = seconds)]
    seconds: f64,
    /// How many devices are connected
    #[arg(long, value_name = "N", default_value = "50")]
    connections: NonZeroUsize,
    /// The size of a message in bytes: a merge patch, at least 16
    #[arg(long, value_name = "BYTES", default_value_t = 300, value_parser = payload)]
    payload: usize,
    /// 0, 1 or 2 (mqtt). With 0, a ping after each window says that the target has read it
    #[arg(long, value_name = "QOS", default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=2))]
    qos: u8,
    /// How many messages of a connection may be in flight; without connections, their number times this of all
    #[arg(long, value_name = "N", default_value = "32")]
    window: NonZeroU16,
    /// Messages a second of all connections together (mqtt, loop), each at its time, whatever became of those before;
    /// as fast as the windows allow where nothing is said
    #[arg(long, value_name = "R", value_parser = rate)]
    rate: Option<f64>,
    /// Threads of the generator (mqtt, loop)
    #[arg(long, value_name = "N", default_value = "1")]
    threads: NonZeroUsize,
    /// How many twins there are (inproc, activate, replay, connect, where each is let in five times a second at most)
    #[arg(long, value_name = "N", default_value = "10000")]
    twins: NonZeroU64,
    /// How many updates are made before the node is killed (replay)
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    updates: u64,
    /// What the devices show (mqtt, storm, connect), to a node that is started for that: `serve` instead of `dev`
    #[arg(long, value_name = "WHAT", value_enum, default_value_t)]
    credentials: Credentials,
    /// What the others do (storm)
    #[arg(long, value_name = "NAME", value_enum, default_value_t)]
    scenario: Scenario,
    /// Print nothing but the last line: one JSON object
    #[arg(long)]
    json: bool,
}

/// What is done to a cluster.
#[derive(Args)]
pub(super) struct Cluster {
    /// Where the nodes keep their data, each in a folder of its own there; else a temporary folder
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// How long the devices sample; a node is killed after a third of that
    #[arg(long, value_name = "S", default_value_t = 9.0, value_parser = seconds)]
    seconds: f64,
    /// How many devices there are
    #[arg(long, value_name = "N", default_value = "1000")]
    connections: NonZeroUsize,
    /// Samples a second of each device, each at its time, whatever became of those before
    #[arg(long, value_name = "R", default_value_t = 2.0, value_parser = rate)]
    rate: f64,
    /// Print nothing but the last line: one JSON object
    #[arg(long)]
    json: bool,
}

impl Bench {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<ExitCode, Error> {
        let (what, flags) = match self {
            Self::Cluster(cluster) => {
                let Cluster { data, seconds, connections: devices, rate, json } = cluster;
                let plan = Plan { data, duration: Duration::from_secs_f64(seconds), devices, rate };
                return show(&bench::cluster::run(&plan)?, json, out);
            }
            Self::Mqtt(flags) => (What::Mqtt, flags),
            Self::Loop(flags) => (What::Loop, flags),
            Self::Inproc(flags) => (What::Inproc, flags),
            Self::Activate(flags) => (What::Activate, flags),
            Self::Replay(flags) => (What::Replay, flags),
            Self::Storm(flags) => (What::Storm, flags),
            Self::Connect(flags) => (What::Connect, flags),
            Self::Fill(flags) => {
                bench::fill(&flags.setting())?;
                return Ok(ExitCode::SUCCESS);
            }
        };
        show(&bench::run(what, &flags.setting())?, flags.json, out)
    }
}

fn show(report: &Report, only_json: bool, out: &mut dyn Write) -> Result<ExitCode, Error> {
    if !only_json {
        let mut table = Table::default();
        report.lines().for_each(|(name, value)| table.row(&[&name, value]));
        writeln!(out, "{table}")?;
    }
    writeln!(out, "{}", report.json())?;
    match report.failure() {
        None => Ok(ExitCode::SUCCESS),
        Some(why) => {
            note(&format!("error: {why}\nnext: see first_error in the report, and what the target says"));
            Ok(ExitCode::FAILURE)
        }
    }
}

impl Flags {
    fn setting(&self) -> Setting {
        Setting {
            target: self.target,
            pid: self.pid,
            data: self.data.clone(),
            duration: Duration::from_secs_f64(self.seconds),
            connections: self.connections,
            threads: self.threads,
            payload: self.payload,
            qos: self.qos,
            window: self.window,
            rate: self.rate,
            twins: self.twins,
            updates: self.updates,
            credentials: self.credentials,
            scenario: self.scenario,
        }
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let found = text.to_socket_addrs().map_err(|error| error.to_string())?.next();
    found.ok_or_else(|| format!("{text} has no address"))
}

fn seconds(text: &str) -> Result<f64, String> {
    within(text, 0.1, 86_400.0)
}

fn rate(text: &str) -> Result<f64, String> {
    within(text, 0.1, 1e9)
}

fn within(text: &str, min: f64, max: f64) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| format!("it is no number from {min} to {max}"))?;
    if (min..=max).contains(&number) { Ok(number) } else { Err(format!("it is not from {min} to {max}")) }
}

fn payload(text: &str) -> Result<usize, String> {
    let bytes: usize = text.parse().map_err(|_| "it is no number of bytes".to_owned())?;
    if (PAYLOAD_BYTES_MIN..=256 << 10).contains(&bytes) {
        Ok(bytes)
    } else {
        Err(format!("it is not from {PAYLOAD_BYTES_MIN} to {}", 256 << 10))
    }
}
