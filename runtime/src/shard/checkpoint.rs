//! Checkpoints: a consistent cut of the shard, written behind, so that the log may forget.
//!
//! Between two commits the shard notes which images the state store lacks; images are shared and never change, so
//! noting them is copying pointers. The driver writes them on a thread of its own: first the stream files are synced,
//! then one batch with the images, the rows of timers and connections, and the marks is written and synced. Only then
//! the log may drop what the cut contains.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use twins::id::TwinId;
use twins::time::Timestamp;
use twins::twin::Twin;

use crate::fault;
use crate::meter::{self, ShardMeter};
use crate::path::step;
use crate::registered::Tenants;
use crate::store::{self, Home, Space, StateStore, Timer};
use crate::stream;

use super::erasing;
use super::exchange::put_heads;
use super::outbox::Rows;
use super::resident::{Slot, Stored};
use super::{Action, Failed, Options, Shard, connections};

/// It is behind past so many bytes, and past so many times what its options say.
const BEHIND: (u64, u64) = (1 << 20, 4);

/// A cut of a shard: everything that it has committed through one entry and the state store lacks.
pub(crate) struct Cut {
    home: Home,
    marks: Marks,
    images: Vec<(TwinId, Arc<Twin>, Stored)>,
    stream: stream::Cut,
    /// What the channels to other shards hold, and how far they and those from others have come.
    outbox: Rows,
    heads: Option<Vec<u8>>,
    /// What is to be erased from the stream.
    erasures: Arc<BTreeMap<TwinId, stream::Erasure>>,
    meter: Arc<ShardMeter>,
}

/// Where a shard stood at its last checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default, minicbor::Encode, minicbor::Decode)]
pub(super) struct Marks {
    /// The index of the last entry that the images contain.
    #[n(0)]
    pub(super) applied: u64,
    /// The offset after the last record that the stream had.
    #[n(1)]
    pub(super) end: u64,
    /// The shard's now.
    #[n(2)]
    pub(super) now: Timestamp,
    /// The first offset of the segment that the stream wrote.
    #[n(8)]
    #[cbor(default)]
    pub(super) tail: u64,
    /// The first offset that the stream kept.
    #[n(9)]
    #[cbor(default)]
    pub(super) earliest: u64,
    /// How many twins were registered; an older node did not say of which tenants.
    #[n(10)]
    pub(super) registered: Option<Tenants>,
}

impl Marks {
    /// Where the stream stood.
    pub(super) fn stream(&self) -> stream::Place {
        stream::Place { end: self.end, tail: self.tail, earliest: self.earliest }
    }
}

/// The name of the marks' row.
pub(crate) const MARKS: &[u8] = b"marks";

/// The marks of a shard, where a row of its state is that.
fn marks(space: Space, key: &[u8], value: &[u8]) -> Option<Marks> {
    if space == Space::Mark && key == MARKS { minicbor::decode(value).ok() } else { None }
}

/// Where the stream of a shard stood, where a row of its state says so.
pub(crate) fn stream_place(space: Space, key: &[u8], value: &[u8]) -> Option<stream::Place> {
    marks(space, key, value).map(|marks| marks.stream())
}

/// The last entry that the state of a shard contains, where a row of it says so.
pub(crate) fn applied(space: Space, key: &[u8], value: &[u8]) -> Option<u64> {
    marks(space, key, value).map(|marks| marks.applied)
}

/// A cut that is durable.
pub(crate) struct Written {
    applied: u64,
    tail: stream::Offset,
    images: Vec<(TwinId, Stored)>,
}

/// Why a cut was not written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotWritten {
    #[error("the stream could not be synced: {0}")]
    Stream(stream::Error),
    #[error("the state store could not be written: {0}")]
    Store(store::Error),
}

impl Cut {
    /// Writes it. Blocks; durable when it returns.
    pub(crate) fn write(self, store: &dyn StateStore) -> Result<Written, NotWritten> {
        let Self { home, marks, images, stream, outbox, heads, erasures, meter } = self;
        let _span = step!("8.checkpoint", shard = home.shard, images = images.len()).entered();
        let (started, mut bytes) = (Instant::now(), 0);
        stream.sync().map_err(NotWritten::Stream)?;
        fault::point("checkpoint.synced");
        let mut batch = store::Batch::default();
        let images = images.into_iter().map(|(id, twin, before)| {
            let after = Stored::of(&twin);
            let key = id.as_str().as_bytes();
            let image = minicbor::to_vec(&*twin).expect("writing to memory does not fail");
            bytes += image.len() as u64;
            batch.put(Space::Image, key, image);
            row(&mut batch, Space::Registered, key, before.registered, after.registered);
            match connections::row(&twin) {
                Some(row) if before.connected != after.connected => batch.put(Space::Connected, key, row),
                None if before.connected.is_some() => batch.delete(Space::Connected, key),
                _ => {}
            }
            if let Some(due) = before.due.filter(|due| Some(*due) != after.due) {
                batch.delete(Space::Timer, Timer { due, twin: id.clone() }.key());
            }
            if let Some(due) = after.due.filter(|due| Some(*due) != before.due) {
                batch.put(Space::Timer, Timer { due, twin: id.clone() }.key(), []);
            }
            (id, after)
        });
        let images: Vec<_> = images.collect();
        outbox.write(&mut batch);
        heads.into_iter().for_each(|heads| put_heads(&mut batch, heads));
        erasing::put(&mut batch, &erasures);
        batch.put(Space::Mark, MARKS, minicbor::to_vec(&marks).expect("writing to memory does not fail"));
        store.write(home, batch).map_err(NotWritten::Store)?;
        fault::point("checkpoint.written");
        meter.checkpoints.record(started.elapsed());
        meter::add(&meter.checkpoint_bytes, bytes);
        meter::add(&meter.checkpoint_images, images.len() as u64);
        Ok(Written { applied: marks.applied, tail: marks.tail, images })
    }
}

impl Written {
    /// The log may drop everything through this index.
    pub(crate) fn applied(&self) -> u64 {
        self.applied
    }
}

/// Puts or deletes a row that only says that something is so.
fn row(batch: &mut store::Batch, space: Space, key: &[u8], before: bool, after: bool) {
    match (before, after) {
        (false, true) => batch.put(space, key, []),
        (true, false) => batch.delete(space, key),
        _ => {}
    }
}

impl Shard {
    /// Begins a checkpoint if enough was logged, or enough time has passed, since the last one.
    pub(super) fn checkpoint_if_due(&mut self) -> Result<(), Failed> {
        let options = &self.setting.options;
        let late = self.dirty_since.is_some_and(|since| since + options.checkpoint_every <= self.time());
        if self.logged >= options.checkpoint_bytes || late { self.checkpoint() } else { Ok(()) }
    }

    /// Begins a checkpoint, unless one is being written or there is nothing to write.
    pub(super) fn checkpoint(&mut self) -> Result<(), Failed> {
        if self.checkpointing || self.dirty_since.is_none() || self.stream_full {
            return Ok(());
        }
        self.writing = std::mem::take(&mut self.dirty);
        let images = self.writing.iter().filter_map(|id| match self.twins.get(id) {
            Some(Slot::Resident(resident)) => Some((id.clone(), resident.committed.clone(), resident.stored)),
            _ => None,
        });
        let images = images.collect();
        let stream = self.stream.cut().map_err(|error| self.failed(error))?;
        let stream::Place { end, tail, earliest } = stream.place();
        let marks = Marks {
            applied: self.applied,
            end,
            now: self.now,
            tail,
            earliest,
            registered: Some(self.registered.clone()),
        };
        let meter = self.setting.meter.clone();
        (self.checkpointing, self.logged, self.dirty_since) = (true, 0, None);
        let (outbox, heads) = (self.outbox.cut(), self.heads());
        let erasures = self.stream.erasures();
        let cut = Cut { home: self.home, marks, images, stream, outbox, heads, erasures, meter };
        self.actions.push_back(Action::Checkpoint(cut));
        Ok(())
    }

    /// A cut has been written.
    pub(crate) fn checkpointed(&mut self, now: Timestamp, written: Written) -> Result<(), Failed> {
        self.pass(now);
        self.checkpointing = false;
        self.saved = written.applied;
        self.recorded = written.tail;
        self.writing.clear();
        for (id, stored) in written.images {
            if let Some(resident) = self.resident(&id) {
                resident.stored = stored;
            }
        }
        self.turn()
    }

    /// The index of the last entry that is applied.
    pub(crate) fn applied(&self) -> u64 {
        self.applied
    }

    /// Whether the state store has everything through this index; begins a checkpoint where it has not.
    pub(crate) fn save(&mut self, through: u64) -> Result<bool, Failed> {
        let is_clean = !self.checkpointing && self.dirty_since.is_none();
        if self.saved >= through || is_clean {
            return Ok(true);
        }
        self.checkpoint()?;
        Ok(false)
    }

    /// Whether the state store is so much slower than the log that nothing more may be taken from outside until it has
    /// written what it was given: what is not written stays in memory.
    pub(super) fn is_behind(&self) -> bool {
        let Options { memory_bytes, checkpoint_bytes, .. } = *self.setting.options;
        let is_past = |bytes: u64, limit: u64| bytes > BEHIND.0.max(limit.saturating_mul(BEHIND.1));
        self.checkpointing
            && (is_past(self.bytes as u64, memory_bytes as u64) || is_past(self.logged, checkpoint_bytes))
    }

    /// Begins the last checkpoint before the shard stops. Returns whether there is anything left to wait for.
    pub(crate) fn finish(&mut self, now: Timestamp) -> Result<bool, Failed> {
        self.pass(now);
        self.finishing = true;
        self.inbox.drop_waiting();
        self.turn()?;
        self.checkpoint()?;
        let waits = self.flying.is_some() || !self.unsure.is_empty();
        Ok(waits || self.checkpointing || self.loading > 0)
    }
}
