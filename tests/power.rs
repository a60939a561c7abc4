//! Power loss under the whole node: log, state store, streams and shards together, on a disk that is simulated.
//!
//! The parts have simulations of their own, over thousands of seeds, where every step is the seed's. Here the threads
//! are real, so a seed chooses the faults but not the order of everything; what must hold is the same.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cluster::{SHARDS, Storage};
use runtime::access::Permissive;
use runtime::clock::SystemClock;
use runtime::files::sim::{Random, Sim};
use runtime::node::{Node, Options, Parts};
use runtime::router::Router;
use runtime::store::memory::Memory;
use runtime::stream::{From, Selection};
use twins::header::Header;
use twins::id::{DEFAULT_TENANT, TwinId};
use twins::input::Input;
use twins::json::Json;
use twins::kind::Kinds;
use twins::name::Name;

const SEEDS: u64 = 60;
const ROUNDS: u64 = 4;
const SPEAKERS: u64 = 8;
const SAID_EACH: u64 = 25;

#[test]
fn what_a_node_acknowledged_survives_the_loss_of_its_power() {
    let mut acknowledged = 0;
    for seed in 0..SEEDS {
        let mut disk = Disk::new(seed);
        for _ in 0..ROUNDS {
            disk.round(true);
        }
        disk.round(false);
        disk.check();
        acknowledged += disk.acknowledged().len();
    }
    assert!(acknowledged > 5_000, "the faults left too little to lose: {acknowledged}");
}

/// A disk that outlives the nodes that run on it, and what they have acknowledged.
struct Disk {
    seed: u64,
    random: Random,
    files: Arc<Sim>,
    store: Memory,
    serial: u64,
    acknowledged: Arc<Mutex<BTreeSet<u64>>>,
}

impl Disk {
    fn new(seed: u64) -> Self {
        let (files, store) = (Arc::new(Sim::new(seed)), Memory::new());
        Self { seed, random: Random::new(seed), files, store, serial: 0, acknowledged: Arc::default() }
    }

    /// Starts a node, lets it be spoken to until the power fails (or nothing does), and takes the power away.
    fn round(&mut self, faulty: bool) {
        if faulty && self.random.chance(30) {
            self.files.cut_power_after(self.random.below(200));
        }
        let threads = tokio::runtime::Runtime::new().expect("threads can be started");
        threads.block_on(async {
            let Some((_storage, node)) = self.start().await else { return };
            match self.random.below(4) {
                _ if !faulty => {}
                0 => self.files.fail_sync_after(self.random.below(60)),
                1 => self.store.fail_write_after(self.random.below(20)),
                _ => self.files.cut_power_after(self.random.below(600)),
            }
            self.speak(node.router()).await;
        });
        threads.shutdown_timeout(Duration::from_secs(5));
        self.files.crash();
        self.store = self.store.crash(self.random.bits());
    }

    async fn start(&self) -> Option<(Storage, Node)> {
        let (files, log) = (self.files.clone(), log_options());
        let opened = tokio::task::spawn_blocking(move || Storage::open(files, Path::new("/node/log"), log));
        let storage = opened.await.expect("opening does not panic").ok()?;
        let parts = Parts {
            node: (1, storage.generation()),
            kinds: Kinds::default(),
            slots: (0..=u16::MAX).map(|slot| (u32::from(slot) * SHARDS) >> 16).collect(),
            logs: (0..SHARDS).map(|shard| storage.shard_log(shard)).collect(),
            store: Arc::new(self.store.clone()),
            files: self.files.clone(),
            streams: "/node/streams".into(),
            clock: Arc::new(SystemClock),
            access: Arc::new(Permissive),
        };
        let hurried =
            runtime::shard::Options { checkpoint_bytes: 300, memory_bytes: 0, ..Default::default() };
        let node = Node::start(parts, Options { shard: hurried, ..Options::default() }).await.ok()?;
        Some((storage, node))
    }

    /// Many speak at once, each until it hears no good answer.
    async fn speak(&mut self, router: &Router) {
        let speakers: Vec<_> = (0..SPEAKERS)
            .map(|speaker| {
                let (first, router) = (self.serial + speaker * SAID_EACH, router.clone());
                let acknowledged = self.acknowledged.clone();
                tokio::spawn(async move {
                    let kind = Name::fixed("device");
                    let register = Input::Register { kind, tags: None };
                    if router.ask(twin(speaker), Header::default(), register).await.is_err() {
                        return;
                    }
                    for serial in first..first + SAID_EACH {
                        let body = Json::of(&serial).expect("a number").into();
                        let sample = Input::Sample { channel: Name::fixed("serial"), body };
                        if router.ask(twin(speaker), Header::default(), sample).await.is_err() {
                            return;
                        }
                        acknowledged.lock().expect("nobody panicked").insert(serial);
                    }
                })
            })
            .collect();
        self.serial += SPEAKERS * SAID_EACH;
        for speaker in speakers {
            speaker.await.expect("nobody panicked");
        }
    }

    fn acknowledged(&self) -> BTreeSet<u64> {
        self.acknowledged.lock().expect("nobody panicked").clone()
    }

    /// Every sample that was acknowledged is in the stream of its twin, once, and in order.
    fn check(&mut self) {
        let (seed, acknowledged) = (self.seed, self.acknowledged());
        let threads = tokio::runtime::Runtime::new().expect("threads can be started");
        let kept: BTreeMap<u64, Vec<u64>> = threads.block_on(async {
            let (_storage, node) = self.start().await.expect("without faults the node starts");
            let mut kept = BTreeMap::new();
            for speaker in 0..SPEAKERS {
                let page = node.router().read(samples_of(speaker)).await.expect("the stream can be read");
                let serial = |placed: &runtime::stream::Placed| match &placed.record.fact {
                    runtime::record::Fact::Telemetry { body, .. } => body.json()?.decode::<u64>().ok(),
                    _ => None,
                };
                kept.insert(speaker, page.records.iter().filter_map(serial).collect());
            }
            kept
        });
        threads.shutdown_timeout(Duration::from_secs(5));
        for (speaker, serials) in &kept {
            assert!(serials.is_sorted_by(|a, b| a < b), "seed {seed}: twin {speaker} has {serials:?}");
        }
        let kept: BTreeSet<u64> = kept.into_values().flatten().collect();
        let lost: Vec<_> = acknowledged.difference(&kept).collect();
        assert!(lost.is_empty(), "seed {seed}: {lost:?} were acknowledged and lost");
    }
}

fn samples_of(speaker: u64) -> Selection {
    Selection {
        tenant: DEFAULT_TENANT.to_owned(),
        twin: Some(twin(speaker)),
        shard: None,
        kinds: vec!["telemetry".to_owned()],
        channel: None,
        from: From::Earliest,
        until: None,
        limit: 1_000,
        bytes: usize::MAX,
    }
}

fn twin(speaker: u64) -> TwinId {
    TwinId::in_default_tenant(&format!("twin-{speaker}")).expect("a plain name")
}

/// Small, so that segments are filled, recycled and purged.
fn log_options() -> cluster::Options {
    cluster::Options {
        segment_bytes: 16 << 10,
        batch_bytes: 8 << 10,
        tail_bytes: 8 << 10,
        reserve_bytes: 0,
        ..cluster::Options::default()
    }
}
