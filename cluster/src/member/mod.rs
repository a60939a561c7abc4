//! A node's part in a cluster: none yet, or one that it founded or joined; and the wire to the others that it has then.
//!
//! A node that is alone has all of this too, and nothing of it costs anything: it listens once it has an identity, which is
//! when it is [founded](found) or when its folder has [joined](crate::transport::join).

mod admit;
mod found;
mod order;
mod status;

pub use found::{Founding, found, invite};

use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use runtime::clock::Clock;
use runtime::files::Files;
use runtime::operations::{Boxed, Operations, Order, Outcome, Reason, Refused, Status};
use tokio::task::JoinHandle;

use crate::group::Group;
use crate::identity::{self, Kept};
use crate::meta::{Meta, Refusal};
use crate::sealer::Sealer;
use crate::transport::authority::Identity;
use crate::transport::join::{NoRandom, is_address};
use crate::transport::{self, Me, Socket, Transport};
use crate::wire::{Hears, Wire};
use runtime::log::Error as LogError;

/// How often a command is decided again where another one came between.
const ATTEMPTS_MAX: usize = 16;

/// Joins whatever speaks to other nodes to a wire, and answers who hears what comes by it.
pub type Compose = Box<dyn Fn(Arc<dyn Wire>) -> Boxed<Result<Arc<dyn Hears>, String>> + Send + Sync>;

/// What a part in a cluster is made of.
pub struct Parts {
    /// The node's number.
    pub node: u64,
    /// Which start of its folder this is.
    pub generation: u64,
    /// Where its files are.
    pub files: Arc<dyn Files>,
    /// Its data folder.
    pub data: PathBuf,
    /// Who it is, where it is in a cluster.
    pub kept: Option<Kept>,
    /// The meta group.
    pub meta: Arc<Meta>,
    /// The groups of the shards, in their order.
    pub shards: Vec<Arc<Group>>,
    /// Who has the master key.
    pub sealer: Arc<dyn Sealer>,
    /// Where it listens; `None` of one that is alone and stays so.
    pub port: Option<Port>,
    /// Says the number of the last batch of the log that is durable.
    pub durable: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// Its wall clock.
    pub clock: Arc<dyn Clock>,
    /// Its software, for people.
    pub software: String,
    /// Who hears the others.
    pub compose: Compose,
}

/// Where a node listens for others.
#[derive(Debug)]
pub struct Port {
    /// Its socket, bound.
    pub socket: Socket,
    /// Where others reach it, `host:port`, where that is not where it listens.
    pub advertised: Option<String>,
}

/// Why a node does not take its part. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its identity cannot be used.
    #[error(transparent)]
    Identity(#[from] identity::Error),
    /// It does not listen.
    #[error(transparent)]
    Transport(#[from] transport::Error),
    /// It is in a cluster, and its identity is gone, or is another one.
    #[error(
        "this folder is node {node} of cluster {cluster}, and its file cluster/node.toml is not there or of another cluster\nnext: restore that file; or let the node join anew with an empty folder, and remove number {node}: twinfold cluster remove {node}"
    )]
    Lost {
        /// Its number.
        node: u64,
        /// The cluster.
        cluster: String,
    },
    /// It has nowhere to listen.
    #[error("node {0} is in a cluster, and listens for no other node\nnext: start it with --cluster ADDR")]
    Deaf(u64),
    /// What speaks to other nodes does not begin.
    #[error(
        "the wire to other nodes cannot be used: {0}\nnext: start the node again; if it stays so, see its log"
    )]
    Compose(String),
    /// There are no random numbers.
    #[error("{0}\nnext: see whether the system has /dev/urandom")]
    Random(#[from] NoRandom),
}

/// A node's part in a cluster. It is begun, and ended before what it is made of. Cheap to clone.
#[derive(Clone)]
pub struct Member {
    inner: Arc<Inner>,
}

struct Inner {
    parts: Parts,
    socket: Mutex<Option<Socket>>,
    /// Where others reach this node.
    address: Option<String>,
    wire: OnceLock<Arc<Transport>>,
    /// Tells the wire who the nodes are.
    teller: Mutex<Option<JoinHandle<()>>>,
    /// Held by whoever founds the cluster.
    founding: tokio::sync::Mutex<()>,
}

impl Member {
    /// Of these parts; nothing is said or heard before [`begin`](Self::begin).
    #[must_use]
    pub fn new(mut parts: Parts) -> Self {
        let port = parts.port.take();
        let address = port.as_ref().and_then(Port::address);
        let socket = Mutex::new(port.map(|port| port.socket));
        let (wire, teller, founding) = (OnceLock::new(), Mutex::default(), tokio::sync::Mutex::default());
        Self { inner: Arc::new(Inner { parts, socket, address, wire, teller, founding }) }
    }

    /// Where others reach this node, as far as it knows.
    #[must_use]
    pub fn address(&self) -> Option<&str> {
        self.inner.address.as_deref()
    }

    /// Takes the part that the folder has: a node in a cluster begins to speak to the others. Within a tokio runtime.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn begin(&self) -> Result<(), Error> {
        let Parts { kept, meta, sealer, node, .. } = &self.inner.parts;
        let cluster = meta.state().cluster.as_ref().map(|cluster| cluster.id);
        match (kept, cluster) {
            (Some(kept), Some(cluster)) if kept.cluster != cluster => {
                Err(Error::Lost { node: *node, cluster: cluster.to_string() })
            }
            (None, Some(cluster)) => Err(Error::Lost { node: *node, cluster: cluster.to_string() }),
            // What was being founded when the node ended is founded anew when it is told to.
            (Some(kept), None) if !kept.has_joined() => Ok(()),
            (Some(kept), _) => self.connect(&kept.open(&**sealer)?).await,
            (None, None) => Ok(()),
        }
    }

    /// Listens and dials under an identity; only the first call counts.
    async fn connect(&self, identity: &Identity) -> Result<(), Error> {
        let inner = &self.inner;
        if inner.wire.get().is_some() {
            return Ok(());
        }
        let Parts { node, generation, durable, clock, software, compose, .. } = &inner.parts;
        let me = Me {
            generation: *generation,
            start: transport::join::random()?,
            durable: durable.clone(),
            feature: 0,
            software: software.clone(),
            address: inner.address.clone().unwrap_or_default(),
            clock: clock.clone(),
        };
        let socket = inner.socket.lock().unwrap_or_else(PoisonError::into_inner).take();
        let wire = Transport::open(socket.ok_or(Error::Deaf(*node))?, identity, me, Default::default())?;
        let wire = Arc::new(wire);
        wire.admit(Arc::new(admit::Reception(Arc::downgrade(inner))));
        let mut states = inner.parts.meta.watch();
        wire.learn(inner.roll());
        let hears = compose(wire.clone()).await.map_err(Error::Compose)?;
        wire.start(hears);
        drop(inner.wire.set(wire.clone()));
        let known = Arc::downgrade(inner);
        let teller = tokio::spawn(async move {
            while states.changed().await.is_ok() {
                let Some(inner) = known.upgrade() else { return };
                wire.learn(inner.roll());
            }
        });
        *inner.teller.lock().unwrap_or_else(PoisonError::into_inner) = Some(teller);
        Ok(())
    }

    /// Says to the others that this node stops, and hears them no more.
    pub async fn end(&self) {
        let teller = self.inner.teller.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(teller) = teller {
            teller.abort();
        }
        if let Some(wire) = self.inner.wire.get() {
            wire.close().await;
        }
    }

    /// Founds a cluster, of which this node is the first; one that was begun is brought to its end.
    async fn found(&self) -> Result<(), Refused> {
        let _founding = self.inner.founding.lock().await;
        if self.inner.wire.get().is_some() {
            let cluster =
                self.inner.parts.meta.state().cluster.as_ref().map(|cluster| cluster.id.to_string());
            let why = format!("this node is in cluster {} already", cluster.unwrap_or_default());
            return Err(Refused::new(Reason::Conflict, why, "let others join: twinfold cluster token"));
        }
        let inner = self.inner.clone();
        let identity = blocking(move || {
            let address = inner.reached()?;
            let Parts { node, files, data, meta, sealer, clock, .. } = &inner.parts;
            let founding =
                Founding { node: *node, files: &**files, data, sealer: &**sealer, address, now: clock.now() };
            found(meta, &founding)
        });
        let identity = identity.await?;
        let failed = |error: Error| {
            Refused::new(Reason::NotNow, error.to_string(), "start the node again with the same flags")
        };
        self.connect(&identity).await.map_err(failed)
    }
}

impl Inner {
    fn roll(&self) -> transport::Roll {
        let mut roll = self.parts.meta.state().roll();
        // Whoever has just joined has heard nothing of the others but where they were.
        for (node, address) in self.parts.kept.iter().flat_map(|kept| &kept.peers) {
            let enrolled = roll.nodes.entry(*node).or_default();
            if enrolled.address.is_empty() {
                enrolled.address.clone_from(address);
            }
        }
        roll
    }

    /// Where others reach this node; refused of one that they cannot reach.
    fn reached(&self) -> Result<&str, Refused> {
        let is_there =
            self.wire.get().is_some() || self.socket.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        match &self.address {
            Some(address) => Ok(address),
            None if is_there => Err(Refused::new(
                Reason::Conflict,
                "this node listens at all of its addresses, and others have to know one of them",
                "start it with --cluster-advertise HOST:PORT too",
            )),
            None => Err(Refused::new(
                Reason::Conflict,
                "this node is alone, and listens for no other one",
                "start it with serve --cluster ADDR, and then: twinfold cluster init",
            )),
        }
    }
}

impl Port {
    /// Where others reach it; one that listens at all addresses has to be told.
    #[must_use]
    pub fn address(&self) -> Option<String> {
        let listens = || {
            let local = self.socket.local().ok()?;
            (!local.ip().is_unspecified()).then(|| local.to_string())
        };
        self.advertised.clone().filter(|address| is_address(address)).or_else(listens)
    }
}

impl Operations for Member {
    fn status(&self) -> Boxed<Status> {
        let inner = self.inner.clone();
        Box::pin(async move { inner.status() })
    }

    fn order(&self, order: Order) -> Boxed<Result<Outcome, Refused>> {
        let member = self.clone();
        Box::pin(async move {
            if order == Order::Found {
                member.found().await?;
            }
            let inner = member.inner.clone();
            let outcome = blocking(move || {
                let Parts { meta, clock, .. } = &inner.parts;
                match order {
                    Order::Found | Order::Invite => {
                        inner.in_a_cluster()?;
                        invite(meta, inner.reached()?, clock.now()).map(Outcome::Invited)
                    }
                    order => {
                        inner.in_a_cluster()?;
                        order::carry_out(meta, &order).map(|()| Outcome::Decided)
                    }
                }
            });
            outcome.await
        })
    }
}

impl Inner {
    fn in_a_cluster(&self) -> Result<(), Refused> {
        match (&self.parts.meta.state().cluster, self.wire.get()) {
            (Some(_), Some(_)) => Ok(()),
            (Some(_), None) => Err(Refused::new(
                Reason::Conflict,
                "this node is in a cluster, and listens for no other one",
                "start it with serve --cluster ADDR",
            )),
            (None, _) => Err(Refused::new(
                Reason::Conflict,
                "this node is alone",
                "start it with serve --cluster ADDR, and make it the first of a cluster: twinfold cluster init",
            )),
        }
    }
}

/// Waits for what blocks.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refused> + Send + 'static,
) -> Result<T, Refused> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| {
        Err(Refused::new(
            Reason::OutcomeUnknown,
            "it was broken off",
            "see how it is: twinfold cluster status",
        ))
    })
}

/// Carries out what `decide` makes of the state, which is decided again where another command came between. Blocks.
fn execute(
    meta: &Meta,
    mut decide: impl FnMut(&crate::meta::State) -> Result<Option<crate::meta::Command>, Refused>,
) -> Result<(), Refused> {
    for _ in 0..ATTEMPTS_MAX {
        let state = meta.state();
        let Some(command) = decide(&state)? else { return Ok(()) };
        match meta.execute_blocking(command, state.version) {
            Ok(_) => return Ok(()),
            Err(Refusal::Stale { .. }) => {}
            Err(refusal) => return Err(refused(&refusal)),
        }
    }
    let why = "too much else changed at the same time";
    Err(Refused::new(Reason::NotNow, why, "order it again"))
}

fn refused(refusal: &Refusal) -> Refused {
    let (reason, next) = match refusal {
        Refusal::Unsure | Refusal::Log(LogError::Unknown(_) | LogError::Deposed { .. }) => (
            Reason::OutcomeUnknown,
            "see whether it is so before you order it again: twinfold cluster status",
        ),
        Refusal::Leaderless => (Reason::NotNow, "see which nodes are missing: twinfold cluster status"),
        Refusal::Log(_) | Refusal::Stale { .. } => (Reason::NotNow, "order it again"),
        Refusal::Unfit { .. } | Refusal::Directory(_) => {
            (Reason::Conflict, "see how it is: twinfold cluster status")
        }
    };
    let why = match refusal {
        Refusal::Unfit { reason, .. } => reason.clone(),
        other => other.to_string(),
    };
    Refused::new(reason, why, next)
}
