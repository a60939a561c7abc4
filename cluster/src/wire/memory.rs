//! A wire in memory, for tests: nodes of one process, whose connections are cut and mended at will.
//!
//! It keeps what the [wire](super) promises and no more: the order of a lane, and nothing between lanes, as each message
//! takes a time of its own, drawn from a seed. What is under way when a connection is cut is lost.

use super::{Boxed, BulkRead, BulkWrite, Contact, Hears, Lane, NotSent, Wire};
use bytes::Bytes;
use runtime::files::sim::Random;
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// How many messages a lane holds; one more is refused.
const LANE_MESSAGES: usize = 1024;

/// How many pieces of a stream are under way.
const STREAM_PIECES: usize = 8;

/// The nodes and what connects them. Cheap to clone.
#[derive(Clone)]
pub struct Mesh(Arc<Mutex<State>>);

struct State {
    random: Random,
    delay: Range<Duration>,
    nodes: BTreeMap<u64, Node>,
    /// The connections, the smaller node first, by the number that each has: one that is mended is another one.
    connections: BTreeMap<(u64, u64), u64>,
    made: u64,
    /// When connections were cut that are not mended.
    cut: BTreeMap<(u64, u64), Instant>,
    lanes: BTreeMap<(u64, u64, Lane), LaneEnd>,
}

struct Node {
    generation: u64,
    hears: Arc<dyn Hears>,
}

/// The sending end of a lane of one connection.
struct LaneEnd {
    messages: mpsc::Sender<(Instant, Bytes)>,
    /// When the last one arrives: none overtakes it.
    last: Instant,
}

impl Mesh {
    /// A mesh without nodes. Each message takes a time in the range.
    #[must_use]
    pub fn new(seed: u64, delay: Range<Duration>) -> Self {
        Self(Arc::new(Mutex::new(State {
            random: Random::new(seed),
            delay,
            nodes: BTreeMap::new(),
            connections: BTreeMap::new(),
            made: 0,
            cut: BTreeMap::new(),
            lanes: BTreeMap::new(),
        })))
    }

    /// The wire of a node, which is there before the node has joined.
    #[must_use]
    pub fn wire(&self, node: u64) -> Arc<dyn Wire> {
        Arc::new(End { mesh: Arc::downgrade(&self.0), node })
    }

    /// A node joins, and is connected to all that are there.
    pub fn join(&self, node: u64, generation: u64, hears: Arc<dyn Hears>) {
        let others: Vec<u64> = self.state().nodes.keys().copied().filter(|other| *other != node).collect();
        self.state().nodes.insert(node, Node { generation, hears });
        others.into_iter().for_each(|other| self.mend(node, other));
    }

    /// A node goes, and its connections with it.
    pub fn leave(&self, node: u64) {
        let others: Vec<u64> = self.state().nodes.keys().copied().filter(|other| *other != node).collect();
        others.into_iter().for_each(|other| self.cut(node, other));
        let gone = self.state().nodes.remove(&node);
        drop(gone);
    }

    /// Cuts the connection of two nodes.
    pub fn cut(&self, one: u64, other: u64) {
        let mut state = self.state();
        if state.connections.remove(&pair(one, other)).is_none() {
            return;
        }
        state.cut.insert(pair(one, other), Instant::now());
        state.lanes.retain(|(from, to, _), _| pair(*from, *to) != pair(one, other));
        let ends = state.ends(one, other);
        drop(state);
        for (hears, peer) in ends {
            hears.lost(peer.node);
        }
    }

    /// Connects two nodes that are there, unless they are connected.
    pub fn mend(&self, one: u64, other: u64) {
        let mut state = self.state();
        if state.connections.contains_key(&pair(one, other)) {
            return;
        }
        state.made += 1;
        let number = state.made;
        state.connections.insert(pair(one, other), number);
        state.cut.remove(&pair(one, other));
        let ends = state.ends(one, other);
        drop(state);
        for (hears, peer) in ends {
            hears.reached(peer);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0)
    }
}

impl State {
    fn contact(&self, node: u64) -> Option<Contact> {
        self.nodes.get(&node).map(|Node { generation, .. }| Contact { node, generation: *generation })
    }

    /// Both ends of a connection, each with who is at the other one.
    fn ends(&self, one: u64, other: u64) -> Vec<(Arc<dyn Hears>, Contact)> {
        let end = |at: u64, peer: u64| Some((self.nodes.get(&at)?.hears.clone(), self.contact(peer)?));
        [end(one, other), end(other, one)].into_iter().flatten().collect()
    }

    /// Who hears what comes by a connection, while that is there.
    fn hearer(&self, from: u64, to: u64, number: u64) -> Option<(Arc<dyn Hears>, Contact)> {
        (self.connections.get(&pair(from, to)) == Some(&number)).then_some(())?;
        Some((self.nodes.get(&to)?.hears.clone(), self.contact(from)?))
    }
}

/// One node's end of the mesh.
struct End {
    mesh: Weak<Mutex<State>>,
    node: u64,
}

impl Wire for End {
    fn send(&self, to: u64, lane: Lane, message: Bytes) -> Result<(), NotSent> {
        let mesh = self.mesh.upgrade().ok_or(NotSent::Unreached)?;
        let mut state = lock(&mesh);
        let number = *state.connections.get(&pair(self.node, to)).ok_or(NotSent::Unreached)?;
        let Range { start, end } = state.delay.clone();
        let spread = u64::try_from((end.saturating_sub(start)).as_micros()).unwrap_or(u64::MAX);
        let delay = start + Duration::from_micros(state.random.below(spread));
        let key = (self.node, to, lane);
        let end = state.lanes.entry(key).or_insert_with(|| lane_of(self.mesh.clone(), key, number));
        let at = end.last.max(Instant::now() + delay);
        end.messages.try_send((at, message)).map_err(|_| NotSent::Full)?;
        end.last = at;
        Ok(())
    }

    fn bulk(&self, to: u64, what: Bytes) -> Boxed<io::Result<Box<dyn BulkWrite>>> {
        let (mesh, from) = (self.mesh.clone(), self.node);
        Box::pin(async move {
            let connection = || {
                let mesh = mesh.upgrade()?;
                let state = lock(&mesh);
                let number = *state.connections.get(&pair(from, to))?;
                Some((number, state.hearer(from, to, number)?))
            };
            let (number, (hears, contact)) = connection().ok_or(io::ErrorKind::NotConnected)?;
            let (pieces, read) = mpsc::channel(STREAM_PIECES);
            let (answers, answer) = oneshot::channel();
            tokio::spawn(async move {
                let reads = Box::new(Reads { pieces: read, ended: false });
                drop(answers.send(hears.bulk(contact, what, reads).await));
            });
            Ok(Box::new(Writes { mesh, from, to, number, pieces, answer }) as Box<dyn BulkWrite>)
        })
    }

    fn contact(&self, node: u64) -> Option<Contact> {
        let mesh = self.mesh.upgrade()?;
        let state = lock(&mesh);
        state.connections.contains_key(&pair(self.node, node)).then(|| state.contact(node))?
    }

    /// A node is heard as long as it is connected.
    fn silent(&self) -> Vec<(u64, Duration)> {
        let Some(mesh) = self.mesh.upgrade() else { return Vec::new() };
        let state = lock(&mesh);
        let other = |(one, other): (u64, u64)| match self.node {
            node if node == one => Some(other),
            node if node == other => Some(one),
            _ => None,
        };
        let heard = state.connections.keys().filter_map(|ends| Some((other(*ends)?, Duration::ZERO)));
        heard.chain(state.cut.iter().filter_map(|(ends, at)| Some((other(*ends)?, at.elapsed())))).collect()
    }
}

/// Starts the task that delivers the messages of a lane; it ends when the connection does.
fn lane_of(mesh: Weak<Mutex<State>>, (from, to, lane): (u64, u64, Lane), number: u64) -> LaneEnd {
    let (messages, mut received) = mpsc::channel::<(Instant, Bytes)>(LANE_MESSAGES);
    tokio::spawn(async move {
        while let Some((at, message)) = received.recv().await {
            tokio::time::sleep_until(at).await;
            let hearer = mesh.upgrade().and_then(|mesh| lock(&mesh).hearer(from, to, number));
            let Some((hears, contact)) = hearer else { return };
            hears.heard(contact, lane, message);
        }
    });
    LaneEnd { messages, last: Instant::now() }
}

/// A stream's sending end. A piece of none is the end.
struct Writes {
    mesh: Weak<Mutex<State>>,
    from: u64,
    to: u64,
    number: u64,
    pieces: mpsc::Sender<Option<Bytes>>,
    answer: oneshot::Receiver<Result<Bytes, String>>,
}

impl Writes {
    async fn put(&mut self, piece: Option<Bytes>) -> io::Result<()> {
        let is_connected =
            |mesh: Arc<Mutex<State>>| lock(&mesh).hearer(self.from, self.to, self.number).is_some();
        if !self.mesh.upgrade().is_some_and(is_connected) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if self.pieces.send(piece).await.is_ok() {
            return Ok(());
        }
        // It reads no more, and says why.
        match (&mut self.answer).await {
            Ok(Ok(_)) => Err(io::Error::other("the other node has answered before the stream's end")),
            Ok(Err(reason)) => Err(io::Error::other(reason)),
            Err(_) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

impl BulkWrite for Writes {
    fn write(&mut self, piece: Bytes) -> Pin<Box<dyn Future<Output = io::Result<()>> + Send + '_>> {
        Box::pin(self.put(Some(piece)))
    }

    fn finish(mut self: Box<Self>) -> Boxed<io::Result<Bytes>> {
        Box::pin(async move {
            self.put(None).await?;
            let answer = self.answer.await.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
            answer.map_err(io::Error::other)
        })
    }
}

/// A stream's receiving end.
struct Reads {
    pieces: mpsc::Receiver<Option<Bytes>>,
    ended: bool,
}

impl BulkRead for Reads {
    fn read(&mut self) -> Pin<Box<dyn Future<Output = io::Result<Option<Bytes>>> + Send + '_>> {
        Box::pin(async move {
            if self.ended {
                return Ok(None);
            }
            let piece = self.pieces.recv().await.ok_or(io::ErrorKind::ConnectionReset)?;
            self.ended = piece.is_none();
            Ok(piece)
        })
    }
}

fn pair(one: u64, other: u64) -> (u64, u64) {
    (one.min(other), one.max(other))
}

/// The lock guards memory only, and nothing that panics is left half done under it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
