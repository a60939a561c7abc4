//! A node's storage: one folder, one log, all groups on it.

use crate::backup::Saver;
use crate::local::{self, LocalLog};
use crate::meta::Meta;
use crate::wal::{Syncs, Wal};
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
    shards: Vec<Arc<LocalLog>>,
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
        let groups: Vec<u32> = (META_GROUP..=SHARDS).collect();
        let mut logs = local::lead(&wal, node, &groups)?.into_iter().map(Arc::new);
        let meta = Meta::open(logs.next().expect("the meta group is the first"))?;
        let generation = wal.generation();
        tracing::info!(node, generation, folder = %folder.display(), "the storage is open");
        Ok(Self { wal, meta: Arc::new(meta), shards: logs.collect(), generation, watch, _lock: lock })
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
        self.shards[shard as usize].clone()
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
