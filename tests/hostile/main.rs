//! Clients that do not play by the rules, against a real node: each gets the protocol's error or a disconnect with a
//! reason, and a well-behaved device beside it feels nothing.

#[allow(dead_code, reason = "each test uses a part of what they share")]
#[path = "../support/mod.rs"]
mod support;

mod crowd;
mod documents;
mod http;
mod packets;
mod topics;
mod wills;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use support::node::Node;
use support::online::Online;
use support::raw;

/// How long the neighbour may have to wait for its PUBACK.
const AT_ONCE: Duration = Duration::from_secs(1);

/// A node with a well-behaved device.
struct Neighbourhood {
    node: Arc<Node>,
    neighbour: Online,
    /// A device of this test's own, for whoever does not play by the rules.
    stranger: String,
}

impl Neighbourhood {
    fn of(neighbour: &str) -> Self {
        Self::on(Node::shared(), neighbour)
    }

    fn on(node: Arc<Node>, neighbour: &str) -> Self {
        let online = Online::connect(node.at.mqtt, neighbour, false);
        Self { node, neighbour: online, stranger: format!("stranger-of-{neighbour}") }
    }

    fn mqtt(&self) -> SocketAddr {
        self.node.at.mqtt
    }

    /// The neighbour is served at once, and the node says that it is well.
    #[track_caller]
    fn is_unharmed(&mut self, by: impl std::fmt::Debug) {
        let begin = Instant::now();
        self.neighbour.publish("twins/me/telemetry/pulse", "1");
        let took = begin.elapsed();
        assert!(took < AT_ONCE, "after {by:?} the neighbour waited for {took:?}");
        let ready = raw::exchange(self.node.at.http, &raw::request("GET", "/readyz", &[], b""));
        assert_eq!(ready.map(|answer| answer.status), Some(200), "after {by:?}");
    }
}
