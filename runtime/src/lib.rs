//! The actors that host twins: from an admitted input to a committed decision, and back.
//!
//! A [`Node`](node::Node) runs an actor for each shard and supervises them. Everybody speaks to twins through its
//! [`Router`](router::Router), which knows no protocol; sockets and peers are other rooms' work.
//!
//! # The path through this room
//! | step | where |
//! |---|---|
//! | 4 an id finds its shard | [`router`] |
//! | 5 admission: a permit, or a refusal | [`admission`] |
//! | 6 the twin's decision, on its newest state | [`shard`], `shard/decide.rs` |
//! | 7 the batch is proposed to the log | [`log`], the port; `shard/commit.rs` |
//! | 8 commit: records to the [`stream`], answers leave, the checkpoint writes behind to the [`store`] | `shard/commit.rs`, `shard/checkpoint.rs` |
//! | 11 a command reaches its session | [`mailbox`] |
//!
//! # What can be relied on
//! * An answer leaves after everything it rests on is committed; a refusal and a read too.
//! * A twin takes one input at a time, in the order they came by one connection.
//! * A session's input that is sent again under its number has its effect once.
//! * [`Error::Overloaded`](error::Error::Overloaded) and [`Error::Unwritten`](error::Error::Unwritten) mean: surely
//!   not taken. [`Error::Unknown`](error::Error::Unknown) means: nobody knows.
//! * A twin that is not in memory is read when spoken to; what arrives meanwhile waits.
//! * A timer fires once, at or after its time, also over restarts.
//!
//! # Ports
//! What the room needs and others fill: [`log::ShardLog`] (the cluster), [`store::StateStore`] (here, on fjall and in
//! memory), [`files::Files`] (here, on the operating system and simulated), [`clock::Clock`], [`access::Access`].
//!
//! # Tests
//! `shard/tests` runs a shard on a simulated disk and log through thousands of seeds of crashes and faults, and compares
//! it with an oracle that only applies the log.

#![warn(missing_docs)]

pub mod access;
pub mod admission;
pub mod backup;
pub mod clock;
pub mod error;
pub mod files;
pub mod follower;
pub mod log;
pub mod mailbox;
pub mod meter;
pub mod metrics;
pub mod node;
mod overruns;
pub mod path;
pub mod record;
pub mod router;
pub mod shard;
pub mod store;
pub mod stream;
pub mod unready;
pub mod watch;
