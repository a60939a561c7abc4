//! Three nodes of one process with a shard on each, which hears its log as the runtime's do: news and answers in one order.

use bytes::Bytes;
use cluster::Options;
use cluster::consensus::{Desk, Machine, Timing};
use cluster::group::{self, Change, Group, Stuck};
use cluster::wal::Wal;
use cluster::wire::memory::Mesh;
use runtime::files::{Files, sim::Sim};
use runtime::log::{Error, LogId, ShardLog, Tenure, Told};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, mpsc as blocking};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

pub(crate) const ALL: [u64; 3] = [1, 2, 3];
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
pub(crate) const GROUP: u32 = 5;
const FOLDER: &str = "log";
const READ_BYTES: usize = 1 << 20;

/// What comes to a shard, in the order in which it comes.
enum Mail {
    Told(Told),
    Answer(Bytes, Result<LogId, Error>),
}

/// A shard: it listens, and reads what it is told of.
pub(crate) struct Shard {
    pub(crate) log: Arc<Group>,
    post: mpsc::UnboundedSender<Mail>,
    mail: mpsc::UnboundedReceiver<Mail>,
    through: u64,
    pub(crate) applied: Vec<(LogId, Bytes)>,
    pub(crate) tenure: Option<Tenure>,
    /// Whether a proposal of its own has no answer yet.
    pub(crate) waits: bool,
}

impl Shard {
    pub(crate) fn new(log: Arc<Group>) -> Self {
        Self::after(log, 0)
    }

    /// A shard whose state has everything through an index.
    pub(crate) fn after(log: Arc<Group>, through: u64) -> Self {
        let (post, mail) = mpsc::unbounded_channel();
        let told = post.clone();
        // Whoever listens no more is told in vain.
        let standing = log.listen(Box::new(move |what| told.send(Mail::Told(what)).unwrap_or_default()));
        let tenure = standing.leads;
        let mut shard = Self { log, post, mail, through, applied: Vec::new(), tenure, waits: false };
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

    fn take(&mut self, mail: Mail) {
        match mail {
            Mail::Told(Told::Committed { through }) => {
                assert!(
                    !self.waits || self.tenure.is_none(),
                    "a leader is told of nothing while its own is under way"
                );
                self.read(through);
            }
            Mail::Told(Told::Leads { tenure, through }) => {
                assert!(!self.waits, "what was under way is answered before a tenure begins");
                self.read(through);
                self.tenure = Some(tenure);
            }
            Mail::Told(Told::Follows { .. }) => {
                assert!(!self.waits, "what was under way is answered before a tenure ends");
                self.tenure = None;
            }
            Mail::Told(Told::Replaced) => panic!("no state was sent"),
            Mail::Answer(payload, fate) => {
                self.waits = false;
                if let Ok(id) = fate {
                    assert!(self.through < id.index, "what is answered for is told to nobody");
                    self.through = id.index;
                    self.applied.push((id, payload));
                }
            }
        }
    }

    /// Takes what has come.
    pub(crate) fn drain(&mut self) {
        while let Ok(mail) = self.mail.try_recv() {
            self.take(mail);
        }
    }

    /// Takes the next thing that comes.
    pub(crate) async fn hear(&mut self) {
        let mail = timeout(PATIENCE, self.mail.recv()).await.expect("something is told").unwrap();
        self.take(mail);
    }

    pub(crate) async fn lead(&mut self) -> Tenure {
        loop {
            match self.tenure {
                Some(tenure) => return tenure,
                None => self.hear().await,
            }
        }
    }

    pub(crate) async fn apply(&mut self, through: LogId) -> &[(LogId, Bytes)] {
        while self.through < through.index {
            self.hear().await;
        }
        &self.applied
    }

    /// Proposes an entry; its answer comes with the mail, and to whoever asks for it here.
    pub(crate) fn begin(
        &mut self,
        tenure: Tenure,
        payload: impl Into<Bytes>,
    ) -> oneshot::Receiver<Result<LogId, Error>> {
        let (sender, fate) = oneshot::channel();
        let (post, payload) = (self.post.clone(), payload.into());
        self.waits = true;
        let answered = payload.clone();
        let done = move |result: Result<LogId, Error>| {
            drop(sender.send(result.clone()));
            post.send(Mail::Answer(answered, result)).unwrap_or_default();
        };
        self.log.propose(tenure, payload, Box::new(done));
        fate
    }

    /// Proposes an entry, and applies it as its own.
    pub(crate) async fn propose(&mut self, payload: &'static str) -> LogId {
        let tenure = self.lead().await;
        let fate = self.begin(tenure, payload);
        let id = timeout(PATIENCE, fate).await.expect("a fate").unwrap().unwrap();
        self.apply(id).await;
        id
    }

    pub(crate) async fn confirm(&self, tenure: Tenure) -> Result<(), Error> {
        let (sender, sure) = oneshot::channel();
        self.log.confirm(tenure, Box::new(move |result| drop(sender.send(result))));
        timeout(PATIENCE, sure).await.expect("an answer").unwrap()
    }
}

/// Keeps a log's writer from writing, until it is dropped.
pub(crate) struct Held(
    #[expect(dead_code, reason = "the writer goes on when it is dropped")] blocking::Sender<()>,
);

pub(crate) fn hold(wal: &Wal) -> Held {
    let (sender, receiver) = blocking::channel();
    let (arrived, arrival) = blocking::channel();
    let wait = move |_| {
        arrived.send(()).unwrap();
        assert!(receiver.recv().is_err(), "nothing is sent");
    };
    wal.append(Vec::new(), Box::new(wait));
    arrival.recv().unwrap();
    Held(sender)
}

pub(crate) fn wal(disk: &Sim, options: Options) -> Arc<Wal> {
    disk.create_folder(Path::new(FOLDER)).unwrap();
    Arc::new(Wal::open(Arc::new(disk.clone()), Path::new(FOLDER), options).unwrap())
}

pub(crate) struct Cluster {
    mesh: Mesh,
    pub(crate) options: Options,
    pub(crate) disks: BTreeMap<u64, Sim>,
    pub(crate) wals: BTreeMap<u64, Arc<Wal>>,
    pub(crate) logs: BTreeMap<u64, Arc<Group>>,
    starts: u64,
}

impl Cluster {
    /// Node 1 has a log of its own, under the local rule; the others have none.
    pub(crate) async fn lone() -> Self {
        Self::lone_with(Options::default()).await
    }

    pub(crate) async fn lone_with(options: Options) -> Self {
        let options = Options { segment_bytes: 64 << 10, reserve_bytes: 64 << 10, ..options };
        let disks: BTreeMap<u64, Sim> = ALL.map(|n| (n, Sim::new(n))).into();
        let mesh = Mesh::new(1, Duration::ZERO..Duration::from_millis(2));
        let (wals, logs) = (BTreeMap::new(), BTreeMap::new());
        let mut cluster = Self { mesh, options, disks, wals, logs, starts: 0 };
        for n in ALL {
            cluster.start(n).await;
        }
        cluster
    }

    /// Node 1 has a log of its own, with an entry that it committed alone; consensus runs on all.
    pub(crate) async fn new() -> (Self, LogId) {
        let cluster = Self::lone().await;
        let first = cluster.shard(1).propose("alone").await;
        cluster.open_up().await;
        (cluster, first)
    }

    pub(crate) async fn start(&mut self, n: u64) {
        let timing = Timing { heartbeat: Duration::from_millis(80), ..Timing::default() };
        let wal = wal(&self.disks[&n], Options { node: n, ..self.options.clone() });
        let begins = n == 1 && wal.generation() == 0;
        let log = group::open(&wal, n, &[GROUP], begins).unwrap().remove(0);
        let desk: Arc<Desk<Machine>> = Arc::new(Desk::new(self.mesh.wire(n), &timing, wal.clone()));
        self.starts += 1;
        self.mesh.join(n, self.starts, desk.clone());
        log.join(desk).await.unwrap();
        if n != 1 {
            log.grow().await.unwrap();
        }
        self.logs.insert(n, log);
        self.wals.insert(n, wal);
    }

    /// The power of a node goes: what it had not made durable is lost.
    pub(crate) async fn lose_power(&mut self, n: u64) {
        self.mesh.leave(n);
        self.logs.remove(&n).unwrap().leave().await;
        self.wals.remove(&n).unwrap().close();
        self.disks[&n].crash();
    }

    /// Consensus commits on all nodes.
    pub(crate) async fn open_up(&self) {
        for log in self.logs.values() {
            log.grow().await.unwrap();
        }
    }

    /// All three become voters.
    pub(crate) async fn grow(&self) {
        self.try_grow().await.unwrap();
    }

    pub(crate) async fn try_grow(&self) -> Result<(), Stuck> {
        let log = &self.logs[&1];
        log.grow().await?;
        for node in [2, 3] {
            log.change(Change::Learn { node }).await?;
        }
        log.change(Change::Vote { voters: ALL.into() }).await
    }

    /// Node 1 is alone again.
    pub(crate) async fn try_shrink(&self) -> Result<(), Stuck> {
        let log = &self.logs[&1];
        log.change(Change::Vote { voters: BTreeSet::from([1]) }).await?;
        log.shrink().await
    }

    pub(crate) fn shard(&self, n: u64) -> Shard {
        Shard::new(self.logs[&n].clone())
    }

    pub(crate) fn cut_off(&self, n: u64) {
        ALL.into_iter().filter(|other| *other != n).for_each(|other| self.mesh.cut(n, other));
    }

    pub(crate) fn mend(&self, n: u64) {
        ALL.into_iter().filter(|other| *other != n).for_each(|other| self.mesh.mend(n, other));
    }
}
