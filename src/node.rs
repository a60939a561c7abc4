//! The composition root: a node's parts, put together and taken apart in mirror order.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cluster::meta::{Command, Meta, NodeState, Refusal};
use cluster::{SHARDS, Storage};
use gateway::metrics::Metrics;
use gateway::{http, mqtt};
use runtime::access::Access;
use runtime::clock::SystemClock;
use runtime::directory::Definitions;
use runtime::files::disk::Disk;
use runtime::node::{Node, Parts};
use runtime::router::Router;
use runtime::store::fjall::Fjall;
use runtime::unready::Unready;
use twins::header::{Header, Principal};
use twins::id::TwinId;
use twins::input::Input;
use twins::kind::{DEVICE, Kinds};
use twins::name::Name;

/// The number of a node that is alone.
const LONE: u64 = 1;

/// Makes what says who comes in, of the directory, which is known once the storage is open.
pub(crate) type MakeAccess = Box<dyn FnOnce(Arc<dyn Definitions>) -> Arc<dyn Access> + Send>;

/// What a node is started with.
pub(crate) struct Options {
    pub(crate) kinds: Kinds,
    pub(crate) access: MakeAccess,
    pub(crate) log: cluster::Options,
    pub(crate) twins: runtime::node::Options,
    pub(crate) mqtt: mqtt::Options,
    pub(crate) http: http::Options,
}

/// A node that runs.
pub(crate) struct Running {
    storage: Storage,
    node: Node,
    mqtt: mqtt::Listener,
    http: http::Server,
}

/// Why a node did not start. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{0}\nnext: {next}", next = next(.0))]
    Storage(#[from] cluster::Error),
    #[error("{0}\nnext: start the node again; if it stays so, restore it: twinfold restore FILE --data DIR")]
    Store(#[from] runtime::store::Error),
    #[error("the node could not register itself: {0}\nnext: see its log: twinfold log verify DIR")]
    Meta(#[from] Refusal),
    #[error("{0}\nnext: see its log: twinfold log verify DIR")]
    Twins(#[from] runtime::node::NotStarted),
    #[error(
        "{what} cannot listen on {address}: {why}\nnext: see whether another node or broker is there, or choose another address: {flag} 127.0.0.1:0"
    )]
    Listen { what: &'static str, address: SocketAddr, why: std::io::Error, flag: &'static str },
    #[error(
        "a part of the start failed: {0}\nnext: start it with TWINFOLD_LOG=info, and report what it says"
    )]
    Task(#[from] tokio::task::JoinError),
}

/// What to do about a log that cannot be used.
pub(crate) fn next(error: &cluster::Error) -> &'static str {
    use cluster::Error;
    match error {
        Error::Io { .. } => "see whether the data folder is one that you may write to, on a disk with room",
        Error::InUse { .. } => "stop the other node, or take another folder: --data DIR",
        Error::NotAlone { .. } | Error::Meta { .. } => "start the binary that wrote the data folder",
        Error::Backup { .. } => "see which backups there are, and restore another",
        Error::Option { .. } => "leave the option out, or give it a larger value",
        _ => "see how far the log is whole: twinfold log verify DIR",
    }
}

impl Running {
    /// Starts everything: log, state, twins, then those who let devices and people in.
    pub(crate) async fn start(folder: &Path, options: Options) -> Result<Self, Error> {
        let Options { kinds, access, log, twins, mqtt, http } = options;
        let files = Arc::new(Disk);
        let (opened, log_folder, state_folder) = (files.clone(), folder.join("log"), folder.join("state"));
        let blocking = tokio::task::spawn_blocking(move || -> Result<_, Error> {
            let storage = Storage::open(opened, &log_folder, cluster::Options { node: LONE, ..log })?;
            let slots = register(&storage.meta(), storage.generation())?;
            let store = Fjall::open(&state_folder, runtime::store::fjall::Options::default())?;
            Ok((storage, slots, store))
        });
        let (storage, slots, store) = blocking.await??;
        let parts = Parts {
            node: (LONE, storage.generation()),
            kinds,
            slots,
            logs: (0..SHARDS).map(|shard| storage.shard_log(shard)).collect(),
            store: Arc::new(store),
            files,
            streams: folder.join("streams"),
            clock: Arc::new(SystemClock),
            access: access(storage.meta()),
        };
        let (node, starting) = Node::begin(parts, twins).await?;
        node.router().back_up_with(storage.definitions());
        let (router, metrics, listens) =
            (node.router().clone(), Metrics::default(), Arc::new(AtomicBool::new(false)));
        let watch = http::Watch {
            metrics: metrics.clone(),
            registry: Arc::new(crate::metrics::registry(&router, &storage, &metrics)),
            unready: unready(router.clone(), storage.watch(), listens.clone()),
        };
        // It comes first, so that whoever watches the node sees what it waits for.
        let (address, flag) = (http.address, "--http");
        let listening = http::Server::start(http, router.clone(), storage.meta(), watch);
        let http = listening.map_err(|why| Error::Listen { what: "HTTP", address, why, flag })?;
        let (address, flag) = (mqtt.address, "--mqtt");
        let listening = async {
            starting.finish().await?;
            let listening = mqtt::Listener::start(mqtt, router, metrics).await;
            listening.map_err(|why| Error::Listen { what: "MQTT", address, why, flag })
        };
        match listening.await {
            Ok(mqtt) => {
                listens.store(true, Ordering::Relaxed);
                Ok(Self { storage, node, mqtt, http })
            }
            Err(error) => {
                drop(http.stop().await);
                Err(error)
            }
        }
    }

    /// The handle on its twins.
    #[cfg(target_os = "linux")]
    pub(crate) fn router(&self) -> &Router {
        self.node.router()
    }

    /// Where MQTT and HTTP listen.
    pub(crate) fn addresses(&self) -> (SocketAddr, SocketAddr) {
        (self.mqtt.local_addr(), self.http.local_addr())
    }

    /// Registers devices before they connect; those that are there already stay what they are.
    pub(crate) async fn register(&self, names: impl Iterator<Item = String>, kind: &'static str) {
        let known = self.node.router().kinds().get(kind).is_some();
        let kind = Name::fixed(if known { kind } else { DEVICE });
        for name in names {
            let Ok(twin) = TwinId::in_default_tenant(&name) else { continue };
            let header = Header { principal: Principal::System, ..Header::default() };
            let input = Input::Register { kind: kind.clone(), tags: None, with: None };
            if let Err(error) = self.node.router().ask(twin, header, input).await {
                tracing::warn!(%name, %error, "a device could not be registered");
            }
        }
    }

    /// Stops everything, in the mirror order of the start.
    pub(crate) async fn stop(self) {
        let Self { storage, node, mqtt, http } = self;
        if let Err(error) = http.stop().await {
            tracing::warn!(%error, "HTTP had ended before");
        }
        mqtt.stop().await;
        node.stop().await;
        // Its threads are joined, which blocks.
        drop(tokio::task::spawn_blocking(move || drop(storage)).await);
    }
}

/// What `/readyz` asks.
fn unready(
    router: Router,
    storage: cluster::Watch,
    listens: Arc<AtomicBool>,
) -> Arc<dyn Fn() -> Vec<Unready> + Send + Sync> {
    Arc::new(move || {
        let mut all = router.unready();
        all.extend(storage.unready());
        if !listens.load(Ordering::Relaxed) {
            all.push(Unready::new("listener mqtt", "it is not bound yet: it waits for the shards"));
        }
        all
    })
}

/// Makes this node known and active, and the domain of its shards; returns the shard of each slot.
fn register(meta: &Meta, generation: u64) -> Result<Arc<[u32]>, Refusal> {
    let (node, location, version) = (LONE, String::new(), env!("CARGO_PKG_VERSION").to_owned());
    for command in [
        Command::RegisterNode { node, generation, location, version },
        Command::CreateDomain { name: DOMAIN.into(), shards: SHARDS },
        Command::SetNodeState { node, state: NodeState::Active },
    ] {
        meta.execute(command, meta.state().version)?;
    }
    let state = meta.state();
    let domain = &state.domains[DOMAIN];
    Ok((0..=u16::MAX).map(|slot| domain.shard(slot)).collect())
}

/// The placement domain of a node that serves one.
const DOMAIN: &str = "default";
