//! A whole node in this process, on a simulated disk that outlives it; and twins that say numbers, which their streams
//! must show.

use std::path::Path;
use std::sync::Arc;

use cluster::Storage;
use runtime::access::Permissive;
use runtime::clock::SystemClock;
use runtime::files::sim::Sim;
use runtime::node::{Node, Options, Parts};
use runtime::record::Fact;
use runtime::store::memory::Memory;
use runtime::stream::{From, Placed, Selection};
use twins::id::{DEFAULT_TENANT, TwinId};
use twins::input::Input;
use twins::json::Json;
use twins::kind::Kinds;
use twins::name::Name;

/// What a node stands on.
pub struct Ground {
    pub files: Arc<Sim>,
    pub store: Memory,
}

impl Ground {
    pub fn new(seed: u64) -> Self {
        Self { files: Arc::new(Sim::new(seed)), store: Memory::new() }
    }

    /// Starts a node of so many shards on it, or says why it does not start.
    pub async fn start(
        &self,
        shards: u32,
        log: cluster::Options,
        options: Options,
    ) -> Result<(Storage, Node), String> {
        let files = self.files.clone();
        let opened = tokio::task::spawn_blocking(move || Storage::open(files, Path::new("/node/log"), log));
        let storage = opened.await.expect("opening does not panic").map_err(|error| error.to_string())?;
        let parts = Parts {
            node: (1, storage.generation()),
            kinds: Kinds::default(),
            slots: (0..=u16::MAX).map(|slot| (u32::from(slot) * shards) >> 16).collect(),
            logs: (0..shards).map(|shard| storage.shard_log(shard)).collect(),
            store: Arc::new(self.store.clone()),
            files: self.files.clone(),
            streams: "/node/streams".into(),
            clock: Arc::new(SystemClock),
            access: Arc::new(Permissive),
        };
        let node = Node::start(parts, options).await.map_err(|error| error.to_string())?;
        Ok((storage, node))
    }

    /// Takes the power away: what was synced is left.
    pub fn crash(&mut self, seed: u64) {
        self.files.crash();
        self.store = self.store.crash(seed);
    }
}

/// A log of small segments, so that they are filled, recycled and purged.
pub fn log_options(segment_bytes: u32) -> cluster::Options {
    cluster::Options {
        segment_bytes: segment_bytes.into(),
        batch_bytes: segment_bytes as usize / 2,
        tail_bytes: 8 << 10,
        reserve_bytes: 0,
        ..cluster::Options::default()
    }
}

pub fn twin(number: u64) -> TwinId {
    TwinId::in_default_tenant(&format!("twin-{number}")).expect("a plain name")
}

pub fn register() -> Input {
    Input::Register { kind: Name::fixed("device"), tags: None, with: None }
}

pub fn sample(serial: u64) -> Input {
    let body = Json::of(&serial).expect("a number").into();
    Input::Sample { channel: Name::fixed("serial"), body }
}

/// The serials of all samples of a twin, as its stream has them.
pub async fn serials(node: &Node, number: u64) -> Vec<u64> {
    let selection = Selection {
        tenant: DEFAULT_TENANT.to_owned(),
        twin: Some(twin(number)),
        generation: None,
        shard: None,
        kinds: vec!["telemetry".to_owned()],
        channel: None,
        from: From::Earliest,
        until: None,
        limit: 1_000,
        bytes: usize::MAX,
    };
    let page = node.router().read(selection).await.expect("the stream can be read");
    let serial = |placed: &Placed| match &placed.record.fact {
        Fact::Telemetry { body, .. } => body.json()?.decode::<u64>().ok(),
        _ => None,
    };
    page.records.iter().filter_map(serial).collect()
}
