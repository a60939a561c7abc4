//! The shards' states as consensus sees them: how far one is durable, what one that came becomes, and how many travel.
//!
//! Whatever touches a state blocks, and is done where that is allowed. The meta group has no state beside its log, so it
//! has none here.

use super::retention::{Hold, Holds, Retention};
use crate::storage::META_GROUP;
use runtime::replica::{Origin, Replicas, Saved, Staged};
use std::io;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// How many states are sent at a time, and how many are taken; others wait.
const AT_ONCE: usize = 2;

/// The states of a node.
pub(crate) struct States {
    pub(super) replicas: Arc<dyn Replicas>,
    pub(super) retention: Retention,
    pub(super) sending: Semaphore,
    pub(super) taking: Semaphore,
    holds: Arc<Holds>,
}

impl States {
    pub(super) fn new(replicas: Arc<dyn Replicas>, retention: Retention) -> Self {
        let (sending, taking) = (Semaphore::new(AT_ONCE), Semaphore::new(AT_ONCE));
        Self { replicas, retention, sending, taking, holds: Arc::default() }
    }

    /// How far a group's state is durable, if it has one.
    pub(crate) async fn saved(&self, group: u32) -> io::Result<Option<Saved>> {
        let Some(shard) = shard(group) else { return Ok(None) };
        let replicas = self.replicas.clone();
        blocking(move || replicas.saved(shard)).await
    }

    /// Makes a group's state empty.
    pub(crate) async fn forget(&self, group: u32) -> io::Result<()> {
        let Some(shard) = shard(group) else { return Ok(()) };
        let replicas = self.replicas.clone();
        blocking(move || replicas.forget(shard)).await
    }

    /// Keeps all that a group's log has, to be sent with the state.
    pub(super) fn hold(&self, group: u32) -> Hold {
        self.holds.hold(group)
    }

    /// The first entry of a group behind which all is kept for whoever is being sent the state.
    pub(super) fn held(&self, group: u32) -> Option<u64> {
        self.holds.first(group)
    }
}

/// The shard of a group, if it is one.
pub(super) fn shard(group: u32) -> Option<u32> {
    group.checked_sub(META_GROUP + 1)
}

/// Does what blocks.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> io::Result<T> {
    spawn_blocking(work).await.map_err(io::Error::other)?.map_err(io::Error::other)
}

/// A state that has come, whole and durable, and is not the shard's yet. Dropped, it is discarded, where that may block.
pub struct Arrived(Option<Box<dyn Staged>>);

impl Arrived {
    pub(super) fn new(staged: Box<dyn Staged>) -> Self {
        Self(Some(staged))
    }

    /// Makes it the shard's state.
    pub(super) async fn install(mut self, applied: u64, origin: Origin) -> io::Result<()> {
        let staged = self.0.take().expect("only this takes it");
        blocking(move || staged.install(applied, origin)).await
    }
}

impl Drop for Arrived {
    fn drop(&mut self) {
        let Some(staged) = self.0.take() else { return };
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(move || drop(staged))),
            Err(_) => drop(staged),
        }
    }
}
