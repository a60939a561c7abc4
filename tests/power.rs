//! Power loss under the whole node: log, state store, streams and shards together, on a disk that is simulated.
//!
//! The parts have simulations of their own, over thousands of seeds, where every step is the seed's. Here the threads
//! are real, so a seed chooses the faults but not the order of everything; what must hold is the same.

#[allow(dead_code, reason = "each test uses a part of what they share")]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cluster::{SHARDS, Storage};
use runtime::files::sim::Random;
use runtime::node::{Node, Options};
use runtime::router::Router;
use twins::header::Header;

use support::ground::{Ground, log_options, register, sample, serials, twin};

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
    ground: Ground,
    serial: u64,
    acknowledged: Arc<Mutex<BTreeSet<u64>>>,
}

impl Disk {
    fn new(seed: u64) -> Self {
        let (random, ground) = (Random::new(seed), Ground::new(seed));
        Self { seed, random, ground, serial: 0, acknowledged: Arc::default() }
    }

    /// Starts a node, lets it be spoken to until the power fails (or nothing does), and takes the power away.
    fn round(&mut self, faulty: bool) {
        if faulty && self.random.chance(30) {
            self.ground.files.cut_power_after(self.random.below(200));
        }
        let threads = tokio::runtime::Runtime::new().expect("threads can be started");
        threads.block_on(async {
            let Some((_storage, node)) = self.start().await else { return };
            match self.random.below(4) {
                _ if !faulty => {}
                0 => self.ground.files.fail_sync_after(self.random.below(60)),
                1 => self.ground.store.fail_write_after(self.random.below(20)),
                _ => self.ground.files.cut_power_after(self.random.below(600)),
            }
            self.speak(node.router()).await;
        });
        threads.shutdown_timeout(Duration::from_secs(5));
        self.ground.crash(self.random.bits());
    }

    async fn start(&self) -> Option<(Storage, Node)> {
        let hurried =
            runtime::shard::Options { checkpoint_bytes: 300, memory_bytes: 0, ..Default::default() };
        let options = Options { shard: hurried, ..Options::default() };
        self.ground.start(SHARDS, log_options(16 << 10), options).await.ok()
    }

    /// Many speak at once, each until it hears no good answer.
    async fn speak(&mut self, router: &Router) {
        let speakers: Vec<_> = (0..SPEAKERS)
            .map(|speaker| {
                let (first, router) = (self.serial + speaker * SAID_EACH, router.clone());
                let acknowledged = self.acknowledged.clone();
                tokio::spawn(async move {
                    if router.ask(twin(speaker), Header::default(), register()).await.is_err() {
                        return;
                    }
                    for serial in first..first + SAID_EACH {
                        if router.ask(twin(speaker), Header::default(), sample(serial)).await.is_err() {
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
                kept.insert(speaker, serials(&node, speaker).await);
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
