//! One node: what stays of it when it goes, and what runs on its host while it is there.

use crate::disk::Disk;
use crate::net;
use crate::oracle::Oracle;
use crate::planted::{Planted, Unguarded};
use crate::shard::{Setting, Shard};
use cluster::consensus::Timing;
use cluster::group::{Change, Group, Stuck};
use cluster::transport::authority::{Authority, ClusterId, Identity};
use cluster::transport::{self, Enrolled, Me, Roll, Transport};
use cluster::{Drive, Options, Storage};
use runtime::clock::{Clock, Timestamp};
use runtime::files::sim::Random;
use runtime::log::ShardLog;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc;
use tokio::time::timeout;

pub const ALL: [u64; 3] = [1, 2, 3];
const SHARDS: u32 = 4;
/// The meta group, and the shards'.
pub const GROUPS: [u32; 5] = [0, 1, 2, 3, 4];
/// Those that somebody writes to.
pub const WRITTEN: [u32; 4] = [1, 2, 3, 4];

const FOLDER: &str = "log";
/// An order that has taken so long is given up.
const ORDER_PATIENCE: Duration = Duration::from_secs(4);
/// The wall clock at the beginning, in ms.
const EPOCH: u64 = 1_800_000_000_000;

/// What an operator lets a node do. The leader of the group does it, anybody else refuses.
#[derive(Debug, Clone, Copy)]
pub enum Order {
    /// All nodes take part.
    Grow(u32),
    /// This node alone goes on.
    Shrink(u32),
    /// Another one leads.
    Transfer(u32, u64),
    /// The shard dies, and another one listens.
    Relisten(u32),
}

/// What stays of a node.
pub struct Place {
    pub number: u64,
    pub disk: Arc<Disk>,
    pub oracle: Oracle,
    pub planted: Planted,
    /// How far its wall clock is ahead, in ms.
    pub ahead: AtomicI64,
    pub writes: Arc<AtomicBool>,
    pub random: Mutex<Random>,
    /// While it is there.
    pub alive: Mutex<Option<Alive>>,
}

/// What others see of a node that is there.
pub struct Alive {
    pub groups: Vec<Arc<Group>>,
    pub orders: mpsc::UnboundedSender<Order>,
}

impl Clock for Place {
    fn now(&self) -> Timestamp {
        let elapsed = self.oracle.now().as_millis() as u64;
        Timestamp::from_millis((EPOCH + elapsed).saturating_add_signed(self.ahead.load(Ordering::Relaxed)))
    }
}

impl Place {
    fn bits(&self) -> u64 {
        self.random.lock().unwrap().bits()
    }

    /// Lives until its host crashes. Where its disk fails at the start, it waits for that.
    pub async fn live(self: Arc<Self>) -> turmoil::Result {
        let lived = self.clone().serve().await;
        if self.disk.fails() { std::future::pending().await } else { lived }
    }

    async fn serve(self: Arc<Self>) -> turmoil::Result {
        let number = self.number;
        let folder = Path::new(FOLDER);
        let options = Options {
            node: number,
            shards: SHARDS,
            begins: number == 1,
            segment_bytes: 64 << 10,
            batch_bytes: 16 << 10,
            tail_bytes: 4 << 10,
            reserve_bytes: 64 << 10,
            entropy: Some(self.bits()),
            drive: Drive::Inline(self.disk.pace()),
            ..Options::default()
        };
        let storage = Storage::open(self.disk.files(), folder, options)?;
        let generation = storage.generation();
        self.oracle.note("start", format!("node {number} generation {generation}"));
        let groups: Vec<Arc<Group>> = GROUPS.map(|group| storage.group(group)).into();
        let transport = Arc::new(self.transport(generation).await?);
        let hears = storage.join(transport.clone(), &Timing::default(), None).await?;
        transport.start(hears);

        let mut shards: BTreeMap<u32, _> =
            WRITTEN.map(|group| (group, self.shard(&groups[group as usize]))).into();
        let (orders, mut ordered) = mpsc::unbounded_channel();
        *self.alive.lock().unwrap() = Some(Alive { groups: groups.clone(), orders });
        while let Some(order) = ordered.recv().await {
            if let Order::Relisten(number) = order {
                let before = shards.insert(number, self.shard(&groups[number as usize]));
                before.inspect(tokio::task::JoinHandle::abort);
                continue;
            }
            let (place, groups) = (self.clone(), groups.clone());
            tokio::spawn(async move {
                let done = timeout(ORDER_PATIENCE, carry_out(number, &groups, order)).await;
                let fate = match done {
                    Ok(Ok(())) => "done",
                    Ok(Err(_)) => "refused",
                    Err(_) => "late",
                };
                place.oracle.note(&format!("order {fate}"), format!("node {number} {order:?}"));
            });
        }
        Ok(())
    }

    fn shard(&self, group: &Arc<Group>) -> tokio::task::JoinHandle<()> {
        let log: Arc<dyn ShardLog> = match self.planted {
            Planted::NoBarrier => Arc::new(Unguarded(group.clone())),
            Planted::Nothing | Planted::EarlyAck => group.clone(),
        };
        tokio::spawn(Shard::live(Setting {
            node: self.number,
            group: group.number(),
            log,
            oracle: self.oracle.clone(),
            writes: self.writes.clone(),
            seed: self.bits(),
        }))
    }

    async fn transport(self: &Arc<Self>, generation: u64) -> Result<Transport, Box<dyn std::error::Error>> {
        let me = Me {
            generation,
            start: self.bits(),
            // What is written here may be lost with the power; nothing is said that a lost disk would deny.
            durable: Arc::new(|| 0),
            feature: 1,
            software: "simulated".into(),
            address: String::new(),
            clock: self.clone(),
        };
        let options = transport::Options { entropy: Some(self.bits()), ..transport::Options::default() };
        let transport = Transport::open(net::socket().await?, &identities()[&self.number], me, options)?;
        let enrolled = |node| Enrolled { address: net::address(node).to_string(), ..Enrolled::default() };
        transport.learn(Roll { nodes: ALL.map(|node| (node, enrolled(node))).into(), ..Roll::default() });
        Ok(transport)
    }
}

async fn carry_out(me: u64, groups: &[Arc<Group>], order: Order) -> Result<(), Stuck> {
    match order {
        Order::Grow(number) => {
            let group = &groups[number as usize];
            group.grow().await?;
            let view = group.view();
            for node in ALL.into_iter().filter(|node| !view.voters.contains(node)) {
                group.change(Change::Learn { node }).await?;
            }
            group.change(Change::Vote { voters: ALL.into() }).await
        }
        Order::Shrink(number) => {
            let group = &groups[number as usize];
            group.change(Change::Vote { voters: BTreeSet::from([me]) }).await?;
            group.shrink().await
        }
        Order::Transfer(number, to) => groups[number as usize].change(Change::Transfer { to }).await,
        Order::Relisten(_) => Ok(()),
    }
}

/// The same for all runs of a process: their bytes are no part of a history.
fn identities() -> &'static BTreeMap<u64, Identity> {
    static IDENTITIES: OnceLock<BTreeMap<u64, Identity>> = OnceLock::new();
    IDENTITIES.get_or_init(|| {
        let now = SystemTime::now();
        let authority = Authority::found(ClusterId(0x51), now).expect("the system has randomness");
        ALL.map(|node| (node, authority.issue(node, now).expect("it signs"))).into()
    })
}
