//! A shard: the twins whose slots fall to it, its log, its streams, its timers. Steps 6 to 8 of the path.
//!
//! `Shard` is a state machine without threads, clock or network: it takes inputs and events and leaves `Action`s.
//! The actor around it drives it. Nothing it says leaves before the log has committed what it rests on:
//!
//! ```text
//! take(inputs) -> decide -> forming batch --(no batch in flight)--> Action::Propose
//! committed(id) -> records to the stream, images are current, answers and deliveries leave, next batch is proposed
//! ```
//!
//! A twin does not wait for its commit: its next input is decided on what was decided before. When the log refuses a
//! batch, everything that rests on it falls back to what is committed; when nobody knows, the shard fails, and begins
//! again from what the log has.
//!
//! On a node that does not lead, it decides nothing: it reads what is committed, and applies that.
//!
//! ```text
//! told(committed) -> Action::Read -> followed(entries) -> twins are here -> applied, as a recovery does
//! told(leads) -> everything before is applied -> it decides;  told(follows) -> what is decided falls back
//! ```

pub(crate) mod actor;
pub(crate) mod attach;
mod checkpoint;
mod commit;
mod confirm;
mod connections;
mod decide;
mod due;
pub mod entry;
mod erasing;
mod exchange;
mod follow;
mod inbox;
mod list;
mod outbox;
pub(crate) mod parcel;
mod passivate;
mod post;
pub(crate) mod recovery;
pub(crate) mod requests;
mod resident;
mod role;
mod upkeep;
mod window;
pub(crate) mod work;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use twins::id::TwinId;
use twins::kind::Kinds;
use twins::time::Timestamp;

use crate::access::Access;
use crate::admission::Admission;
use crate::away::Away;
use crate::log::Tenure;
use crate::mailbox::Mailbox;
use crate::meter::{Refusals, ShardMeter};
use crate::overruns::Overruns;
use crate::registered::{Registered, Tenants};
use crate::store::Home;
use crate::stream;
use crate::stream::growth::Growth;
use crate::stream::retention::Retention;
use crate::watch::Watches;

use checkpoint::Cut;
pub(crate) use checkpoint::{MARKS, applied, stream_place};
use commit::{Flying, Forming, Release};
pub(crate) use confirm::Then;
use confirm::Unsure;
use connections::Connections;
pub(crate) use exchange::reconcile;
use follow::Following;
use inbox::Inbox;
use outbox::Outbox;
use parcel::Parcel;
use requests::Pending;
use resident::{Resident, Slot};
use role::Role;

/// How a shard uses memory and disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Memory for its twins, in bytes, by estimate. Past it, twins whose images are written are passivated, those used
    /// longest ago first. Default 16 MiB, a gigabyte for 64 shards. Less costs reads of images; what is not written
    /// yet stays; past four times this (and 1 MiB) while a checkpoint is written, inputs from outside are refused.
    pub memory_bytes: usize,
    /// A checkpoint after so many bytes of log. Default 8 MiB. More costs time at the next start. Past four times this
    /// (and 1 MiB) while one is written, inputs from outside are refused.
    pub checkpoint_bytes: u64,
    /// A checkpoint at the latest so long after the first change since the last one. Default 30 s.
    pub checkpoint_every: Duration,
    /// How long a handler may take before it is counted, and its kind named once a minute. Default 1 ms.
    pub handler_budget: Duration,
    /// How many twins the node registers by itself for devices it does not know. Default 100,000.
    pub auto_registered_max: u64,
    /// How many twins a tenant may have of which the directory does not say so itself. Default: no limit.
    pub tenant_devices_max: Option<NonZeroU32>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            memory_bytes: 16 * 1024 * 1024,
            checkpoint_bytes: 8 * 1024 * 1024,
            checkpoint_every: Duration::from_secs(30),
            handler_budget: Duration::from_millis(1),
            auto_registered_max: 100_000,
            tenant_devices_max: None,
        }
    }
}

/// A twin's image as the state store has it, none for a twin that never was; or why it cannot be read.
pub(crate) type Image = (TwinId, Result<Option<Vec<u8>>, String>);

/// Something for the driver to do.
pub(crate) enum Action {
    /// Propose to the log. Its fate comes back by [`Shard::committed`] or [`Shard::refused`].
    Propose { tenure: Tenure, payload: Bytes, is_upkeep: bool },
    /// Read the images of these twins. They come back by [`Shard::loaded`].
    Load(Vec<TwinId>),
    /// Read the rows of what is due after this one, or the first ones. They come back by [`Shard::due_read`].
    ReadDue { tenure: Tenure, after: Option<window::Row> },
    /// Read what is committed after an index and through another. It comes back by [`Shard::followed`].
    Read { after: u64, through: u64 },
    /// Have the log confirm that this node leads. It comes back by [`Shard::confirmed`].
    Confirm { tenure: Tenure },
    /// Write this to the state store. It comes back by [`Shard::checkpointed`].
    Checkpoint(Cut),
    /// Remove files of the stream.
    Sweep(stream::Sweep),
    /// Write files of the stream anew. Whether it went well comes back by [`Shard::erased`].
    Erase(stream::Erase),
    /// Hand these parcels to a shard, perhaps this one, by [`Shard::receive`]. They may be lost: they are handed over
    /// again.
    Hand { to: u32, first: u64, parcels: Vec<Arc<Parcel>> },
    /// Tell a shard by [`Shard::acknowledged`] that everything is taken through a number. It may be lost.
    Acknowledge { to: u32, n: u64 },
}

/// The shard cannot go on; it begins again from what the log and the state store have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("shard {shard} failed: {why}")]
pub(crate) struct Failed {
    pub(crate) shard: u32,
    pub(crate) why: String,
}

/// What a shard shares with its node.
#[derive(Clone)]
pub(crate) struct Setting {
    /// Its number, from 0.
    pub(crate) number: u32,
    /// The node's id and generation.
    pub(crate) node: (u64, u64),
    pub(crate) kinds: Arc<Kinds>,
    pub(crate) options: Arc<Options>,
    /// The shard of each slot.
    pub(crate) slots: Arc<[u32]>,
    /// How many twins are registered on the node.
    pub(crate) registered: Arc<Registered>,
    /// How many shards there are.
    pub(crate) shards: u32,
    /// What says how many twins a tenant may have.
    pub(crate) access: Arc<dyn Access>,
    pub(crate) overruns: Arc<Overruns>,
    pub(crate) refusals: Arc<Refusals>,
    /// What it counts.
    pub(crate) meter: Arc<ShardMeter>,
    /// Its admission, which it closes while it is behind.
    pub(crate) admission: Arc<Admission>,
    /// Whoever follows the streams hears of its records.
    pub(crate) growth: Arc<Growth>,
    /// Whoever waits for its twins to change hears of it.
    pub(crate) watches: Arc<Watches>,
    /// The other nodes.
    pub(crate) away: Arc<Away>,
}

pub(crate) struct Shard {
    setting: Setting,
    /// The generation of its state that it was read from.
    home: Home,
    role: Role,
    /// Since when it leads, or led last.
    tenure: Tenure,
    /// What it reads while it follows.
    following: Following,
    /// The latest time that an entry or, while it leads, the wall clock has shown. Never goes back.
    now: Timestamp,
    /// The wall clock.
    wall: Timestamp,
    /// The index of the last entry that is applied.
    applied: u64,
    twins: HashMap<TwinId, Slot>,
    /// By estimate, of all residents.
    bytes: usize,
    /// How many are registered, as committed.
    registered: Tenants,
    /// In the order they are looked at for passivation.
    hand: VecDeque<TwinId>,
    /// How many have come since passivation last looked.
    arrived: usize,
    /// When each twin's next timer or deadline is due, for all twins, here or not.
    due: window::Window,
    /// Nothing that is due fires before this: the log or the stream was full.
    due_after: Timestamp,
    /// Decisions were dropped, ends of connections perhaps among them.
    fell_back: bool,
    mailboxes: HashMap<TwinId, Vec<(u64, Arc<Mailbox>)>>,
    /// The connections of its twins, by any node.
    connections: Connections,
    pending: HashMap<TwinId, Vec<Pending>>,
    forming: Forming,
    flying: Option<Flying>,
    /// Answers that rest on nothing uncommitted.
    ready: Vec<Release>,
    /// What rests on nothing uncommitted has to wait for a proof that this node leads.
    needs_confirming: bool,
    /// What waits for one.
    unsure: Unsure,
    loads: Vec<TwinId>,
    /// How many twins are being read.
    loading: usize,
    stream: stream::Writer,
    /// The disk had no room for the stream's last records; they are in memory, and nothing more is decided on them.
    stream_full: bool,
    retention: Retention,
    /// The stream is neither sealed nor trimmed before this: the log was full.
    upkeep_after: Timestamp,
    /// The first offset of the segment that the stream wrote at the last durable checkpoint.
    recorded: stream::Offset,
    /// Files of the stream are being written anew.
    erasing: bool,
    /// They are not before this: it failed.
    erase_after: Timestamp,
    /// No segment ends before this for the sake of what is to be erased: one did, lately.
    seal_after: Timestamp,
    /// Twins whose images the state store lacks.
    dirty: BTreeSet<TwinId>,
    /// Twins whose images are being written.
    writing: BTreeSet<TwinId>,
    /// Bytes of log since the last checkpoint.
    logged: u64,
    /// When the first change since the last checkpoint was made.
    dirty_since: Option<Timestamp>,
    checkpointing: bool,
    /// The index through which the state store has everything.
    saved: u64,
    /// What is sent to other shards.
    outbox: Outbox,
    /// What they send.
    inbox: Inbox,
    /// It is being stopped: parcels stay where they are durable.
    finishing: bool,
    actions: VecDeque<Action>,
}

impl Shard {
    /// What the driver has to do, in order.
    pub(crate) fn poll(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When the driver should call [`Shard::tick`] next.
    pub(crate) fn next_wake(&self) -> Option<Timestamp> {
        let checkpoint = self.dirty_since.filter(|_| !self.checkpointing && !self.stream_full);
        let checkpoint = checkpoint.map(|since| since + self.setting.options.checkpoint_every);
        let stream = (self.stream_full || self.fell_back).then_some(self.due_after);
        let erase = (self.erase_after > self.time()).then_some(self.erase_after);
        let leads = self.leads();
        let leader =
            || [self.next_due(), self.next_upkeep(), self.next_exchange()].into_iter().flatten().min();
        let own = [checkpoint, stream, erase, leads.then(leader).flatten()];
        own.into_iter().flatten().min()
    }

    /// Time goes on: while it leads, the wall clock's now counts as far as it is not before the shard's own.
    fn pass(&mut self, now: Timestamp) {
        self.wall = now;
        if self.leads() {
            self.now = self.now.max(now);
        }
    }

    fn resident(&mut self, id: &TwinId) -> Option<&mut Resident> {
        match self.twins.get_mut(id) {
            Some(Slot::Resident(resident)) => Some(resident),
            _ => None,
        }
    }

    /// What every entry point ends with: answers and effects leave, batches and reads and checkpoints begin.
    fn turn(&mut self) -> Result<(), Failed> {
        if !self.leads() {
            self.go_on_following()?;
        }
        if self.leads() {
            self.hand_out();
            self.take_parcels();
            self.propose()?;
            self.hand_over();
            self.confirm();
        }
        if !self.loads.is_empty() {
            let loads = std::mem::take(&mut self.loads);
            self.actions.push_back(Action::Load(loads));
        }
        self.passivate()?;
        if self.leads() {
            self.look_ahead();
        }
        self.checkpoint_if_due()?;
        self.sweep();
        self.erase();
        self.setting.admission.set_behind(self.is_behind());
        self.setting.admission.set_full(self.is_full(1));
        self.show();
        Ok(())
    }

    /// Shows what it holds to whoever reads metrics.
    fn show(&self) {
        let meter = &self.setting.meter;
        meter.residents.store((self.twins.len() - self.loading) as u64, Ordering::Relaxed);
        meter.resident_bytes.store(self.bytes as u64, Ordering::Relaxed);
        meter.streamed(self.stream.earliest(), self.stream.end());
    }

    fn failed(&self, why: impl std::fmt::Display) -> Failed {
        Failed { shard: self.setting.number, why: why.to_string() }
    }
}
