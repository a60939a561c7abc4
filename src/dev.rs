//! `twinfold dev`: one node on loopback, without credentials, ready in a second.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use runtime::access::Permissive;
use tokio::signal::unix::{SignalKind, signal};
use twins::kind::Kinds;

use crate::node::{self, Running};
use crate::simulate::{self, Thermostats};

/// A segment of the log. A node that is tried out for a minute should not begin by writing much of zeros.
const SEGMENT_BYTES: u64 = 16 << 20;

/// How long a stop may take: the requests and sessions that are there, and the last checkpoints.
const STOP_WITHIN: Duration = Duration::from_secs(60);

/// What the command line says.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// The data folder; a temporary one where none is given.
    pub(crate) data: Option<PathBuf>,
    /// Where MQTT listens, and its limits.
    pub(crate) mqtt: gateway::mqtt::Options,
    /// Where HTTP listens.
    pub(crate) http: SocketAddr,
    /// How many devices to simulate.
    pub(crate) devices: u32,
    /// How the shards use memory and disk.
    pub(crate) shard: runtime::shard::Options,
    /// How long what happened is kept.
    pub(crate) streams: runtime::stream::Options,
    /// How long an HTTP client may take nothing of an answer.
    pub(crate) http_stall: Duration,
}

/// Why `dev` ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(
        "{0} is not loopback; `dev` lets everybody in, so it listens on 127.0.0.1 or [::1] only\nnext: choose one of those with --mqtt and --http"
    )]
    NotLoopback(SocketAddr),
    #[error("making a temporary data folder: {0}\nnext: name one: twinfold dev --data DIR")]
    Temporary(std::io::Error),
    #[error("starting the threads: {0}\nnext: see the limits of processes and memory: ulimit -a")]
    Threads(std::io::Error),
    #[error("{0}")]
    Node(#[from] node::Error),
    #[error(
        "the node did not stop within {} s; what was acknowledged is in its log\nnext: see whether the disk answers, then start it again", STOP_WITHIN.as_secs()
    )]
    NotStopped,
}

/// Runs until SIGTERM or SIGINT; a second one ends the process at once. `say` tells the operator something.
pub(crate) fn run(options: Options, kinds: Kinds, say: fn(&str)) -> Result<(), Error> {
    for address in [options.mqtt.address, options.http] {
        if !address.ip().is_loopback() {
            return Err(Error::NotLoopback(address));
        }
    }
    let temporary = match &options.data {
        Some(_) => None,
        None => Some(tempfile::Builder::new().prefix("twinfold-").tempdir().map_err(Error::Temporary)?),
    };
    let folder = options.data.clone().or_else(|| temporary.as_ref().map(|folder| folder.path().to_owned()));
    let folder = folder.unwrap_or_default();
    if temporary.is_some() {
        say(&format!(
            "data goes to {}, which is removed at the end; keep it with --data DIR",
            folder.display()
        ));
    }
    let threads = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Error::Threads)?;
    threads.block_on(async {
        let mut signals = [SignalKind::terminate(), SignalKind::interrupt()].map(|kind| signal(kind).ok());
        let running = Running::start(&folder, node_options(&options, kinds)).await?;
        let (mqtt, http) = running.addresses();
        running.register((1..=options.devices).map(simulate::name), "thermostat").await;
        let devices = Thermostats::start(mqtt, options.devices);
        say(&format!("ready: MQTT {mqtt}, HTTP http://{http}, {} simulated devices", options.devices));
        stop_signal(&mut signals).await;
        say("stopping; a second signal ends it at once");
        tokio::spawn(async move {
            stop_signal(&mut signals).await;
            std::process::exit(130);
        });
        devices.stop().await;
        tokio::time::timeout(STOP_WITHIN, running.stop()).await.map_err(|_| Error::NotStopped)
    })
}

/// What a node in `dev` is started with.
pub(crate) fn node_options(options: &Options, kinds: Kinds) -> node::Options {
    node::Options {
        kinds,
        access: Box::new(|_| Arc::new(Permissive)),
        log: log_options(),
        twins: runtime::node::Options {
            shard: options.shard.clone(),
            stream: options.streams,
            ..Default::default()
        },
        mqtt: options.mqtt.clone(),
        http: gateway::http::Options {
            address: options.http,
            stall_timeout: options.http_stall,
            ..Default::default()
        },
    }
}

/// How the log is kept.
pub(crate) fn log_options() -> cluster::Options {
    cluster::Options { segment_bytes: SEGMENT_BYTES, ..Default::default() }
}

async fn stop_signal(signals: &mut [Option<tokio::signal::unix::Signal>; 2]) {
    let [terminate, interrupt] = signals;
    tokio::select! {
        () = received(terminate) => {}
        () = received(interrupt) => {}
    }
}

/// Waits for a signal; for ever, if it cannot be listened to.
async fn received(signal: &mut Option<tokio::signal::unix::Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}
