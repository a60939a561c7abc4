//! Twins whose shards other nodes lead: what is said to them goes there, and what they say comes back.
//!
//! ```text
//! Router --the door leads here--> shard
//!        \--elsewhere: client --> link ~~ Forward ~~> link --> desk --> Router of the node that leads --> shard
//! ```
//!
//! The *client* knows what was said and has no answer; the *desk* takes what other nodes say, under the limits of their
//! shards, and has a mailbox for each of their connections that keeps nothing. Between them is a `link`. What is
//! lost on it, or with a leader, is answered with `Unknown` on the side that asked, which says it again under its
//! number: so that nobody waits for ever, and nothing happens twice.

mod client;
mod codec;
mod desk;
mod frame;
mod link;
mod proxy;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use bytes::Bytes;
use ractor::ActorRef;
use twins::rejection::{Code, Rejection};

use crate::admission::NODES_FULL;
use crate::attached::{Attached, Connection};
use crate::error::Error;
use crate::shard::actor::Message;
use crate::shard::attach::{Attaching, Attending};

use client::Client;
pub(crate) use client::Goodbye;
use desk::Desk;
pub(crate) use frame::{Answer, Frame, Held, Sent};
pub use link::Malformed;
use link::{Link, MESSAGE_MAX};
pub(crate) use proxy::Caller;

/// The port to other nodes. The cluster fills it.
pub trait Forward: Send + Sync + 'static {
    /// Who leads a shard, as far as this node knows.
    fn leader(&self, shard: u32) -> Option<u64>;

    /// Sends a frame of at most 1 MiB and a header to a node, behind those before it. Does not block, and calls nobody
    /// back. What is sent may be lost, but does not come before what was sent before it.
    ///
    /// # Errors
    /// [`Error::Overloaded`] where too much waits; anything else where the node is not reached. It was not sent then.
    fn send(&self, to: u64, frame: Bytes) -> Result<(), Error>;
}

/// What is on its way.
pub type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What answers other nodes for the group that all nodes have.
pub trait Answers: Send + Sync + 'static {
    /// Answers what another node asked.
    fn answer(&self, body: Bytes) -> Boxed<Result<Bytes, Error>>;
}

/// All that a node has to do with others.
pub(crate) struct Away {
    /// This node and its generation.
    node: (u64, u64),
    forward: OnceLock<Arc<dyn Forward>>,
    answers: OnceLock<Arc<dyn Answers>>,
    peers: RwLock<HashMap<u64, Arc<Mutex<Peer>>>>,
    /// Who leads each shard, as this node was last told; 0 where nobody does.
    led: Box<[AtomicU64]>,
    client: Client,
    desk: Desk,
    pub(crate) attached: Attached,
}

/// Another node.
struct Peer {
    /// The last generation that was heard of.
    generation: u64,
    link: Link,
}

/// Why something was not said.
#[derive(Debug, Clone)]
pub(crate) enum NotSaid {
    Full,
    Unreached(String),
    TooLarge(usize),
}

impl NotSaid {
    /// As whoever speaks to a shard hears it.
    pub(crate) fn of(self, shard: u32) -> Error {
        match self {
            Self::Full => Error::Overloaded { shard, limit: NODES_FULL },
            Self::Unreached(why) => Error::Unwritten { shard, why },
            Self::TooLarge(bytes) => {
                let why = format!("it has {bytes} bytes, too many to be sent between nodes");
                Rejection::new(Code::TooLarge, why).into()
            }
        }
    }
}

impl Away {
    pub(crate) fn new(node: (u64, u64), shards: u32) -> Arc<Self> {
        Arc::new(Self {
            node,
            forward: OnceLock::new(),
            answers: OnceLock::new(),
            peers: RwLock::default(),
            led: (0..shards).map(|_| AtomicU64::new(0)).collect(),
            client: Client::default(),
            desk: Desk::default(),
            attached: Attached::new(shards),
        })
    }

    /// Other nodes are reached by this from now on.
    pub(crate) fn reach(&self, forward: Arc<dyn Forward>) {
        assert!(self.forward.set(forward).is_ok(), "a node has one way to others");
    }

    pub(crate) fn answer_with(&self, answers: Arc<dyn Answers>) {
        assert!(self.answers.set(answers).is_ok(), "one answers for the group of all nodes");
    }

    /// Whether there may be other nodes.
    pub(crate) fn is_used(&self) -> bool {
        self.forward.get().is_some()
    }

    /// The other node that leads a shard, if one does.
    pub(crate) fn leader(&self, shard: u32) -> Option<u64> {
        self.forward.get()?.leader(shard).filter(|leader| *leader != self.node.0)
    }

    /// A shard of this node begins to lead.
    pub(crate) fn leads_here(self: &Arc<Self>, shard: u32, actor: &ActorRef<Message>) {
        if !self.is_used() {
            return;
        }
        self.set_led(shard, Some(self.node.0));
        self.client_led(shard, self.node.0);
        self.attached.led(shard);
        let due = self.attached.take_due(shard);
        self.attach_here(shard, actor, due);
    }

    /// Attaches connections of this node to a shard of it. What cannot be said now is said again by them.
    pub(crate) fn attach_here(
        self: &Arc<Self>,
        shard: u32,
        actor: &ActorRef<Message>,
        connections: Vec<(u64, Connection)>,
    ) {
        let away = Arc::downgrade(self);
        let attending = Attending::new(connections.len(), move |is_done: bool| {
            let Some(away) = away.upgrade() else { return };
            match is_done {
                true => away.attached.again(shard),
                false => away.attached.lapse(shard),
            }
        });
        let attaching = |(_, connection): (u64, Connection)| {
            let Connection { twin, epoch, mailbox } = connection;
            Attaching { twin, epoch, from: self.node, mailbox, attending: attending.clone() }
        };
        drop(actor.cast(Message::Attach(connections.into_iter().map(attaching).collect())));
    }

    /// Who was last said to lead a shard.
    fn last_led(&self, shard: u32) -> Option<u64> {
        let led = self.led.get(shard as usize)?.load(Ordering::Acquire);
        Some(led).filter(|led| *led > 0)
    }

    /// Says something to a node.
    pub(crate) fn say(&self, to: u64, frame: &Frame) -> Result<(), NotSaid> {
        let body = frame.encode();
        if body.len() > MESSAGE_MAX {
            return Err(NotSaid::TooLarge(body.len()));
        }
        let said = {
            let peer = self.peer(to);
            let mut peer = lock(&peer);
            match peer.link.is_open() {
                true => self.send(to, &mut peer, &body),
                false => {
                    // The answer opens it.
                    drop(self.send(to, &mut peer, &Frame::Beat.encode()));
                    Err((NotSaid::Unreached(format!("node {to} was not heard of yet")), false))
                }
            }
        };
        said.map_err(|(why, is_broken)| {
            if is_broken {
                self.severed(to);
            }
            why
        })
    }

    /// Has a node hear how far this one's words went.
    pub(crate) fn beat(&self, to: u64) {
        let peer = self.peer(to);
        // One that is not reached will ask.
        drop(self.send(to, &mut lock(&peer), &Frame::Beat.encode()));
    }

    /// Sends a message; or says why not, and whether the link is broken by that.
    fn send(&self, to: u64, peer: &mut Peer, body: &[u8]) -> Result<(), (NotSaid, bool)> {
        let Some(forward) = self.forward.get() else {
            return Err((NotSaid::Unreached("this node knows no others".to_owned()), false));
        };
        let pieces = peer.link.say(body);
        let count = pieces.len();
        for (n, piece) in pieces.into_iter().enumerate() {
            let Err(error) = forward.send(to, piece) else { continue };
            match n {
                0 => peer.link.unsay(count),
                _ => peer.link.break_off(),
            }
            let why = match error {
                Error::Overloaded { .. } => NotSaid::Full,
                other => NotSaid::Unreached(format!("node {to} is not reached: {other}")),
            };
            return Err((why, n > 0));
        }
        Ok(())
    }

    /// A frame of another node: what it says, if that is whole.
    pub(crate) fn hear(&self, from: (u64, u64), frame: &Bytes) -> Result<Option<Frame>, Malformed> {
        let (node, generation) = from;
        let peer = self.peer(node);
        let heard = {
            let mut peer = lock(&peer);
            if generation < peer.generation {
                return Ok(None);
            }
            peer.generation = generation;
            peer.link.hear(frame)?
        };
        if heard.is_broken {
            self.severed(node);
        }
        if heard.is_to_answer {
            self.beat(node);
        }
        let Some(message) = heard.message else { return Ok(None) };
        Frame::decode(&message).map(Some).map_err(Malformed::Body)
    }

    /// The way to a node is gone, with what was on it.
    pub(crate) fn lost(&self, node: u64) {
        lock(&self.peer(node)).link.break_off();
        self.severed(node);
    }

    /// All that rests on what was said between this node and another is void.
    fn severed(&self, node: u64) {
        self.client_severed(node);
        self.desk_severed(node);
        for (shard, led) in (0..).zip(&self.led) {
            if led.load(Ordering::Acquire) == node {
                self.attached.lapse(shard);
            }
        }
    }

    /// Says that a shard is led by this node, or by nobody that is known. Returns whether that is news.
    pub(crate) fn set_led(&self, shard: u32, by: Option<u64>) -> bool {
        let Some(led) = self.led.get(shard as usize) else { return false };
        led.swap(by.unwrap_or(0), Ordering::AcqRel) != by.unwrap_or(0)
    }

    fn peer(&self, node: u64) -> Arc<Mutex<Peer>> {
        let known = self.peers.read().unwrap_or_else(PoisonError::into_inner).get(&node).cloned();
        known.unwrap_or_else(|| {
            let mut peers = self.peers.write().unwrap_or_else(PoisonError::into_inner);
            let new = || Arc::new(Mutex::new(Peer { generation: 0, link: Link::new(self.node.1) }));
            peers.entry(node).or_insert_with(new).clone()
        })
    }
}

/// Nobody panics while holding one of these: what is done under them is moving and counting.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
