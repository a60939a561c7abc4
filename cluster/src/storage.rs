//! A node's storage: one folder, one log, all groups on it.

use crate::backup::Saver;
use crate::consensus::{Desk, Machine, Retention, Timing};
use crate::group::{self, Group, Stuck};
use crate::meta::Meta;
use crate::wal::{Syncs, Wal};
use crate::wire::{Hears, Wire};
use crate::{Error, Options, Watch};
use futures_util::future::join_all;
use runtime::backup::Definitions;
use runtime::files::{Files, Lock};
use runtime::log::ShardLog;
use runtime::replica::Replicas;
use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock, Weak};

/// The group of the node's own definitions.
pub const META_GROUP: u32 = 0;

/// How many shards there are, numbered from 0, where the options do not say fewer; shard `n` is group `n + 1` of the log.
pub const SHARDS: u32 = 64;

/// A node's storage, open. Dropping it shuts it down.
pub struct Storage {
    wal: Arc<Wal>,
    meta: Arc<Meta>,
    /// The meta group, then those of the shards.
    groups: Vec<Arc<Group>>,
    generation: u64,
    watch: Watch,
    desk: OnceLock<Arc<Desk<Machine>>>,
    _lock: Box<dyn Lock>,
}

impl Storage {
    /// Opens the storage in a folder, or begins it there: takes the folder's lock, recovers the log, raises the node's
    /// generation and leads every group that is this node's alone in a new term, with one fdatasync for all of that. What the
    /// log says decides, and not the options: a group that has other nodes waits for [`Storage::join`], and one that is not
    /// here for a leader who wants this node in it. Blocks; reads the whole log.
    ///
    /// # Errors
    /// [`Error::InUse`] when another process has the folder, [`Error::Shards`] when the keys are spread over another number
    /// of shards; else those of recovery. Each says what to do.
    pub fn open(files: Arc<dyn Files>, folder: &Path, options: Options) -> Result<Self, Error> {
        let lock = lock(&*files, folder)?;
        let Options { node, shards, begins, reserve_bytes, .. } = options;
        let wal = Arc::new(Wal::open(files.clone(), folder, options)?);
        let watch = Watch { wal: wal.clone(), files, folder: folder.to_owned(), reserve_bytes };
        let numbers: Vec<u32> = (META_GROUP..=shards).collect();
        let groups = group::open(&wal, node, &numbers, begins && wal.generation() == 0)?;
        let meta = Meta::open(groups[META_GROUP as usize].clone())?;
        let found = meta.state().domains.values().map(|domain| domain.shards).sum();
        if found != 0 && found != shards {
            return Err(Error::Shards { asked: shards, found });
        }
        let generation = wal.generation();
        tracing::info!(node, generation, folder = %folder.display(), "the storage is open");
        Ok(Self { wal, meta: Arc::new(meta), groups, generation, watch, desk: OnceLock::new(), _lock: lock })
    }

    /// How often the node was started on this folder, this time included: 1 is the first.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The meta group.
    #[must_use]
    pub fn meta(&self) -> Arc<Meta> {
        self.meta.clone()
    }

    /// How many shards there are.
    #[must_use]
    pub fn shards(&self) -> u32 {
        u32::try_from(self.groups.len() - 1).expect("their number is an option")
    }

    /// The log of a shard.
    ///
    /// # Panics
    /// When `shard` is not one of 0..[`Storage::shards`].
    #[must_use]
    pub fn shard_log(&self, shard: u32) -> Arc<dyn ShardLog> {
        assert!(shard < self.shards(), "shard {shard} is none of 0..{}", self.shards());
        self.groups[shard as usize + 1].clone()
    }

    /// A group: 0 is the meta group, `n + 1` that of shard `n`.
    ///
    /// # Panics
    /// When there is no such group.
    #[must_use]
    pub fn group(&self, group: u32) -> Arc<Group> {
        self.groups[group as usize].clone()
    }

    /// Joins all groups to a wire: those that have other nodes take part from now on, those of this node alone go on alone
    /// and can [grow](Group::grow), and those that are not here begin when a leader wants this node in them. Answers who
    /// hears what comes by the wire. What the shards' states in
    /// `replicas` have, their logs may drop, and whoever lacks it is sent the state; without them nothing is dropped while a
    /// group has other nodes. To be called once, on a runtime.
    ///
    /// # Errors
    /// [`Stuck`] when consensus does not start on a group.
    pub async fn join(
        &self,
        wire: Arc<dyn Wire>,
        timing: &Timing,
        replicas: Option<Arc<dyn Replicas>>,
    ) -> Result<Arc<dyn Hears>, Stuck> {
        let desk = Desk::new(wire, timing, self.wal.clone());
        let desk = match replicas {
            Some(replicas) => desk.with_replicas(replicas, Retention::default()),
            None => desk,
        };
        let desk = self.desk.get_or_init(|| Arc::new(desk)).clone();
        for group in &self.groups {
            group.join(desk.clone()).await?;
        }
        let groups: Vec<Weak<Group>> = self.groups.iter().map(Arc::downgrade).collect();
        let runtime = tokio::runtime::Handle::current();
        desk.wake_by(Some(Box::new(move |number| {
            let Some(group) = groups.get(number as usize).and_then(Weak::upgrade) else { return };
            runtime.spawn(async move { group.wake().await });
        })));
        // It ends with the meta group.
        drop(tokio::spawn(self.meta.follow()));
        Ok(desk)
    }

    /// Leaves the wire for good: hands over what this node leads, all groups at once, which takes a second at most; then the
    /// groups that have other nodes end here.
    pub async fn leave(&self) {
        let handed_over = join_all(self.groups.iter().map(|group| group.hand_over())).await;
        let led_still = handed_over.iter().filter(|handed_over| !**handed_over).count();
        if led_still > 0 {
            tracing::warn!(
                groups = led_still,
                "no other node could take the lead; they wait for an election"
            );
        }
        self.end().await;
    }

    /// Leaves the wire at once: who leads is found by elections.
    pub async fn end(&self) {
        if let Some(desk) = self.desk.get() {
            desk.wake_by(None);
        }
        join_all(self.groups.iter().map(|group| group.leave())).await;
    }

    /// What a backup keeps of the log; [`crate::restore`] reads it.
    #[must_use]
    pub fn definitions(&self) -> Arc<dyn Definitions> {
        Arc::new(Saver { wal: self.wal.clone() })
    }

    /// Says the number of the last batch that is durable, for as long as somebody asks.
    #[must_use]
    pub fn durable(&self) -> Arc<dyn Fn() -> u64 + Send + Sync> {
        let wal = self.wal.clone();
        Arc::new(move || wal.durable())
    }

    /// How it is, for whoever watches.
    #[must_use]
    pub fn watch(&self) -> Watch {
        self.watch.clone()
    }

    /// How long the log's batches took to become durable.
    #[must_use]
    pub fn syncs(&self) -> Syncs {
        self.wal.syncs()
    }

    /// Waits for what was proposed, and ends the log's threads. Later proposals are answered `Unknown`.
    pub fn shutdown(&self) {
        self.wal.close();
    }
}

/// The lock goes after the threads, whoever still holds a shard's log.
impl Drop for Storage {
    fn drop(&mut self) {
        self.shutdown();
    }
}

/// Makes the folder and locks it for this process.
pub(crate) fn lock(files: &dyn Files, folder: &Path) -> Result<Box<dyn Lock>, Error> {
    files.create_folder(folder).map_err(|source| Error::io("making", folder, source))?;
    let path = folder.join("lock");
    files.lock(&path).map_err(|source| match source.kind() {
        io::ErrorKind::WouldBlock => Error::InUse { folder: folder.to_owned() },
        _ => Error::io("locking", &path, source),
    })
}
