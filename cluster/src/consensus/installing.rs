//! A state that has come becomes the group's.
//!
//! First the state store is switched to it, in one step, then the log drops what leads to it. The shard is told last: it
//! finds both.
//!
//! openraft does not wait for this when it is shut down. So it is done behind a gate, and whoever ends consensus waits until
//! nobody is inside, and lets nobody in any more.

use super::entries::Entries;
use super::snapshot::Point;
use super::states::Arrived;
use std::io;
use std::sync::Arc;
use tokio::sync::Mutex;

/// Whether states are installed.
#[derive(Clone, Default)]
pub(super) struct Gate(Arc<Mutex<Closed>>);

#[derive(Default)]
struct Closed(bool);

impl Gate {
    /// Waits until no state is being installed; none is after that.
    pub(super) async fn close(&self) {
        self.0.lock().await.0 = true;
    }

    /// Makes a state the group's, and the log follow it.
    pub(super) async fn install(&self, entries: &Entries, arrived: Arrived, point: &Point) -> io::Result<()> {
        let closed = self.0.lock().await;
        if closed.0 {
            return Err(io::Error::other("the group has ended here"));
        }
        let (group, life) = (entries.group(), entries.state().forgotten);
        arrived.install(point.id.index, point.origin(life)).await?;
        entries.write_all(point.records(group)).await?;
        tracing::info!(group, applied = point.id.index, "the state of another node is installed");
        Ok(())
    }
}
