//! The wire over QUIC: one endpoint a node, one connection to each other node, mutual TLS from the cluster's authority.
//!
//! # What goes where
//! A connection has three streams each way, the lanes of [`crate::wire`]: the pulse leaves before what is forwarded, and
//! that before entries of logs. All that waits on a lane is one [`frame`]. Bulk streams come behind all of them. The
//! order of a lane is that of its stream; between lanes there is none.
//!
//! # Who is let in
//! TLS proves that the cluster's [`authority`] has signed for the other side, and for which number. Then both say
//! [`hello`], and each judges. What is refused is told to both, with what to do next: [`Refused`].
//!
//! Who is to become a node has no certificate yet. It [joins](join) through the same port, by a protocol of its own, on which
//! nothing else is said.
//!
//! # What it is not
//! It repeats nothing. A message that was under way when a connection ended may have arrived, or not; consensus and
//! forwarding repeat what they need. It knows nothing of shards, and does not decide who belongs to the cluster: it is
//! told the [`Roll`].
//!
//! # Example
//! ```
//! use bytes::Bytes;
//! use cluster::transport::authority::{Authority, ClusterId};
//! use cluster::transport::{Enrolled, Me, Options, Roll, Socket, Transport};
//! use cluster::wire::{Boxed, BulkRead, Contact, Hears, Lane, Wire};
//! use runtime::clock::SystemClock;
//! use std::sync::Arc;
//! use std::time::SystemTime;
//! use tokio::sync::watch;
//!
//! /// Keeps the last message.
//! struct Ear(watch::Sender<Option<Bytes>>);
//!
//! impl Hears for Ear {
//!     fn heard(&self, _: Contact, _: Lane, message: Bytes) {
//!         self.0.send_replace(Some(message));
//!     }
//!     fn bulk(&self, _: Contact, _: Bytes, _: Box<dyn BulkRead>) -> Boxed<Result<Bytes, String>> {
//!         Box::pin(async { Err("nothing is taken here".to_owned()) })
//!     }
//!     fn reached(&self, _: Contact) {}
//!     fn lost(&self, _: u64) {}
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let authority = Authority::found(ClusterId(7), SystemTime::now())?;
//! let (mut nodes, mut roll) = (Vec::new(), Roll::default());
//! for node in [1, 2] {
//!     let me = Me {
//!         generation: 1,
//!         start: node,
//!         durable: Arc::new(|| 0),
//!         feature: 1,
//!         software: "an example".into(),
//!         address: String::new(),
//!         clock: Arc::new(SystemClock),
//!     };
//!     let socket = Socket::bind("127.0.0.1:0".parse()?)?;
//!     let identity = authority.issue(node, SystemTime::now())?;
//!     let transport = Transport::open(socket, &identity, me, Options::default())?;
//!     let address = transport.local_address()?.to_string();
//!     roll.nodes.insert(node, Enrolled { address, ..Enrolled::default() });
//!     nodes.push(transport);
//! }
//! let (told, mut hears) = watch::channel(None);
//! nodes[0].learn(roll.clone());
//! nodes[0].start(Arc::new(Ear(told)));
//! nodes[1].learn(roll);
//! nodes[1].start(Arc::new(Ear(watch::channel(None).0)));
//!
//! // Not reached yet is no error: whoever sends tries again.
//! while nodes[1].send(1, Lane::Pulse, "a vote".into()).is_err() {
//!     tokio::task::yield_now().await;
//! }
//! let message = hears.wait_for(Option::is_some).await?.clone();
//! assert_eq!(message, Some("a vote".into()));
//! # nodes[0].close().await;
//! # nodes[1].close().await;
//! # Ok(())
//! # }
//! ```

pub mod authority;
mod bulk;
mod dial;
mod endpoint;
pub mod frame;
pub mod hello;
pub mod join;
mod lane;
mod link;
pub mod liveness;
mod options;
mod peers;
mod refusal;
mod socket;
mod stream;
mod tls;

pub use hello::{Enrolled, Roll};
pub use lane::Traffic;
pub use options::Options;
pub use refusal::{By, Refusal, Refused};
pub use socket::{Datagrams, Socket};

use bytes::Bytes;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use authority::{Identity, Name};
use hello::Hello;
use peers::Peers;
use refusal::Refusals;
use runtime::clock::Clock;

use crate::wire::{Boxed, BulkWrite, Contact, Hears, Lane, NotSent, Wire};

/// How long a node that stops waits until the others have heard of it.
const FAREWELL: Duration = Duration::from_millis(500);

/// What a node says of itself beside its certificate.
#[derive(Clone)]
pub struct Me {
    /// Which start of its folder this is.
    pub generation: u64,
    /// A random number of this start.
    pub start: u64,
    /// The number of the last batch of its log that is durable; asked for with each hello and ping.
    pub durable: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// The newest feature level that it knows.
    pub feature: u32,
    /// Its software, for people; at most 256 bytes of it are told.
    pub software: String,
    /// Where others reach it, `host:port`; at most 256 bytes of it are told.
    pub address: String,
    /// Its wall clock.
    pub clock: Arc<dyn Clock>,
}

/// Why a transport does not begin.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket does not work.
    #[error("listening for other nodes: {0}; choose another address with `--cluster`")]
    Socket(#[from] io::Error),
    /// An option makes no sense.
    #[error("the transport's option {option} cannot be so: {why}")]
    Option {
        /// Which one.
        option: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The node's certificate or key cannot be used.
    #[error(
        "the node's certificate in the cluster cannot be used: {0}; restore the folder's cluster files, or join with an empty folder"
    )]
    Tls(rustls::Error),
}

/// The wire of a node. Dropping it does not end it; [`close`](Self::close) does.
pub struct Transport {
    shared: Arc<Shared>,
    driver: Mutex<Option<JoinHandle<()>>>,
}

/// What all tasks of a transport have in common.
struct Shared {
    name: Name,
    me: Me,
    options: Options,
    endpoint: quinn::Endpoint,
    client: quinn::ClientConfig,
    server: quinn::ServerConfig,
    shown: tls::Shown,
    /// Who lets others join.
    door: OnceLock<join::Door>,
    roll: watch::Sender<Arc<Roll>>,
    stopped: watch::Sender<bool>,
    peers: Arc<Peers>,
    refusals: Refusals,
}

impl Transport {
    /// Prepares everything; nobody is dialled or answered before [`start`](Self::start). Within a tokio runtime.
    ///
    /// # Errors
    /// When the socket does not work, the identity is not one, or an option makes no sense.
    pub fn open(socket: Socket, identity: &Identity, me: Me, options: Options) -> Result<Self, Error> {
        options.check()?;
        let (shown, client) = tls::configured(identity)?;
        let transport = Arc::new(endpoint::transport(&options));
        let server = endpoint::listening(shown.to_one(), transport.clone());
        let mut client = quinn::ClientConfig::new(client);
        client.transport_config(transport);
        let shared = Shared {
            name: identity.name,
            endpoint: socket.endpoint(server.clone(), options.entropy)?,
            client,
            server,
            shown,
            door: OnceLock::new(),
            me,
            options,
            roll: watch::channel(Arc::default()).0,
            stopped: watch::channel(false).0,
            peers: Peers::new(),
            refusals: Refusals::new(),
        };
        Ok(Self { shared: Arc::new(shared), driver: Mutex::default() })
    }

    /// Lets others join through the same port, as `admits` says; only the first call counts. Without it nobody joins here.
    pub fn admit(&self, admits: Arc<dyn join::Admits>) {
        drop(self.shared.door.set(join::Door::new(admits)));
    }

    /// Begins to answer and to dial; only the first call counts.
    pub fn start(&self, hears: Arc<dyn Hears>) {
        let mut driver = self.driver.lock().unwrap_or_else(PoisonError::into_inner);
        if driver.is_none() {
            *driver = Some(tokio::spawn(endpoint::drive(self.shared.clone(), hears)));
        }
    }

    /// The nodes of the cluster are these from now on. Connections to those that may not speak any more end.
    pub fn learn(&self, roll: Roll) {
        let roll = Arc::new(roll);
        self.shared.peers.expect(self.shared.name.node, &roll);
        // Whoever dials begins its wait anew with each change, so that only changes may be one.
        self.shared.roll.send_if_modified(|known| {
            let is_new = *known != roll;
            *known = roll.clone();
            is_new
        });
        self.shared.peers.links().iter().for_each(|link| self.shared.hold_against_roll(link));
    }

    /// The address it listens on.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.shared.endpoint.local_addr()
    }

    /// The last refusals, by this node and by others, the newest at the end; 32 at most.
    pub fn refusals(&self) -> watch::Receiver<Vec<Refused>> {
        self.shared.refusals.watch()
    }

    /// What a node that is connected has said of itself.
    pub fn hello(&self, node: u64) -> Option<Hello> {
        self.shared.peers.link(node).map(|link| link.hello.clone())
    }

    /// How many milliseconds a node's clock is ahead of this one's.
    pub fn offset_ms(&self, node: u64) -> Option<i64> {
        self.shared.peers.offset_ms(node)
    }

    /// What has left on a lane since that node was reached.
    pub fn traffic(&self, node: u64, lane: Lane) -> Option<Traffic> {
        self.shared.peers.link(node).map(|link| link.traffic(lane))
    }

    /// Tells all nodes that this one stops, and waits until the last connection has ended and nobody is called any more.
    pub async fn close(&self) {
        self.shared.stopped.send_replace(true);
        let why = Refusal::Stops;
        self.shared.endpoint.close(quinn::VarInt::from_u32(why.code()), why.to_string().as_bytes());
        let driver = self.driver.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(driver) = driver {
            drop(driver.await);
        }
        // So that the others hear of it; who does not answer is not waited for.
        drop(tokio::time::timeout(FAREWELL, self.shared.endpoint.wait_idle()).await);
    }
}

impl Wire for Transport {
    fn send(&self, to: u64, lane: Lane, message: Bytes) -> Result<(), NotSent> {
        let link = self.shared.peers.link(to).ok_or(NotSent::Unreached)?;
        link.send(lane, message)
    }

    fn bulk(&self, to: u64, what: Bytes) -> Boxed<io::Result<Box<dyn BulkWrite>>> {
        let link = self.shared.peers.link(to);
        Box::pin(async move {
            let unreached = || io::Error::new(io::ErrorKind::NotConnected, NotSent::Unreached);
            link.ok_or_else(unreached)?.bulk(what).await
        })
    }

    fn contact(&self, node: u64) -> Option<Contact> {
        self.shared.peers.link(node).map(|link| link.contact())
    }

    fn silent(&self) -> Vec<(u64, Duration)> {
        self.shared.peers.silent()
    }
}

impl Shared {
    /// Ends a connection whose node may not speak any more.
    fn hold_against_roll(&self, link: &link::Link) {
        let node = link.hello.node;
        let roll = self.roll.borrow().clone();
        if let Err(why) = roll.admits(node, &link.fingerprint) {
            link.refuse(&why);
            self.refusals.add(Refused { peer: Some(node), address: link.address(), by: By::Us, why });
        }
    }

    /// What this node says of itself now.
    fn hello(&self) -> Hello {
        let Name { cluster, node } = self.name;
        Hello {
            version_min: *self.options.versions.start(),
            version_max: *self.options.versions.end(),
            cluster: cluster.0.to_be_bytes(),
            node,
            generation: self.me.generation,
            start: self.me.start,
            durable: (self.me.durable)(),
            feature: self.me.feature,
            software: shortened(&self.me.software),
            address: shortened(&self.me.address),
            clock: self.me.clock.now().as_millis(),
        }
    }

    fn now_ms(&self) -> i64 {
        i64::try_from(self.me.clock.now().as_millis()).unwrap_or(i64::MAX)
    }

    /// Whom this node sees to a connection with.
    fn dialled_nodes(&self, roll: &Roll) -> Vec<u64> {
        let others = roll.nodes.keys().filter(|node| **node != self.name.node);
        others.filter(|node| dialled(roll, **node).is_some()).copied().collect()
    }

    /// Where that node is dialled now.
    fn address(&self, node: u64) -> Option<String> {
        dialled(&self.roll.borrow(), node).map(str::to_owned)
    }
}

fn dialled(roll: &Roll, node: u64) -> Option<&str> {
    let enrolled = roll.nodes.get(&node)?;
    (!enrolled.is_gone && !enrolled.address.is_empty()).then_some(&enrolled.address)
}

/// So that a hello always fits into its frame.
fn shortened(text: &str) -> String {
    let mut end = text.len().min(256);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

impl fmt::Debug for Transport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Transport").field("name", &self.shared.name).finish_non_exhaustive()
    }
}
