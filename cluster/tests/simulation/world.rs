//! Three nodes on one simulated network, what goes wrong with them, and how they heal.

use crate::disk::Disk;
use crate::faults::{self, Fault};
use crate::net::host;
use crate::node::{ALL, Alive, Order, Place, WRITTEN};
use crate::oracle::Oracle;
use crate::panics;
use crate::planted::Planted;
use cluster::consensus::Seeded;
use runtime::blocking::Inline;
use runtime::files::sim::Random;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use turmoil::Sim;

/// The world moves by so much.
const TICK: Duration = Duration::from_millis(2);
const LATENCY_MIN: Duration = Duration::from_millis(1);
const LATENCY_MAX: Duration = Duration::from_millis(8);
/// How long things go wrong.
const TROUBLE: Duration = Duration::from_secs(10);
/// How long the cluster may take to be whole again.
const HEALING_MAX: Duration = Duration::from_secs(60);
/// How long it takes at most in a whole cluster until a proposal is answered.
const ARRIVAL: Duration = Duration::from_millis(400);
/// How often an operator looks meanwhile.
const ROUND: Duration = Duration::from_millis(250);

/// What came of a run.
pub struct Outcome {
    pub seed: u64,
    pub violation: Option<String>,
    pub hash: u64,
    pub history: Vec<String>,
    /// How often what happened.
    pub counts: BTreeMap<String, u64>,
}

struct World<'a> {
    sim: Sim<'a>,
    random: Random,
    oracle: Oracle,
    places: BTreeMap<u64, Arc<Place>>,
    writes: Arc<AtomicBool>,
    /// When a node crashes, and when it is back.
    crashes: BTreeMap<u64, Duration>,
    returns: BTreeMap<u64, Duration>,
}

/// Runs one seed from its beginning to a whole cluster, or to the first thing that should not have happened.
pub fn run(seed: u64, planted: Planted) -> Outcome {
    let _inline = Inline::begin();
    let _loaded = Seeded::begin(seed ^ 0x0d1ce);
    panics::forget();
    let mut world = World::new(seed, planted);
    if world.suffer().is_ok() && world.heal().is_ok() {
        world.oracle.end();
    }
    let oracle = world.oracle.clone();
    world.close();
    let (hash, history) = oracle.history();
    Outcome { seed, violation: oracle.violation(), hash, history, counts: oracle.counts() }
}

/// Something has happened that should not have: the oracle knows what.
struct Broken;

impl World<'_> {
    fn new(seed: u64, planted: Planted) -> Self {
        let mut random = Random::new(seed);
        let (oracle, writes) = (Oracle::new(), Arc::new(AtomicBool::new(true)));
        let mut builder = turmoil::Builder::new();
        let builder = builder
            .rng_seed(random.bits())
            .tick_duration(TICK)
            .min_message_latency(LATENCY_MIN)
            .max_message_latency(LATENCY_MAX)
            .udp_capacity(4_096)
            .repair_rate(1.0)
            .enable_random_order()
            .simulation_duration(TROUBLE + HEALING_MAX * 2);
        let mut sim = builder.build();
        // So that each knows where the others are before they are there.
        ALL.into_iter().for_each(|node| drop(sim.lookup(host(node)).to_string()));
        let mut places = BTreeMap::new();
        for number in ALL {
            let place = Arc::new(Place {
                number,
                disk: Arc::new(Disk::new(random.bits(), planted == Planted::EarlyAck)),
                oracle: oracle.clone(),
                planted,
                ahead: AtomicI64::new(random.below(4_000) as i64 - 2_000),
                writes: writes.clone(),
                random: Mutex::new(Random::new(random.bits())),
                alive: Mutex::default(),
            });
            places.insert(number, place.clone());
            sim.host(host(number), move || place.clone().live());
        }
        let (crashes, returns) = (BTreeMap::new(), BTreeMap::new());
        Self { sim, random, oracle, places, writes, crashes, returns }
    }

    /// Lets time pass.
    fn pass(&mut self, time: Duration) -> Result<(), Broken> {
        let end = self.sim.elapsed() + time;
        while self.sim.elapsed() < end {
            let now = self.sim.elapsed();
            self.oracle.set_now(now);
            if let Err(error) = self.sim.step() {
                self.oracle.fail(format!("a node ended: {error}"));
            }
            if let Some(panic) = panics::last() {
                self.oracle.fail(format!("panic: {panic}"));
            }
            if self.oracle.violation().is_some() {
                return Err(Broken);
            }
            self.places.values().for_each(|place| place.disk.pass(TICK));
            let due = |times: &BTreeMap<u64, Duration>| -> Vec<u64> {
                times.iter().filter(|(_, at)| **at <= now).map(|(node, _)| *node).collect()
            };
            due(&self.crashes).into_iter().for_each(|node| self.crash(node));
            due(&self.returns).into_iter().for_each(|node| self.start(node));
        }
        Ok(())
    }

    fn suffer(&mut self) -> Result<(), Broken> {
        self.pass(Duration::from_millis(300))?;
        self.order_all();
        while self.sim.elapsed() < TROUBLE {
            let (pause, fault) = Fault::next(&mut self.random);
            self.pass(pause)?;
            self.oracle.note(fault.kind(), format!("{fault:?}"));
            self.suffer_from(fault);
        }
        Ok(())
    }

    fn suffer_from(&mut self, fault: Fault) {
        let now = self.sim.elapsed();
        match fault {
            Fault::Cut(one, other) => self.sim.partition(host(one), host(other)),
            Fault::Deafen(one, other) => self.sim.partition_oneway(host(one), host(other)),
            Fault::CutOff(node) => {
                let others = ALL.into_iter().filter(|other| *other != node);
                others.for_each(|other| self.sim.partition(host(node), host(other)));
            }
            Fault::Mend => self.mend(),
            Fault::Lose(percent) => self.sim.set_fail_rate(percent as f64 / 100.0),
            Fault::Delay(millis) => self.sim.set_max_message_latency(Duration::from_millis(millis)),
            Fault::Crash { node, operations, back } => {
                let at = now + Duration::from_millis(self.random.below(40));
                self.crash_at(node, at, back, |disk| disk.cut_power_after(operations));
            }
            Fault::Blackout { back } => {
                for node in ALL {
                    self.crash_at(node, now, back, |disk| disk.cut_power_after(0));
                }
            }
            Fault::FailSync { node, back } => {
                self.crash_at(node, now + Duration::from_millis(back), back, Disk::fail_sync);
            }
            Fault::Slow { node, is_slow } => self.places[&node].disk.be_slow(is_slow),
            Fault::Jump { node, ahead } => self.places[&node].ahead.store(ahead, Ordering::Relaxed),
            Fault::Order(node, order) => self.order(node, order),
        }
    }

    /// The disk of a node that is there fails, the node goes, and is back after so many ms.
    fn crash_at(&mut self, node: u64, at: Duration, back: u64, fails: impl FnOnce(&Disk)) {
        if !self.returns.contains_key(&node) {
            fails(&self.places[&node].disk);
            self.crashes.insert(node, at);
            self.returns.insert(node, at + Duration::from_millis(back));
        }
    }

    fn crash(&mut self, node: u64) {
        self.crashes.remove(&node);
        let place = &self.places[&node];
        // Nothing that is dropped writes any more.
        place.disk.cut_power_after(0);
        drop(place.alive.lock().unwrap().take());
        self.sim.crash(host(node));
        place.disk.crash();
    }

    fn start(&mut self, node: u64) {
        self.returns.remove(&node);
        self.sim.bounce(host(node));
    }

    fn mend(&mut self) {
        for one in ALL {
            (one + 1..=3).for_each(|other| self.sim.repair(host(one), host(other)));
        }
    }

    fn order(&self, node: u64, order: Order) {
        if let Some(Alive { orders, .. }) = &*self.places[&node].alive.lock().unwrap() {
            // One that ends hears of nothing.
            orders.send(order).unwrap_or_default();
        }
    }

    /// All groups are to have all nodes: whoever leads them sees to it.
    fn order_all(&self) {
        for (node, order) in faults::regrow() {
            let Order::Grow(group) = order else { continue };
            let leads_less = match &*self.places[&node].alive.lock().unwrap() {
                None => false,
                Some(Alive { groups, .. }) => {
                    let view = groups[group as usize].view();
                    view.leader == Some(node) && (view.is_joint || view.voters != ALL.into())
                }
            };
            if leads_less {
                self.order(node, order);
            }
        }
    }

    /// Nothing goes wrong any more: the groups have all nodes, take proposals, and all nodes have the same.
    fn heal(&mut self) -> Result<(), Broken> {
        self.oracle.note("heal", String::new());
        self.mend();
        self.sim.set_fail_rate(0.0);
        self.sim.set_max_message_latency(LATENCY_MAX);
        for place in self.places.values() {
            place.disk.be_slow(false);
            place.ahead.store(0, Ordering::Relaxed);
        }
        let since: BTreeMap<u32, u64> = WRITTEN.map(|group| (group, self.oracle.acknowledged(group))).into();
        self.pass_until("whole", |world| world.is_whole(&since))?;
        self.writes.store(false, Ordering::Relaxed);
        // What is under way is answered.
        self.pass(ARRIVAL)?;
        self.pass_until("equal", Self::is_equal)
    }

    /// Lets time pass until all is as it should be, while an operator looks on.
    fn pass_until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) -> Result<(), Broken> {
        let end = self.sim.elapsed() + HEALING_MAX;
        while !is_so(self) {
            if self.sim.elapsed() > end {
                self.oracle.fail(format!("the cluster is not {what} again: {}", self.views()));
                return Err(Broken);
            }
            self.order_all();
            self.pass(ROUND)?;
        }
        self.oracle.note(what, String::new());
        Ok(())
    }

    /// Every node has applied what was acknowledged to anybody.
    fn is_equal(&self) -> bool {
        let has_all = |node, group| self.oracle.applied(node, group) >= self.oracle.acknowledged(group);
        ALL.into_iter().all(|node| WRITTEN.into_iter().all(|group| has_all(node, group)))
    }

    fn is_whole(&self, since: &BTreeMap<u32, u64>) -> bool {
        self.places.values().all(|place| {
            let alive = place.alive.lock().unwrap();
            let Some(Alive { groups, .. }) = &*alive else { return false };
            groups.iter().all(|group| {
                let view = group.view();
                let is_led = view.leader.is_some() && !view.is_joint && view.voters == ALL.into();
                let before = since.get(&group.number());
                is_led && before.is_none_or(|before| self.oracle.acknowledged(group.number()) > *before)
            })
        })
    }

    fn views(&self) -> String {
        let mut shown = String::new();
        for (node, place) in &self.places {
            match &*place.alive.lock().unwrap() {
                None => shown.push_str(&format!("\n  node {node} is not there")),
                Some(Alive { groups, .. }) => groups.iter().for_each(|group| {
                    shown.push_str(&format!("\n  node {node} group {} {:?}", group.number(), group.view()));
                }),
            }
        }
        shown
    }

    /// Ends all nodes, so that nothing of this run is left on the thread.
    fn close(mut self) {
        for node in ALL {
            self.crash(node);
        }
    }
}
