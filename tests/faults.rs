//! A disk that is full, or that fails, at each of the operations that change it, under a whole node: log, state store,
//! streams and shards. Every run is the same script; the n-th operation of it meets the fault.
//!
//! What must hold: what was acknowledged is there after a restart, once and in order; what was not says why; after a
//! full disk the node goes on by itself, and after a failed sync of the log it acknowledges nothing more.

#[allow(dead_code, reason = "each test uses a part of what they share")]
mod support;

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use cluster::Storage;
use cluster::meta::{Command, NodeState};
use runtime::error::Error;
use runtime::files::sim::{Fault, Operation};
use runtime::node::{Node, Options};
use twins::header::Header;
use twins::input::Input;

use support::ground::{Ground, log_options, register, sample, serials, twin};

const SHARDS: u32 = 2;
const TWINS: u64 = 3;
/// Of each twin.
const SAMPLES: u64 = 12;
/// How long a node may take to go on by itself.
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn a_disk_that_is_full_for_a_moment_refuses_and_the_node_goes_on() {
    check_each(Fault::Once(ErrorKind::StorageFull));
}

#[test]
fn a_disk_that_is_full_for_a_time_refuses_and_the_node_goes_on_when_there_is_room() {
    check_each(Fault::Full);
}

#[test]
fn a_disk_that_fails_once_loses_nothing_that_was_acknowledged() {
    check_each(Fault::Once(ErrorKind::Other));
}

#[test]
fn a_state_store_that_fails_once_is_opened_again_and_loses_nothing() {
    for n in 0..40 {
        let mut run = Run::new(n);
        run.live(|run| run.ground.store.fail_write_after(n));
        assert!(run.goes_on, "write {n}: {:?}", run.refusals);
    }
}

/// Every operation of the script meets the fault, from the first of the start to the last of the stop.
fn check_each(fault: Fault) {
    let mut struck = BTreeSet::new();
    for n in 0.. {
        let mut run = Run::new(n);
        run.live(|run| run.ground.files.fail_after(n, fault));
        let Some(operation) = run.disk_struck else { break };
        struck.insert(operation);
        let may_stop = matches!(fault, Fault::Once(ErrorKind::Other)) || operation == Operation::Sync;
        assert!(
            run.goes_on || may_stop || !run.started,
            "{fault:?} at operation {n}, {operation:?}: {:?}",
            run.refusals
        );
    }
    for operation in
        [Operation::Create, Operation::Rename, Operation::Remove, Operation::Write, Operation::Sync]
    {
        assert!(struck.contains(&operation), "the script never came to {operation:?}: {struck:?}");
    }
}

/// One run of the script.
struct Run {
    n: u64,
    ground: Ground,
    acknowledged: Vec<(u64, u64)>,
    refusals: Vec<String>,
    started: bool,
    /// The node took something again after the fault, without a restart.
    goes_on: bool,
    disk_struck: Option<Operation>,
}

impl Run {
    fn new(seed: u64) -> Self {
        Self {
            n: seed,
            ground: Ground::new(seed),
            acknowledged: Vec::new(),
            refusals: Vec::new(),
            started: false,
            goes_on: false,
            disk_struck: None,
        }
    }

    /// The script on a fresh disk, a power loss, and a look at what is left.
    fn live(&mut self, arm: impl FnOnce(&Self)) {
        arm(self);
        let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let threads = threads.expect("threads can be started");
        threads.block_on(async {
            match self.start().await {
                Err(why) => self.refusals.push(why),
                Ok((storage, node)) => {
                    self.started = true;
                    self.script(&storage, &node).await;
                    self.goes_on = self.is_taken_again(&node).await;
                    node.stop().await;
                }
            }
        });
        self.disk_struck = self.ground.files.struck();
        self.heal();
        threads.shutdown_timeout(Duration::from_secs(5));
        self.ground.crash(self.n);
        self.check_kept();
    }

    fn heal(&self) {
        self.ground.files.set_capacity(u64::MAX);
    }

    async fn start(&self) -> Result<(Storage, Node), String> {
        let hurried =
            runtime::shard::Options { checkpoint_bytes: 600, memory_bytes: 0, ..Default::default() };
        let stream = runtime::stream::Options {
            segment_bytes: 4_096.try_into().expect("not zero"),
            ..Default::default()
        };
        let options = Options { shard: hurried, stream, ..Options::default() };
        self.ground.start(SHARDS, log_options(8 << 10), options).await
    }

    async fn script(&mut self, storage: &Storage, node: &Node) {
        let register_node = Command::register(1, storage.generation(), String::new(), "1".into());
        self.define(storage, register_node).await;
        for twin in 0..TWINS {
            self.say(node, twin, register()).await;
        }
        for serial in 0..SAMPLES {
            for twin in 0..TWINS {
                if self.say(node, twin, sample(serial)).await {
                    self.acknowledged.push((twin, serial));
                }
            }
            let state = if serial % 2 == 0 { NodeState::Draining } else { NodeState::Active };
            let command = Command::SetNodeState { node: 1, state };
            // It may be refused like everything else, and then says why.
            self.define(storage, command).await;
        }
    }

    async fn define(&mut self, storage: &Storage, command: Command) {
        let meta = storage.meta();
        let told =
            tokio::task::spawn_blocking(move || meta.execute_blocking(command, meta.state().version)).await;
        self.refusals.extend(told.expect("it does not panic").err().map(|error| error.to_string()));
    }

    /// Says something; whether it was acknowledged. A refusal says why.
    async fn say(&mut self, node: &Node, number: u64, input: Input) -> bool {
        match node.router().ask(twin(number), Header::default(), input).await {
            Ok(_) => true,
            // Its registration was refused.
            Err(Error::Rejected(_)) => false,
            Err(error) => {
                let why = error.to_string();
                assert!(why.len() > 20, "operation {}: {why}", self.n);
                self.refusals.push(why);
                false
            }
        }
    }

    /// There is room again: every twin is spoken to until it answers.
    async fn is_taken_again(&mut self, node: &Node) -> bool {
        self.heal();
        for twin in 0..TWINS {
            let end = Instant::now() + PATIENCE;
            while !(self.say(node, twin, register()).await && self.say(node, twin, sample(SAMPLES)).await) {
                // Only a restart helps a log that has stopped.
                let has_stopped = self.refusals.last().is_some_and(|why| why.contains("the log stopped"));
                if has_stopped || Instant::now() > end {
                    return false;
                }
                // The fault may come only now.
                self.heal();
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            self.acknowledged.push((twin, SAMPLES));
        }
        true
    }

    /// Without faults the node starts, and every sample that was acknowledged is there, once and in order.
    fn check_kept(&self) {
        let n = self.n;
        let threads = tokio::runtime::Runtime::new().expect("threads can be started");
        threads.block_on(async {
            let (_storage, node) = self.start().await.expect("without faults the node starts");
            for twin in 0..TWINS {
                let kept = serials(&node, twin).await;
                let acknowledged = self.acknowledged.iter().filter(|(of, _)| *of == twin);
                let acknowledged: Vec<u64> = acknowledged.map(|(_, serial)| *serial).collect();
                assert!(kept.is_sorted_by(|a, b| a <= b), "operation {n}: {kept:?}");
                assert!(
                    acknowledged.iter().all(|serial| kept.contains(serial)),
                    "operation {n}: of twin {twin} {acknowledged:?} were acknowledged, {kept:?} are there"
                );
            }
        });
        threads.shutdown_timeout(Duration::from_secs(5));
    }
}
