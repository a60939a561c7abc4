//! From a twin's id to its shard (step 4 of the path): the handle through which everybody outside speaks to twins.

mod backups;
mod nodes;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ractor::ActorRef;
use tokio::sync::{Semaphore, oneshot};
use twins::body::Body;
use twins::header::{Header, Trace};
use twins::id::TwinId;
use twins::input::Input;
use twins::kind::Kinds;
use twins::name::Name;
use twins::rejection::{Code, Rejection};
use twins::reply::Reply;
use twins::time::Timestamp;

use crate::access::Access;
use crate::admission::Admission;
use crate::blocking;
use crate::clock::Clock;
use crate::error::Error;
use crate::follower::Follower;
use crate::look::Looks;
use crate::mailbox::Mailbox;
use crate::meter::{Refusals, ShardMeter, What};
use crate::node::{Door, shard_of};
use crate::overruns::Overruns;
use crate::path::step;
use crate::registered::Registered;
use crate::shard::actor::Message;
use crate::shard::requests::Asked;
use crate::shard::work::{Answer, Asker, Work};
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// As in HTTP.
    pub status: u16,
    /// What it answers.
    pub payload: Body,
}

impl Router {
    pub(crate) fn new(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.0
    }

    /// Hands inputs of one connection to their shards, in order for each shard. Does not wait. Each is answered in the
    /// mailbox once: the first that finds no room, and all of its shard that follow it here, at once with an error, so
    /// that a session's inputs keep their order.
    ///
    /// After a [`Reply::Connected`] the mailbox gets what is meant for that connection.
    pub fn submit(&self, mailbox: &Arc<Mailbox>, inputs: Vec<Submission>) {
        let now = Instant::now();
        let mut batches: Vec<Batch> = Vec::new();
        for Submission { token, twin, header, input } in inputs {
            let shard = self.route(&twin, header.trace);
            let index = batches.iter().position(|batch| batch.shard == shard);
            let index = index.unwrap_or_else(|| {
                batches.push(Batch { shard, inputs: Vec::new(), refused: None });
                batches.len() - 1
            });
            let batch = &mut batches[index];
            let answer = Answer::new(shard, Asker::Mailbox { mailbox: mailbox.clone(), token });
            let admitted = match &batch.refused {
                Some(error) => {
                    self.0.doors[shard as usize].meter.turned_away(What::of(&input), error);
                    Err(error.clone())
                }
                None => self.work(now, shard, twin, header, input),
            };
            match admitted {
                Ok(work) => batch.inputs.push(Work { answer, ..work }),
                Err(error) => {
                    batch.refused = Some(error.clone());
                    answer.give(Err(error));
                }
            }
        }
        for Batch { shard, inputs, .. } in batches {
            self.hand_over(shard, inputs);
        }
    }

    /// Says something to a twin and waits for the answer.
    ///
    /// # Errors
    /// A refusal, or that it could not be said.
    pub async fn ask(&self, twin: TwinId, header: Header, input: Input) -> Result<Reply, Error> {
        let shard = self.route(&twin, header.trace);
        let (answer, wait) = oneshot::channel();
        let work = self.work(Instant::now(), shard, twin, header, input)?;
        self.hand_over(shard, vec![Work { answer: Answer::new(shard, Asker::Once(answer)), ..work }]);
        let gone = || Error::Unknown { shard, why: "the shard stopped before it answered".into() };
        wait.await.map_err(|_| gone())?
    }

    /// Asks the device itself, over the newest connection that listens to requests.
    ///
    /// # Errors
    /// `unknown-twin`, or `not-connected` also at once when the connection ends first; `timeout`; `too-many` past
    /// [`REQUESTS_MAX`].
    pub async fn request(
        &self,
        twin: TwinId,
        name: Name,
        payload: Body,
        trace: Option<Trace>,
        timeout: Duration,
    ) -> Result<Response, Error> {
        let shard = self.route(&twin, trace);
        let actor = self.actor(shard)?;
        let id = Name::new("a request's id", &uuid::Uuid::now_v7().to_string())?;
        let (answer, wait) = oneshot::channel();
        let asked = Asked { twin: twin.clone(), id: id.clone(), name, payload, trace, answer };
        let gone = || Error::Unknown { shard, why: "the shard stopped before the device answered".into() };
        actor.cast(Message::Ask(Box::new(asked))).map_err(|_| gone())?;
        match tokio::time::timeout(timeout, wait).await {
            Ok(answered) => answered.map_err(|_| gone())?,
            Err(_) => {
                let late = format!("`{}` did not answer within {} s", twin.id(), timeout.as_secs());
                drop(actor.cast(Message::Forget { twin, id }));
                Err(Rejection::new(Code::Timeout, late).into())
            }
        }
    }

    /// The device of `twin` answers the request `id`. Returns whether anybody still waited: `false` is too late.
    pub async fn respond(&self, twin: &TwinId, id: &Name, response: Response) -> bool {
        let Ok(actor) = self.actor(shard_of(&self.0.slots, twin)) else { return false };
        let (waited, wait) = oneshot::channel();
        let message = Message::Respond { twin: twin.clone(), id: id.clone(), response, waited };
        actor.cast(message).is_ok() && wait.await.unwrap_or(false)
    }

    /// The ids of a tenant's twins after `after`, in order; at most `limit`.
    ///
    /// # Errors
    /// When a shard cannot be asked.
    pub async fn list(
        &self,
        tenant: &str,
        after: Option<&TwinId>,
        limit: usize,
    ) -> Result<Vec<TwinId>, Error> {
        let mut waits = Vec::new();
        for shard in 0..self.shards() {
            let (answer, wait) = oneshot::channel();
            let (tenant, after) = (tenant.to_owned(), after.cloned());
            drop(self.actor(shard)?.cast(Message::List { tenant, after, limit, answer }));
            waits.push((shard, wait));
        }
        let mut ids = Vec::new();
        for (shard, wait) in waits {
            let gone = || Error::Unwritten { shard, why: "the shard stopped".into() };
            ids.extend(wait.await.map_err(|_| gone())??);
        }
        ids.sort_unstable();
        ids.truncate(limit);
        Ok(ids)
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
            let why = door.leader().err()?;
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
        self.0.doors.iter().filter(|door| door.leader().is_ok()).count() as u32
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
    fn route(&self, twin: &TwinId, trace: Option<Trace>) -> u32 {
        let shard = shard_of(&self.0.slots, twin);
        step!("4.route" in trace, %twin, shard);
        shard
    }

    /// Admits an input (step 5).
    fn work(
        &self,
        now: Instant,
        shard: u32,
        twin: TwinId,
        header: Header,
        input: Input,
    ) -> Result<Work, Error> {
        let _span = step!("5.admit" in header.trace, shard, %twin).entered();
        let door = &self.0.doors[shard as usize];
        let turned_away = |error| {
            door.meter.turned_away(What::of(&input), &error);
            error
        };
        if self.0.stopping.load(Ordering::Relaxed) && !matches!(input, Input::Disconnect { .. }) {
            return Err(turned_away(Error::Stopping));
        }
        // The end of a connection is a fact, not a wish: it is never refused.
        let permit = match input {
            Input::Disconnect { .. } => None,
            _ => {
                let admitted = door.admission.admit(input.bytes(), now);
                Some(admitted.map_err(|limit| turned_away(Error::Overloaded { shard, limit }))?)
            }
        };
        Ok(Work { twin, header, input, answer: Answer::new(shard, Asker::Nobody), permit })
    }

    fn hand_over(&self, shard: u32, inputs: Vec<Work>) {
        if inputs.is_empty() {
            return;
        }
        match self.actor(shard) {
            // An actor that stops before it gets to the message drops it; the answers in it say so.
            Ok(actor) => drop(actor.cast(Message::Take(inputs))),
            Err(error) => inputs.into_iter().for_each(|work| {
                self.0.doors[shard as usize].meter.turned_away(What::of(&work.input), &error);
                work.answer.give(Err(error.clone()));
            }),
        }
    }

    /// The actor that decides for a shard.
    pub(crate) fn actor(&self, shard: u32) -> Result<ActorRef<Message>, Error> {
        self.0.doors[shard as usize].leader().map_err(|why| Error::Unwritten { shard, why })
    }
}

/// Inputs for one shard.
struct Batch {
    shard: u32,
    inputs: Vec<Work>,
    refused: Option<Error>,
}
