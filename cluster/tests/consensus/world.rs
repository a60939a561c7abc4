//! Three nodes of one process with a shard on each, which hears its log as the runtime's do: news and answers in one order.

use crate::{GROUP, propose, storage, wal};
use bytes::Bytes;
use cluster::consensus::{Desk, Machine, Replicated, Timing};
use cluster::wal::Wal;
use cluster::wire::memory::Mesh;
use openraft::BasicNode;
use runtime::files::sim::Sim;
use runtime::log::{Error, LogId, ShardLog, Tenure, Told};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

pub(crate) const ALL: [u64; 3] = [1, 2, 3];
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
const READ_BYTES: usize = 1 << 20;

/// What comes to a shard, in the order in which it comes.
enum Mail {
    Told(Told),
    Answer(Bytes, Result<LogId, Error>),
}

/// A shard: it listens, and reads what it is told of.
pub(crate) struct Shard {
    pub(crate) log: Arc<Replicated>,
    post: mpsc::UnboundedSender<Mail>,
    mail: mpsc::UnboundedReceiver<Mail>,
    through: u64,
    pub(crate) applied: Vec<(LogId, Bytes)>,
    pub(crate) tenure: Option<Tenure>,
    /// Whether a proposal of its own has no answer yet.
    pub(crate) waits: bool,
}

impl Shard {
    fn new(log: Arc<Replicated>) -> Self {
        let (post, mail) = mpsc::unbounded_channel();
        let told = post.clone();
        // Whoever listens no more is told in vain.
        let standing = log.listen(Box::new(move |what| told.send(Mail::Told(what)).unwrap_or_default()));
        let mut shard = Self { log, post, mail, through: 0, applied: Vec::new(), tenure: None, waits: false };
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

pub(crate) struct Cluster {
    mesh: Mesh,
    pub(crate) disks: BTreeMap<u64, Sim>,
    pub(crate) wals: BTreeMap<u64, Arc<Wal>>,
    pub(crate) logs: BTreeMap<u64, Arc<Replicated>>,
    starts: u64,
}

impl Cluster {
    /// Node 1 has a log of its own, with an entry; the others have none.
    pub(crate) async fn new() -> (Self, LogId) {
        let disks: BTreeMap<u64, Sim> = ALL.map(|n| (n, Sim::new(n))).into();
        let mesh = Mesh::new(1, Duration::ZERO..Duration::from_millis(2));
        let mut cluster = Self { mesh, disks, wals: BTreeMap::new(), logs: BTreeMap::new(), starts: 0 };
        let local = storage(&cluster.disks[&1]);
        let first = propose(&local.shard_log(GROUP - 1), b"alone");
        drop(local);
        for n in ALL {
            cluster.start(n).await;
        }
        (cluster, first)
    }

    pub(crate) async fn start(&mut self, n: u64) {
        let timing = Timing { heartbeat: Duration::from_millis(80), ..Timing::default() };
        let wal = wal(&self.disks[&n]);
        let desk: Arc<Desk<Machine>> = Arc::new(Desk::new(self.mesh.wire(n), &timing, wal.clone()));
        let log = Replicated::start(wal.clone(), GROUP, n, &timing, &desk).await.unwrap();
        self.starts += 1;
        self.mesh.join(n, self.starts, desk);
        self.logs.insert(n, Arc::new(log));
        self.wals.insert(n, wal);
    }

    /// The power of a node goes: what it had not made durable is lost.
    pub(crate) async fn lose_power(&mut self, n: u64) {
        self.mesh.leave(n);
        self.logs.remove(&n).unwrap().stop().await;
        self.wals.remove(&n).unwrap().close();
        self.disks[&n].crash();
    }

    /// All three become voters.
    pub(crate) async fn grow(&self) {
        let raft = self.logs[&1].raft();
        for n in [2, 3] {
            raft.add_learner(n, BasicNode::new(""), true).await.unwrap();
        }
        raft.change_membership(ALL, false).await.unwrap();
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
