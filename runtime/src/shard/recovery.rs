//! Beginning again: the last checkpoint, and the log after it, make the shard what it was.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use twins::id::TwinId;
use twins::name::Name;
use twins::twin::Twin;

use crate::files::Files;
use crate::log::{Entry, ShardLog, Standing};
use crate::meter::{self, ShardMeter};
use crate::record;
use crate::registered::{Tenants, count};
use crate::store::{self, Home, Space, StateStore};
use crate::stream;
use crate::stream::retention::{Retention, Upkeep};

use super::checkpoint::{MARKS, Marks};
use super::commit::Forming;
use super::confirm::Unsure;
use super::connections::Connections;
use super::decide::encoded;
use super::entry::{Batch, Decided};
use super::erasing::{self, erases};
use super::exchange::{self, Exchange};
use super::follow::Following;
use super::role::Role;
use super::window::Window;
use super::work::Work;
use super::{Failed, Setting, Shard};

/// Entries after which the stream's replayed records are written, so that they do not gather in memory.
const FLUSH_EVERY: u64 = 64;
/// How much of the log is read at once, in bytes.
pub(super) const READ_BYTES: usize = 1 << 20;
/// Keys read at once when an index is built.
pub(super) const KEYS_AT_ONCE: usize = 4_096;

/// What a shard is made from.
pub(crate) struct Ground<'a> {
    pub(crate) setting: Setting,
    pub(crate) log: &'a dyn ShardLog,
    /// What the log said when the shard began to listen.
    pub(crate) standing: Standing,
    pub(crate) store: &'a dyn StateStore,
    pub(crate) files: Arc<dyn Files>,
    /// Where the streams are.
    pub(crate) streams: &'a std::path::Path,
    pub(crate) stream: &'a stream::Options,
    pub(crate) indexer: &'a Arc<stream::Indexer>,
}

/// What an entry changed.
#[derive(Default)]
pub(super) struct Applied {
    /// The twins as it left them.
    pub(super) twins: Vec<(TwinId, Arc<Twin>)>,
    /// Some came or went.
    pub(super) is_counted: bool,
}

impl Shard {
    /// Reads the shard from its checkpoint and its log. Blocks.
    ///
    /// Where it leads, the connections that this node held when it stopped are ended by inputs of the shard's own, which it
    /// returns.
    pub(crate) fn recover(ground: Ground<'_>) -> Result<(Self, stream::Reader, Vec<Work>), Failed> {
        let Ground { setting, log, standing, store, files, streams, stream: options, indexer } = ground;
        let number = setting.number;
        let failed = |why: String| Failed { shard: number, why };
        store.reopen().map_err(|error| failed(error.to_string()))?;
        let home = store.home(number).map_err(|error| failed(error.to_string()))?;
        let marks = store.get(home, Space::Mark, MARKS).map_err(|error| failed(error.to_string()))?;
        let marks: Marks = match marks {
            None => Marks::default(),
            Some(row) => minicbor::decode(&row).map_err(|error| failed(format!("marks: {error}")))?,
        };
        let opened = stream::open(files, &stream::folder(streams, home), marks.stream(), indexer);
        let (mut writer, reader) = opened.map_err(|error| failed(error.to_string()))?;
        writer.resume_erasures(erasing::read(store, home).map_err(failed)?);
        let registered = match marks.registered {
            Some(registered) => registered,
            None => listed(store, home).map_err(|error| failed(error.to_string()))?,
        };
        setting.admission.set_behind(false);
        setting.admission.set_full(false);
        let (outbox, inbox) = exchange::read(store, home).map_err(failed)?;
        let retention = Retention::new(options, setting.shards as usize);
        let mut shard = Self {
            setting,
            home,
            role: standing.leads.map_or(Role::Follows { leader: None }, |_| Role::Leads),
            tenure: standing.leads.unwrap_or_default(),
            following: Following::default(),
            now: marks.now,
            wall: marks.now,
            applied: marks.applied,
            twins: HashMap::new(),
            bytes: 0,
            registered,
            hand: VecDeque::new(),
            arrived: 0,
            due: Window::default(),
            due_after: twins::time::Timestamp::ZERO,
            fell_back: false,
            mailboxes: HashMap::new(),
            connections: Connections::default(),
            pending: HashMap::new(),
            forming: Forming::new(1),
            flying: None,
            ready: Vec::new(),
            needs_confirming: log.needs_confirming(),
            unsure: Unsure::default(),
            loads: Vec::new(),
            loading: 0,
            stream: writer,
            stream_full: false,
            retention,
            upkeep_after: twins::time::Timestamp::ZERO,
            recorded: marks.tail,
            erasing: false,
            erase_after: twins::time::Timestamp::ZERO,
            seal_after: twins::time::Timestamp::ZERO,
            dirty: BTreeSet::new(),
            writing: BTreeSet::new(),
            logged: 0,
            dirty_since: None,
            checkpointing: false,
            saved: marks.applied,
            outbox,
            inbox,
            finishing: false,
            actions: VecDeque::new(),
        };
        meter::add(&shard.setting.meter.restarts, 1);
        shard.setting.meter.connections.store(0, Ordering::Relaxed);
        shard.read_due(store)?;
        shard.read_connections(store)?;
        let replayed = shard.replay(log, store, standing.through);
        shard.setting.meter.to_replay.store(0, Ordering::Relaxed);
        replayed?;
        shard.setting.registered.settle(number, &shard.registered);
        // A checkpoint may lie ahead of what the log says is committed.
        shard.following = Following::after(standing.through.max(shard.applied));
        let ended = if shard.leads() { shard.ended() } else { Vec::new() };
        Ok((shard, reader, ended))
    }

    fn read_due(&mut self, store: &dyn StateStore) -> Result<(), Failed> {
        let rows = super::due::rows(store, self.home, None).map_err(|error| self.failed(error))?;
        self.due = Window::of(rows);
        Ok(())
    }

    fn replay(&mut self, log: &dyn ShardLog, store: &dyn StateStore, through: u64) -> Result<(), Failed> {
        let ShardMeter { to_replay, replayed, .. } = &*self.setting.meter;
        to_replay.store(through.saturating_sub(self.applied), Ordering::Relaxed);
        replayed.store(0, Ordering::Relaxed);
        loop {
            let entries = log.read(self.applied, through, READ_BYTES).map_err(|error| self.failed(error))?;
            if entries.is_empty() {
                break;
            }
            for entry in entries {
                self.redo(&entry, store)?;
            }
        }
        self.applied = self.applied.max(through);
        self.stream.flush().map_err(|error| self.failed(error))
    }

    /// Applies one entry, with the twins that it needs.
    fn redo(&mut self, entry: &Entry, store: &dyn StateStore) -> Result<(), Failed> {
        let index = entry.id.index;
        let batch = self.check(entry)?;
        if index.is_multiple_of(FLUSH_EVERY) {
            self.stream.flush().map_err(|error| self.failed(error))?;
        }
        meter::add(&self.setting.meter.replayed, index.saturating_sub(self.applied));
        let Some(batch) = batch else {
            self.applied = index;
            return Ok(());
        };
        for decided in &batch.decisions {
            self.bring_in(&decided.twin, store)?;
        }
        self.apply(index, &batch)?;
        if batch.sealed { self.stream.flush().map_err(|error| self.failed(error)) } else { Ok(()) }
    }

    /// What an entry decided: nothing, if it was on a state that the log does not have.
    pub(super) fn check(&mut self, entry: &Entry) -> Result<Option<Batch>, Failed> {
        let batch = Batch::decode(&entry.payload).map_err(|error| {
            let index = entry.id.index;
            self.failed(format!("entry {index} cannot be read: {error}; run `twinfold log verify`"))
        })?;
        self.logged += entry.payload.len() as u64;
        Ok(Some(batch).filter(|batch| batch.term == entry.id.term))
    }

    /// Applies what was decided, as every replica does. The twins are here; one whose image is damaged stays as it is.
    /// The stream is to be flushed after it.
    pub(super) fn apply(&mut self, index: u64, batch: &Batch) -> Result<Applied, Failed> {
        let mut applied = Applied::default();
        self.applied = index;
        self.now = self.now.max(batch.stamp);
        let now = self.time();
        self.dirty_since.get_or_insert(now);
        self.exchange(Exchange::of(batch, &self.setting.slots));
        for Decided { twin: id, transition } in &batch.decisions {
            let Some(resident) = self.resident(id) else { continue };
            let kind_before: Option<Name> = resident.committed.kind_name().cloned();
            let mut twin = Twin::clone(&resident.committed);
            if !twin.apply(transition) {
                continue;
            }
            let twin = Arc::new(twin);
            let kind = twin.kind_name().cloned().or(kind_before).unwrap_or_else(|| Name::fixed("unknown"));
            for record in record::records(id, &kind, &twin, transition) {
                let appended = self.stream.append(record.header.received, &encoded(&record));
                appended.map_err(|error| self.failed(error))?;
            }
            applied.is_counted |= self.commit(id, &twin);
            if let Some(resident) = self.resident(id) {
                resident.fall_back();
            }
            applied.twins.push((id.clone(), twin));
        }
        for Decided { twin, transition } in
            batch.decisions.iter().filter(|decided| erases(&decided.transition))
        {
            self.stream.erase(twin.clone(), transition.sequence);
        }
        self.keep_up(Upkeep { sealed: batch.sealed, trimmed: batch.trimmed });
        Ok(applied)
    }

    /// Reads a twin, unless its image is damaged: that is this twin's misfortune, not the shard's.
    pub(super) fn bring_in(&mut self, id: &TwinId, store: &dyn StateStore) -> Result<(), Failed> {
        if self.resident(id).is_some() {
            return Ok(());
        }
        let image = store.get(self.home, Space::Image, id.as_str().as_bytes());
        let image = image.map_err(|error| self.failed(error))?;
        if let Ok(resident) = self.read(id, Ok(image)) {
            self.settle_in(id.clone(), resident);
        }
        Ok(())
    }
}

/// How many twins each tenant has, as the state store lists them.
fn listed(store: &dyn StateStore, home: Home) -> Result<Tenants, store::Error> {
    let mut registered = Tenants::new();
    for key in all_keys(store, home, Space::Registered)? {
        if let Ok(id) = TwinId::parse(&String::from_utf8_lossy(&key)) {
            count(&mut registered, id.tenant(), true);
        }
    }
    Ok(registered)
}

/// All keys of a space, read in pieces.
pub(super) fn all_keys(
    store: &dyn StateStore,
    home: Home,
    space: Space,
) -> Result<Vec<Vec<u8>>, store::Error> {
    let mut all: Vec<Vec<u8>> = Vec::new();
    loop {
        let after = all.last().map_or(Bound::Unbounded, |last| Bound::Excluded(last.as_slice()));
        let keys = store.keys(home, space, (after, Bound::Unbounded), KEYS_AT_ONCE)?;
        if keys.is_empty() {
            return Ok(all);
        }
        all.extend(keys);
    }
}
