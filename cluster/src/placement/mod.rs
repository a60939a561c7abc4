//! Placement: which nodes have which shards, and how that comes about while the shards go on.
//!
//! The map is explicit: it is part of the [meta state](crate::meta::State), and each change of it is a command there.
//! Hashing only proposes.
//!
//! # From the wish to the fact
//! * [`wanted`] says where every shard should be, as a function of the nodes that are active.
//! * [`plan`] says which commands bring the map nearer to that: few moves at a time. The leader of the meta group runs it.
//! * [`step`] says what the leader of a shard's group does next, so that the group becomes what the map says. What is
//!   half done is seen in the group's membership, so that whoever leads next goes on where the one before stopped.
//!
//! All three are pure. A [`Driver`] on each node runs them against the node's [`Groups`]. What an operator asks for is in
//! [`orders`]: pure as well, a list of commands or a [`Rejection`](orders::Rejection).
//!
//! # A move
//! `ProposeMove` names the target. The shard's leader lets the newcomers learn, waits until they have nearly all of the
//! log, changes the voters, hands on the lead if it is none of the target, and lets the others go. Then it reports:
//! `AdvanceMove` makes the target the shard's nodes. Who left drops what it has, says so (`Dropped`), and may be given the
//! shard again only then. So no vote is ever counted that rests on entries which were dropped.
//!
//! # Freezing
//! While placement is frozen, no move begins and no leader is preferred anew. A move that has begun is brought to its end,
//! since a group that is changing is worse than either side of the change.

mod converge;
mod driver;
mod goal;
mod leaders;
pub mod orders;
mod plan;
mod rendezvous;
mod step;

pub use driver::{Driver, Groups};
pub use goal::Goal;
pub use leaders::balanced;
pub use plan::{MOVES_PER_NODE_MAX, plan};
pub use rendezvous::{REPLICAS, wanted};
pub use step::{Change, step, take_part};

#[cfg(test)]
mod tests;
