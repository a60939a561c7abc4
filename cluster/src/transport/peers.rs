//! The other nodes: who is connected, what was seen of each, and which of two connections to the same node is used.
//!
//! Both nodes may dial at once. The one that the smaller number dialled is used then, so that both keep the same one; of
//! two that the same node dialled the newer one is, since nobody dials who has a connection. The older one ends before
//! the newer one begins: whoever hears messages hears `lost` between the two.

use quinn::Connection;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::{OwnedMutexGuard, watch};
use tokio::time::Instant;

use super::hello::{Hello, Ping, Roll, Seen, Shown};
use super::link::Link;
use super::liveness::Liveness;
use super::refusal::Refusal;

/// All other nodes.
#[derive(Debug)]
pub(super) struct Peers {
    nodes: Mutex<Nodes>,
    links: RwLock<BTreeMap<u64, Arc<Link>>>,
    liveness: Mutex<Liveness>,
    /// Told whenever a connection takes a seat or leaves it.
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Nodes {
    peers: BTreeMap<u64, Peer>,
    /// Connections that were let in, ever: the number of the next one.
    admitted: u64,
}

#[derive(Debug, Default)]
struct Peer {
    seen: Option<Seen>,
    held: Option<Held>,
    /// Whoever has it is the one connection to that node.
    seat: Arc<tokio::sync::Mutex<()>>,
}

/// The connection that has, or will have, the seat.
#[derive(Debug)]
struct Held {
    number: u64,
    start: u64,
    by_smaller: bool,
    connection: Connection,
}

/// A connection that was let in, and waits until the one before it has ended.
pub(super) struct Seat {
    held: Holding,
    seat: Arc<tokio::sync::Mutex<()>>,
}

/// The one connection to a node.
pub(super) struct Place {
    _held: Holding,
    _seat: OwnedMutexGuard<()>,
}

/// Gives the seat back when it is dropped.
struct Holding {
    peers: Arc<Peers>,
    node: u64,
    number: u64,
}

impl Peers {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            nodes: Mutex::default(),
            links: RwLock::default(),
            liveness: Mutex::default(),
            changed: watch::channel(()).0,
        })
    }

    /// Judges a node that said hello, and gives its connection the seat if it is let in.
    pub(super) fn admit(
        self: &Arc<Self>,
        ours: &Hello,
        theirs: &Hello,
        shown: &Shown,
        roll: &Roll,
        by_smaller: bool,
        connection: &Connection,
    ) -> Result<(u8, Seat), Refusal> {
        let mut nodes = self.nodes();
        let seen = nodes.peers.get(&theirs.node).and_then(|peer| peer.seen);
        let version = ours.judge(theirs, shown, roll, seen.as_ref())?;
        nodes.admitted += 1;
        let number = nodes.admitted;
        let peer = nodes.peers.entry(theirs.node).or_default();
        let before = seen.map_or(0, |seen| seen.durable);
        peer.seen = Some(Seen { durable: theirs.durable.max(before), ..theirs.seen() });
        let is_open = |held: &&Held| held.connection.close_reason().is_none();
        if let Some(held) = peer.held.as_ref().filter(is_open) {
            if held.start == theirs.start && held.by_smaller && !by_smaller {
                return Err(Refusal::Spare);
            }
            Refusal::Spare.close(&held.connection);
        }
        let (start, connection) = (theirs.start, connection.clone());
        peer.held = Some(Held { number, start, by_smaller, connection });
        let seat = peer.seat.clone();
        drop(nodes);
        self.changed.send_replace(());
        let held = Holding { peers: self.clone(), node: theirs.node, number };
        Ok((version, Seat { held, seat }))
    }

    /// Whether there is a connection to that node, or one begins.
    pub(super) fn holds(&self, node: u64) -> bool {
        self.nodes().peers.get(&node).is_some_and(|peer| peer.held.is_some())
    }

    /// Waits until there is none.
    pub(super) async fn until_free(&self, node: u64) {
        let mut changed = self.changed.subscribe();
        while self.holds(node) {
            if changed.changed().await.is_err() {
                return;
            }
        }
    }

    pub(super) fn enter(&self, link: Arc<Link>) {
        self.heard(link.hello.node);
        self.links.write().unwrap_or_else(PoisonError::into_inner).insert(link.hello.node, link);
    }

    pub(super) fn leave(&self, link: &Link) {
        self.links.write().unwrap_or_else(PoisonError::into_inner).remove(&link.hello.node);
    }

    pub(super) fn link(&self, node: u64) -> Option<Arc<Link>> {
        self.links.read().unwrap_or_else(PoisonError::into_inner).get(&node).cloned()
    }

    pub(super) fn links(&self) -> Vec<Arc<Link>> {
        self.links.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// The cluster's nodes are these: whoever of them was never heard is silent from now on.
    pub(super) fn expect(&self, me: u64, roll: &Roll) {
        let (mut liveness, now) = (self.liveness(), Instant::now());
        for (node, enrolled) in roll.nodes.iter().filter(|(node, _)| **node != me) {
            match enrolled.is_gone {
                true => liveness.forget(*node),
                false => liveness.expect(*node, now),
            }
        }
    }

    pub(super) fn heard(&self, node: u64) {
        self.liveness().heard(node, Instant::now());
    }

    pub(super) fn pinged(&self, node: u64, ping: &Ping, ahead_ms: i64) {
        self.liveness().offset_measured(node, ahead_ms);
        if let Some(seen) = self.nodes().peers.get_mut(&node).and_then(|peer| peer.seen.as_mut()) {
            seen.durable = seen.durable.max(ping.durable);
        }
    }

    pub(super) fn silent(&self) -> Vec<(u64, Duration)> {
        self.liveness().silent(Instant::now()).collect()
    }

    pub(super) fn offset_ms(&self, node: u64) -> Option<i64> {
        self.liveness().offset_ms(node)
    }

    fn nodes(&self) -> MutexGuard<'_, Nodes> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn liveness(&self) -> MutexGuard<'_, Liveness> {
        self.liveness.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Waits until the connection before this one has ended.
    pub(super) async fn wait(self) -> Place {
        let Self { held, seat } = self;
        let seat = seat.lock_owned().await;
        Place { _held: held, _seat: seat }
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        let mut nodes = self.peers.nodes();
        if let Some(peer) = nodes.peers.get_mut(&self.node)
            && peer.held.as_ref().is_some_and(|held| held.number == self.number)
        {
            peer.held = None;
        }
        drop(nodes);
        self.peers.changed.send_replace(());
    }
}
