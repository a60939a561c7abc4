//! A shard with everything around it under the test's control: what it asks for happens when the test says so, or never.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;
use twins::header::Header;
use twins::id::TwinId;
use twins::input::Input;
use twins::kind::{Kind, Kinds};
use twins::time::Timestamp;
use twins::twin::Twin;

use crate::admission::{Admission, Limits};
use crate::error::Outcome;
use crate::files::sim::Sim;
use crate::log::{Done, Entry, Error, LogId, ShardLog};
use crate::node::shard_of;
use crate::shard::actor::images;
use crate::shard::parcel::Parcel;
use crate::shard::recovery::Ground;
use crate::shard::work::{Answer, Asker, Work};
use crate::shard::{Action, Failed, Options, Setting, Shard};
use crate::store::memory::Memory;
use crate::stream;

use super::kind::{Adder, Neighbour};

/// A log that keeps every entry, so that the whole history can be told again; what is purged it will not replay.
#[derive(Default)]
pub(super) struct History {
    pub(super) entries: Vec<Entry>,
    term: u64,
    purged: u64,
}

#[derive(Default)]
struct Log(Mutex<History>);

impl ShardLog for Log {
    fn lead(&self) -> Result<u64, Error> {
        let mut log = self.0.lock().unwrap();
        log.term += 1;
        Ok(log.term)
    }

    fn replay(&self, after: u64, visit: &mut dyn FnMut(Entry) -> bool) -> Result<(), Error> {
        let log = self.0.lock().unwrap();
        if after < log.purged {
            return Err(Error::Unreadable(format!("entries through {} are purged", log.purged)));
        }
        let left = log.entries.iter().filter(|entry| entry.id.index > after);
        left.cloned().all(visit);
        Ok(())
    }

    fn propose(&self, _: u64, _: bytes::Bytes, _: Done) {
        unreachable!("the world carries out proposals itself")
    }

    fn propose_upkeep(&self, _: u64, _: bytes::Bytes, _: Done) {
        unreachable!("the world carries out proposals itself")
    }

    fn purge(&self, index: u64) {
        let mut log = self.0.lock().unwrap();
        log.purged = log.purged.max(index);
    }
}

/// What goes from one shard to another.
#[derive(Debug, Clone)]
pub(super) enum Posted {
    Parcels { from: u32, to: u32, first: u64, parcels: Vec<Arc<Parcel>> },
    Acknowledged { by: u32, to: u32, n: u64 },
}

impl Posted {
    pub(super) fn to(&self) -> u32 {
        match self {
            Self::Parcels { to, .. } | Self::Acknowledged { to, .. } => *to,
        }
    }
}

pub(super) struct World {
    /// Its number, and the shards of all slots.
    number: u32,
    slots: Arc<[u32]>,
    log: Log,
    store: Memory,
    files: Arc<Sim>,
    kinds: Arc<Kinds>,
    options: Arc<Options>,
    stream: stream::Options,
    pub(super) admission: Arc<Admission>,
    pub(super) now: Timestamp,
    pub(super) shard: Option<Shard>,
    pub(super) reader: Option<stream::Reader>,
    /// What the shard asked for and did not get yet.
    pub(super) asked: VecDeque<Action>,
    /// What it has handed to shards of other worlds.
    pub(super) posted: VecDeque<Posted>,
}

impl World {
    /// A shard alone.
    pub(super) fn new(seed: u64, options: Options, stream: stream::Options) -> Self {
        Self::one_of(0, 1, seed, options, stream)
    }

    /// One of several shards.
    pub(super) fn one_of(
        number: u32,
        shards: u32,
        seed: u64,
        options: Options,
        stream: stream::Options,
    ) -> Self {
        Self {
            number,
            slots: (0..=u16::MAX).map(|slot| (u32::from(slot) * shards) >> 16).collect(),
            log: Log::default(),
            store: Memory::new(),
            files: Arc::new(Sim::new(seed)),
            kinds: Arc::new(Kinds::default().with(Kind::of::<Adder>()).with(Kind::of::<Neighbour>())),
            options: Arc::new(options),
            stream,
            admission: Admission::new(Limits::default()),
            now: Timestamp::from_millis(1_000_000),
            shard: None,
            reader: None,
            asked: VecDeque::new(),
            posted: VecDeque::new(),
        }
    }

    /// Starts the shard on what is durable.
    pub(super) fn start(&mut self) -> Result<(), Failed> {
        let setting = Setting {
            number: self.number,
            node: (1, 1),
            kinds: self.kinds.clone(),
            slots: self.slots.clone(),
            options: self.options.clone(),
            registered: Arc::default(),
            shards: self.number + 1,
            access: Arc::new(crate::access::Permissive),
            overruns: Arc::default(),
            refusals: Arc::default(),
            meter: Arc::default(),
            admission: self.admission.clone(),
            growth: Arc::new(stream::growth::Growth::new(1)),
            watches: Arc::new(crate::watch::Watches::new(self.number + 1)),
        };
        let (shard, reader, ended) = Shard::recover(Ground {
            setting,
            log: &self.log,
            store: &self.store,
            files: self.files.clone(),
            folder: Path::new("/streams/0"),
            stream: &self.stream,
            indexer: &stream::Indexer::by_hand(),
        })?;
        (self.shard, self.reader) = (Some(shard), Some(reader));
        self.with(|shard, now| shard.take(now, ended))
    }

    /// Power fails: what the shard asked for and did not get never happens, and the disk keeps what was synced.
    pub(super) fn crash(&mut self, seed: u64) {
        self.asked.clear();
        (self.shard, self.reader) = (None, None);
        self.store = self.store.crash(seed);
        self.files.crash();
    }

    /// Says something to a twin; the answer comes by the channel.
    pub(super) fn say(
        &mut self,
        twin: &TwinId,
        header: Header,
        input: Input,
    ) -> Result<oneshot::Receiver<Outcome>, Failed> {
        let (answer, wait) = oneshot::channel();
        let answer = Answer::new(0, Asker::Once(answer));
        let work = Work { twin: twin.clone(), header, input, answer, permit: None };
        self.with(|shard, now| shard.take(now, vec![work]))?;
        Ok(wait)
    }

    pub(super) fn with(
        &mut self,
        act: impl FnOnce(&mut Shard, Timestamp) -> Result<(), Failed>,
    ) -> Result<(), Failed> {
        let shard = self.shard.as_mut().expect("the shard runs");
        let acted = act(shard, self.now);
        self.asked.extend(std::iter::from_fn(|| shard.poll()));
        acted
    }

    /// Does what the shard asked for at this place in line.
    pub(super) fn carry_out(&mut self, index: usize) -> Result<(), Failed> {
        match self.asked.remove(index) {
            None => Ok(()),
            Some(Action::Propose { term, payload, .. }) => {
                let id = self.append(term, payload);
                self.with(|shard, now| shard.committed(now, id))
            }
            Some(Action::Sweep(sweep)) => {
                sweep.remove().map_err(|error| Failed { shard: 0, why: error.to_string() })
            }
            Some(Action::Erase(erase)) => {
                let outcome = erase.run().map_err(|error| error.to_string());
                self.with(|shard, now| shard.erased(now, outcome))
            }
            Some(Action::Load(ids)) => {
                let images = images(&self.store, self.number, ids);
                self.with(|shard, now| shard.loaded(now, images))
            }
            Some(Action::ReadDue(after)) => {
                let rows = crate::shard::due::rows(&self.store, self.number, Some(&after));
                let rows = rows.map_err(|error| Failed { shard: 0, why: error.to_string() })?;
                self.with(|shard, now| shard.due_read(now, rows))
            }
            Some(Action::Checkpoint(cut)) => {
                let written = cut.write(&self.store);
                let written = written.map_err(|why| Failed { shard: 0, why })?;
                self.log.purge(written.applied());
                self.with(|shard, now| shard.checkpointed(now, written))
            }
            Some(Action::Hand { to, first, parcels }) => {
                self.post(Posted::Parcels { from: self.number, to, first, parcels })
            }
            Some(Action::Acknowledge { to, n }) => self.post(Posted::Acknowledged { by: self.number, to, n }),
        }
    }

    fn post(&mut self, posted: Posted) -> Result<(), Failed> {
        if posted.to() == self.number {
            return self.deliver(posted);
        }
        self.posted.push_back(posted);
        Ok(())
    }

    /// Something from another shard, or from this one, has come.
    pub(super) fn deliver(&mut self, posted: Posted) -> Result<(), Failed> {
        self.with(|shard, now| match posted {
            Posted::Parcels { from, first, parcels, .. } => shard.receive(now, from, first, parcels),
            Posted::Acknowledged { by, n, .. } => shard.acknowledged(now, by, n),
        })
    }

    /// Whether a twin is one of this shard's.
    pub(super) fn has(&self, twin: &TwinId) -> bool {
        shard_of(&self.slots, twin) == self.number
    }

    /// The log refuses what the shard proposed, if it did.
    pub(super) fn refuse(&mut self, index: usize, error: &Error) -> Result<(), Failed> {
        if !matches!(self.asked.get(index), Some(Action::Propose { .. })) {
            return Ok(());
        }
        self.asked.remove(index);
        self.with(|shard, now| shard.refused(now, error))
    }

    /// The log takes what the shard proposed, but the power fails before the shard hears of it.
    pub(super) fn append_unheard(&mut self, index: usize) {
        if let Some(Action::Propose { .. }) = self.asked.get(index)
            && let Some(Action::Propose { term, payload, .. }) = self.asked.remove(index)
        {
            self.append(term, payload);
        }
    }

    fn append(&self, term: u64, payload: bytes::Bytes) -> LogId {
        let mut log = self.log.0.lock().unwrap();
        let id = LogId { term, index: log.entries.len() as u64 + 1 };
        log.entries.push(Entry { id, payload });
        id
    }

    pub(super) fn history(&self) -> Vec<Entry> {
        self.log.0.lock().unwrap().entries.clone()
    }

    /// Everything that was asked for happens, until nothing is asked for any more.
    pub(super) fn settle(&mut self) -> Result<(), Failed> {
        while !self.asked.is_empty() {
            self.carry_out(0)?;
        }
        Ok(())
    }

    /// Reads a twin through the shard.
    pub(super) fn read(&mut self, twin: &TwinId) -> Result<Option<Arc<Twin>>, Failed> {
        let mut wait = self.say(twin, Header::default(), Input::Read)?;
        self.settle()?;
        match wait.try_recv().expect("everything has settled") {
            Ok(twins::reply::Reply::Twin(twin)) => Ok(Some(twin)),
            _ => Ok(None),
        }
    }

    pub(super) fn files(&self) -> &Sim {
        &self.files
    }

    pub(super) fn store(&self) -> &Memory {
        &self.store
    }
}
