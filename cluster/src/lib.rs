//! The node's storage: the write-ahead log, consensus and the logs of the shards on it, and the meta group; and the wire
//! to other nodes.
//!
//! # One log
//! A node has one log for all its groups: the meta group (0) and the shards (shard `n` is group `n + 1`). One thread
//! writes it. Whatever waits when the thread turns becomes one batch, made durable by one fdatasync; so the more is
//! proposed at once, the less each entry costs. [`wal`] describes the files byte by byte.
//!
//! # Two commit rules
//! A lone node commits by its own fdatasync. The records that it writes are those of a consensus group with one voter
//! (membership, vote, blank entry of the leader), so that consensus opens the very same log when a second node joins.
//! [`consensus`] is the other rule, by openraft over the [`wire`] between nodes. A [`group::Group`] is a shard's log under
//! both, and changes from one to the other while the shard proposes; the runtime sees [`runtime::log::ShardLog`] and
//! never learns which rule committed an entry. What the log says decides on the rule at a start, and never the options.
//!
//! # The types, in the order one meets them
//! [`Storage`] is opened on a folder, with [`Options`]: it recovers, or says with an [`Error`] what keeps it from it.
//! [`Storage::join`] lets it take part in groups that have other nodes, and [`Storage::leave`] hands over what it leads.
//! [`Storage::shard_log`] hands out the log of a shard, [`Storage::meta`] the [`meta`] group with nodes and the shard map,
//! and [`Storage::watch`] a [`Watch`] on its health for whoever reports it. [`inspect`] reads the log of a stopped node,
//! [`restore`] makes one for a backup.
//!
//! # Other nodes
//! [`wire`] is how nodes hear each other, as whoever sends and hears sees it: a few lanes, each in order, and bulk streams
//! beside them. [`transport`] is that wire over QUIC with mutual TLS. An [`Authority`](transport::authority::Authority)
//! is the cluster's own and signs for its nodes; a [`Transport`](transport::Transport) is opened on a socket with an
//! identity that it signed, is told the [`Roll`](transport::Roll) of nodes, and is started with whoever
//! [`Hears`](wire::Hears). It sees to the connections by itself. Whom it refuses, and who refuses it, is in
//! [`Transport::refusals`](transport::Transport::refusals), with what to do next; a message is lost with its connection,
//! and repeated by whoever sent it. A [`member::Member`] is a node's part in a cluster: it [founds](member::found) one, or has
//! the [`identity`] that its folder was given when it [joined](transport::join); it opens the transport, lets others join, and
//! is what operators speak to. One slow node costs about 170 MiB at most: [`transport::Options`].
//!
//! # Nodes and shards
//! What the nodes agree on is the [`meta`] state: nodes, tokens to join by, where the shards are. Each node has all of it;
//! [`Meta::execute`](meta::Meta::execute) brings a command to the leader. [`placement`] makes the groups what that map
//! says, and the map what it should be.
//!
//! # What is promised
//! * What was acknowledged is there after a crash or a power loss, in order and without gaps. What was not may be there.
//! * After a write or a sync that failed, nothing is written until a restart: durability unknown is durability lost.
//! * A torn tail is cut. Damage before a whole batch stops the node, with an error that says what to do; [`inspect`]
//!   looks closer.
//! * A full disk refuses proposals, before anything of them is written, while votes and marks still find room. Writing
//!   goes on by itself when there is room again.
//! * An entry lives until its shard has purged it, and segments go strictly oldest first. While a group has other nodes, the
//!   end of its log stays for whoever is late: [`consensus::Retention`].
//!
//! # Units and limits
//! Sizes are bytes; indices count from 1, terms only rise. There are [`SHARDS`] shards unless the [`Options`] say fewer,
//! fixed when the first folder is made.
//! By default a segment has 64 MiB, a batch gathers up to 8 MiB (a larger entry is a batch of its own), the newest 8 MiB
//! of entries are in memory, and below 256 MiB of free space nothing is appended: [`Options`] says what more and less
//! cost. A shard has one proposal in flight in practice, a follower what its leader sends; nothing here limits it.
//!
//! # Errors
//! To whoever opens: [`Error`], of which each says what to do; the folder may be in use, of a newer format, or damaged. To
//! whoever proposes: [`runtime::log::Error`], where *surely not appended* and *nobody knows* are different variants.
//!
//! # What it is not
//! It does not heal: a bit that rots in the very last batch looks like a torn tail, as there is no later batch to tell.
//! It holds no state but the [`meta`] group's; the rest is the runtime's.
//!
//! # Example
//! ```
//! use cluster::{Options, Storage};
//! use runtime::files::sim::Sim;
//! use std::path::Path;
//! use std::sync::{Arc, mpsc};
//!
//! let options = Options { segment_bytes: 1 << 20, ..Options::default() };
//! let storage = Storage::open(Arc::new(Sim::new(1)), Path::new("data/log"), options)?;
//! let log = storage.shard_log(0);
//! let tenure = log.listen(Box::new(|_| {})).leads.ok_or("a node alone leads")?;
//!
//! let (sender, fate) = mpsc::channel();
//! log.propose(tenure, "an entry".into(), Box::new(move |result| drop(sender.send(result))));
//! let id = fate.recv()??;
//!
//! let found = log.read(0, id.index, 1 << 20)?;
//! assert_eq!((found[0].id, &*found[0].payload), (id, &b"an entry"[..]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![warn(missing_docs)]

mod backup;
pub mod consensus;
mod error;
pub mod group;
pub mod identity;
pub mod inspect;
pub mod member;
pub mod membership;
pub mod meta;
pub mod metrics;
mod options;
pub mod others;
pub mod placement;
pub mod sealer;
mod storage;
pub mod transport;
pub mod wal;
mod watch;
pub mod wire;

pub use backup::restore;
pub use error::Error;
pub use options::{Drive, Options};
pub use storage::{META_GROUP, SHARDS, Storage};
pub use watch::Watch;
