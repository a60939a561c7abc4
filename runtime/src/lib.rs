//! The actors that host twins: from an admitted input to a committed decision, and back.
//!
//! A [`Node`](node::Node) runs an actor for each shard and supervises them. Everybody speaks to twins through its
//! [`Router`](router::Router), which knows no protocol; sockets and peers are other rooms' work.
//!
//! # The types, in the order one meets them
//! [`Parts`](node::Parts) are the ports that a node needs, [`Options`](node::Options) its limits; they make a
//! [`Node`](node::Node). [`Router::ask`](router::Router::ask) says one thing to a twin and waits for the answer;
//! [`Router::submit`](router::Router::submit) hands over a buffer of inputs whose answers, and what the twin says to its
//! device, come to a [`Mailbox`](mailbox::Mailbox). [`Router::read`](router::Router::read) and
//! [`Router::follow`](router::Router::follow) read the [`Record`](record::Record)s of the streams.
//! [`Router::backup`](router::Router::backup) copies all of it while it runs.
//!
//! # Example
//! A node of one shard, in memory. (A log that is durable is the room `cluster`'s.)
//! ```
//! use std::sync::Arc;
//!
//! use runtime::access::Permissive;
//! use runtime::clock::SystemClock;
//! use runtime::files::sim::Sim;
//! use runtime::node::{Node, Options, Parts};
//! use runtime::store::memory::Memory;
//! use twins::header::Header;
//! use twins::id::TwinId;
//! use twins::input::Input;
//! use twins::kind::Kinds;
//! use twins::name::Name;
//! use twins::reply::Reply;
//! # use runtime::log::{Done, Ear, Entry, Error, LogId, ShardLog, Standing, Tenure};
//! # #[derive(Default)]
//! # struct Forgetful(std::sync::atomic::AtomicU64);
//! # impl ShardLog for Forgetful {
//! #     fn listen(&self, _: Ear) -> Standing { Standing { through: 0, leads: Some(Tenure::whole(1)) } }
//! #     fn read(&self, _: u64, _: u64, _: usize) -> Result<Vec<Entry>, Error> { Ok(Vec::new()) }
//! #     fn propose(&self, Tenure { term, .. }: Tenure, _: bytes::Bytes, done: Done) {
//! #         let index = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
//! #         done(Ok(LogId { term, index }));
//! #     }
//! #     fn propose_upkeep(&self, tenure: Tenure, payload: bytes::Bytes, done: Done) { self.propose(tenure, payload, done) }
//! #     fn purge(&self, _: u64) {}
//! # }
//! # tokio::runtime::Runtime::new()?.block_on(async {
//!
//! let parts = Parts {
//!     node: (1, 1),
//!     kinds: Kinds::default(),
//!     slots: vec![0; 1 << 16].into(),
//!     logs: vec![Arc::new(Forgetful::default())],
//!     store: Arc::new(Memory::new()),
//!     files: Arc::new(Sim::new(1)),
//!     streams: "/streams".into(),
//!     clock: Arc::new(SystemClock),
//!     access: Arc::new(Permissive),
//! };
//! let node = Node::start(parts, Options::default()).await?;
//!
//! let pump = TwinId::in_default_tenant("pump-7")?;
//! let register = Input::Register { kind: Name::fixed("device"), tags: None, with: None };
//! node.router().ask(pump.clone(), Header::default(), register).await?;
//! let Reply::Twin(twin) = node.router().ask(pump, Header::default(), Input::Read).await? else {
//!     panic!("a read is answered with the twin");
//! };
//! assert_eq!(twin.kind(), "device");
//! node.stop().await;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The path through this room
//! | step | where |
//! |---|---|
//! | 4 an id finds its shard | [`router`]; one that another node leads, by [`away`] |
//! | 5 admission: a permit, or a refusal | [`admission`] |
//! | 6 the twin's decision, on its newest state | [`shard`], `shard/decide.rs` |
//! | 7 the batch is proposed to the log | [`log`], the port; `shard/commit.rs` |
//! | 8 commit: records to the [`stream`], answers leave, the checkpoint writes behind to the [`store`] | `shard/commit.rs`, `shard/checkpoint.rs` |
//! | 11 a command reaches its session | [`mailbox`] |
//!
//! # What can be relied on
//! * An answer leaves after everything it rests on is committed; a refusal and a read too. Where another node may lead
//!   without this one's knowing it, they leave after a proof that it does not.
//! * A shard whose node does not lead applies what the one that leads decided, and refuses what is said to it; when it
//!   leads, it has applied all that was committed before.
//! * A twin takes one input at a time, in the order they came by one connection.
//! * A session's input that is sent again under its number has its effect once.
//! * [`Error::Overloaded`](error::Error::Overloaded) and [`Error::Unwritten`](error::Error::Unwritten) mean: surely
//!   not taken. [`Error::Unknown`](error::Error::Unknown) means: nobody knows.
//! * A twin that is not in memory is read when spoken to; what arrives meanwhile waits.
//! * A timer fires once, at or after its time, also over restarts.
//!
//! # Limits and units
//! Sizes are bytes, times [`Timestamp`](twins::time::Timestamp)s. For each shard, by default: 4,096 inputs of 4 MiB are
//! admitted and not answered ([`admission::Limits`]); 16 MiB of twins are in memory, and a checkpoint is written after
//! 8 MiB of log or 30 s ([`shard::Options`]); the channels to other shards hold 10,000 parcels or 4 MiB before they close
//! the shard to the outside. A device has 64 requests waiting ([`router::REQUESTS_MAX`]). How long history is kept is in
//! [`stream::Options`]. Each says what more and less cost.
//!
//! # Errors
//! To whoever speaks to a twin: [`error::Error`], of which only [`Rejected`](error::Error::Rejected) is final. To whoever
//! starts a node: [`NotStarted`](node::NotStarted). A shard that fails is begun again from its log by the node, and nobody
//! but those whose answers were under way hears of it.
//!
//! # What it is not
//! No actor framework: a twin is a value in its shard, not a task. No consensus, no sockets, no durability of its own: it
//! is as durable as the log that it is given.
//!
//! # Ports
//! What the room needs and others fill: [`log::ShardLog`] (the cluster), [`store::StateStore`] (here, on fjall and in
//! memory), [`files::Files`] (here, on the operating system and simulated), [`clock::Clock`], [`access::Access`] (the
//! gateway), [`directory::Definitions`] and [`operations::Operations`] (the cluster), [`away::Forward`] (the cluster, where there are other nodes). What
//! the room offers to the cluster: [`replica::Replicas`], by which a shard's state goes to another node, and of
//! [`Router`](router::Router) what hears of other nodes: `arrived`, `lost`, `led`, `nodes`.
//!
//! # Tests
//! `shard/tests` runs a shard on a simulated disk and log through thousands of seeds of crashes and faults, and compares
//! it with an oracle that only applies the log; in `following.rs` two replicas of it, between which the lead goes to and
//! fro, and the state of one is given to the other. Every place at which a process may end is a [`fault`] point;
//! [`blocking`] lets a simulation do at once what blocks.

#![warn(missing_docs)]

pub mod access;
pub mod admission;
mod attached;
pub mod away;
pub mod backup;
pub mod blocking;
pub mod clock;
pub mod directory;
pub mod error;
pub mod fault;
pub mod files;
pub mod follower;
pub mod log;
mod look;
pub mod mailbox;
pub mod meter;
pub mod metrics;
pub mod node;
pub mod operations;
mod overruns;
pub mod path;
mod presence;
pub mod record;
mod registered;
pub mod replica;
pub mod router;
pub mod shard;
pub mod store;
pub mod stream;
pub mod unready;
pub mod watch;
