//! A node in the open, in this process: everybody shows a token, on a disk that can lose its power and under a clock that
//! can be cranked.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cluster::{SHARDS, Storage};
use gateway::door::Door;
use gateway::http::{Options, Server, Watch};
use gateway::mqtt::Listener;
use gateway::quotas::Quotas;
use gateway::trust::Guarded;
use gateway::trust::guesses::Guesses;
use gateway::trust::provisioning::Provisioning;
use gateway::trust::token::Text;
use gateway::trust::vault::Vault;
use runtime::clock::{Clock, SystemClock};
use runtime::directory::{By, Change, Definitions, Entry, Role, Roles, Sort, TokenId, check_name};
use runtime::error::Error;
use runtime::files::sim::Sim;
use runtime::node::{Node, Parts};
use runtime::store::memory::Memory;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use twins::header::{self, Header};
use twins::id::TwinId;
use twins::input::Input;
use twins::kind::Kinds;
use twins::name::Name;
use twins::reply::Reply;
use twins::time::Timestamp;

use crate::support::http::Api;

/// Whom the tokens of devices are for.
pub const AUDIENCE: &str = "twinfold";

/// The vault of every node here.
pub fn vault() -> Arc<Vault> {
    Arc::new(Vault::new([7; 32]))
}

/// The system's clock, some time ahead.
#[derive(Default)]
pub struct Cranked(AtomicU64);

impl Cranked {
    pub fn ahead(&self, time: Duration) {
        self.0.fetch_add(time.as_millis() as u64, Ordering::Relaxed);
    }
}

impl Clock for Cranked {
    fn now(&self) -> Timestamp {
        SystemClock.now() + Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}

/// A node, and the disk that outlives it.
pub struct World {
    disk: Arc<Sim>,
    pub clock: Arc<Cranked>,
    /// `None` while the power is off.
    running: Option<Running>,
}

struct Running {
    storage: Storage,
    node: Node,
    http: Server,
    mqtt: Listener,
    threads: Runtime,
}

/// Somebody with a token.
#[derive(Clone)]
pub struct Person {
    pub api: Api,
    pub token: String,
}

impl Person {
    /// The status and the code of the problem, or the body.
    pub fn get(&self, path: &str) -> (u16, Value) {
        self.api.get(path).expect("the node answers")
    }

    pub fn put(&self, path: &str, body: Value) -> (u16, Value) {
        self.api.put(path, &body).expect("the node answers")
    }

    pub fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.api.post(path, &body).expect("the node answers")
    }

    pub fn patch(&self, path: &str, body: Value) -> (u16, Value) {
        self.api.patch(path, &body).expect("the node answers")
    }

    pub fn delete(&self, path: &str) -> (u16, Value) {
        self.api.delete(path).expect("the node answers")
    }

    /// Its token's id.
    pub fn id(&self) -> TokenId {
        Text::parse(&self.token).expect("it is a token").id()
    }
}

impl World {
    /// With an admin called `root`, who is returned.
    pub fn new() -> (Self, Person) {
        let mut world = Self { disk: Arc::new(Sim::new(7)), clock: Arc::default(), running: None };
        world.start();
        let root = world.admit("root", &[Role::Admin]);
        (world, root)
    }

    fn start(&mut self) {
        let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let threads = threads.expect("threads can be started");
        let (disk, clock) = (self.disk.clone(), self.clock.clone());
        let (storage, node, http, mqtt) = threads.block_on(async move {
            let (files, log) = (disk.clone(), log_options());
            let opened =
                tokio::task::spawn_blocking(move || Storage::open(files, Path::new("/node/log"), log));
            let storage = opened.await.expect("opening does not panic").expect("the disk is sound");
            let guesses = Guesses::new(storage.meta(), clock.clone());
            let (definitions, audience) = (storage.meta(), AUDIENCE.to_owned());
            let access = Guarded::new(definitions, clock.clone(), vault(), guesses.clone(), audience);
            let parts = Parts {
                node: (1, storage.generation()),
                kinds: Kinds::default(),
                slots: (0..=u16::MAX).map(|slot| (u32::from(slot) * SHARDS) >> 16).collect(),
                logs: (0..SHARDS).map(|shard| storage.shard_log(shard)).collect(),
                store: Arc::new(Memory::new()),
                files: disk,
                streams: "/node/streams".into(),
                clock,
                access: Arc::new(access),
            };
            let node = Node::start(parts, runtime::node::Options::default()).await.expect("it starts");
            let watch = Watch {
                metrics: Default::default(),
                registry: Default::default(),
                unready: Arc::new(Vec::new),
                operations: Arc::new(runtime::operations::Alone { node: 1 }),
            };
            let (door, router) = (|| Door::plain(([127, 0, 0, 1], 0).into()), node.router());
            let keys = Provisioning::new(vault(), storage.meta(), guesses);
            let quotas = Quotas::new(Default::default(), router.clone(), Default::default());
            let http = Server::start(
                Options::default(),
                &[door()],
                router.clone(),
                storage.meta(),
                keys.clone(),
                quotas.clone(),
                watch,
            );
            let (options, doors, router) = (Default::default(), vec![door()], router.clone());
            let mqtt = Listener::start(options, doors, router, keys, quotas, Default::default()).await;
            let free = "loopback has free ports";
            (storage, node, http.expect(free), mqtt.expect(free))
        });
        self.running = Some(Running { storage, node, http, mqtt, threads });
    }

    /// The power fails and comes back. The state store is lost with it: everything is in the log.
    pub fn crash(&mut self) {
        let Running { storage, node, http, mqtt, threads } = self.running.take().expect("it runs");
        drop((http, mqtt, node));
        threads.shutdown_timeout(Duration::from_secs(5));
        drop(storage);
        self.disk.crash();
        self.start();
    }

    pub fn definitions(&self) -> Arc<dyn Definitions> {
        self.running.as_ref().expect("it runs").storage.meta()
    }

    /// Where it listens: MQTT, HTTP.
    pub fn addresses(&self) -> (SocketAddr, SocketAddr) {
        let running = self.running.as_ref().expect("it runs");
        (running.mqtt.local_addrs()[0], running.http.local_addrs()[0])
    }

    /// Asks a twin as an operator's service would.
    pub fn ask(&self, twin: &TwinId, input: Input) -> Result<Reply, Error> {
        let running = self.running.as_ref().expect("it runs");
        let header = Header { principal: header::Principal::User(Name::fixed("ops")), ..Header::default() };
        running.threads.block_on(running.node.router().ask(twin.clone(), header, input))
    }

    /// Runs on the node's threads.
    pub fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.running.as_ref().expect("it runs").threads.block_on(work)
    }

    /// Makes a change of the default tenant as who has the folder would.
    pub fn change(&self, change: Change) -> u64 {
        let (at, tenant) = (self.clock.now(), "default".to_owned());
        let entry = Entry { at, by: By::Folder, reason: None, tenant, change };
        self.definitions().change(entry, None).expect("it is sound")
    }

    /// Adds a user to the default tenant, with a token.
    pub fn admit(&self, name: &str, roles: &[Role]) -> Person {
        let (owner, text) = (check_name("a name", name).unwrap(), Text::new().unwrap());
        let roles = Roles::from_iter(roles.iter().copied());
        self.change(Change::PutPrincipal {
            name: owner.clone(),
            sort: Sort::User,
            roles: Some(roles),
            disabled: Some(false),
        });
        let (id, digest, expires) = (text.id(), text.digest(), self.clock.now() + Duration::from_secs(3_600));
        self.change(Change::AddToken { id, owner, digest, scope: None, expires });
        self.person(&text.reveal())
    }

    /// A tenant of its own, made over the API; who administers it.
    pub fn tenant(&self, root: &Person, name: &str) -> Person {
        let (status, made) = root.post("/tenants", json!({"name": name, "admin": "boss"}));
        assert_eq!(status, 201, "{made}");
        self.person(made["token"].as_str().unwrap())
    }

    /// Whoever shows this token.
    pub fn person(&self, token: &str) -> Person {
        let address = self.running.as_ref().expect("it runs").http.local_addrs()[0];
        Person { api: Api::with_token(address, token), token: token.to_owned() }
    }
}

fn log_options() -> cluster::Options {
    cluster::Options { segment_bytes: 256 << 10, reserve_bytes: 0, ..Default::default() }
}
