//! The other nodes, as whatever connects nodes tells of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::shard::actor::Message;

use super::Router;

impl Router {
    /// The other nodes, each with its generation and for how long it was silent: connections that have ended with one of
    /// them are ended. To be called four times a second, and when one of them changes.
    pub fn nodes(&self, seen: BTreeMap<u64, (u64, Duration)>) {
        let seen = Arc::new(seen);
        for actor in self.0.doors.iter().filter_map(|door| door.leader().ok()) {
            drop(actor.cast(Message::Nodes(seen.clone())));
        }
    }
}
