//! The start of a node: log, identity, state, the wire to other nodes, twins, then those who let devices and people in.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cluster::consensus::Timing;
use cluster::identity::Kept;
use cluster::member::{self, Compose, Member, Port};
use cluster::others::Others;
use cluster::transport::Socket;
use cluster::wire::Wire;
use cluster::{META_GROUP, SHARDS, Storage};
use gateway::metrics::Metrics;
use gateway::quotas::Quotas;
use gateway::trust::provisioning::Provisioning;
use gateway::{http, mqtt};
use runtime::clock::SystemClock;
use runtime::files::disk::Disk;
use runtime::node::{Node, Parts};
use runtime::replica::{self, Replicas};
use runtime::router::Router;
use runtime::store::fjall::Fjall;
use runtime::unready::Unready;

use super::parts::Company;
use super::registered::{Started, announce, register, seal_under, slots};
use super::{Entrance, Error, Found, LONE, Options, Running};
use crate::sealing::Sealing;

/// Where a node in a cluster listens for the others where nothing is said.
const CLUSTER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 7400);

/// How long devices wait at most, after a start, until each shard has a leader.
const LED_WITHIN: Duration = Duration::from_secs(10);
/// How often it is looked whether it has.
const LED_LOOK: Duration = Duration::from_millis(20);

/// What the start reads and makes on the disk.
struct Opened {
    storage: Storage,
    store: Arc<Fjall>,
    replicas: Arc<replica::Local>,
    kept: Option<Kept>,
    port: Option<Port>,
    started: Started,
    /// Whether the others have been told of it, since there are none yet.
    is_known: bool,
}

impl Running {
    /// Starts everything.
    pub(crate) async fn start(folder: &Path, options: Options) -> Result<Self, Error> {
        let Options { kinds, access, doors, log, twins, mqtt, http, quotas, company } = options;
        let files = Arc::new(Disk);
        let timing = company.as_ref().map(|company| company.timing.clone()).unwrap_or_default();
        let data = folder.to_owned();
        let opened = tokio::task::spawn_blocking(move || open(&data, log, company)).await??;
        let Opened { storage, store, replicas, kept, port, started, is_known } = opened;
        let (storage, node) = (Arc::new(storage), started.node);
        let sealed_under = storage.meta().state().sealed_under;
        let has_joined = kept.as_ref().is_some_and(Kept::has_joined);
        let found =
            Found { folder, directory: storage.meta(), is_sealed: sealed_under.is_some(), has_joined };
        let Entrance { access, vault, guesses, master, seals } = access(found)?;
        match sealed_under {
            Some(check) if check != vault.check() => return Err(Error::OtherMasterKey(folder.to_owned())),
            // One that has joined was given the key of the others.
            None if seals && is_known => {
                let (meta, check) = (storage.meta(), vault.check());
                tokio::task::spawn_blocking(move || seal_under(&meta, check)).await??;
            }
            _ => {}
        }
        let others = Others::new(&storage, node);
        let has_port = port.is_some();
        let member = Member::new(member::Parts {
            node,
            generation: storage.generation(),
            files: files.clone(),
            data: folder.to_owned(),
            kept,
            meta: storage.meta(),
            shards: (1..=SHARDS).map(|group| storage.group(group)).collect(),
            sealer: Arc::new(Sealing::new(vault.clone(), master)),
            port,
            durable: storage.durable(),
            clock: Arc::new(SystemClock),
            software: format!("twinfold {}", env!("CARGO_PKG_VERSION")),
            compose: compose(&storage, &others, replicas, timing),
        });
        let provisioning = Provisioning::new(vault, storage.meta(), guesses);
        let parts = Parts {
            node: (node, storage.generation()),
            kinds,
            slots: slots(),
            logs: (0..SHARDS).map(|shard| storage.shard_log(shard)).collect(),
            store,
            files,
            streams: folder.join("streams"),
            clock: Arc::new(SystemClock),
            access,
        };
        let (node, starting) = Node::begin(parts, twins).await?;
        node.router().back_up_with(storage.definitions());
        if has_port {
            others.serve(node.router());
        }
        let (router, metrics, listens) =
            (node.router().clone(), Metrics::default(), Arc::new(AtomicBool::new(false)));
        let quotas = Quotas::new(quotas, router.clone(), metrics.clone());
        let watch = http::Watch {
            metrics: metrics.clone(),
            registry: Arc::new(crate::metrics::registry(&router, &storage, &metrics)),
            unready: unready(router.clone(), storage.watch(), listens.clone()),
            operations: Arc::new(member.clone()),
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
            // Only now: nobody sends a state to shards that are recovering, or hands them a lead that they cannot take up.
            member.begin().await?;
            if !is_known {
                others.spawn(announce(storage.meta(), started));
                led(&router).await;
            }
            let listening =
                mqtt::Listener::start(mqtt, doors.mqtt.clone(), router, provisioning, quotas, metrics).await;
            listening.map_err(|shut| Error::listen("MQTT", shut, &doors.mqtt, flags))
        };
        match listening.await {
            Ok(mqtt) => {
                listens.store(true, Ordering::Relaxed);
                Ok(Self { storage, others, member, node, mqtt, http })
            }
            Err(error) => {
                drop(http.stop().await);
                others.end();
                storage.leave().await;
                member.end().await;
                node.stop().await;
                Err(error)
            }
        }
    }
}

/// Waits until each shard has a leader, so that the first who comes is not sent away; not for ever, since a cluster without
/// a quorum says so to whoever asks.
async fn led(router: &Router) {
    let led = async {
        while !router.unready().is_empty() {
            tokio::time::sleep(LED_LOOK).await;
        }
    };
    drop(tokio::time::timeout(LED_WITHIN, led).await);
}

/// Opens what is on the disk, and makes a node known that is alone. Blocks.
fn open(folder: &Path, log: cluster::Options, company: Option<Company>) -> Result<Opened, Error> {
    let kept = Kept::read(&Disk, folder)?;
    let node = kept.as_ref().map_or(LONE, |kept| kept.node);
    let Company { address, advertised, location, .. } = match (company, &kept) {
        (None, Some(Kept { node, cluster, .. })) => {
            return Err(Error::InACluster { node: *node, cluster: cluster.to_string() });
        }
        (company, _) => company.unwrap_or_default(),
    };
    let port = match address.or(kept.as_ref().map(|_| CLUSTER)) {
        None => None,
        Some(address) => {
            let socket = Socket::bind(address).map_err(|why| Error::Cluster { address, why })?;
            Some(Port { socket, advertised })
        }
    };
    // One that has joined begins no shards of its own: it is given those of the others.
    let begins = !kept.as_ref().is_some_and(Kept::has_joined);
    let log = cluster::Options { node, begins, ..log };
    let storage = Storage::open(Arc::new(Disk), &folder.join("log"), log)?;
    let (generation, address) = (storage.generation(), port.as_ref().and_then(Port::address));
    let address = address.filter(|_| kept.is_some());
    let started = Started { node, generation, address, location };
    let cluster = storage.meta().state().cluster.as_ref().map(|cluster| cluster.id.to_string());
    if let (None, Some(cluster)) = (&kept, cluster) {
        return Err(member::Error::Lost { node, cluster }.into());
    }
    // Where it leads the meta group by itself; else others do, who can be asked once there is a wire.
    let is_known = *storage.group(META_GROUP).leader().borrow() == Some(node);
    if is_known {
        register(&storage.meta(), &started)?;
    }
    let store = Arc::new(Fjall::open(&folder.join("state"), runtime::store::fjall::Options::default())?);
    let replicas = Arc::new(replica::Local::new(store.clone(), Arc::new(Disk), &folder.join("streams")));
    Ok(Opened { storage, store, replicas, kept, port, started, is_known })
}

/// What speaks to other nodes, joined to the wire once there is one: the groups of the storage, and the twins.
fn compose(
    storage: &Arc<Storage>,
    others: &Arc<Others>,
    replicas: Arc<dyn Replicas>,
    timing: Timing,
) -> Compose {
    let (storage, others) = (Arc::downgrade(storage), Arc::downgrade(others));
    Box::new(move |wire: Arc<dyn Wire>| {
        let (storage, others) = (storage.upgrade(), others.upgrade());
        let (replicas, timing) = (replicas.clone(), timing.clone());
        Box::pin(async move {
            let (storage, others) = storage.zip(others).ok_or("the node stops")?;
            others.join(&storage, wire, &timing, replicas).await.map_err(|stuck| stuck.to_string())
        })
    })
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
