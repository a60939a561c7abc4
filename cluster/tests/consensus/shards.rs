//! A shard's log on three nodes, as three shards hear it: one that proposes, and whoever comes after it.

use crate::{GROUP, propose, storage, wal};
use bytes::Bytes;
use cluster::consensus::{Desk, Machine, Replicated, Timing};
use cluster::wire::memory::Mesh;
use openraft::BasicNode;
use runtime::files::sim::Sim;
use runtime::log::{Ear, Error, LogId, ShardLog, Tenure, Told};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

const ALL: [u64; 3] = [1, 2, 3];
const PATIENCE: Duration = Duration::from_secs(20);
const READ_BYTES: usize = 1 << 20;

/// A shard: it listens, and reads what it is told of.
struct Shard {
    log: Arc<Replicated>,
    heard: mpsc::UnboundedReceiver<Told>,
    through: u64,
    applied: Vec<(LogId, Bytes)>,
    tenure: Option<Tenure>,
}

impl Shard {
    fn new(log: Arc<Replicated>) -> Self {
        let (tell, heard) = mpsc::unbounded_channel();
        // Whoever listens no more is told in vain.
        let ear: Ear = Box::new(move |told| tell.send(told).unwrap_or_default());
        let standing = log.listen(ear);
        let mut shard = Self { log, heard, through: 0, applied: Vec::new(), tenure: None };
        shard.read(standing.through);
        shard
    }

    fn read(&mut self, through: u64) {
        while self.through < through {
            let entries = self.log.recent(self.through, through, READ_BYTES);
            let entries =
                entries.unwrap_or_else(|| self.log.read(self.through, through, READ_BYTES).unwrap());
            self.through = entries.last().map_or(through, |last| last.id.index);
            self.applied.extend(entries.into_iter().map(|entry| (entry.id, entry.payload)));
        }
    }

    /// Hears the next thing.
    async fn hear(&mut self) -> Told {
        let told = timeout(PATIENCE, self.heard.recv()).await.expect("something is told").unwrap();
        match told {
            Told::Committed { through } => self.read(through),
            Told::Leads { tenure, through } => {
                self.read(through);
                self.tenure = Some(tenure);
            }
            Told::Follows { .. } => self.tenure = None,
            Told::Replaced => panic!("no state was sent"),
        }
        told
    }

    async fn lead(&mut self) -> Tenure {
        loop {
            if let Some(tenure) = self.tenure {
                return tenure;
            }
            self.hear().await;
        }
    }

    async fn apply(&mut self, through: LogId) -> &[(LogId, Bytes)] {
        while self.through < through.index {
            self.hear().await;
        }
        &self.applied
    }

    fn begin(&self, tenure: Tenure, payload: &'static str) -> oneshot::Receiver<Result<LogId, Error>> {
        let (sender, fate) = oneshot::channel();
        self.log.propose(tenure, payload.into(), Box::new(move |result| drop(sender.send(result))));
        fate
    }

    /// Proposes an entry, and applies it as its own.
    async fn propose(&mut self, payload: &'static str) -> LogId {
        let tenure = self.lead().await;
        let fate = self.begin(tenure, payload);
        let id = timeout(PATIENCE, fate).await.expect("a fate").unwrap().unwrap();
        self.through = id.index;
        self.applied.push((id, payload.into()));
        id
    }

    async fn confirm(&self, tenure: Tenure) -> Result<(), Error> {
        let (sender, sure) = oneshot::channel();
        self.log.confirm(tenure, Box::new(move |result| drop(sender.send(result))));
        timeout(PATIENCE, sure).await.expect("an answer").unwrap()
    }
}

struct Cluster {
    mesh: Mesh,
    disks: BTreeMap<u64, Sim>,
    logs: BTreeMap<u64, Arc<Replicated>>,
}

impl Cluster {
    /// Node 1 has a log of its own, with an entry; the others have none.
    async fn new() -> (Self, LogId) {
        let disks: BTreeMap<u64, Sim> = ALL.map(|n| (n, Sim::new(n))).into();
        let mesh = Mesh::new(1, Duration::ZERO..Duration::from_millis(2));
        let mut cluster = Self { mesh, disks, logs: BTreeMap::new() };
        let local = storage(&cluster.disks[&1]);
        let first = propose(&local.shard_log(GROUP - 1), b"alone");
        drop(local);
        for n in ALL {
            cluster.start(n).await;
        }
        (cluster, first)
    }

    async fn start(&mut self, n: u64) {
        let timing = Timing { heartbeat: Duration::from_millis(80), ..Timing::default() };
        let wal = wal(&self.disks[&n]);
        let desk: Arc<Desk<Machine>> = Arc::new(Desk::new(self.mesh.wire(n), &timing, wal.clone()));
        let log = Replicated::start(wal, GROUP, n, &timing, &desk).await.unwrap();
        self.mesh.join(n, 1, desk);
        self.logs.insert(n, Arc::new(log));
    }

    /// All three become voters.
    async fn grow(&self) {
        let raft = self.logs[&1].raft();
        for n in [2, 3] {
            raft.add_learner(n, BasicNode::new(""), true).await.unwrap();
        }
        raft.change_membership(ALL, false).await.unwrap();
    }

    fn shard(&self, n: u64) -> Shard {
        Shard::new(self.logs[&n].clone())
    }

    fn cut_off(&self, n: u64) {
        ALL.into_iter().filter(|other| *other != n).for_each(|other| self.mesh.cut(n, other));
    }

    fn mend(&self, n: u64) {
        ALL.into_iter().filter(|other| *other != n).for_each(|other| self.mesh.mend(n, other));
    }
}

fn payloads(applied: &[(LogId, Bytes)]) -> Vec<&str> {
    applied.iter().map(|(_, payload)| std::str::from_utf8(payload).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_leads_in_the_term_of_its_lone_log_and_the_others_follow_it() {
    let (cluster, first) = Cluster::new().await;
    let mut shards = ALL.map(|n| cluster.shard(n));

    let tenure = shards[0].lead().await;
    cluster.grow().await;
    shards[0].propose("by one").await;
    let last = shards[0].propose("by three").await;

    assert_eq!((tenure.term, last.term), (first.term, first.term));
    for shard in &mut shards {
        assert_eq!(payloads(shard.apply(last).await), ["alone", "by one", "by three"]);
    }
    assert_eq!(shards[0].tenure, Some(tenure), "the change of the membership is not felt");
    assert_eq!(shards[0].confirm(tenure).await, Ok(()));
    let fate = shards[1].begin(tenure, "not here").await.unwrap();
    assert_eq!(fate, Err(Error::NotLeader { term: tenure.term }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_cut_off_is_deposed_and_confirms_nothing() {
    let (cluster, _) = Cluster::new().await;
    let mut shards = ALL.map(|n| cluster.shard(n));
    let tenure = shards[0].lead().await;
    cluster.grow().await;
    let last = shards[0].propose("before").await;
    let [old, one, two] = &mut shards;
    one.apply(last).await;
    two.apply(last).await;

    cluster.cut_off(1);
    let fate = old.begin(tenure, "lost");
    assert_eq!(old.confirm(tenure).await, Err(Error::NotLeader { term: tenure.term }));
    // It hears that its lead has ended, though nobody can tell it.
    assert_eq!(timeout(PATIENCE, fate).await.unwrap().unwrap(), Err(Error::Deposed { term: tenure.term }));
    let new = tokio::select! { _ = one.lead() => 1, _ = two.lead() => 2 };
    let new = if new == 1 { one } else { two };
    let last = new.propose("after").await;
    cluster.mend(1);

    assert!(last.term > tenure.term);
    assert_eq!(payloads(old.apply(last).await), ["alone", "before", "after"]);
    assert_eq!(payloads(new.apply(last).await), ["alone", "before", "after"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_listens_anew_reads_what_the_one_before_proposed_before_it_leads() {
    let (cluster, _) = Cluster::new().await;
    let mut dies = cluster.shard(1);
    let tenure = dies.lead().await;
    cluster.grow().await;
    let heard = Arc::new(Mutex::new(None));
    let fate = heard.clone();
    dies.log.propose(
        tenure,
        "of the one before".into(),
        Box::new(move |result| {
            *fate.lock().unwrap() = Some(result);
        }),
    );

    let mut next = cluster.shard(1);
    let again = next.lead().await;

    assert!(again.term == tenure.term && again != tenure);
    assert_eq!(payloads(&next.applied), ["alone", "of the one before"]);
    let fate = heard.lock().unwrap().take().unwrap();
    assert!(matches!(fate, Ok(_) | Err(Error::Deposed { .. })), "{fate:?}");
    assert!(matches!(dies.begin(tenure, "late").await.unwrap(), Err(Error::NotLeader { .. })));
    next.propose("of the next").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_on_a_full_disk_is_refused_and_leads_on() {
    let (cluster, _) = Cluster::new().await;
    let mut shard = cluster.shard(1);
    let tenure = shard.lead().await;
    let disk = &cluster.disks[&1];

    disk.set_capacity(disk.used() + 1000);
    let refused = shard.begin(tenure, "no room").await.unwrap();
    disk.set_capacity(u64::MAX);

    assert!(matches!(refused, Err(Error::Full(_))), "{refused:?}");
    shard.propose("room again").await;
    assert_eq!(shard.tenure, Some(tenure));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_stops_leaves_no_proposal_without_an_answer() {
    let (cluster, _) = Cluster::new().await;
    let mut shard = cluster.shard(1);
    let tenure = shard.lead().await;
    cluster.grow().await;
    cluster.cut_off(1);
    let fate = shard.begin(tenure, "under way");

    cluster.logs[&1].stop().await;

    assert_eq!(fate.await.unwrap(), Err(Error::Deposed { term: tenure.term }));
    assert!(matches!(shard.begin(tenure, "after").await.unwrap(), Err(Error::NotLeader { .. })));
}
