//! `twinfold dev`: one node on loopback, without credentials, ready in a second.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use gateway::door::Door;
use gateway::trust::guesses::Guesses;
use gateway::trust::vault::Vault;
use runtime::access::Permissive;
use runtime::clock::SystemClock;
use twins::id::DEFAULT_TENANT;
use twins::kind::Kinds;

use crate::master;
use crate::node::{self, Doors, Entrance, Found, NotStopped, ReadMaster, Running, Settings};
use crate::signals::Signals;
use crate::simulate::{self, Thermostats};

/// What the command line says.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// The data folder; a temporary one where none is given.
    pub(crate) data: Option<PathBuf>,
    /// Where MQTT listens.
    pub(crate) mqtt: SocketAddr,
    /// Where HTTP listens.
    pub(crate) http: SocketAddr,
    /// How many devices to simulate.
    pub(crate) devices: u32,
    /// The limits of the node.
    pub(crate) settings: Settings,
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
    #[error(transparent)]
    NotStopped(#[from] NotStopped),
}

/// Runs until SIGTERM or SIGINT; a second one ends the process at once. `say` tells the operator something.
pub(crate) fn run(options: Options, kinds: Kinds, say: fn(&str)) -> Result<(), Error> {
    for address in [options.mqtt, options.http] {
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
        let signals = Signals::listen();
        let running = Running::start(&folder, node_options(&options, kinds)).await?;
        let (mqtt, http) = (running.mqtt()[0], running.http()[0]);
        running.register((1..=options.devices).map(simulate::name), "thermostat").await;
        let devices = Thermostats::start(mqtt, options.devices);
        say(&format!("ready: MQTT {mqtt}, HTTP http://{http}, {} simulated devices", options.devices));
        signals.received(say).await;
        devices.stop().await;
        Ok(running.stop_in_time().await?)
    })
}

/// What a node in `dev` is started with.
pub(crate) fn node_options(options: &Options, kinds: Kinds) -> node::Options {
    let doors = Doors { mqtt: vec![Door::plain(options.mqtt)], http: vec![Door::plain(options.http)] };
    node::Options::new(kinds, Box::new(permissive), doors, options.settings.clone())
}

/// Lets everybody in; a new folder gets a master key, since devices get keys here, too.
fn permissive(Found { folder, directory, is_sealed, .. }: Found<'_>) -> Result<Entrance, node::Error> {
    if directory.current().has_admin(DEFAULT_TENANT) {
        tracing::warn!(
            folder = %folder.display(),
            "this folder has an admin, and `dev` asks nobody who they are: everybody on this machine may do everything; `serve` asks"
        );
    }
    if !is_sealed {
        master::make(folder)?;
    }
    let data = folder.to_owned();
    let master: ReadMaster = Box::new(move || master::open(&data, None));
    let vault = Arc::new(Vault::new(master()?));
    let guesses = Guesses::new(directory, Arc::new(SystemClock));
    Ok(Entrance { access: Arc::new(Permissive), vault, guesses, master, seals: false })
}
