//! Watching a storage: whether it takes entries, and what it says of itself in metrics.

use crate::wal::Wal;
use runtime::files::Files;
use runtime::unready::Unready;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// A view of a node's storage. It outlives the storage, and then says what was last.
#[derive(Clone)]
pub struct Watch {
    pub(crate) wal: Arc<Wal>,
    pub(crate) files: Arc<dyn Files>,
    pub(crate) folder: PathBuf,
    pub(crate) reserve_bytes: u64,
}

impl Watch {
    /// What is in the way of writing; nothing if entries are taken. Asks the disk for its free space.
    #[must_use]
    pub fn unready(&self) -> Vec<Unready> {
        let health = self.wal.health();
        if let Some(why) = health.why_stopped() {
            return vec![Unready::new("log", format!("stopped, restart the node: {why}"))];
        }
        let reserve = self.reserve_bytes;
        match self.free_bytes() {
            Some(free) if free < reserve => {
                let why = format!(
                    "its reserve is reached, inputs from outside are refused: {free} bytes are free and {reserve} \
                     are kept; free some space"
                );
                vec![Unready::new("disk", why)]
            }
            _ => health.why_refused().map(|why| Unready::new("disk", why)).into_iter().collect(),
        }
    }

    /// The free space of the log's disk, where the system tells.
    #[must_use]
    pub fn free_bytes(&self) -> Option<u64> {
        self.files.free_space(&self.folder).ok()
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("folder", &self.folder).finish_non_exhaustive()
    }
}
