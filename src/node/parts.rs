//! What a node is made of: what an operator sets, where it listens, and who comes in.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use cluster::consensus::Timing;
use gateway::door::Door;
use gateway::quotas;
use gateway::trust::guesses::Guesses;
use gateway::trust::master;
use gateway::trust::vault::Vault;
use gateway::{http, mqtt};
use runtime::access::Access;
use runtime::directory::Definitions;
use twins::kind::Kinds;

use super::Error;

/// A segment of the log. A node that is tried out for a minute should not begin by writing much of zeros.
const SEGMENT_BYTES: u64 = 16 << 20;

/// Reads the master key.
pub(crate) type ReadMaster = Box<dyn Fn() -> Result<[u8; 32], master::Error> + Send + Sync>;

/// Makes what says who comes in, once the storage is open.
pub(crate) type MakeAccess = Box<dyn FnOnce(Found<'_>) -> Result<Entrance, Error> + Send>;

/// What a node finds in its data folder.
pub(crate) struct Found<'a> {
    pub(crate) folder: &'a Path,
    pub(crate) directory: Arc<dyn Definitions>,
    /// Whether secrets are sealed under a master key, which has to be the node's.
    pub(crate) is_sealed: bool,
    /// Whether it has joined others, of which it may have heard nothing yet.
    pub(crate) has_joined: bool,
}

/// Who comes in.
pub(crate) struct Entrance {
    /// Who says so.
    pub(crate) access: Arc<dyn Access>,
    pub(crate) vault: Arc<Vault>,
    /// Who has to wait since they guess.
    pub(crate) guesses: Guesses,
    /// Reads the master key again from where it lies: a node that joins is given it.
    pub(crate) master: ReadMaster,
    /// Whether nothing is sealed under another master key from now on.
    pub(crate) seals: bool,
}

/// What an operator sets of a node, whichever verb runs it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settings {
    /// How the shards use memory and disk.
    pub(crate) shard: runtime::shard::Options,
    /// How long what happened is kept.
    pub(crate) streams: runtime::stream::Options,
    /// Limits of MQTT.
    pub(crate) mqtt: mqtt::Options,
    /// Limits of HTTP.
    pub(crate) http: http::Options,
    /// How much devices, tenants and addresses may take.
    pub(crate) quotas: quotas::Options,
}

/// The other nodes, as a node that may have some is set to be with them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Company {
    /// Where it listens for them. Where nothing is said, a node that is in a cluster listens at the usual port.
    pub(crate) address: Option<SocketAddr>,
    /// Where they reach it, `host:port`, where that is not where it listens.
    pub(crate) advertised: Option<String>,
    /// Where it stands; as before where nothing is said.
    pub(crate) location: Option<String>,
    /// How soon it notices that one of them is gone.
    pub(crate) timing: Timing,
}

/// Where a node listens.
pub(crate) struct Doors {
    pub(crate) mqtt: Vec<Door>,
    pub(crate) http: Vec<Door>,
}

/// What a node is started with.
pub(crate) struct Options {
    pub(crate) kinds: Kinds,
    pub(crate) access: MakeAccess,
    pub(crate) doors: Doors,
    pub(crate) log: cluster::Options,
    pub(crate) twins: runtime::node::Options,
    pub(crate) mqtt: mqtt::Options,
    pub(crate) http: http::Options,
    pub(crate) quotas: quotas::Options,
    /// `None` of a node that is never in a cluster.
    pub(crate) company: Option<Company>,
}

impl Options {
    /// With a log of the usual size.
    pub(crate) fn new(kinds: Kinds, access: MakeAccess, doors: Doors, settings: Settings) -> Self {
        let Settings { shard, streams, mqtt, http, quotas } = settings;
        let twins = runtime::node::Options { shard, stream: streams, ..Default::default() };
        Self { kinds, access, doors, log: log_options(), twins, mqtt, http, quotas, company: None }
    }
}

/// How the log is kept.
pub(crate) fn log_options() -> cluster::Options {
    cluster::Options { segment_bytes: SEGMENT_BYTES, ..Default::default() }
}
