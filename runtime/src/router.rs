//! From a twin's id to its shard (step 4 of the path): the handle through which everybody outside speaks to twins.

pub(crate) mod ask;
mod backups;
mod nodes;
mod submit;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ractor::ActorRef;
use tokio::sync::Semaphore;
use twins::body::Body;
use twins::header::{Header, Trace};
use twins::id::TwinId;
use twins::input::Input;
use twins::kind::Kinds;
use twins::rejection::Rejection;
use twins::time::Timestamp;

use crate::access::Access;
use crate::admission::Admission;
use crate::away::Away;
use crate::blocking;
use crate::clock::Clock;
use crate::error::Error;
use crate::follower::Follower;
use crate::look::Looks;
use crate::meter::{Refusals, ShardMeter};
use crate::node::{Door, shard_of};
use crate::overruns::Overruns;
use crate::path::step;
use crate::registered::Registered;
use crate::shard::actor::Message;
use crate::stream::growth::Growth;
use crate::stream::{self, Page, Selection, Unread};
use crate::unready::Unready;
use crate::watch::{Watch, Watches, Whom};

pub(crate) use backups::Backups;

/// How many requests may wait for one device's answers.
pub const REQUESTS_MAX: usize = 64;

/// How many calls read the streams at once; more wait. Each holds up to 24 MiB and a thread, which others need too.
pub(crate) const READS_MAX: usize = 8;

/// A cheap handle on all twins of the node.
#[derive(Clone)]
pub struct Router(Arc<Inner>);

/// What a router is made of.
pub(crate) struct Inner {
    pub(crate) slots: Arc<[u32]>,
    pub(crate) doors: Arc<[Arc<Door>]>,
    pub(crate) kinds: Arc<Kinds>,
    pub(crate) access: Arc<dyn Access>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) node: (u64, u64),
    pub(crate) stopping: Arc<AtomicBool>,
    pub(crate) overruns: Arc<Overruns>,
    pub(crate) refusals: Arc<Refusals>,
    pub(crate) registered: Arc<Registered>,
    pub(crate) reads: Arc<Semaphore>,
    pub(crate) growth: Arc<Growth>,
    pub(crate) backups: Backups,
    pub(crate) watches: Arc<Watches>,
    pub(crate) looks: Looks,
    pub(crate) away: Arc<Away>,
}

/// One input of a session.
#[derive(Debug)]
pub struct Submission {
    /// The caller's name for it; the answer carries it.
    pub token: u64,
    /// To which twin.
    pub twin: TwinId,
    /// Its envelope. The shard sets `received`.
    pub header: Header,
    /// What it says.
    pub input: Input,
}

/// A device's answer to a request.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Response {
    /// As in HTTP.
    #[n(0)]
    pub status: u16,
    /// What it answers.
    #[n(1)]
    pub payload: Body,
}

impl Router {
    pub(crate) fn new(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.0
    }

    /// Reads the streams.
    ///
    /// # Errors
    /// When `from` is no cursor of these streams, or records after it are gone, or a stream cannot be read now.
    pub async fn read(&self, selection: Selection) -> Result<Page, Unread> {
        let shard = self.shard_read(&selection);
        let doors = self.0.doors.clone();
        let turn = self.0.reads.clone().acquire_owned().await.map_err(|_| Error::Stopping)?;
        let read = blocking::run(move || {
            // Held by the thread, which goes on when whoever asked has gone.
            let _turn = turn;
            let reader = |shard: u32| {
                let door = doors.get(shard as usize);
                door.ok_or_else(|| format!("there is no shard {shard}")).and_then(|door| door.reader())
            };
            stream::read(&selection, shard, doors.len() as u32, reader)
        });
        read.await.unwrap_or_else(|_| Err(Error::Stopping.into()))
    }

    /// Reads the streams, and goes on as they grow.
    pub fn follow(&self, selection: Selection) -> Follower {
        let grown = self.0.growth.listen(self.shard_read(&selection));
        Follower::new(self.clone(), selection, grown)
    }

    /// Watches a twin from now on: what is to be seen of it before, has to be read after.
    ///
    /// # Errors
    /// `too-many` past [`WATCHES_MAX`](crate::watch::WATCHES_MAX) or
    /// [`WATCHES_OF_ONE_MAX`](crate::watch::WATCHES_OF_ONE_MAX).
    pub fn watch(&self, twin: TwinId, whom: Whom) -> Result<Watch, Rejection> {
        let shard = shard_of(&self.0.slots, &twin);
        self.0.watches.watch(shard, twin, whom)
    }

    /// The one shard that a selection is about, if it is.
    fn shard_read(&self, selection: &Selection) -> Option<u32> {
        selection.twin.as_ref().map(|twin| shard_of(&self.0.slots, twin)).or(selection.shard)
    }

    /// The kinds of twins that the node knows.
    pub fn kinds(&self) -> &Kinds {
        &self.0.kinds
    }

    /// Who decides who comes in.
    pub fn access(&self) -> &dyn Access {
        &*self.0.access
    }

    /// The wall clock.
    pub fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// This node's id and generation, as sessions record them.
    pub fn node(&self) -> (u64, u64) {
        self.0.node
    }

    /// How many decisions took longer than [`handler_budget`](crate::shard::Options::handler_budget) since the node
    /// started, by kind.
    pub fn overruns(&self) -> BTreeMap<String, u64> {
        self.0.overruns.counts()
    }

    /// How many shards there are.
    pub fn shards(&self) -> u32 {
        u32::try_from(self.0.doors.len()).unwrap_or(u32::MAX)
    }

    /// What does not serve, and why; nothing if all shards do.
    pub fn unready(&self) -> Vec<Unready> {
        if self.0.stopping.load(Ordering::Relaxed) {
            return vec![Unready::new("node", "it stops")];
        }
        let shards = (0..).zip(self.0.doors.iter()).filter_map(|(shard, door): (u32, _)| {
            let why = door.leader().err().filter(|_| self.elsewhere(shard).is_none())?;
            Some(Unready::new(format!("shard {shard}"), door.meter.progress().unwrap_or(why)))
        });
        shards.collect()
    }

    /// What each shard counts.
    pub(crate) fn meters(&self) -> impl Iterator<Item = (u32, &ShardMeter)> {
        (0..).zip(self.0.doors.iter()).map(|(shard, door)| (shard, &*door.meter))
    }

    pub(crate) fn admissions(&self) -> impl Iterator<Item = (u32, &Admission)> {
        (0..).zip(self.0.doors.iter()).map(|(shard, door)| (shard, &*door.admission))
    }

    pub(crate) fn refusals(&self) -> &Refusals {
        &self.0.refusals
    }

    pub(crate) fn shards_serving(&self) -> u32 {
        let serves =
            |(shard, door): &(u32, &Arc<Door>)| door.leader().is_ok() || self.elsewhere(*shard).is_some();
        (0..).zip(self.0.doors.iter()).filter(serves).count() as u32
    }

    /// How many twins are registered.
    pub(crate) fn registered(&self) -> u64 {
        self.0.registered.all()
    }

    /// Takes nothing more in; the actors that still serve.
    pub(crate) fn close(&self) -> impl Iterator<Item = ActorRef<Message>> {
        self.0.stopping.store(true, Ordering::Relaxed);
        self.0.doors.iter().filter_map(|door| door.actor().ok())
    }

    /// The shard of a twin (step 4).
    pub(crate) fn route(&self, twin: &TwinId, trace: Option<Trace>) -> u32 {
        let shard = shard_of(&self.0.slots, twin);
        step!("4.route" in trace, %twin, shard);
        shard
    }

    /// The actor that decides for a shard.
    pub(crate) fn actor(&self, shard: u32) -> Result<ActorRef<Message>, Error> {
        self.0.doors[shard as usize].leader().map_err(|why| Error::Unwritten { shard, why })
    }
}
