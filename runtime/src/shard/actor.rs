//! The actor that hosts a shard: a mailbox in front of [`Shard`], and threads for what blocks.
//!
//! Its supervisor is the [node](crate::node); a failure, or a panic of ours, loses nothing that was committed: the next
//! incarnation begins with what the log has. (A behaviour's panic never gets here: deciding catches it.)

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;
use twins::id::TwinId;
use twins::name::Name;
use twins::time::Timestamp;
use twins::twin::Twin;

use crate::away::Frame;
use crate::blocking;
use crate::clock::Clock;
use crate::error::Error;
use crate::files::Files;
use crate::log::{self, Entry, LogId, ShardLog, Tenure, Told};
use crate::node::Door;
use crate::presence::Seen;
use crate::router::Response;
use crate::store::{self, Home, Space, StateStore};
use crate::stream;

use super::attach::Attaching;
use super::checkpoint::{NotWritten, Written};
use super::list::Overlay;
use super::parcel::Parcel;
use super::recovery::{Ground, READ_BYTES};
use super::requests::Asked;
use super::window::Row;
use super::work::Work;
use super::{Action, Failed, Image, Setting, Shard, Then, due};

/// It looks at the clock at least so often while it waits for a time, since somebody may set the clock.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// What comes to a shard. Only those with permits, and at most [`REQUESTS_MAX`](crate::router::REQUESTS_MAX) requests
/// for each twin, come from outside; everything else is the shard's own.
pub(crate) enum Message {
    /// Inputs.
    Take(Vec<Work>),
    /// A question to a device.
    Ask(Box<Asked>),
    /// A device's answer.
    Respond { twin: TwinId, id: Name, response: Response, waited: oneshot::Sender<bool> },
    /// Whoever asked gave up.
    Forget { twin: TwinId, id: Name },
    /// A twin as it is committed, if it is here.
    Look { id: TwinId, answer: oneshot::Sender<Result<Option<Arc<Twin>>, Error>> },
    /// Which twins are there.
    List {
        tenant: String,
        after: Option<TwinId>,
        limit: usize,
        answer: oneshot::Sender<Result<Vec<TwinId>, Error>>,
    },
    /// The fate of a batch that was proposed in a tenure.
    Fate(Tenure, Result<LogId, log::Error>),
    /// What the log says.
    Told(Told),
    /// Entries that were read, to follow them.
    Followed(Result<Vec<Entry>, log::Error>),
    /// What became of a confirmation that was asked for in a tenure.
    Confirmed(Tenure, Result<(), log::Error>),
    /// Images that were read.
    Loaded(Vec<Image>),
    /// Rows of what is due, as they were asked for in a tenure.
    DueRead(Tenure, Result<Vec<Row>, String>),
    /// A checkpoint that was written.
    Checkpointed(Result<Written, String>),
    /// Files of the stream were written anew.
    Erased(Result<(), String>),
    /// Parcels of a shard, numbered from `first`.
    Parcels { from: u32, first: u64, parcels: Vec<Arc<Parcel>> },
    /// A shard has everything through a number.
    Acknowledged { by: u32, n: u64 },
    /// Connections that are to be attached.
    Attach(Vec<Attaching>),
    /// Connections of other nodes may have gone.
    LetGo,
    /// What is known of the other nodes.
    Nodes(Arc<Seen>),
    /// Something may be due.
    Tick,
    /// Write all that is committed to the state store, and say when that is done.
    Save(oneshot::Sender<()>),
    /// Stop, when everything is written.
    Finish(oneshot::Sender<()>),
}

/// What the actor is made from, again after each failure.
#[derive(Clone)]
pub(crate) struct Host {
    pub(crate) setting: Setting,
    pub(crate) log: Arc<dyn ShardLog>,
    pub(crate) store: Arc<dyn StateStore>,
    pub(crate) files: Arc<dyn Files>,
    /// Where the streams of all shards are.
    pub(crate) streams: PathBuf,
    pub(crate) stream: stream::Options,
    pub(crate) indexer: Arc<stream::Indexer>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) door: Arc<Door>,
    /// The doors of all shards.
    pub(crate) doors: Arc<[Arc<Door>]>,
    /// Whose turn it is to write a checkpoint: what all shards sync at once stands in the way of the log's own syncs.
    pub(crate) checkpoints: Arc<Semaphore>,
}

pub(crate) struct Hosted {
    shard: Shard,
    /// When it will be woken, and the timer that does it.
    alarm: Option<(Timestamp, JoinHandle<()>)>,
    finished: Option<oneshot::Sender<()>>,
    /// Through which index the state store must have everything, and who waits for that.
    saves: Vec<(u64, oneshot::Sender<()>)>,
}

impl Actor for Host {
    type Msg = Message;
    type State = Hosted;
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<Message>, (): ()) -> Result<Hosted, ActorProcessingErr> {
        let host = self.clone();
        let ear = myself.clone();
        // What it says meanwhile waits in the mailbox.
        let standing = self.log.listen(Box::new(move |told| drop(ear.cast(Message::Told(told)))));
        let recovered = blocking::run(move || {
            Shard::recover(Ground {
                setting: host.setting,
                log: &*host.log,
                standing,
                store: &*host.store,
                files: host.files,
                streams: &host.streams,
                stream: &host.stream,
                indexer: &host.indexer,
            })
        });
        let (shard, reader, ended) = recovered.await??;
        myself.cast(Message::Take(ended))?;
        self.door.open(myself.clone(), reader);
        self.remove_former(shard.home());
        self.lead(&myself, &shard);
        self.setting.growth.grew(self.setting.number);
        self.setting.watches.began_again(self.setting.number);
        Ok(Hosted { shard, alarm: None, finished: None, saves: Vec::new() })
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        hosted: &mut Hosted,
    ) -> Result<(), ActorProcessingErr> {
        let now = self.clock.now();
        let shard = &mut hosted.shard;
        shard.set_confirming(self.log.needs_confirming());
        match message {
            Message::Take(inputs) => shard.take(now, inputs)?,
            Message::Ask(asked) => shard.request(now, *asked)?,
            Message::Respond { twin, id, response, waited } => {
                // Nobody minds if the gateway that relayed the answer is gone.
                let _gone = waited.send(shard.respond(&twin, &id, response));
            }
            Message::Forget { twin, id } => shard.forget(&twin, &id),
            Message::Look { id, answer } => {
                let found = shard.look(&id);
                shard.when_sure(Box::new(move |sure| drop(answer.send(sure.map(|()| found)))));
            }
            Message::List { tenant, after, limit, answer } => {
                let overlay = shard.overlay(&tenant, after.as_ref(), limit);
                shard.when_sure(self.listed(overlay, answer));
            }
            Message::Fate(tenure, Ok(id)) => shard.committed(now, tenure, id)?,
            Message::Fate(tenure, Err(error)) => shard.refused(now, tenure, &error)?,
            // It may have been read from that state already.
            Message::Told(Told::Replaced) if self.is_current(shard.home()) => {}
            Message::Told(Told::Replaced) => return Err(BeginAgain.into()),
            Message::Told(told) => shard.told(now, told)?,
            Message::Followed(entries) => shard.followed(now, entries)?,
            Message::Confirmed(tenure, sure) => shard.confirmed(now, tenure, sure)?,
            Message::Loaded(images) => shard.loaded(now, images)?,
            Message::DueRead(tenure, rows) => {
                shard.due_read(now, tenure, rows.map_err(|why| self.failed(why))?)?;
            }
            Message::Checkpointed(written) => {
                let written = written.map_err(|why| self.failed(why))?;
                self.log.purge(written.applied());
                shard.checkpointed(now, written)?;
            }
            Message::Erased(outcome) => shard.erased(now, outcome)?,
            Message::Parcels { from, first, parcels } => shard.receive(now, from, first, parcels)?,
            Message::Acknowledged { by, n } => shard.acknowledged(now, by, n)?,
            Message::Attach(all) => shard.attach(now, all)?,
            Message::LetGo => shard.let_go_of_closed(now)?,
            Message::Nodes(seen) => shard.nodes(now, &seen)?,
            Message::Tick => {
                hosted.alarm = None;
                // What falls due while it stops waits for the next start, or it might never be done.
                if hosted.finished.is_none() {
                    shard.tick(now)?;
                }
            }
            Message::Save(saved) => hosted.saves.push((shard.applied(), saved)),
            Message::Finish(finished) => hosted.finished = Some(finished),
        }
        hosted.shard.confirm();
        hosted.save()?;
        self.finish(&myself, hosted, now)?;
        while let Some(action) = hosted.shard.poll() {
            self.carry_out(&myself, hosted.shard.home(), action);
        }
        self.lead(&myself, &hosted.shard);
        hosted.set_alarm(&myself, now);
        Ok(())
    }
}

/// The shard's state was replaced in the state store: it is to be recovered at once, and nothing is wrong.
#[derive(Debug, thiserror::Error)]
#[error("the shard begins again from another replica's state")]
pub(crate) struct BeginAgain;

impl Host {
    fn carry_out(&self, myself: &ActorRef<Message>, home: Home, action: Action) {
        // What comes back to an actor that has failed meanwhile is nobody's any more.
        let myself = myself.clone();
        match action {
            Action::Propose { tenure, payload, is_upkeep } => {
                let fate = Box::new(move |fate| drop(myself.cast(Message::Fate(tenure, fate))));
                match is_upkeep {
                    true => self.log.propose_upkeep(tenure, payload, fate),
                    false => self.log.propose(tenure, payload, fate),
                }
            }
            // Where it fails, the stream stops, and the shard with it.
            Action::Sweep(sweep) => drop(blocking::run(move || sweep.remove())),
            Action::Erase(erase) => {
                blocking::run(move || {
                    myself.cast(Message::Erased(erase.run().map_err(|error| error.to_string())))
                });
            }
            Action::Load(ids) => {
                let store = self.store.clone();
                blocking::run(move || match images(&*store, home, ids) {
                    Ok(images) => myself.cast(Message::Loaded(images)),
                    Err(Superseded) => myself.cast(Message::Told(Told::Replaced)),
                });
            }
            Action::ReadDue { tenure, after } => {
                let store = self.store.clone();
                blocking::run(move || match due::rows(&*store, home, after.as_ref()) {
                    Err(store::Error::Superseded { .. }) => myself.cast(Message::Told(Told::Replaced)),
                    rows => myself.cast(Message::DueRead(tenure, rows.map_err(|error| error.to_string()))),
                });
            }
            Action::Read { after, through } => match self.log.recent(after, through, READ_BYTES) {
                Some(entries) => drop(myself.cast(Message::Followed(Ok(entries)))),
                None => {
                    let log = self.log.clone();
                    blocking::run(move || {
                        myself.cast(Message::Followed(log.read(after, through, READ_BYTES)))
                    });
                }
            },
            Action::Confirm { tenure } => {
                let sure = move |sure| drop(myself.cast(Message::Confirmed(tenure, sure)));
                self.log.confirm(tenure, Box::new(sure));
            }
            Action::Checkpoint(cut) => {
                let (store, turns) = (self.store.clone(), self.checkpoints.clone());
                tokio::spawn(async move {
                    let turn = turns.acquire_owned().await.expect("nobody closes it");
                    blocking::run(move || {
                        let written = cut.write(&*store);
                        drop(turn);
                        myself.cast(match written {
                            // It belongs to a state that is gone.
                            Err(NotWritten::Store(store::Error::Superseded { .. })) => {
                                Message::Told(Told::Replaced)
                            }
                            written => Message::Checkpointed(written.map_err(|error| error.to_string())),
                        })
                    });
                });
            }
            Action::Hand { to, first, parcels } => {
                self.tell(to, Message::Parcels { from: self.setting.number, first, parcels });
            }
            Action::Acknowledge { to, n } => {
                self.tell(to, Message::Acknowledged { by: self.setting.number, n });
            }
        }
    }

    /// Answers with a list once it is sure that it is the newest.
    fn listed(&self, overlay: Overlay, answer: oneshot::Sender<Result<Vec<TwinId>, Error>>) -> Then {
        let (store, shard) = (self.store.clone(), self.setting.number);
        Box::new(move |sure| match sure {
            // Whoever asked may have given up.
            Err(error) => drop(answer.send(Err(error))),
            Ok(()) => drop(blocking::run(move || {
                answer.send(overlay.merge(&*store).map_err(|why| Error::Unwritten { shard, why }))
            })),
        })
    }

    /// Shows whether the shard leads. Where it begins to, this node's connections are attached to it.
    fn lead(&self, myself: &ActorRef<Message>, shard: &Shard) {
        if self.door.lead(shard.leading()) {
            self.setting.away.leads_here(self.setting.number, myself);
        }
    }

    /// Tells another shard, here or on the node that leads it. One that does not serve hears of it later: what matters is
    /// told again.
    fn tell(&self, shard: u32, message: Message) {
        let Some(door) = self.doors.get(shard as usize) else { return };
        let node = if door.leads() { None } else { self.setting.away.leader(shard) };
        let from = self.setting.number;
        let frame = match (node, message) {
            (Some(_), Message::Parcels { first, parcels, .. }) => {
                Frame::Parcels { from, to: shard, first, parcels }
            }
            (Some(_), Message::Acknowledged { n, .. }) => Frame::Acknowledged { by: from, to: shard, n },
            (_, message) => {
                if let Ok(actor) = door.actor() {
                    drop(actor.cast(message));
                }
                return;
            }
        };
        if let Some(node) = node {
            drop(self.setting.away.say(node, &frame));
        }
    }

    /// Once nothing is in flight and everything is written, the actor stops.
    fn finish(
        &self,
        myself: &ActorRef<Message>,
        hosted: &mut Hosted,
        now: Timestamp,
    ) -> Result<(), ActorProcessingErr> {
        if hosted.finished.is_none() || hosted.shard.finish(now)? {
            return Ok(());
        }
        self.door.close("the node stops");
        myself.stop(None);
        hosted.finished.take().map(|finished| finished.send(()));
        Ok(())
    }

    /// Whether a home is the one from which the shard would begin.
    fn is_current(&self, home: Home) -> bool {
        self.store.home(home.shard).is_ok_and(|current| current == home)
    }

    /// Removes the streams of the shard's former states. Whoever reads them finds the one that took their place.
    fn remove_former(&self, current: Home) {
        if current == Home::first(current.shard) {
            return;
        }
        let (files, streams) = (self.files.clone(), self.streams.clone());
        blocking::run(move || {
            let is_needed = |home: Home| home.shard != current.shard || home >= current;
            if let Err(error) = stream::remove(&*files, &streams, is_needed) {
                let shard = current.shard;
                tracing::warn!(shard, %error, "the stream of a former state stays until the next start");
            }
        });
    }

    fn failed(&self, why: String) -> Failed {
        Failed { shard: self.setting.number, why }
    }
}

/// The state that was asked is not the shard's any more.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Superseded;

/// Reads images. Blocks. Where they cannot be read together, each is read alone, so that one that is damaged fails alone.
pub(super) fn images(store: &dyn StateStore, home: Home, ids: Vec<TwinId>) -> Result<Vec<Image>, Superseded> {
    let keys: Vec<_> = ids.iter().map(|id| id.as_str().as_bytes()).collect();
    match store.get_many(home, Space::Image, &keys) {
        Ok(images) => Ok(ids.into_iter().zip(images.into_iter().map(Ok)).collect()),
        Err(store::Error::Superseded { .. }) => Err(Superseded),
        Err(_) => {
            let image = |id: &TwinId| store.get(home, Space::Image, id.as_str().as_bytes());
            let image = |id: TwinId| (image(&id).map_err(|error| error.to_string()), id);
            Ok(ids.into_iter().map(image).map(|(image, id)| (id, image)).collect())
        }
    }
}

impl Hosted {
    /// Tells those who wait for the state store that it has what they wait for.
    fn save(&mut self) -> Result<(), Failed> {
        let mut waiting = Vec::new();
        for (through, saved) in std::mem::take(&mut self.saves) {
            match self.shard.save(through)? {
                // Whoever waited may have gone.
                true => drop(saved.send(())),
                false => waiting.push((through, saved)),
            }
        }
        self.saves = waiting;
        Ok(())
    }

    fn set_alarm(&mut self, myself: &ActorRef<Message>, now: Timestamp) {
        let Some(wake) = self.shard.next_wake().filter(|_| self.finished.is_none()) else { return };
        let wake = wake.min(now + LOOK_EVERY);
        if self.alarm.as_ref().is_some_and(|(at, _)| *at <= wake) {
            return;
        }
        let myself = myself.clone();
        let delay = wake.since(now);
        let timer = tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            drop(myself.cast(Message::Tick));
        });
        if let Some((_, before)) = self.alarm.replace((wake, timer)) {
            before.abort();
        }
    }
}

impl Drop for Hosted {
    fn drop(&mut self) {
        if let Some((_, alarm)) = self.alarm.take() {
            alarm.abort();
        }
    }
}
