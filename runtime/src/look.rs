//! Looking at a twin as it is committed, beside the path: what authentication needs before anybody is let in.
//!
//! It decides nothing, waits for no commit, and brings no twin into memory: a twin that is here shows its committed
//! state, and one that is not is read from the state store, whose index answers for ids that were never registered. What
//! is seen may have changed a moment later, so whatever is built on it is checked again by the twin.

use std::sync::Arc;

use tokio::sync::{Semaphore, oneshot};
use twins::id::TwinId;
use twins::twin::Twin;

use crate::away::{Answer, Frame};
use crate::blocking;
use crate::error::Error;
use crate::node::shard_of;
use crate::router::Router;
use crate::router::ask::{patiently, strange};
use crate::shard::actor::Message;
use crate::store::Space;

/// How many looks are under way at once; more wait. Each holds a place in a shard's mailbox.
const LOOKS_MAX: usize = 1024;
/// How many of them read the state store at once; more wait. Each holds a thread, which others need too.
const READS_MAX: usize = 8;

/// Bounds what looking costs.
pub(crate) struct Looks {
    all: Semaphore,
    reads: Semaphore,
}

impl Default for Looks {
    fn default() -> Self {
        Self { all: Semaphore::new(LOOKS_MAX), reads: Semaphore::new(READS_MAX) }
    }
}

impl Router {
    /// The twin as it is committed; `None` if its id is not registered.
    ///
    /// # Errors
    /// When its shard does not serve, or its image cannot be read.
    pub async fn look(&self, id: &TwinId) -> Result<Option<Arc<Twin>>, Error> {
        let shard = shard_of(&self.inner().slots, id);
        if !self.away().is_used() {
            return self.look_here(shard, id).await;
        }
        let attempt = || async {
            let Some(node) = self.elsewhere(shard) else { return self.look_here(shard, id).await };
            let frame = |call| Frame::Look { call, shard, twin: id.clone() };
            match self.away().call(node, shard, frame).await? {
                Answer::Found(twin) => Ok(twin),
                other => Err(strange(shard, &other)),
            }
        };
        patiently(true, attempt).await
    }

    /// Looks at a twin of a shard that this node leads.
    pub(crate) async fn look_here(&self, shard: u32, id: &TwinId) -> Result<Option<Arc<Twin>>, Error> {
        let inner = self.inner();
        let _place = inner.looks.all.acquire().await.map_err(|_| Error::Stopping)?;
        let (answer, wait) = oneshot::channel();
        let gone = || Error::Unknown { shard, why: "the shard stopped before it answered".into() };
        self.actor(shard)?.cast(Message::Look { id: id.clone(), answer }).map_err(|_| gone())?;
        let twin = match wait.await.map_err(|_| gone())?? {
            Some(twin) => twin,
            None => {
                let _turn = inner.looks.reads.acquire().await.map_err(|_| Error::Stopping)?;
                let (store, key) = (inner.backups.store.clone(), id.clone());
                let read = move || store.get(store.home(shard)?, Space::Image, key.as_str().as_bytes());
                let image = blocking::run(read).await.map_err(|_| gone())?;
                let unread = |why: String| Error::Unwritten { shard, why };
                match image.map_err(|error| unread(error.to_string()))? {
                    None => return Ok(None),
                    Some(image) => {
                        let twin = minicbor::decode::<Twin>(&image);
                        Arc::new(twin.map_err(|error| unread(format!("the image of `{id}`: {error}")))?)
                    }
                }
            }
        };
        Ok(Some(twin).filter(|twin| twin.exists()))
    }
}
