//! Nodes of a test, and an ear that keeps all that it hears.

use bytes::Bytes;
use cluster::transport::authority::{Authority, ClusterId, Identity};
use cluster::transport::{Enrolled, Me, Options, Refused, Roll, Socket, Transport};
use cluster::wire::{Boxed, BulkRead, Contact, Hears, Lane};
use runtime::clock::SystemClock;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

/// Only a test that fails waits so long.
const PATIENCE: Duration = Duration::from_secs(60);
pub const CLUSTER: ClusterId = ClusterId(0xC1A5);

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Heard(u64, Lane, Bytes),
    Reached(Contact),
    Lost(u64),
    /// A bulk stream, its bytes, and whether it came to its end.
    Bulk(Bytes, usize, bool),
}

/// Keeps all that happens, in order.
pub struct Ear {
    events: watch::Sender<Vec<Event>>,
    /// Bulk streams take one of them for each piece that they read.
    pub pieces: Arc<Semaphore>,
    /// What bulk streams are answered with.
    pub answer: Mutex<Result<Bytes, String>>,
}

pub struct Node {
    pub transport: Transport,
    pub ear: Arc<Ear>,
    pub number: u64,
    pub address: SocketAddr,
    pub durable: Arc<AtomicU64>,
}

/// Which start of a node it is, and what of it is not as usual.
pub struct Start {
    pub identity: Identity,
    pub generation: u64,
    pub start: u64,
    pub durable: u64,
    pub options: Options,
    pub socket: Socket,
}

/// Nothing in a test ends because its machine is slow.
pub fn patient() -> Options {
    Options { patience: Duration::from_secs(20), silence_max: Duration::from_secs(30), ..Options::default() }
}

pub fn loopback() -> Socket {
    Socket::bind("127.0.0.1:0".parse().unwrap()).unwrap()
}

pub fn authority() -> Authority {
    Authority::found(CLUSTER, SystemTime::now()).unwrap()
}

impl Start {
    pub fn of(authority: &Authority, node: u64) -> Self {
        let identity = authority.issue(node, SystemTime::now()).unwrap();
        let (options, socket) = (patient(), loopback());
        Self { identity, generation: 1, start: node * 100 + 1, durable: 10, options, socket }
    }

    /// Opens it; it neither answers nor dials before [`Node::meet`].
    pub fn open(self) -> Node {
        let Self { identity, generation, start, durable, options, socket } = self;
        let durable = Arc::new(AtomicU64::new(durable));
        let read = durable.clone();
        let me = Me {
            generation,
            start,
            durable: Arc::new(move || read.load(Ordering::Relaxed)),
            feature: 1,
            software: "a test".into(),
            address: String::new(),
            clock: Arc::new(SystemClock),
        };
        let transport = Transport::open(socket, &identity, me, options).unwrap();
        let address = transport.local_address().unwrap();
        Node { transport, ear: Ear::new(), number: identity.name.node, address, durable }
    }
}

/// Nodes 1 to `n` on loopback, which know each other and have met.
pub async fn met(n: u64) -> Vec<Node> {
    let authority = authority();
    let nodes: Vec<_> = (1..=n).map(|node| Start::of(&authority, node).open()).collect();
    introduce(&nodes.iter().collect::<Vec<_>>());
    for node in &nodes {
        for other in nodes.iter().filter(|other| other.number != node.number) {
            node.until_reached(other.number).await;
        }
    }
    nodes
}

/// Tells each of them of all, and starts them.
pub fn introduce(nodes: &[&Node]) {
    let roll = roll(nodes);
    nodes.iter().for_each(|node| node.meet(roll.clone()));
}

pub fn roll(nodes: &[&Node]) -> Roll {
    let enrolled =
        |node: &&Node| (node.number, Enrolled { address: node.address.to_string(), ..Enrolled::default() });
    Roll { nodes: nodes.iter().map(enrolled).collect(), ..Roll::default() }
}

impl Node {
    pub fn meet(&self, roll: Roll) {
        self.transport.learn(roll);
        self.transport.start(self.ear.clone());
    }

    pub async fn until_reached(&self, node: u64) {
        self.ear.until(|events| matches!(events.last_change_of(node), Some(Event::Reached(_)))).await;
    }

    pub async fn until_lost(&self, node: u64) {
        self.ear.until(|events| events.last_change_of(node) == Some(Event::Lost(node))).await;
    }

    /// The first refusal with that code.
    pub async fn refusal(&self, code: u32) -> Refused {
        let mut refusals = self.transport.refusals();
        let found = |kept: &Vec<Refused>| kept.iter().any(|refused| refused.why.code() == code);
        let kept = timeout(PATIENCE, refusals.wait_for(found)).await;
        let Ok(kept) = kept else {
            panic!("no refusal {code} at node {}: {:?}", self.number, self.transport.refusals().borrow());
        };
        let kept = kept.unwrap();
        kept.iter().find(|refused| refused.why.code() == code).unwrap().clone()
    }
}

pub trait Changes {
    /// Whether a node was reached or lost last.
    fn last_change_of(&self, node: u64) -> Option<Event>;
}

impl Changes for [Event] {
    fn last_change_of(&self, node: u64) -> Option<Event> {
        let is_change = |event: &&Event| match event {
            Event::Reached(contact) => contact.node == node,
            Event::Lost(lost) => *lost == node,
            _ => false,
        };
        self.iter().rev().find(is_change).cloned()
    }
}

impl Ear {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            events: watch::channel(Vec::new()).0,
            pieces: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
            answer: Mutex::new(Ok(Bytes::from_static(b"taken"))),
        })
    }

    fn add(&self, event: Event) {
        self.events.send_modify(|events| events.push(event));
    }

    /// Waits until what has happened is so.
    pub async fn until(&self, is_so: impl Fn(&[Event]) -> bool) {
        let mut events = self.events.subscribe();
        let waited = timeout(PATIENCE, events.wait_for(|events| is_so(events))).await;
        if waited.is_err() {
            let events = self.events.borrow();
            panic!("it did not happen; of {} events the last are {:?}", events.len(), shown(&events));
        }
    }

    pub fn events(&self) -> Vec<Event> {
        self.events.borrow().clone()
    }

    /// The messages of a node on a lane, in the order in which they were heard.
    pub fn heard(&self, from: u64, lane: Lane) -> Vec<Bytes> {
        let heard = self.events().into_iter().filter_map(|event| match event {
            Event::Heard(node, on, message) if node == from && on == lane => Some(message),
            _ => None,
        });
        heard.collect()
    }

    pub fn count(&self, from: u64, lane: Lane) -> usize {
        self.events
            .borrow()
            .iter()
            .filter(|event| matches!(event, Event::Heard(node, on, _) if *node == from && *on == lane))
            .count()
    }
}

/// The last few, without their bytes.
fn shown(events: &[Event]) -> Vec<String> {
    let last = events.iter().rev().take(8).map(|event| match event {
        Event::Heard(node, lane, message) => format!("{} bytes of {node} on {lane:?}", message.len()),
        other => format!("{other:?}"),
    });
    last.collect()
}

impl Hears for Ear {
    fn heard(&self, from: Contact, lane: Lane, message: Bytes) {
        self.add(Event::Heard(from.node, lane, message));
    }

    fn bulk(&self, _: Contact, what: Bytes, mut stream: Box<dyn BulkRead>) -> Boxed<Result<Bytes, String>> {
        let (pieces, answer) = (self.pieces.clone(), self.answer.lock().unwrap().clone());
        let events = self.events.clone();
        Box::pin(async move {
            let mut bytes = 0;
            loop {
                pieces.acquire().await.unwrap().forget();
                match stream.read().await {
                    Ok(Some(piece)) => bytes += piece.len(),
                    ended => {
                        events.send_modify(|events| events.push(Event::Bulk(what, bytes, ended.is_ok())));
                        return answer;
                    }
                }
            }
        })
    }

    fn reached(&self, peer: Contact) {
        self.add(Event::Reached(peer));
    }

    fn lost(&self, peer: u64) {
        self.add(Event::Lost(peer));
    }
}
