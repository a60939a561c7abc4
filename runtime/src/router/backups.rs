//! Backups of the whole node, one at a time: every shard writes a checkpoint, and what the state store and the streams
//! have then is the backup.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc, oneshot};
use twins::rejection::{Code, Rejection};

use crate::backup::{self, Definitions};
use crate::blocking;
use crate::error::Error;
use crate::files::Files;
use crate::shard::actor::Message;
use crate::store::StateStore;

use super::{Inner, Router};

/// How long the shards may take to write the checkpoints that a backup begins with.
const SAVED_WITHIN: Duration = Duration::from_secs(60);

/// What backups are made of. One is taken at a time.
pub(crate) struct Backups {
    pub(crate) store: Arc<dyn StateStore>,
    pub(crate) files: Arc<dyn Files>,
    pub(crate) streams: PathBuf,
    pub(crate) definitions: OnceLock<Arc<dyn Definitions>>,
    pub(crate) turn: Arc<Semaphore>,
}

impl Router {
    /// Takes a backup of the whole node while it serves: pieces of an archive, which end with an error if it cannot be
    /// ended. Everything that was acknowledged before is in it. Dropping the receiver breaks it off.
    ///
    /// At most 1 MiB of rows, and of pieces, are in memory, and the longest row.
    ///
    /// # Errors
    /// `too-many` while another one is taken; [`Error::Unwritten`] when a shard cannot write its checkpoint.
    pub async fn backup(&self) -> Result<mpsc::Receiver<io::Result<Bytes>>, Error> {
        let Inner { backups, .. } = &*self.0;
        let turn = backups.turn.clone().try_acquire_owned();
        let turn =
            turn.map_err(|_| Rejection::new(Code::TooMany, "another backup is being taken; one at a time"))?;
        let taken = self.now();
        let mut waits = Vec::new();
        for shard in 0..self.shards() {
            let (saved, wait) = oneshot::channel();
            drop(self.actor(shard)?.cast(Message::Save(saved)));
            waits.push((shard, wait));
        }
        let end = tokio::time::Instant::now() + SAVED_WITHIN;
        for (shard, wait) in waits {
            let saved = tokio::time::timeout_at(end, wait).await;
            if !matches!(saved, Ok(Ok(()))) {
                let why = "its checkpoint for the backup could not be written; see the node's log".to_owned();
                return Err(Error::Unwritten { shard, why });
            }
        }
        let source = backup::Source {
            node: self.0.node,
            shards: self.shards(),
            taken,
            store: backups.store.clone(),
            files: backups.files.clone(),
            streams: backups.streams.clone(),
            definitions: backups.definitions.get().cloned(),
        };
        let (mut sink, pieces) = backup::Sink::new();
        blocking::run(move || {
            let written = source.write(&mut sink);
            // Whoever hears that it is over may begin the next one.
            drop(turn);
            if let Err(error) = written {
                tracing::warn!(%error, "a backup was broken off");
                sink.fail(&error);
            }
        });
        Ok(pieces)
    }

    /// Has every backup contain the definitions of the log's room. Said once, at the start of the node.
    pub fn back_up_with(&self, definitions: Arc<dyn Definitions>) {
        // A second one would be a second log, and a node has one.
        let _already = self.0.backups.definitions.set(definitions);
    }
}
