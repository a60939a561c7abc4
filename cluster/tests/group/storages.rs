//! Storages of three nodes: one that was alone, and two that join it with empty folders.

use crate::world::{ALL, PATIENCE, Shard};
use bytes::Bytes;
use cluster::consensus::Timing;
use cluster::group::{Change, Group, Stuck};
use cluster::meta::Command;
use cluster::wire::memory::Mesh;
use cluster::{Error, META_GROUP, Options, Storage};
use futures_util::future::join_all;
use runtime::files::sim::Sim;
use runtime::log::LogId;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::{sleep, timeout};

const SHARDS: u32 = 4;
const FOLDER: &str = "node";

struct Nodes {
    mesh: Mesh,
    disks: BTreeMap<u64, Sim>,
    storages: BTreeMap<u64, Storage>,
}

impl Nodes {
    fn new() -> Self {
        let disks = ALL.map(|n| (n, Sim::new(n))).into();
        let mesh = Mesh::new(1, Duration::ZERO..Duration::from_millis(2));
        Self { mesh, disks, storages: BTreeMap::new() }
    }

    async fn start(&mut self, n: u64) {
        let storage = open(&self.disks[&n], n);
        let timing = Timing { heartbeat: Duration::from_millis(80), ..Timing::default() };
        let hears = storage.join(self.mesh.wire(n), &timing, None).await.unwrap();
        self.mesh.join(n, storage.generation(), hears);
        self.storages.insert(n, storage);
    }

    async fn lose_power(&mut self, n: u64) {
        self.mesh.leave(n);
        let storage = self.storages.remove(&n).unwrap();
        storage.end().await;
        storage.shutdown();
        drop(storage);
        self.disks[&n].crash();
    }

    fn group(&self, n: u64, group: u32) -> Arc<Group> {
        self.storages[&n].group(group)
    }

    /// Whoever leads a group, once somebody does.
    async fn leader(&self, group: u32) -> Arc<Group> {
        let leads = |n: &u64| self.group(*n, group).view().leader == Some(*n);
        eventually(async || self.storages.keys().copied().find(leads).map(|n| self.group(n, group))).await
    }

    /// Carries out a change by whoever leads, until it is.
    async fn change(&self, group: u32, change: Change) {
        let carry_out = async || self.leader(group).await.change(change.clone()).await.ok();
        eventually(carry_out).await;
    }

    /// Lets a group of node 1 alone grow to all three. On a busy machine another node may lead before it has.
    async fn grow(&self, group: u32) {
        self.group(1, group).grow().await.unwrap();
        for node in [2, 3] {
            self.change(group, Change::Learn { node }).await;
        }
        self.change(group, Change::Vote { voters: ALL.into() }).await;
    }

    /// Lets node 1 lead a group.
    async fn lead_by_1(&self, group: u32) {
        eventually(async || {
            self.change(group, Change::Transfer { to: 1 }).await;
            (self.group(1, group).view().leader == Some(1)).then_some(())
        })
        .await;
    }

    /// Lets a group go back to node 1 alone.
    async fn shrink(&self, group: u32) {
        self.lead_by_1(group).await;
        self.change(group, Change::Vote { voters: BTreeSet::from([1]) }).await;
        eventually(async || self.group(1, group).shrink().await.ok()).await;
    }

    /// Proposes an entry by whoever leads, until one is acknowledged.
    async fn write(&self, group: u32, payload: &str) -> LogId {
        eventually(async || {
            let mut shard = Shard::new(self.leader(group).await);
            let tenure = timeout(Duration::from_secs(2), shard.lead()).await.ok()?;
            shard.begin(tenure, Bytes::from(payload.to_owned())).await.ok()?.ok()
        })
        .await
    }
}

fn open(disk: &Sim, n: u64) -> Storage {
    try_open(disk, n, SHARDS).unwrap()
}

fn try_open(disk: &Sim, n: u64, shards: u32) -> Result<Storage, Error> {
    let options = Options {
        node: n,
        shards,
        begins: n == 1,
        segment_bytes: 64 << 10,
        reserve_bytes: 64 << 10,
        ..Options::default()
    };
    Storage::open(Arc::new(disk.clone()), Path::new(FOLDER), options)
}

/// Tries until there is something.
async fn eventually<T, F: Future<Output = Option<T>>>(attempt: impl Fn() -> F) -> T {
    let tried = async {
        loop {
            match attempt().await {
                Some(found) => return found,
                None => sleep(Duration::from_millis(5)).await,
            }
        }
    };
    timeout(PATIENCE, tried).await.expect("it comes to that")
}

async fn execute(storage: &Storage, command: Command) -> u64 {
    let meta = storage.meta();
    let executed = tokio::task::spawn_blocking(move || meta.execute_blocking(command, meta.state().version));
    executed.await.unwrap().unwrap()
}

fn domain() -> Command {
    Command::CreateDomain { name: "default".to_owned(), shards: SHARDS }
}

/// Proposes while it leads, as fast as it is answered, until it is told to end; answers what was acknowledged.
async fn write_on(mut shard: Shard, ends: Arc<AtomicBool>) -> Vec<LogId> {
    let mut acknowledged = Vec::new();
    while !ends.load(Ordering::Relaxed) {
        shard.drain();
        match shard.tenure.filter(|_| !shard.waits) {
            Some(tenure) => {
                let fate = timeout(PATIENCE, shard.begin(tenure, "meanwhile")).await.expect("a fate");
                acknowledged.extend(fate.unwrap());
            }
            None => sleep(Duration::from_millis(1)).await,
        }
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_groups_grow_to_three_nodes_and_back_and_every_node_loses_power_meanwhile() {
    let mut nodes = Nodes::new();
    nodes.start(1).await;
    execute(&nodes.storages[&1], domain()).await;
    let mut acknowledged: BTreeMap<u32, Vec<LogId>> = BTreeMap::new();
    for group in 1..=SHARDS {
        acknowledged.entry(group).or_default().push(nodes.write(group, "alone").await);
    }
    nodes.start(2).await;
    nodes.start(3).await;
    assert!((META_GROUP..=SHARDS).all(|group| nodes.group(2, group).view() == Default::default()));

    let ends = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (1..=SHARDS)
        .map(|group| tokio::spawn(write_on(Shard::new(nodes.group(1, group)), ends.clone())))
        .collect();
    join_all((META_GROUP..=SHARDS).map(|group| nodes.grow(group))).await;
    ends.store(true, Ordering::Relaxed);

    for (group, writer) in (1..).zip(writers) {
        acknowledged.get_mut(&group).unwrap().extend(writer.await.unwrap());
    }
    for n in [2, 3, 1] {
        let meta = nodes.storages[&n].meta();
        eventually(async || meta.state().domains.get("default").map(drop)).await;
        nodes.lose_power(n).await;
        for group in 1..=SHARDS {
            acknowledged.get_mut(&group).unwrap().push(nodes.write(group, "without one").await);
        }
        nodes.start(n).await;
        assert_eq!(nodes.group(n, META_GROUP).view().voters, ALL.into());
    }
    join_all((META_GROUP..=SHARDS).map(|group| nodes.shrink(group))).await;

    for (group, expected) in acknowledged {
        let log = nodes.group(1, group);
        assert!(!log.view().by_consensus);
        let mut shard = Shard::new(log);
        shard.lead().await;
        let found: BTreeSet<LogId> = shard.applied.iter().map(|(id, _)| *id).collect();
        assert!(expected.iter().all(|id| found.contains(id)), "group {group}: {expected:?} in {found:?}");
    }
    assert_eq!(nodes.storages[&1].meta().state().domains["default"].shards, SHARDS);
    nodes.lose_power(1).await;
    let alone = open(&nodes.disks[&1], 1);
    assert!((META_GROUP..=SHARDS).all(|group| alone.group(group).view().leader == Some(1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_leaves_hands_over_all_that_it_leads() {
    let mut nodes = Nodes::new();
    for n in ALL {
        nodes.start(n).await;
    }
    execute(&nodes.storages[&1], domain()).await;
    join_all((META_GROUP..=SHARDS).map(|group| nodes.grow(group))).await;
    join_all((META_GROUP..=SHARDS).map(|group| nodes.lead_by_1(group))).await;

    nodes.storages[&1].leave().await;

    for group in META_GROUP..=SHARDS {
        let leads = |n: &u64| nodes.group(*n, group).view().leader == Some(*n);
        assert!([2, 3].iter().any(leads), "group {group} has its next leader by then");
    }
    // Whoever leads the meta group decides on what this node has decided, once its barrier is passed.
    let executed = eventually(async || {
        let meta = nodes.storages[&nodes.leader(META_GROUP).await.view().leader?].meta();
        let executed =
            tokio::task::spawn_blocking(move || meta.execute_blocking(domain(), meta.state().version));
        executed.await.unwrap().ok()
    });
    assert_eq!(executed.await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_was_carried_out_is_carried_out_again_at_no_cost() {
    let mut nodes = Nodes::new();
    for n in ALL {
        nodes.start(n).await;
    }
    nodes.grow(1).await;
    nodes.lead_by_1(1).await;
    let log = nodes.group(1, 1);
    log.change(Change::Vote { voters: [1, 2].into() }).await.unwrap();
    log.change(Change::Learn { node: 3 }).await.unwrap();
    log.change(Change::Forget { node: 3 }).await.unwrap();
    let before = log.view();

    log.grow().await.unwrap();
    log.change(Change::Forget { node: 3 }).await.unwrap();
    log.change(Change::Learn { node: 2 }).await.unwrap();
    log.change(Change::Vote { voters: [1, 2].into() }).await.unwrap();
    log.change(Change::Transfer { to: 1 }).await.unwrap();

    let after = log.view();
    assert_eq!((after.last, after.voters), (before.last, [1, 2].into()));
    assert!(after.quorum_acked_ms.is_some() && after.learners.is_empty());
    let stranger = log.change(Change::Transfer { to: 3 }).await;
    assert!(matches!(stranger, Err(Stuck::Refused { .. })), "{stranger:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_not_fit_leads_nothing_and_leads_again_when_it_is() {
    let mut nodes = Nodes::new();
    for n in ALL {
        nodes.start(n).await;
    }
    nodes.grow(1).await;
    nodes.lead_by_1(1).await;
    let mut shard = Shard::new(nodes.group(1, 1));
    shard.lead().await;

    nodes.group(1, 1).fit(false);
    while shard.tenure.is_some() {
        shard.hear().await;
    }
    let heir = eventually(async || [2, 3].into_iter().find(|n| nodes.group(*n, 1).view().leader == Some(*n)));
    let heir = heir.await;
    for n in ALL.into_iter().filter(|n| *n != heir) {
        nodes.group(n, 1).elects(false);
    }
    nodes.group(1, 1).fit(true);
    nodes.group(1, 1).elects(true);
    nodes.group(heir, 1).fit(false);

    // Of the other two only this one stands for election; the other may be handed the lead, and then hands it on.
    eventually(async || {
        for n in [2, 3] {
            nodes.group(n, 1).fit(false);
        }
        (nodes.group(1, 1).view().leader == Some(1)).then_some(())
    })
    .await;
    shard.lead().await;
}

#[test]
fn a_folder_with_another_number_of_shards_is_not_opened() {
    let disk = Sim::new(1);
    let storage = open(&disk, 1);
    storage.meta().execute_blocking(domain(), 0).unwrap();
    drop(storage);

    let refused = try_open(&disk, 1, SHARDS + 1).err();

    assert!(matches!(refused, Some(Error::Shards { asked: 5, found: 4 })), "{refused:?}");
}
