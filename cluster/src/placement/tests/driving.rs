//! Placement as it runs on all nodes of a cluster, over modelled groups that take their time, and nodes that crash in the
//! middle of what they do.

use super::super::{Change, Driver, Groups, orders, wanted};
use super::Dice;
use super::groups::Modelled;
use crate::SHARDS;
use crate::group::{Stuck, View};
use crate::meta::{Command, Meta, NodeState, Refusal, State};
use crate::wire::Boxed;
use bytes::Bytes;
use runtime::clock::Timestamp;
use runtime::directory::audit::{Fingerprint, Sealed};
use runtime::log::{Done, Ear, Entry, Error, LogId, ShardLog, Standing, Tenure};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

/// A log that commits at once.
#[derive(Default)]
struct Prompt(Mutex<Vec<Entry>>);

impl ShardLog for Prompt {
    fn listen(&self, _: Ear) -> Standing {
        Standing { through: 0, leads: Some(Tenure::whole(1)) }
    }

    fn read(&self, after: u64, through: u64, _: usize) -> Result<Vec<Entry>, Error> {
        let entries = self.0.lock().unwrap();
        Ok(entries.iter().filter(|entry| (after + 1..=through).contains(&entry.id.index)).cloned().collect())
    }

    fn propose(&self, tenure: Tenure, payload: Bytes, done: Done) {
        let mut entries = self.0.lock().unwrap();
        let id = LogId { term: tenure.term, index: u64::try_from(entries.len()).unwrap() + 1 };
        entries.push(Entry { id, payload });
        drop(entries);
        done(Ok(id));
    }

    fn propose_upkeep(&self, tenure: Tenure, payload: Bytes, done: Done) {
        self.propose(tenure, payload, done);
    }

    fn purge(&self, _: u64) {}
}

/// All nodes and their groups.
struct World {
    groups: Mutex<BTreeMap<u32, Modelled>>,
    running: Mutex<BTreeSet<u64>>,
    dice: Mutex<Dice>,
    /// In how many steps somebody crashes once.
    crashes: Option<usize>,
}

/// The groups as one node has them.
struct Node {
    world: Arc<World>,
    me: u64,
}

impl World {
    fn roll(&self, end: usize) -> usize {
        self.dice.lock().unwrap().below(end)
    }

    fn pause(&self) -> Duration {
        Duration::from_millis(self.roll(300).try_into().unwrap())
    }

    fn running(&self) -> BTreeSet<u64> {
        self.running.lock().unwrap().clone()
    }

    /// Logs grow and spread, and where nobody leads who runs, somebody does who has everything.
    fn turn(&self) {
        let running = self.running();
        for group in self.groups.lock().unwrap().values_mut() {
            if group.leader.is_none_or(|leader| !running.contains(&leader)) {
                group.elect(&running);
            }
            if group.has_quorum(&running) {
                group.last += u64::try_from(self.roll(10)).unwrap();
                group.replicate(&running, 200);
            }
        }
    }
}

impl Groups for Node {
    fn view(&self, group: u32) -> Option<View> {
        Some(self.world.groups.lock().unwrap().get(&group)?.view(self.me))
    }

    fn reached(&self) -> BTreeSet<u64> {
        self.world.running()
    }

    fn change(&self, group: u32, change: Change) -> Boxed<Result<(), Stuck>> {
        let (world, me) = (self.world.clone(), self.me);
        Box::pin(async move {
            sleep(world.pause()).await;
            let crashes = world.crashes.is_some_and(|steps| world.roll(steps) == 0);
            let mut groups = world.groups.lock().unwrap();
            let modelled = groups.get_mut(&group).unwrap();
            let is_led = matches!(change, Change::Grow | Change::Leave) || modelled.leader == Some(me);
            if !world.running().contains(&me) || !is_led {
                return Err(Stuck::NotLeader { group, leader: modelled.leader });
            }
            // Whoever was up to date may have crashed since the step was decided.
            let lag = 32 + 7 * 10;
            let is_safe = modelled.is_safe(lag);
            modelled.take(me, &change, crashes);
            assert!(!is_safe || modelled.is_safe(lag), "{change:?} lost the majority: {modelled:?}");
            if crashes {
                // Half done, or done and not heard of.
                world.running.lock().unwrap().remove(&me);
                return Err(Stuck::Refused { group, reason: "the node has crashed".to_owned() });
            }
            Ok(())
        })
    }
}

/// A cluster under way.
struct Nodes {
    meta: Arc<Meta>,
    world: Arc<World>,
    drivers: BTreeMap<u64, JoinHandle<()>>,
    back: BTreeMap<u64, Instant>,
}

impl Nodes {
    /// One node that has begun a cluster.
    async fn one(seed: u64, crashes: Option<usize>) -> Self {
        let meta = Arc::new(Meta::open(Arc::new(Prompt::default())).unwrap());
        let groups = (0..=SHARDS).map(|group| (group, Modelled::alone(1))).collect();
        let (running, dice) = (Mutex::new([1].into()), Mutex::new(Dice::new(seed)));
        let world = Arc::new(World { groups: Mutex::new(groups), running, dice, crashes });
        let mut nodes = Self { meta, world, drivers: BTreeMap::new(), back: BTreeMap::new() };
        for command in [
            Command::register(1, 1, "zone=a".to_owned(), "1".to_owned()),
            Command::CreateDomain { name: "default".to_owned(), shards: SHARDS },
            active(1),
            Command::FoundCluster {
                id: [1; 16],
                authority: Vec::new(),
                sealed_key: Sealed(Bytes::new()),
                node: 1,
                address: "a:1".to_owned(),
                fingerprint: Fingerprint([1; 32]),
            },
        ] {
            nodes.tell(command).await;
        }
        nodes.start(1);
        nodes
    }

    async fn tell(&self, command: Command) {
        while let Err(refusal) = self.meta.execute(command.clone(), self.meta.state().version).await {
            assert!(matches!(refusal, Refusal::Stale { .. }), "{command:?}: {refusal}");
        }
    }

    async fn join(&mut self, node: u8, zone: &str) {
        let (token, at) = (Fingerprint([node; 32]), Timestamp::ZERO);
        self.tell(Command::AddToken { digest: token, expires: Timestamp::MAX, at }).await;
        let (address, location) = (format!("{zone}:1"), format!("zone={zone}"));
        let join = Command::Join { token, fingerprint: token, address, location: location.clone(), at };
        self.tell(join).await;
        let node = u64::from(node);
        self.tell(Command::register(node, 1, location, "1".to_owned())).await;
        self.tell(active(node)).await;
        self.world.running.lock().unwrap().insert(node);
        self.start(node);
    }

    fn start(&mut self, me: u64) {
        let node = Node { world: self.world.clone(), me };
        let driver = Driver::new(self.meta.clone(), Arc::new(node), me);
        self.drivers.insert(me, tokio::spawn(driver.run()));
    }

    /// Lets time pass until the map is what is wanted and all groups are what the map says. Who crashed comes back.
    async fn settle(&mut self) -> Arc<State> {
        let end = Instant::now() + Duration::from_secs(1_200);
        loop {
            sleep(Duration::from_millis(50)).await;
            self.world.turn();
            let running = self.world.running();
            for (me, driver) in &self.drivers {
                if !running.contains(me) && !self.back.contains_key(me) {
                    driver.abort();
                    self.back.insert(*me, Instant::now() + self.world.pause() * 20);
                }
            }
            let now = Instant::now();
            let back: Vec<u64> =
                self.back.iter().filter(|(_, at)| **at <= now).map(|(node, _)| *node).collect();
            for node in back {
                self.back.remove(&node);
                self.world.running.lock().unwrap().insert(node);
                self.start(node);
            }
            let state = self.meta.state();
            if self.is_settled(&state) {
                return state;
            }
            assert!(now < end, "it never settles: {state:?}, {:?}", self.world.groups.lock().unwrap());
        }
    }

    fn is_settled(&self, state: &State) -> bool {
        if state.shards.values().any(|placement| placement.target.is_some()) {
            return false;
        }
        let groups = self.world.groups.lock().unwrap();
        let set = |nodes: &[u64]| nodes.iter().copied().collect::<BTreeSet<u64>>();
        let wanted = wanted(state);
        state.shards.iter().all(|(shard, placement)| {
            let group = &groups[&(shard + 1)];
            let members = &group.deciding() | &group.learners;
            let is_alone = placement.replicas.len() == 1;
            placement.former.is_empty()
                && set(&placement.replicas) == set(&wanted[shard])
                && members == set(&placement.replicas)
                && group.present == members
                && group.old.is_none()
                && group.by_consensus != is_alone
                && group.leader == placement.preferred
        })
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        self.drivers.values().for_each(JoinHandle::abort);
    }
}

fn active(node: u64) -> Command {
    Command::SetNodeState { node, state: NodeState::Active }
}

fn led(state: &State) -> BTreeMap<u64, usize> {
    let mut led = BTreeMap::new();
    state.shards.values().for_each(|placement| *led.entry(placement.preferred.unwrap()).or_default() += 1);
    led
}

async fn grow_and_shrink(seed: u64, crashes: Option<usize>) {
    let mut nodes = Nodes::one(seed, crashes).await;

    nodes.join(2, "b").await;
    nodes.settle().await;
    nodes.join(3, "c").await;
    let three = nodes.settle().await;
    nodes.join(4, "a").await;
    let four = nodes.settle().await;
    for node in [1, 4, 2] {
        let commands = orders::drain(&nodes.meta.state(), node).unwrap();
        for command in commands {
            nodes.tell(command).await;
        }
        let state = nodes.settle().await;
        assert_eq!(state.shards_of(node).count(), 0, "seed {seed}");
        for command in orders::remove(&state, node).unwrap() {
            nodes.tell(command).await;
        }
    }

    let mut loads: Vec<usize> = led(&three).into_values().collect();
    loads.sort_unstable();
    assert_eq!(loads, [21, 21, 22], "seed {seed}");
    assert!(led(&four).values().all(|led| *led == 16), "seed {seed}");
    let groups = nodes.world.groups.lock().unwrap();
    assert!((1..=SHARDS).all(|group| groups[&group].leader == Some(3) && !groups[&group].by_consensus));
    assert_eq!(groups[&0].deciding(), [3].into(), "the meta group goes along");
}

#[tokio::test(start_paused = true)]
async fn a_cluster_grows_from_one_node_to_four_and_back_to_another_one() {
    grow_and_shrink(1, None).await;
}

#[tokio::test(start_paused = true)]
async fn whoever_crashes_in_the_middle_of_a_step_is_gone_on_from() {
    grow_and_shrink(2, Some(60)).await;
}
