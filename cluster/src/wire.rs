//! The wire: how the nodes of a cluster hear each other, as consensus and forwarding see it.
//!
//! A node sends to another one by its number, on one of a few [`Lane`]s. What is sent on one lane to one node arrives in
//! its order or not at all: when a connection is lost, whatever was under way is lost with it, and nobody is told which.
//! So each message must be one whose loss is healed by whoever sent it. What is too large for a message goes as a stream
//! of its own ([`Wire::bulk`]), beside the lanes and behind them.
//!
//! [`memory`] is a wire for tests.

pub mod memory;

use bytes::Bytes;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::time::Duration;

/// A future of a port.
pub type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What a message is about. Each lane has an order and a queue of its own; a lane never waits for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Votes, heartbeats and answers: small, and first on the way.
    Pulse,
    /// Entries of the logs, more than 64 KiB of them at once.
    Log,
    /// What clients want of the shards' leaders, and what these say to it.
    Forward,
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Contact {
    /// The node's number.
    pub node: u64,
    /// Which start of that node it is: it rises with each.
    pub generation: u64,
}

/// Why a message did not leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSent {
    /// There is no connection to that node.
    #[error("no connection to that node; it is tried again by itself")]
    Unreached,
    /// More waits on that lane than it may hold: the node is slower than what it is sent.
    #[error("the lane to that node is full; send again when some of it has left")]
    Full,
}

/// Sends to other nodes.
pub trait Wire: Send + Sync + 'static {
    /// Queues a message. It never blocks, and the order per node and lane is kept.
    fn send(&self, to: u64, lane: Lane, message: Bytes) -> Result<(), NotSent>;

    /// Opens a stream of its own, beside the lanes; `what` tells the other side what it is.
    fn bulk(&self, to: u64, what: Bytes) -> Boxed<io::Result<Box<dyn BulkWrite>>>;

    /// Who is connected under that number.
    fn contact(&self, node: u64) -> Option<Contact>;

    /// How long each node that belongs to this one's cluster has been silent.
    fn silent(&self) -> Vec<(u64, Duration)>;
}

/// Hears other nodes. It is called on the task that reads, in the order of a lane, and must not block.
pub trait Hears: Send + Sync + 'static {
    /// A message. It shares its memory with those that came with it: who keeps a small one for long copies it.
    fn heard(&self, from: Contact, lane: Lane, message: Bytes);

    /// A stream, read to its end or given up; what it answers ends the stream and goes back.
    fn bulk(&self, from: Contact, what: Bytes, stream: Box<dyn BulkRead>) -> Boxed<Result<Bytes, String>>;

    /// A node is connected: messages can be sent to it from now on.
    fn reached(&self, peer: Contact);

    /// A node is no longer connected. What was sent to it and not answered may have arrived, or not.
    fn lost(&self, peer: u64);
}

/// The sending end of a stream. Dropping it gives the stream up: the other side reads an error, not an end.
pub trait BulkWrite: Send {
    /// Writes a piece; waits while the other side does not take it.
    fn write(&mut self, piece: Bytes) -> Pin<Box<dyn Future<Output = io::Result<()>> + Send + '_>>;

    /// Says that this was all, and waits for what the other side answers.
    fn finish(self: Box<Self>) -> Boxed<io::Result<Bytes>>;
}

/// The receiving end of a stream.
pub trait BulkRead: Send {
    /// The next piece; `None` at the end.
    fn read(&mut self) -> Pin<Box<dyn Future<Output = io::Result<Option<Bytes>>> + Send + '_>>;
}
