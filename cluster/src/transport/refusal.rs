//! Refusals: why two nodes are not connected, said in the same words on both sides, with what to do next.
//!
//! Whoever refuses closes the connection with a code and a text. The other side makes of the code whether to try again
//! soon, and shows the text. What was refused lately stands in a bounded list for status pages, and in the node's log
//! once a minute for each peer.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

use quinn::{ConnectionError, VarInt};

/// How many refusals are kept.
const KEPT_MAX: usize = 32;
/// How often one peer's refusals are logged.
const LOGGED_EVERY: Duration = Duration::from_secs(60);
/// Strangers who are logged in that time.
const LOGGED_MAX: usize = 1_024;
/// The longest text of another node that is kept or logged.
const TEXT_MAX: usize = 512;
/// The codes of TLS alerts within those of QUIC (RFC 9001, section 4.8).
const TLS_ALERTS: std::ops::Range<u64> = 0x100..0x200;

/// Why a connection is refused or ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The node ends.
    #[error("the node stops")]
    Stops,
    /// There is a connection already, or another one takes its place.
    #[error("another connection between the two nodes is used")]
    Spare,
    /// Their ranges of versions do not meet.
    #[error(
        "no common protocol version: one node speaks {}, the other one {}; upgrade the older one, one release at a time",
        range(*ours), range(*theirs)
    )]
    NoCommonVersion {
        /// Of the node that refuses.
        ours: (u8, u8),
        /// Of the node that is refused.
        theirs: (u8, u8),
    },
    /// It belongs to another cluster.
    #[error(
        "the node belongs to cluster {theirs}, this is cluster {ours}; look at the address, or let the node join this cluster with an empty folder"
    )]
    OtherCluster {
        /// Of the node that refuses.
        ours: String,
        /// Of the node that is refused.
        theirs: String,
    },
    /// Its certificate is not one of a node, or of another node than it says.
    #[error(
        "the certificate is for {shown}, and the node says that it is {said}; serve it with the folder that it joined with"
    )]
    OtherName {
        /// Whom the certificate names.
        shown: String,
        /// Who it says it is.
        said: String,
    },
    /// It has the number of the node that it speaks to.
    #[error(
        "both nodes are node {0}; one folder is the copy of the other: stop one, and let it join with an empty folder"
    )]
    SameNumber(u64),
    /// It was removed.
    #[error("node {0} was removed from the cluster; let it join again with an empty folder")]
    Gone(u64),
    /// Its certificate was revoked, or is not the one that the cluster knows.
    #[error(
        "the certificate of node {0} is not the one that the cluster knows; let the node join again with an empty folder"
    )]
    OtherCertificate(u64),
    /// An older start of that node, or another one with the same generation.
    #[error(
        "node {node} began as generation {theirs}, and generation {seen} of it was seen; its folder was copied or put back: stop one of the two, and let it join with an empty folder"
    )]
    OldGeneration {
        /// The node.
        node: u64,
        /// What it says.
        theirs: u64,
        /// What was seen of it.
        seen: u64,
    },
    /// Its log is shorter than what it had acknowledged.
    #[error(
        "the log of node {node} ends at batch {theirs}, and batch {seen} of it was durable; its disk lost what was acknowledged: let it join again with an empty folder"
    )]
    WentBack {
        /// The node.
        node: u64,
        /// The number of its last durable batch.
        theirs: u64,
        /// The number that was seen of it.
        seen: u64,
    },
    /// A frame is longer than it may be.
    #[error("a frame of {bytes} bytes, where {max} is the most; run the same version on both nodes")]
    TooLarge {
        /// What its head says.
        bytes: u64,
        /// What its stream allows.
        max: u64,
    },
    /// A frame's checksum does not fit.
    #[error("a frame whose checksum does not fit; look at the memory and the network of both machines")]
    Damaged,
    /// Not what the protocol says.
    #[error("{0}; run the same version on both nodes")]
    Malformed(&'static str),
    /// It did not say who it is in time.
    #[error("no hello within {0:?}; look at the load of both machines, and at the network between them")]
    Late(Duration),
    /// A task of the node that ends it has failed.
    #[error("a fault of that node; look at its log, and report it")]
    Fault,
    /// TLS was not agreed on: as a rule, a certificate is not believed.
    #[error(
        "TLS was refused: {0}; look at the address and at both clocks, or let the node join this cluster"
    )]
    Tls(String),
    /// A node was not let join.
    #[error("a join was refused: {0}")]
    NotAdmitted(String),
    /// What the other node refused with, in its words.
    #[error("{text}")]
    Told {
        /// Its code.
        code: u32,
        /// Its words.
        text: String,
    },
}

impl Refusal {
    /// The number that goes over the wire. It never changes its meaning.
    pub fn code(&self) -> u32 {
        match self {
            Self::Stops => 1,
            Self::Spare => 2,
            Self::NoCommonVersion { .. } => 3,
            Self::OtherCluster { .. } => 4,
            Self::OtherName { .. } => 5,
            Self::SameNumber(_) => 6,
            Self::Gone(_) => 7,
            Self::OtherCertificate(_) => 8,
            Self::OldGeneration { .. } => 9,
            Self::WentBack { .. } => 10,
            Self::TooLarge { .. } => 11,
            Self::Damaged => 12,
            Self::Malformed(_) => 13,
            Self::Late(_) => 14,
            Self::Tls(_) => 15,
            Self::Fault => 16,
            Self::NotAdmitted(_) => 17,
            Self::Told { code, .. } => *code,
        }
    }

    /// Whether it says something of the node, so that trying again alone heals nothing.
    pub fn is_final(&self) -> bool {
        matches!(self.code(), 3..=10 | 15)
    }

    /// Whether nobody needs to hear of it.
    fn is_ordinary(&self) -> bool {
        matches!(self.code(), 1 | 2)
    }

    /// Closes a connection with it.
    pub(super) fn close(&self, connection: &quinn::Connection) {
        connection.close(VarInt::from_u32(self.code()), self.to_string().as_bytes());
    }

    /// What a connection that ended says of a refusal, and by whom. `None`: it was lost, or ended by ourselves.
    pub(super) fn of(ended: &ConnectionError) -> Option<(By, Self)> {
        match ended {
            ConnectionError::ApplicationClosed(closed) => {
                let code = u32::try_from(closed.error_code.into_inner()).unwrap_or(u32::MAX);
                Some((By::Them, Self::Told { code, text: text(&closed.reason) }))
            }
            ConnectionError::TransportError(error) if TLS_ALERTS.contains(&u64::from(error.code)) => {
                Some((By::Us, Self::Tls(text(error.reason.as_bytes()))))
            }
            ConnectionError::ConnectionClosed(closed)
                if TLS_ALERTS.contains(&u64::from(closed.error_code)) =>
            {
                Some((By::Them, Self::Tls(text(&closed.reason))))
            }
            _ => None,
        }
    }
}

/// Versions, for people.
fn range((min, max): (u8, u8)) -> String {
    if min == max { min.to_string() } else { format!("{min} to {max}") }
}

/// What another node wrote, as one line that can be shown.
pub(super) fn text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(TEXT_MAX)]);
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

/// Who refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// This node.
    Us,
    /// The other one.
    Them,
}

/// A refusal, and whom it met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The node at the other end, if that is known.
    pub peer: Option<u64>,
    /// Its address.
    pub address: SocketAddr,
    /// Which side refused.
    pub by: By,
    /// Why.
    pub why: Refusal,
}

impl fmt::Display for Refused {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = self.peer.map_or("a node".to_owned(), |node| format!("node {node}"));
        match self.by {
            By::Us => write!(out, "refused {who} at {}: {}", self.address, self.why),
            By::Them => write!(out, "{who} at {} refused this node: {}", self.address, self.why),
        }
    }
}

/// What was refused lately.
#[derive(Debug)]
pub(super) struct Refusals {
    kept: watch::Sender<Vec<Refused>>,
    logged: std::sync::Mutex<Logged>,
}

impl Refusals {
    pub(super) fn new() -> Self {
        Self { kept: watch::channel(Vec::new()).0, logged: std::sync::Mutex::default() }
    }

    pub(super) fn watch(&self) -> watch::Receiver<Vec<Refused>> {
        self.kept.subscribe()
    }

    pub(super) fn add(&self, refused: Refused) {
        if refused.why.is_ordinary() {
            return;
        }
        let mut logged = self.logged.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if logged.is_due(refused.peer, refused.address, Instant::now()) {
            tracing::warn!(peer = refused.peer, "{refused}");
        }
        drop(logged);
        self.kept.send_modify(|kept| {
            if kept.len() == KEPT_MAX {
                kept.remove(0);
            }
            kept.push(refused);
        });
    }
}

/// When each peer was logged last: by number, or by address where it has none.
#[derive(Debug, Default)]
struct Logged(BTreeMap<(Option<u64>, Option<std::net::IpAddr>), Instant>);

impl Logged {
    fn is_due(&mut self, peer: Option<u64>, address: SocketAddr, now: Instant) -> bool {
        let key = (peer, peer.is_none().then(|| address.ip()));
        if self.0.get(&key).is_some_and(|last| now.duration_since(*last) < LOGGED_EVERY) {
            return false;
        }
        self.0.retain(|_, last| now.duration_since(*last) < LOGGED_EVERY);
        // Of strangers there can be any number; of nodes there is not.
        if peer.is_none() && self.0.len() >= LOGGED_MAX {
            return false;
        }
        self.0.insert(key, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_is_refused_again_and_again_is_logged_once_a_minute() {
        let mut logged = Logged::default();
        let (begin, address) = (Instant::now(), "192.0.2.1:7400".parse().unwrap());

        let due = [0, 1, 59, 60, 61].map(|s| logged.is_due(Some(2), address, begin + Duration::from_secs(s)));

        assert_eq!(due, [true, false, false, true, false]);
        assert!(logged.is_due(Some(3), address, begin), "another one is logged by itself");
    }

    #[test]
    fn a_crowd_of_strangers_does_not_keep_the_nodes_out_of_the_log() {
        let (mut logged, now) = (Logged::default(), Instant::now());
        let stranger = |n: u32| SocketAddr::from((n.to_be_bytes(), 7400));

        let lines = (0..5_000).filter(|n| logged.is_due(None, stranger(*n), now)).count();

        assert_eq!(lines, LOGGED_MAX);
        assert!(logged.is_due(Some(2), stranger(1), now));
    }

    #[test]
    fn the_words_of_another_node_are_one_short_line() {
        let shown = text(format!("a\nb\u{7}{}", "x".repeat(9_000)).as_bytes());

        assert!(shown.starts_with("a b x") && shown.len() == TEXT_MAX);
    }
}
