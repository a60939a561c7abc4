//! Three nodes of one process with a shard on each, which keeps a state, writes checkpoints, and lets the log drop what
//! they have.

use crate::shelf::{Shelf, State};
use bytes::Bytes;
use cluster::Options;
use cluster::consensus::{Desk, Machine, Retention, Timing};
use cluster::group::{self, Change, Group};
use cluster::wal::Wal;
use cluster::wire::memory::Mesh;
use runtime::files::{Files, sim::Sim};
use runtime::log::{Error, LogId, ShardLog, Tenure, Told};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

pub(crate) const ALL: [u64; 3] = [1, 2, 3];
pub(crate) const SHARD: u32 = 4;
pub(crate) const GROUP: u32 = SHARD + 1;
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
pub(crate) const FOLDER: &str = "log";
/// How many entries a shard applies before it writes a checkpoint.
const CHECKPOINT: u64 = 20;

enum Mail {
    Told(Told),
    Answer(Bytes, Result<LogId, Error>, oneshot::Sender<Result<LogId, Error>>),
}

/// What others see of a shard.
#[derive(Clone, Default)]
pub(crate) struct Seen {
    pub(crate) state: State,
    pub(crate) tenure: Option<Tenure>,
    /// How often it began from a state that came.
    pub(crate) replaced: u64,
}

/// A shard that lives on a task of its own.
pub(crate) struct Shard {
    log: Arc<Group>,
    post: mpsc::UnboundedSender<Mail>,
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

impl Drop for Shard {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Life {
    log: Arc<Group>,
    shelf: Arc<Shelf>,
    post: mpsc::UnboundedSender<Mail>,
    seen: Arc<Mutex<Seen>>,
    state: State,
    saved: u64,
}

impl Shard {
    fn begin(log: Arc<Group>, shelf: Arc<Shelf>) -> Self {
        let (post, mut mail) = mpsc::unbounded_channel();
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let (state, saved) = (State::default(), 0);
        let mut life = Life { log: log.clone(), shelf, post: post.clone(), seen: seen.clone(), state, saved };
        life.recover();
        let task = tokio::spawn(async move {
            while let Some(mail) = mail.recv().await {
                life.take(mail);
            }
        });
        Self { log, post, seen, task }
    }

    pub(crate) fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }

    /// Proposes an entry when it leads, and answers where it stands.
    pub(crate) async fn propose(&self, payload: impl Into<Bytes>) -> LogId {
        let payload = payload.into();
        let until = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < until, "nobody takes {} bytes", payload.len());
            let Some(tenure) = self.seen().tenure else {
                sleep(Duration::from_millis(5)).await;
                continue;
            };
            let (sender, fate) = oneshot::channel();
            let (post, answered) = (self.post.clone(), payload.clone());
            let done = move |result| post.send(Mail::Answer(answered, result, sender)).unwrap_or_default();
            self.log.propose(tenure, payload.clone(), Box::new(done));
            match fate.await.unwrap() {
                Ok(id) => return id,
                Err(Error::NotLeader { .. }) => sleep(Duration::from_millis(5)).await,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Waits until it has applied an entry.
    pub(crate) async fn applies(&self, index: u64) -> Seen {
        self.until(|seen| seen.state.applied >= index, "an entry is applied").await
    }

    pub(crate) async fn until(&self, is_so: impl Fn(&Seen) -> bool, what: &str) -> Seen {
        let until = Instant::now() + PATIENCE;
        loop {
            let seen = self.seen();
            if is_so(&seen) {
                return seen;
            }
            assert!(Instant::now() < until, "{what}: it applied {}", seen.state.applied);
            sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Life {
    fn recover(&mut self) {
        self.state = self.shelf.load(SHARD);
        self.saved = self.state.applied;
        let post = self.post.clone();
        let standing = self.log.listen(Box::new(move |told| post.send(Mail::Told(told)).unwrap_or_default()));
        self.seen.lock().unwrap().tenure = standing.leads;
        self.read(standing.through);
    }

    fn take(&mut self, mail: Mail) {
        match mail {
            Mail::Told(Told::Committed { through }) => self.read(through),
            Mail::Told(Told::Leads { tenure, through }) => {
                self.read(through);
                self.seen.lock().unwrap().tenure = Some(tenure);
            }
            Mail::Told(Told::Follows { .. }) => self.seen.lock().unwrap().tenure = None,
            Mail::Told(Told::Replaced) => {
                self.seen.lock().unwrap().replaced += 1;
                self.recover();
            }
            Mail::Answer(payload, result, sender) => {
                if let Ok(id) = result {
                    self.apply(id.index, payload);
                }
                drop(sender.send(result));
            }
        }
    }

    fn read(&mut self, through: u64) {
        while self.state.applied < through {
            // Entries may be dropped for a state that came, of which the shard is about to hear.
            let Ok(entries) = self.log.read(self.state.applied, through, 1 << 20) else { return };
            if entries.is_empty() {
                self.state.applied = through;
            }
            for entry in entries {
                self.apply(entry.id.index, entry.payload);
            }
        }
        self.show();
    }

    fn apply(&mut self, index: u64, payload: Bytes) {
        assert!(self.state.applied < index, "each entry is applied once");
        self.state.applied = index;
        self.state.payloads.push(payload);
        // A disk without power fails; the log says so by itself.
        if index >= self.saved + CHECKPOINT && self.shelf.save(SHARD, &self.state).is_ok() {
            self.saved = index;
            self.log.purge(index);
        }
        self.show();
    }

    fn show(&self) {
        self.seen.lock().unwrap().state = self.state.clone();
    }
}

pub(crate) struct Node {
    pub(crate) disk: Sim,
    pub(crate) wal: Arc<Wal>,
    pub(crate) log: Arc<Group>,
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) shard: Shard,
}

pub(crate) struct Cluster {
    pub(crate) mesh: Mesh,
    retention: Retention,
    disks: BTreeMap<u64, Sim>,
    pub(crate) nodes: BTreeMap<u64, Node>,
    starts: u64,
}

impl Cluster {
    /// Node 1 is alone in its group, the others have none.
    pub(crate) async fn lone(retention: Retention) -> Self {
        let disks: BTreeMap<u64, Sim> = ALL.map(|n| (n, Sim::new(n))).into();
        let mesh = Mesh::new(1, Duration::ZERO..Duration::from_millis(2));
        let mut cluster = Self { mesh, retention, disks, nodes: BTreeMap::new(), starts: 0 };
        for n in ALL {
            cluster.start(n).await;
        }
        cluster
    }

    /// All three decide.
    pub(crate) async fn grown(retention: Retention) -> Self {
        let cluster = Self::lone(retention).await;
        for n in ALL {
            cluster.nodes[&n].log.grow().await.unwrap();
        }
        for n in [2, 3] {
            cluster.learn(n).await;
        }
        cluster.vote(ALL).await;
        cluster
    }

    pub(crate) async fn start(&mut self, n: u64) {
        let timing = Timing { heartbeat: Duration::from_millis(80), ..Timing::default() };
        let disk = self.disks[&n].clone();
        disk.create_folder(Path::new(FOLDER)).unwrap();
        let options =
            Options { node: n, segment_bytes: 16 << 10, reserve_bytes: 64 << 10, ..Options::default() };
        let wal = Arc::new(Wal::open(Arc::new(disk.clone()), Path::new(FOLDER), options).unwrap());
        let begins = n == 1 && wal.generation() == 0;
        let log = group::open(&wal, n, &[GROUP], begins).unwrap().remove(0);
        let shelf = Shelf::new(&disk);
        let desk: Desk<Machine> = Desk::new(self.mesh.wire(n), &timing, wal.clone());
        let desk = Arc::new(desk.with_replicas(shelf.clone(), self.retention.clone()));
        self.starts += 1;
        self.mesh.join(n, self.starts, desk.clone());
        log.join(desk).await.unwrap();
        let shard = Shard::begin(log.clone(), shelf.clone());
        self.nodes.insert(n, Node { disk, wal, log, shelf, shard });
    }

    /// The power of a node goes: what it had not made durable is lost.
    pub(crate) async fn lose_power(&mut self, n: u64) {
        self.mesh.leave(n);
        let node = self.nodes.remove(&n).unwrap();
        node.log.leave().await;
        node.wal.close();
        drop(node.shard);
        node.disk.crash();
    }

    /// A node loses all that it has.
    pub(crate) async fn wipe(&mut self, n: u64) {
        self.lose_power(n).await;
        self.disks.insert(n, Sim::new(100 + n));
        self.start(n).await;
    }

    pub(crate) async fn learn(&self, node: u64) {
        self.nodes[&1].log.change(Change::Learn { node }).await.unwrap();
    }

    pub(crate) async fn vote<const N: usize>(&self, voters: [u64; N]) {
        self.nodes[&1].log.change(Change::Vote { voters: BTreeSet::from(voters) }).await.unwrap();
    }

    pub(crate) fn cut_off(&self, n: u64) {
        ALL.into_iter().filter(|other| *other != n).for_each(|other| self.mesh.cut(n, other));
    }

    pub(crate) fn mend(&self, n: u64) {
        ALL.into_iter().filter(|other| *other != n).for_each(|other| self.mesh.mend(n, other));
    }

    pub(crate) fn shard(&self, n: u64) -> &Shard {
        &self.nodes[&n].shard
    }

    /// Proposes some entries on node 1, a kilobyte each; answers the last.
    pub(crate) async fn write(&self, count: u64) -> LogId {
        let mut last = LogId::default();
        for number in 0..count {
            let mut payload = number.to_le_bytes().to_vec();
            payload.resize(1000, 7);
            last = self.shard(1).propose(payload).await;
        }
        last
    }

    pub(crate) fn purged(&self, n: u64) -> u64 {
        self.nodes[&n].wal.state(GROUP).purged.map_or(0, |id| id.index)
    }

    /// Waits until a node has dropped entries through an index.
    pub(crate) async fn purges(&self, n: u64, index: u64) {
        let until = Instant::now() + PATIENCE;
        while self.purged(n) < index {
            assert!(Instant::now() < until, "node {n} has dropped entries through {}", self.purged(n));
            sleep(Duration::from_millis(5)).await;
        }
    }
}

/// So little is kept that whoever is away for some entries needs the state.
pub(crate) fn little() -> Retention {
    Retention { healthy_bytes: 4 << 10, lagging_bytes: 8 << 10, sent: Duration::from_millis(300) }
}
