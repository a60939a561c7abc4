//! Three nodes in one process, and ways between them that lose, repeat and break as the test says.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;
use runtime::access::Permissive;
use runtime::away::Forward;
use runtime::clock::SystemClock;
use runtime::error::Error;
use runtime::files::sim::Sim;
use runtime::node::{Node, Options, Parts};
use runtime::router::Router;
use runtime::store::memory::Memory;
use twins::kind::{Kind, Kinds};

use crate::counter::Counter;
use crate::log::{Group, Member};

pub const NODES: u64 = 3;
pub const SHARDS: u64 = 4;
/// How many frames wait on one way.
pub const FRAMES_MAX: usize = 64;
const TICK: Duration = Duration::from_millis(20);

/// What is between them.
#[derive(Default)]
struct Ways {
    frames: BTreeMap<(u64, u64), VecDeque<Bytes>>,
    cut: BTreeMap<(u64, u64), Instant>,
    /// They take nothing.
    deaf: BTreeSet<u64>,
    /// Of a thousand frames.
    lost: u64,
    repeated: u64,
    random: u64,
}

impl Ways {
    fn one_in_a_thousand(&mut self, n: u64) -> bool {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % 1_000 < n
    }
}

/// Three nodes.
pub struct Net {
    ways: Arc<Mutex<Ways>>,
    pub groups: Vec<Arc<Group>>,
    nodes: Vec<Node>,
    stopping: Arc<AtomicBool>,
}

/// One node's port.
struct Port {
    ways: Arc<Mutex<Ways>>,
    groups: Vec<Arc<Group>>,
    me: u64,
}

impl Forward for Port {
    fn leader(&self, shard: u32) -> Option<u64> {
        self.groups[shard as usize].leader()
    }

    fn send(&self, to: u64, frame: Bytes) -> Result<(), Error> {
        let mut ways = self.ways.lock().unwrap();
        if ways.cut.contains_key(&(self.me, to)) {
            return Err(Error::Unwritten { shard: 0, why: "there is no way".into() });
        }
        let (lost, repeated) = (ways.lost, ways.repeated);
        let count = match () {
            () if ways.one_in_a_thousand(lost) => 0,
            () if ways.one_in_a_thousand(repeated) => 2,
            () => 1,
        };
        let way = ways.frames.entry((self.me, to)).or_default();
        if way.len() >= FRAMES_MAX {
            return Err(Error::Overloaded { shard: 0, limit: "the way is full" });
        }
        way.extend(std::iter::repeat_n(frame, count));
        Ok(())
    }
}

impl Net {
    /// Shard `n` is led by node `n % 3 + 1`.
    pub async fn start(seed: u64) -> Self {
        let groups: Vec<_> = (0..SHARDS).map(|_| Arc::new(Group::default())).collect();
        let slots: Arc<[u32]> = (0..=u16::MAX).map(|slot| u32::from(slot) % SHARDS as u32).collect();
        let ways = Arc::new(Mutex::new(Ways { random: seed.max(1), ..Ways::default() }));
        let mut nodes = Vec::new();
        for node in 1..=NODES {
            let member = |group: &Arc<Group>| Arc::new(Member { group: group.clone(), node }) as _;
            let parts = Parts {
                node: (node, 1),
                kinds: Kinds::default().with(Kind::of::<Counter>()),
                slots: slots.clone(),
                logs: groups.iter().map(member).collect(),
                store: Arc::new(Memory::new()),
                files: Arc::new(Sim::new(seed + node)),
                streams: "/streams".into(),
                clock: Arc::new(SystemClock),
                access: Arc::new(Permissive),
            };
            let node_ = Node::start(parts, Options::default()).await.expect("an empty node starts");
            let port = Port { ways: ways.clone(), groups: groups.clone(), me: node };
            node_.router().reach(Arc::new(port));
            nodes.push(node_);
        }
        let net = Self { ways, groups, nodes, stopping: Arc::default() };
        (0..SHARDS as usize).for_each(|shard| net.lead(shard, Some(shard as u64 % NODES + 1)));
        for to in 1..=NODES {
            tokio::spawn(deliver(net.ways.clone(), net.router(to).clone(), to, net.stopping.clone()));
        }
        net
    }

    pub fn router(&self, node: u64) -> &Router {
        self.nodes[node as usize - 1].router()
    }

    /// Another one leads; all hear of it.
    pub fn lead(&self, shard: usize, by: Option<u64>) {
        self.groups[shard].lead(by);
        (1..=NODES).for_each(|node| self.router(node).led(shard as u32, by));
    }

    /// The way between two nodes breaks, and what is on it is lost.
    pub fn cut(&self, a: u64, b: u64) {
        let mut ways = self.lock();
        for way in [(a, b), (b, a)] {
            ways.cut.insert(way, Instant::now());
            ways.frames.remove(&way);
        }
        drop(ways);
        self.router(a).lost(b);
        self.router(b).lost(a);
    }

    /// All is well from now on.
    pub fn heal(&self) {
        let mut ways = self.lock();
        ways.cut.clear();
        ways.deaf.clear();
        (ways.lost, ways.repeated) = (0, 0);
    }

    /// Of a thousand frames so many are lost, and so many come twice.
    pub fn disturb(&self, lost: u64, repeated: u64) {
        let mut ways = self.lock();
        (ways.lost, ways.repeated) = (lost, repeated);
    }

    /// A node takes nothing of what comes.
    pub fn deafen(&self, node: u64) {
        self.lock().deaf.insert(node);
    }

    /// How many frames are under way to a node.
    pub fn under_way(&self, to: u64) -> usize {
        self.lock().frames.iter().filter(|(way, _)| way.1 == to).map(|(_, frames)| frames.len()).sum()
    }

    fn lock(&self) -> MutexGuard<'_, Ways> {
        self.ways.lock().unwrap()
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
    }
}

/// Hands a node what comes, from one after the other, and tells it now and then who is there.
async fn deliver(ways: Arc<Mutex<Ways>>, router: Router, to: u64, stopping: Arc<AtomicBool>) {
    let mut ticked = Instant::now() - TICK;
    while !stopping.load(Ordering::Relaxed) {
        let mut frames = Vec::new();
        {
            let mut ways = ways.lock().unwrap();
            for from in (1..=NODES).filter(|_| !ways.deaf.contains(&to)).collect::<Vec<_>>() {
                let way = ways.frames.get_mut(&(from, to));
                frames.extend(way.and_then(VecDeque::pop_front).map(|frame| (from, frame)));
            }
        }
        if ticked.elapsed() >= TICK {
            ticked = Instant::now();
            let silent = |from: u64| {
                let ways = ways.lock().unwrap();
                ways.cut.get(&(from, to)).map_or(Duration::ZERO, Instant::elapsed)
            };
            let others = (1..=NODES).filter(|from| *from != to);
            router.nodes(others.map(|from| (from, (1, silent(from)))).collect());
        }
        if frames.is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        for (from, frame) in frames {
            router.arrived((from, 1), frame).expect("what nodes say keeps to the form");
        }
    }
}
