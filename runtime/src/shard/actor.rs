//! The actor that hosts a shard: a mailbox in front of [`Shard`], and threads for what blocks.
//!
//! Its supervisor is the [node](crate::node); a failure, or a panic of ours, loses nothing that was committed: the next
//! incarnation begins with what the log has. (A behaviour's panic never gets here: deciding catches it.)

use std::path::PathBuf;
use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, spawn_blocking};
use twins::id::TwinId;
use twins::name::Name;
use twins::time::Timestamp;

use crate::clock::Clock;
use crate::files::Files;
use crate::log::{self, LogId, ShardLog};
use crate::node::Door;
use crate::router::Response;
use crate::store::StateStore;
use crate::stream;

use super::checkpoint::Written;
use super::recovery::Ground;
use super::requests::Asked;
use super::work::Work;
use super::{Action, Failed, Image, Setting, Shard};

/// What comes to a shard. Only those with permits, and at most [`REQUESTS_MAX`](crate::router::REQUESTS_MAX) requests
/// for each twin, come from outside; everything else is the shard's own.
pub(crate) enum Message {
    /// Inputs.
    Take(Vec<Work>),
    /// A question to a device.
    Ask(Asked),
    /// A device's answer.
    Respond { twin: TwinId, id: Name, response: Response, waited: oneshot::Sender<bool> },
    /// Whoever asked gave up.
    Forget { twin: TwinId, id: Name },
    /// Which twins are there.
    List {
        tenant: String,
        after: Option<TwinId>,
        limit: usize,
        answer: oneshot::Sender<Result<Vec<TwinId>, String>>,
    },
    /// The fate of the batch in flight.
    Fate(Result<LogId, log::Error>),
    /// Images that were read.
    Loaded(Result<Vec<Image>, String>),
    /// A checkpoint that was written.
    Checkpointed(Result<Written, String>),
    /// Something may be due.
    Tick,
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
    pub(crate) folder: PathBuf,
    pub(crate) stream: stream::Options,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) door: Arc<Door>,
}

pub(crate) struct Hosted {
    shard: Shard,
    /// When it will be woken, and the timer that does it.
    alarm: Option<(Timestamp, JoinHandle<()>)>,
    finished: Option<oneshot::Sender<()>>,
}

impl Actor for Host {
    type Msg = Message;
    type State = Hosted;
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<Message>, (): ()) -> Result<Hosted, ActorProcessingErr> {
        let host = self.clone();
        let recovered = spawn_blocking(move || {
            Shard::recover(Ground {
                setting: host.setting,
                log: &*host.log,
                store: &*host.store,
                files: host.files,
                folder: &host.folder,
                stream: &host.stream,
            })
        });
        let (shard, reader, ended) = recovered.await??;
        myself.cast(Message::Take(ended))?;
        self.door.open(myself, reader);
        Ok(Hosted { shard, alarm: None, finished: None })
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        hosted: &mut Hosted,
    ) -> Result<(), ActorProcessingErr> {
        let now = self.clock.now();
        let shard = &mut hosted.shard;
        match message {
            Message::Take(inputs) => shard.take(now, inputs)?,
            Message::Ask(asked) => shard.request(now, asked)?,
            Message::Respond { twin, id, response, waited } => {
                // Nobody minds if the gateway that relayed the answer is gone.
                let _gone = waited.send(shard.respond(&twin, &id, response));
            }
            Message::Forget { twin, id } => shard.forget(&twin, &id),
            Message::List { tenant, after, limit, answer } => {
                let (overlay, store) = (shard.overlay(&tenant, after.as_ref(), limit), self.store.clone());
                spawn_blocking(move || answer.send(overlay.merge(&*store)));
            }
            Message::Fate(Ok(id)) => shard.committed(now, id)?,
            Message::Fate(Err(error)) => shard.refused(now, &error)?,
            Message::Loaded(images) => shard.loaded(now, images.map_err(|why| self.failed(why))?)?,
            Message::Checkpointed(written) => {
                let written = written.map_err(|why| self.failed(why))?;
                self.log.purge(written.applied());
                shard.checkpointed(now, written)?;
            }
            Message::Tick => {
                hosted.alarm = None;
                shard.tick(now)?;
            }
            Message::Finish(finished) => hosted.finished = Some(finished),
        }
        self.finish(&myself, hosted, now)?;
        while let Some(action) = hosted.shard.poll() {
            self.carry_out(&myself, action);
        }
        hosted.set_alarm(&myself, now);
        Ok(())
    }
}

impl Host {
    fn carry_out(&self, myself: &ActorRef<Message>, action: Action) {
        // What comes back to an actor that has failed meanwhile is nobody's any more.
        let myself = myself.clone();
        match action {
            Action::Propose { term, payload } => {
                let fate = move |fate| drop(myself.cast(Message::Fate(fate)));
                self.log.propose(term, payload, Box::new(fate));
            }
            Action::Load(ids) => {
                let (store, number) = (self.store.clone(), self.setting.number);
                spawn_blocking(move || {
                    let keys: Vec<_> = ids.iter().map(|id| id.as_str().as_bytes()).collect();
                    let images = store.get_many(number, crate::store::Space::Image, &keys);
                    let images = images.map(|images| ids.into_iter().zip(images).collect());
                    myself.cast(Message::Loaded(images.map_err(|error| error.to_string())))
                });
            }
            Action::Checkpoint(cut) => {
                let store = self.store.clone();
                spawn_blocking(move || myself.cast(Message::Checkpointed(cut.write(&*store))));
            }
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

    fn failed(&self, why: String) -> Failed {
        Failed { shard: self.setting.number, why }
    }
}

impl Hosted {
    fn set_alarm(&mut self, myself: &ActorRef<Message>, now: Timestamp) {
        let Some(wake) = self.shard.next_wake() else { return };
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
