//! The composition root: a node's parts, put together and taken apart in mirror order.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cluster::meta::{Command, Meta, NodeState, Refusal};
use cluster::{SHARDS, Storage};
use gateway::door::{Door, Shut};
use gateway::metrics::Metrics;
use gateway::quotas::{self, Quotas};
use gateway::trust::guesses::Guesses;
use gateway::trust::master;
use gateway::trust::provisioning::Provisioning;
use gateway::trust::vault::Vault;
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

/// A segment of the log. A node that is tried out for a minute should not begin by writing much of zeros.
const SEGMENT_BYTES: u64 = 16 << 20;

/// How long a stop may take: the requests and sessions that are there, and the last checkpoints.
const STOP_WITHIN: Duration = Duration::from_secs(60);

/// Makes what says who comes in, once the storage is open.
pub(crate) type MakeAccess = Box<dyn FnOnce(Found<'_>) -> Result<Entrance, Error> + Send>;

/// What a node finds in its data folder.
pub(crate) struct Found<'a> {
    pub(crate) folder: &'a Path,
    pub(crate) directory: Arc<dyn Definitions>,
    /// Whether secrets are sealed under a master key, which has to be the node's.
    pub(crate) is_sealed: bool,
}

/// Who comes in.
pub(crate) struct Entrance {
    /// Who says so.
    pub(crate) access: Arc<dyn Access>,
    pub(crate) vault: Arc<Vault>,
    /// Who has to wait since they guess.
    pub(crate) guesses: Guesses,
    /// Whether nothing is sealed under another master key from now on.
    pub(crate) seals: bool,
}

/// What an operator sets of a node, whichever verb runs it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settings {
    /// How the shards use memory and disk.
    pub(crate) shard: runtime::shard::Options,
    /// How long what happened is kept.
    pub(crate) streams: runtime::stream::Options,
    /// Limits of MQTT.
    pub(crate) mqtt: mqtt::Options,
    /// Limits of HTTP.
    pub(crate) http: http::Options,
    /// How much devices, tenants and addresses may take.
    pub(crate) quotas: quotas::Options,
}

/// Where a node listens.
pub(crate) struct Doors {
    pub(crate) mqtt: Vec<Door>,
    pub(crate) http: Vec<Door>,
}

/// What a node is started with.
pub(crate) struct Options {
    pub(crate) kinds: Kinds,
    pub(crate) access: MakeAccess,
    pub(crate) doors: Doors,
    pub(crate) log: cluster::Options,
    pub(crate) twins: runtime::node::Options,
    pub(crate) mqtt: mqtt::Options,
    pub(crate) http: http::Options,
    pub(crate) quotas: quotas::Options,
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
        "{what} cannot listen on {shut}\nnext: see whether another node or broker is there, or choose another address: {flag} {}:0", shut.address.ip()
    )]
    Listen { what: &'static str, shut: Shut, flag: &'static str },
    #[error("{0}")]
    NobodyMayEnter(#[from] NobodyMayEnter),
    #[error(
        "the master key is not the one that the secrets in {} are sealed under\nnext: name the right one: with --master-key-file, else in TWINFOLD_MASTER_KEY, else as {}/master.key", .0.display(), .0.display()
    )]
    OtherMasterKey(PathBuf),
    #[error("{0}\nnext: {next}", next = next_for_the_key(.0))]
    MasterKey(#[from] master::Error),
    #[error(
        "a part of the start failed: {0}\nnext: start it with TWINFOLD_LOG=info, and report what it says"
    )]
    Task(#[from] tokio::task::JoinError),
}

/// A node of which nobody has the rights.
#[derive(Debug, thiserror::Error)]
#[error(
    "{} has no admin, so that nobody could do anything with this node\nnext: twinfold user add NAME --role admin --data {}", .0.display(), .0.display()
)]
pub(crate) struct NobodyMayEnter(pub(crate) PathBuf);

/// A node that did not end in order.
#[derive(Debug, thiserror::Error)]
#[error(
    "the node did not stop within {} s; what was acknowledged is in its log\nnext: see whether the disk answers, then start it again", STOP_WITHIN.as_secs()
)]
pub(crate) struct NotStopped;

impl Options {
    /// With a log of the usual size.
    pub(crate) fn new(kinds: Kinds, access: MakeAccess, doors: Doors, settings: Settings) -> Self {
        let Settings { shard, streams, mqtt, http, quotas } = settings;
        let twins = runtime::node::Options { shard, stream: streams, ..Default::default() };
        Self { kinds, access, doors, log: log_options(), twins, mqtt, http, quotas }
    }
}

/// How the log is kept.
pub(crate) fn log_options() -> cluster::Options {
    cluster::Options { segment_bytes: SEGMENT_BYTES, ..Default::default() }
}

/// What to do about a log that cannot be used.
pub(crate) fn next(error: &cluster::Error) -> &'static str {
    use cluster::Error;
    match error {
        Error::Io { .. } => "see whether the data folder is one that you may write to, on a disk with room",
        Error::InUse { .. } => "stop the other node, or take another folder: --data DIR",
        Error::Shards { .. } | Error::Meta { .. } => "start the binary that wrote the data folder",
        Error::Backup { .. } => "see which backups there are, and restore another",
        Error::Option { .. } => "leave the option out, or give it a larger value",
        _ => "see how far the log is whole: twinfold log verify DIR",
    }
}

/// What to do about a master key that cannot be used.
fn next_for_the_key(error: &master::Error) -> &'static str {
    match error {
        master::Error::Open { .. } => "let nobody else read it, and start the node again",
        _ => {
            "restore the master key of this folder, and name it with --master-key-file; `user add` makes one for a new folder"
        }
    }
}

impl Running {
    /// Starts everything: log, state, twins, then those who let devices and people in.
    pub(crate) async fn start(folder: &Path, options: Options) -> Result<Self, Error> {
        let Options { kinds, access, doors, log, twins, mqtt, http, quotas } = options;
        let files = Arc::new(Disk);
        let (opened, log_folder, state_folder) = (files.clone(), folder.join("log"), folder.join("state"));
        let blocking = tokio::task::spawn_blocking(move || -> Result<_, Error> {
            let storage = Storage::open(opened, &log_folder, cluster::Options { node: LONE, ..log })?;
            let slots = register(&storage.meta(), storage.generation())?;
            let store = Fjall::open(&state_folder, runtime::store::fjall::Options::default())?;
            Ok((storage, slots, store))
        });
        let (storage, slots, store) = blocking.await??;
        let sealed_under = storage.meta().state().sealed_under;
        let found = Found { folder, directory: storage.meta(), is_sealed: sealed_under.is_some() };
        let Entrance { access, vault, guesses, seals } = access(found)?;
        match sealed_under {
            Some(check) if check != vault.check() => return Err(Error::OtherMasterKey(folder.to_owned())),
            None if seals => {
                let (meta, check) = (storage.meta(), vault.check());
                tokio::task::spawn_blocking(move || seal_under(&meta, check)).await??;
            }
            _ => {}
        }
        let provisioning = Provisioning::new(vault, storage.meta(), guesses);
        let parts = Parts {
            node: (LONE, storage.generation()),
            kinds,
            slots,
            logs: (0..SHARDS).map(|shard| storage.shard_log(shard)).collect(),
            store: Arc::new(store),
            files,
            streams: folder.join("streams"),
            clock: Arc::new(SystemClock),
            access,
        };
        let (node, starting) = Node::begin(parts, twins).await?;
        node.router().back_up_with(storage.definitions());
        let (router, metrics, listens) =
            (node.router().clone(), Metrics::default(), Arc::new(AtomicBool::new(false)));
        let quotas = Quotas::new(quotas, router.clone(), metrics.clone());
        let watch = http::Watch {
            metrics: metrics.clone(),
            registry: Arc::new(crate::metrics::registry(&router, &storage, &metrics)),
            unready: unready(router.clone(), storage.watch(), listens.clone()),
        };
        // It comes first, so that whoever watches the node sees what it waits for.
        let listening = http::Server::start(
            http,
            &doors.http,
            router.clone(),
            storage.meta(),
            provisioning.clone(),
            quotas.clone(),
            watch,
        );
        let http =
            listening.map_err(|shut| Error::listen("HTTP", shut, &doors.http, ["--http", "--https"]))?;
        let flags = ["--mqtt", "--mqtt-tls"];
        let listening = async {
            starting.finish().await?;
            let listening =
                mqtt::Listener::start(mqtt, doors.mqtt.clone(), router, provisioning, quotas, metrics).await;
            listening.map_err(|shut| Error::listen("MQTT", shut, &doors.mqtt, flags))
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

    /// Where MQTT listens, in the order of its doors.
    pub(crate) fn mqtt(&self) -> &[SocketAddr] {
        self.mqtt.local_addrs()
    }

    /// Where HTTP listens, in the order of its doors.
    pub(crate) fn http(&self) -> &[SocketAddr] {
        self.http.local_addrs()
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

    /// [Stops](Self::stop) everything, if the disk answers.
    pub(crate) async fn stop_in_time(self) -> Result<(), NotStopped> {
        tokio::time::timeout(STOP_WITHIN, self.stop()).await.map_err(|_| NotStopped)
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

impl Error {
    /// What listens on no address; `flags` choose it in plain text, and with TLS.
    fn listen(what: &'static str, shut: Shut, doors: &[Door], flags: [&'static str; 2]) -> Self {
        let is_secured = doors.iter().any(|door| door.address == shut.address && door.tls.is_some());
        Self::Listen { what, shut, flag: flags[usize::from(is_secured)] }
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
        Command::register(node, generation, location, version),
        Command::CreateDomain { name: DOMAIN.into(), shards: SHARDS },
        Command::SetNodeState { node, state: NodeState::Active },
    ] {
        meta.execute_blocking(command, meta.state().version)?;
    }
    let state = meta.state();
    let domain = &state.domains[DOMAIN];
    Ok((0..=u16::MAX).map(|slot| domain.shard(slot)).collect())
}

/// Lets nothing be sealed under another master key from now on.
fn seal_under(meta: &Meta, check: [u8; 32]) -> Result<(), Refusal> {
    meta.execute_blocking(Command::SealUnder { check }, meta.state().version).map(drop)
}

/// The placement domain of a node that serves one.
const DOMAIN: &str = "default";
