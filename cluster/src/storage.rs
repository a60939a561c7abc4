//! A node's storage: one folder, one log, all groups on it.

use crate::backup::Saver;
use crate::consensus::{Desk, Timing};
use crate::group::{self, Group, Stuck};
use crate::meta::Meta;
use crate::wal::{Syncs, Wal};
use crate::wire::{Hears, Wire};
use crate::{Error, Options, Watch};
use runtime::backup::Definitions;
use runtime::files::{Files, Lock};
use runtime::log::ShardLog;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// The group of the node's own definitions.
pub const META_GROUP: u32 = 0;

/// How many shards there are, numbered from 0; shard `n` is group `n + 1` of the log.
pub const SHARDS: u32 = 64;

/// A node's storage, open. Dropping it shuts it down.
pub struct Storage {
    wal: Arc<Wal>,
    meta: Arc<Meta>,
    /// The meta group, then those of the shards.
    groups: Vec<Arc<Group>>,
    generation: u64,
    watch: Watch,
    _lock: Box<dyn Lock>,
}

impl Storage {
    /// Opens the storage in a folder, or begins it there: takes the folder's lock, recovers the log, raises the node's
    /// generation and leads every group in a new term, with one fdatasync for all of that. Blocks; reads the whole log.
    ///
    /// # Errors
    /// [`Error::InUse`] when another process has the folder; else those of recovery. Each says what to do.
    pub fn open(files: Arc<dyn Files>, folder: &Path, options: Options) -> Result<Self, Error> {
        let lock = lock(&*files, folder)?;
        let (node, reserve_bytes) = (options.node, options.reserve_bytes);
        let wal = Arc::new(Wal::open(files.clone(), folder, options)?);
        let watch = Watch { wal: wal.clone(), files, folder: folder.to_owned(), reserve_bytes };
        let numbers: Vec<u32> = (META_GROUP..=SHARDS).collect();
        let groups = group::open(&wal, node, &numbers, wal.generation() == 0)?;
        // Nobody can be asked yet who leads it.
        let meta_group = groups.first().filter(|group| group.view().leader == Some(node));
        let meta = Meta::open(meta_group.ok_or(Error::NotAlone { group: META_GROUP, node })?.clone())?;
        let generation = wal.generation();
        tracing::info!(node, generation, folder = %folder.display(), "the storage is open");
        Ok(Self { wal, meta: Arc::new(meta), groups, generation, watch, _lock: lock })
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

    /// The log of a shard.
    ///
    /// # Panics
    /// When `shard` is not one of 0..[`SHARDS`].
    #[must_use]
    pub fn shard_log(&self, shard: u32) -> Arc<dyn ShardLog> {
        assert!(shard < SHARDS, "shard {shard} is none of 0..{SHARDS}");
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

    /// Joins all groups to a wire: those that are not this node's alone take part from now on, the others go on alone
    /// and can [grow](Group::grow). Answers who hears what comes by the wire.
    ///
    /// # Errors
    /// [`Stuck`] when consensus does not start on a group.
    pub async fn join(&self, wire: Arc<dyn Wire>, timing: &Timing) -> Result<Arc<dyn Hears>, Stuck> {
        let desk = Arc::new(Desk::new(wire, timing, self.wal.clone()));
        for group in &self.groups {
            group.join(desk.clone()).await?;
        }
        Ok(desk)
    }

    /// Leaves the wire: groups that are not this node's alone end here.
    pub async fn leave(&self) {
        for group in &self.groups {
            group.leave().await;
        }
    }

    /// What a backup keeps of the log; [`crate::restore`] reads it.
    #[must_use]
    pub fn definitions(&self) -> Arc<dyn Definitions> {
        Arc::new(Saver { wal: self.wal.clone() })
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
