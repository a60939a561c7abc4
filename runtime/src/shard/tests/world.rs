//! A shard with everything around it under the test's control: what it asks for happens when the test says so, or never.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

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
use crate::log::{Entry, Error, LogId, ShardLog, Tenure, Told};
use crate::node::shard_of;
use crate::replica::{self, Replicas, Saved};
use crate::shard::actor::images;
use crate::shard::parcel::Parcel;
use crate::shard::recovery::Ground;
use crate::shard::work::{Answer, Asker, Work};
use crate::shard::{Action, Failed, Options, Setting, Shard};
use crate::store::memory::Memory;
use crate::stream;

use super::kind::{Adder, Neighbour};
use super::log::Log;

/// How much a shard that follows reads at once, in bytes: an entry or two.
const READ_BYTES: usize = 300;

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
    /// How often something happened to the shard.
    pub(super) turns: u64,
    /// When it asked for what it is waiting to hear from the log: for a proposal, and for a confirmation.
    asked_at: (u64, u64),
    /// The shard has a proof that it led after this.
    pub(super) proven: u64,
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
            turns: 0,
            asked_at: (0, 0),
            proven: 0,
        }
    }

    /// Another replica of the same shard, on another disk, not begun.
    pub(super) fn replica(&self, seed: u64) -> Self {
        let mut replica = Self::one_of(self.number, 1, seed, (*self.options).clone(), self.stream);
        replica.slots = self.slots.clone();
        let (history, needs_confirming) = (self.log.history.clone(), self.log.needs_confirming);
        replica.log = Log { history, follows: true, needs_confirming, ..Log::default() };
        replica
    }

    /// From its next start on, another node may lead without this one's knowing it.
    pub(super) fn may_be_replaced(&mut self) {
        self.log.needs_confirming = true;
    }

    pub(super) fn is_replaceable(&self) -> bool {
        self.log.needs_confirming
    }

    /// The states of the shards on its disk.
    pub(super) fn replicas(&self) -> replica::Local {
        replica::Local::new(Arc::new(self.store.clone()), self.files.clone(), Path::new("/streams"))
    }

    /// Starts the shard on what is durable.
    pub(super) fn start(&mut self) -> Result<(), Failed> {
        // The log lacks what led to a state of another replica.
        if let Ok(Some(Saved { applied, origin: Some(_) })) = self.replicas().saved(self.number) {
            self.log.purge(applied);
        }
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
            away: crate::away::Away::new((1, 1), self.number + 1),
        };
        let standing = self.log.listen(Box::new(|_| {}));
        let (shard, reader, ended) = Shard::recover(Ground {
            setting,
            log: &self.log,
            standing,
            store: &self.store,
            files: self.files.clone(),
            streams: Path::new("/streams"),
            stream: &self.stream,
            indexer: &stream::Indexer::by_hand(),
        })?;
        (self.shard, self.reader) = (Some(shard), Some(reader));
        self.with(|shard, now| shard.take(now, ended))
    }

    /// The shard ends, and its disk goes on: what it asked for and did not get never happens.
    pub(super) fn end(&mut self) {
        self.asked.clear();
        (self.shard, self.reader) = (None, None);
    }

    /// Power fails: what the shard asked for and did not get never happens, and the disk keeps what was synced.
    pub(super) fn crash(&mut self, seed: u64) {
        self.end();
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
        self.turns += 1;
        let shard = self.shard.as_mut().expect("the shard runs");
        let acted = act(shard, self.now);
        for action in std::iter::from_fn(|| shard.poll()) {
            match action {
                Action::Propose { .. } => self.asked_at.0 = self.turns,
                Action::Confirm { .. } => self.asked_at.1 = self.turns,
                _ => {}
            }
            self.asked.push_back(action);
        }
        acted
    }

    /// Does what the shard asked for at this place in line.
    pub(super) fn carry_out(&mut self, index: usize) -> Result<(), Failed> {
        match self.asked.remove(index) {
            None => Ok(()),
            Some(Action::Propose { tenure, .. }) if !self.log.leads(tenure) => {
                let error = Error::NotLeader { term: tenure.term };
                self.with(|shard, now| shard.refused(now, tenure, &error))
            }
            Some(Action::Propose { tenure, payload, .. }) => {
                let id = self.append(tenure, payload);
                self.proven = self.proven.max(self.asked_at.0);
                self.with(|shard, now| shard.committed(now, tenure, id))
            }
            Some(Action::Confirm { tenure }) if !self.log.leads(tenure) => {
                let error = Error::NotLeader { term: tenure.term };
                self.with(|shard, now| shard.confirmed(now, tenure, Err(error)))
            }
            Some(Action::Confirm { tenure }) => {
                self.proven = self.proven.max(self.asked_at.1);
                self.with(|shard, now| shard.confirmed(now, tenure, Ok(())))
            }
            Some(Action::Read { after, through }) => {
                let entries = self.log.read(after, through, READ_BYTES);
                self.with(|shard, now| shard.followed(now, entries))
            }
            Some(Action::Sweep(sweep)) => {
                sweep.remove().map_err(|error| Failed { shard: 0, why: error.to_string() })
            }
            Some(Action::Erase(erase)) => {
                let outcome = erase.run().map_err(|error| error.to_string());
                self.with(|shard, now| shard.erased(now, outcome))
            }
            Some(Action::Load(ids)) => {
                let home = self.shard.as_ref().expect("the shard runs").home();
                let images = images(&self.store, home, ids).expect("its state is current");
                self.with(|shard, now| shard.loaded(now, images))
            }
            Some(Action::ReadDue { tenure, after }) => {
                let home = self.shard.as_ref().expect("the shard runs").home();
                let rows = crate::shard::due::rows(&self.store, home, after.as_ref());
                let rows = rows.map_err(|error| Failed { shard: 0, why: error.to_string() })?;
                self.with(|shard, now| shard.due_read(now, tenure, rows))
            }
            Some(Action::Checkpoint(cut)) => {
                let written = cut.write(&self.store);
                let written = written.map_err(|why| Failed { shard: 0, why: why.to_string() })?;
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
        let Some(Action::Propose { tenure, .. }) = self.asked.get(index) else { return Ok(()) };
        let tenure = *tenure;
        self.asked.remove(index);
        self.with(|shard, now| shard.refused(now, tenure, error))
    }

    /// The log takes what the shard proposed, but the power fails before the shard hears of it.
    pub(super) fn append_unheard(&mut self, index: usize) {
        if matches!(self.asked.get(index), Some(Action::Propose { tenure, .. }) if self.log.leads(*tenure))
            && let Some(Action::Propose { tenure, payload, .. }) = self.asked.remove(index)
        {
            self.append(tenure, payload);
        }
    }

    /// The log says that the shard leads, in a new term, or again in the one in which it led last.
    pub(super) fn lead(&mut self, again: bool) -> Result<(), Failed> {
        self.log.follows = false;
        let (tenure, through) = (self.log.lead(again), self.log.last());
        self.with(|shard, now| shard.told(now, Told::Leads { tenure, through }))
    }

    /// The log says that another node leads. What was proposed is committed all the same, or never will be; the shard
    /// hears that nobody knows.
    pub(super) fn depose(&mut self, is_committed: bool) -> Result<(), Failed> {
        let log = &self.log;
        let taken = |action: &Action| matches!(action, Action::Propose { tenure, .. } if log.leads(*tenure));
        let proposed = self.asked.iter().position(taken);
        let proposed = proposed.and_then(|index| self.asked.remove(index));
        self.log.follows = true;
        if let Some(Action::Propose { tenure, payload, .. }) = proposed {
            if is_committed {
                self.append(tenure, payload);
            }
            let error = Error::Deposed { term: tenure.term };
            self.with(|shard, now| shard.refused(now, tenure, &error))?;
        }
        self.with(|shard, now| shard.told(now, Told::Follows { leader: None }))
    }

    /// The log says how far it is committed, or was.
    pub(super) fn hear_of_commits(&mut self, through: u64) -> Result<(), Failed> {
        let through = through.min(self.log.last());
        self.with(|shard, now| shard.told(now, Told::Committed { through }))
    }

    /// The log refuses to confirm that the shard leads.
    pub(super) fn refuse_confirming(&mut self) -> Result<(), Failed> {
        let asked = self.asked.iter().position(|action| matches!(action, Action::Confirm { .. }));
        match asked.and_then(|index| self.asked.remove(index)) {
            Some(Action::Confirm { tenure }) => {
                let error = Error::NotLeader { term: tenure.term };
                self.with(|shard, now| shard.confirmed(now, tenure, Err(error)))
            }
            _ => Ok(()),
        }
    }

    fn append(&self, Tenure { term, .. }: Tenure, payload: bytes::Bytes) -> LogId {
        let mut log = self.log.history.lock().unwrap();
        let id = LogId { term, index: log.entries.len() as u64 + 1 };
        log.entries.push(Entry { id, payload });
        id
    }

    pub(super) fn history(&self) -> Vec<Entry> {
        self.log.history.lock().unwrap().entries.clone()
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
