//! The other nodes, as this one's groups and twins have to do with them: what comes by the wire goes to whom it concerns,
//! and what they want of other nodes leaves by it.
//!
//! ```text
//! wire --pulse, log, bulk--> groups        groups --leader--> router, forwarding
//!      \--forward----------> router        meta, router --ask--> wire
//! ```
//!
//! It is there before there is a wire, since a node that serves may be the first of a cluster later: until then it leads
//! everything, and nothing leaves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use runtime::away::{Answers, Forward};
use runtime::error::Error;
use runtime::replica::Replicas;
use runtime::router::Router;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::consensus::Timing;
use crate::group::{self, Group, Stuck, View};
use crate::meta::{Elsewhere, Meta, NotAnswered};
use crate::placement::{Change, Driver, Groups};
use crate::storage::{META_GROUP, Storage};
use crate::wire::{Boxed, BulkRead, Contact, Hears, Lane, NotSent, Wire};

/// How often the router is told of the nodes.
const BEAT: Duration = Duration::from_millis(250);
/// How long the leader of the meta group may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// All that a node has to do with others. It ends with [`end`](Self::end).
pub struct Others {
    me: Weak<Others>,
    node: u64,
    generation: u64,
    meta: Arc<Meta>,
    /// The meta group, then those of the shards.
    groups: Vec<Arc<Group>>,
    /// Who leads each shard.
    leaders: Vec<watch::Receiver<Option<u64>>>,
    router: OnceLock<Router>,
    joined: OnceLock<Joined>,
    tasks: Mutex<JoinSet<()>>,
}

/// What there is once there is a wire.
struct Joined {
    wire: Arc<dyn Wire>,
    consensus: Arc<dyn Hears>,
}

impl Others {
    /// Of the node with this number.
    #[must_use]
    pub fn new(storage: &Storage, node: u64) -> Arc<Self> {
        let groups: Vec<_> = (META_GROUP..=storage.shards()).map(|group| storage.group(group)).collect();
        let leaders = groups[1..].iter().map(|group| group.leader()).collect();
        Arc::new_cyclic(|me| Self {
            me: me.clone(),
            node,
            generation: storage.generation(),
            meta: storage.meta(),
            groups,
            leaders,
            router: OnceLock::new(),
            joined: OnceLock::new(),
            tasks: Mutex::default(),
        })
    }

    /// Joins the groups to a wire, and begins to place shards; answers who hears what comes by it. To be called once, on a
    /// runtime.
    ///
    /// # Errors
    /// [`Stuck`] when consensus does not start on a group.
    pub async fn join(
        self: &Arc<Self>,
        storage: &Storage,
        wire: Arc<dyn Wire>,
        timing: &Timing,
        replicas: Arc<dyn Replicas>,
    ) -> Result<Arc<dyn Hears>, Stuck> {
        let consensus = storage.join(wire.clone(), timing, Some(replicas)).await?;
        if self.joined.set(Joined { wire, consensus }).is_ok() {
            let placed = Arc::new(Placed(self.me.clone()));
            self.tasks().spawn(Driver::new(self.meta.clone(), placed, self.node).run());
        }
        Ok(self.clone())
    }

    /// Serves the node's twins: their router reaches other nodes from now on, and hears of them. To be called once, on a
    /// runtime, before connections are taken.
    pub fn serve(self: &Arc<Self>, router: &Router) {
        let port = Arc::new(Port(self.me.clone()));
        router.reach(port.clone());
        router.answer_with(port.clone());
        self.meta.reach(port);
        if self.router.set(router.clone()).is_err() {
            return;
        }
        let mut tasks = self.tasks();
        for (shard, leader) in (0..).zip(&self.leaders) {
            tasks.spawn(tell_leader(router.clone(), shard, leader.clone()));
        }
        tasks.spawn(beat(self.me.clone()));
    }

    /// Does something beside, until the node ends.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks().spawn(task);
    }

    /// Places no shards and tells nobody of other nodes any more. What comes by the wire is still heard.
    pub fn end(&self) {
        self.tasks().abort_all();
    }

    /// The other nodes as the router sees them: the generation of each, and for how long it was silent.
    fn seen(&self) -> BTreeMap<u64, (u64, Duration)> {
        let mut seen = BTreeMap::from([(self.node, (self.generation, Duration::ZERO))]);
        let Some(Joined { wire, .. }) = self.joined.get() else { return seen };
        let state = self.meta.state();
        let silent: BTreeMap<u64, Duration> = wire.silent().into_iter().collect();
        for node in state.present().filter(|node| *node != self.node) {
            let known = state.nodes.get(&node).map_or(0, |known| known.generation);
            let generation = wire.contact(node).map_or(known, |contact| contact.generation.max(known));
            if let Some(silent) = silent.get(&node) {
                seen.insert(node, (generation, *silent));
            }
        }
        seen
    }

    fn tasks(&self) -> std::sync::MutexGuard<'_, JoinSet<()>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hears for Others {
    fn heard(&self, from: Contact, lane: Lane, message: Bytes) {
        let Some(Joined { consensus, .. }) = self.joined.get() else { return };
        match (lane, self.router.get()) {
            (Lane::Forward, Some(router)) => {
                if let Err(error) = router.arrived((from.node, from.generation), message) {
                    tracing::error!(node = from.node, %error, "a node says what this one does not understand");
                    router.lost(from.node);
                }
            }
            // Whoever sent it begins anew when this node's twins are there.
            (Lane::Forward, None) => {}
            (Lane::Pulse | Lane::Log, _) => consensus.heard(from, lane, message),
        }
    }

    fn bulk(&self, from: Contact, what: Bytes, stream: Box<dyn BulkRead>) -> Boxed<Result<Bytes, String>> {
        match self.joined.get() {
            Some(Joined { consensus, .. }) => consensus.bulk(from, what, stream),
            None => Box::pin(async { Err("this node is not ready".to_owned()) }),
        }
    }

    fn reached(&self, peer: Contact) {
        if let Some(Joined { consensus, .. }) = self.joined.get() {
            consensus.reached(peer);
        }
    }

    fn lost(&self, peer: u64) {
        if let Some(Joined { consensus, .. }) = self.joined.get() {
            consensus.lost(peer);
        }
        if let Some(router) = self.router.get() {
            router.lost(peer);
        }
    }
}

/// Tells the router who leads a shard.
async fn tell_leader(router: Router, shard: u32, mut leader: watch::Receiver<Option<u64>>) {
    leader.mark_changed();
    while leader.changed().await.is_ok() {
        let leader = *leader.borrow_and_update();
        router.led(shard, leader);
    }
}

/// Tells the router of the nodes, until the node ends.
async fn beat(others: Weak<Others>) {
    let mut ticks = interval(BEAT);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(others) = others.upgrade() else { return };
        if let Some(router) = others.router.get() {
            router.nodes(others.seen());
        }
    }
}

/// The way out, for those who are held by what it leads to.
struct Port(Weak<Others>);

impl Forward for Port {
    fn leader(&self, shard: u32) -> Option<u64> {
        let others = self.0.upgrade()?;
        let known = *others.leaders.get(shard as usize)?.borrow();
        known.or_else(|| {
            // A node that has nothing of a shard hears nothing of it, and asks whoever should lead it.
            let group = others.groups.get(shard as usize + 1)?;
            if group.is_here() {
                return None;
            }
            let state = others.meta.state();
            let placement = state.shards.get(&shard)?;
            placement.preferred.or_else(|| placement.replicas.first().copied())
        })
    }

    fn send(&self, to: u64, frame: Bytes) -> Result<(), Error> {
        let unreached = |why: String| Error::Unwritten { shard: 0, why };
        let others = self.0.upgrade().ok_or(Error::Stopping)?;
        let joined = others.joined.get().ok_or_else(|| unreached("there are no other nodes".to_owned()))?;
        joined.wire.send(to, Lane::Forward, frame).map_err(|why| match why {
            NotSent::Full => {
                Error::Overloaded { shard: 0, limit: "the way to the node that leads it is full" }
            }
            NotSent::Unreached => unreached(format!("node {to}, which leads it, is not reached")),
        })
    }
}

impl Answers for Port {
    fn answer(&self, body: Bytes) -> runtime::away::Boxed<Result<Bytes, Error>> {
        let others = self.0.clone();
        Box::pin(async move {
            let meta = others.upgrade().ok_or(Error::Stopping)?.meta.clone();
            Ok(meta.answer(body).await)
        })
    }
}

impl Elsewhere for Port {
    fn ask(&self, leader: u64, request: Bytes) -> Boxed<Result<Bytes, NotAnswered>> {
        let router = self.0.upgrade().and_then(|others| others.router.get().cloned());
        Box::pin(async move {
            let router = router.ok_or(NotAnswered { node: leader })?;
            let asked = tokio::time::timeout(ANSWER_WITHIN, router.ask_node(leader, request)).await;
            asked.ok().and_then(Result::ok).ok_or(NotAnswered { node: leader })
        })
    }
}

/// The groups, as placement sees them.
struct Placed(Weak<Others>);

impl Groups for Placed {
    fn view(&self, group: u32) -> Option<View> {
        Some(self.0.upgrade()?.groups.get(group as usize)?.view())
    }

    fn reached(&self) -> BTreeSet<u64> {
        let Some(others) = self.0.upgrade() else { return BTreeSet::new() };
        let is_reached = |node: &u64| {
            let joined = others.joined.get();
            *node == others.node || joined.is_some_and(|joined| joined.wire.contact(*node).is_some())
        };
        others.meta.state().present().filter(is_reached).collect()
    }

    fn change(&self, group: u32, change: Change) -> Boxed<Result<(), Stuck>> {
        let found = self.0.upgrade().and_then(|others| others.groups.get(group as usize).cloned());
        Box::pin(async move {
            let gone = || Stuck::Refused { group, reason: "the node stops".to_owned() };
            let found = found.ok_or_else(gone)?;
            match change {
                Change::Grow => found.grow().await,
                Change::Shrink => found.shrink().await,
                Change::Learn { node } => found.change(group::Change::Learn { node }).await,
                Change::Vote { voters } => found.change(group::Change::Vote { voters }).await,
                Change::Transfer { to } => found.change(group::Change::Transfer { to }).await,
                Change::Forget { node } => found.change(group::Change::Forget { node }).await,
                Change::Leave => found.forget().await,
                Change::Report => Ok(()),
            }
        })
    }
}
