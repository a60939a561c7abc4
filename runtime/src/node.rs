//! The node's twins, started and stopped: an actor for each shard, and the one that supervises them.
//!
//! ```text
//! Node --spawns--> Keeper (supervisor) --links--> shard 0 .. shard 63
//! ```
//!
//! A shard that fails is started again from its log, after a pause that grows while it keeps failing. Meanwhile its
//! door is closed: what comes for it is answered with the reason.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, RwLock};
use std::time::{Duration, Instant};

use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::{Semaphore, oneshot};
use twins::id::TwinId;
use twins::kind::Kinds;

use crate::access::Access;
use crate::admission::{self, Admission};
use crate::away::Away;
use crate::blocking;
use crate::clock::Clock;
use crate::files::Files;
use crate::log::ShardLog;
use crate::look::Looks;
use crate::meter::{Refusals, ShardMeter};
use crate::overruns::Overruns;
use crate::registered::Registered;
use crate::router::{Backups, Inner, READS_MAX, Router};
use crate::shard::actor::{BeginAgain, Host, Message};
use crate::shard::{self, Setting};
use crate::store::StateStore;
use crate::stream;
use crate::stream::growth::Growth;
use crate::watch::Watches;

/// Limits of the node's shards. The worst case of memory is the sum over all shards.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// What each shard takes in before it refuses.
    pub admission: admission::Limits,
    /// How each shard uses memory and disk.
    pub shard: shard::Options,
    /// How each shard's stream is kept.
    pub stream: stream::Options,
}

/// What a node is made of.
pub struct Parts {
    /// The node's id and its generation, raised at each start.
    pub node: (u64, u64),
    /// The kinds of twins.
    pub kinds: Kinds,
    /// The shard of each of the 65,536 slots.
    pub slots: Arc<[u32]>,
    /// The log of each shard.
    pub logs: Vec<Arc<dyn ShardLog>>,
    /// Where images are.
    pub store: Arc<dyn StateStore>,
    /// Where files are.
    pub files: Arc<dyn Files>,
    /// The folder of the streams; each shard has one in it.
    pub streams: PathBuf,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// Who decides who comes in.
    pub access: Arc<dyn Access>,
}

/// Running twins.
pub struct Node {
    router: Router,
    indexer: Arc<stream::Indexer>,
    keeper: ActorRef<()>,
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NotStarted(String);

/// The way to a shard, open while its actor serves.
pub(crate) struct Door {
    pub(crate) admission: Arc<Admission>,
    pub(crate) meter: Arc<ShardMeter>,
    way: RwLock<Way>,
    /// The term in which the shard leads; 0 while it does not.
    leading: AtomicU64,
}

enum Way {
    Closed(String),
    /// The shard is being read from another replica's state. Its stream is read meanwhile as it was.
    Again {
        reader: stream::Reader,
    },
    Open {
        actor: ActorRef<Message>,
        reader: stream::Reader,
    },
}

impl Door {
    pub(crate) fn open(&self, actor: ActorRef<Message>, reader: stream::Reader) {
        *self.way.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Way::Open { actor, reader };
    }

    pub(crate) fn close(&self, why: &str) {
        *self.way.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Way::Closed(why.to_owned());
        self.leading.store(0, Ordering::Release);
    }

    /// As [`Door::close`], but for those who read the stream.
    pub(crate) fn close_again(&self) {
        let Ok(reader) = self.reader() else { return };
        *self.way.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Way::Again { reader };
        self.leading.store(0, Ordering::Release);
    }

    /// In which term its shard leads, if it does. Returns whether it begins to.
    pub(crate) fn lead(&self, term: Option<u64>) -> bool {
        let term = term.unwrap_or(0);
        // It is asked after each message, and whoever submits reads it.
        let before = self.leading.load(Ordering::Relaxed);
        if before != term {
            self.leading.store(term, Ordering::Release);
        }
        term > 0 && before != term
    }

    /// Whether its shard leads.
    pub(crate) fn leads(&self) -> bool {
        self.leading.load(Ordering::Acquire) > 0
    }

    /// The actor, if it leads the shard.
    pub(crate) fn leader(&self) -> Result<ActorRef<Message>, String> {
        let actor = self.actor()?;
        match self.leading.load(Ordering::Acquire) {
            0 => Err("this node does not lead it".to_owned()),
            _ => Ok(actor),
        }
    }

    /// The actor, whether it leads the shard or follows.
    pub(crate) fn actor(&self) -> Result<ActorRef<Message>, String> {
        match &*self.way.read().unwrap_or_else(std::sync::PoisonError::into_inner) {
            Way::Closed(why) => Err(why.clone()),
            Way::Again { .. } => Err(BeginAgain.to_string()),
            Way::Open { actor, .. } => Ok(actor.clone()),
        }
    }

    pub(crate) fn reader(&self) -> Result<stream::Reader, String> {
        match &*self.way.read().unwrap_or_else(std::sync::PoisonError::into_inner) {
            Way::Closed(why) => Err(why.clone()),
            Way::Again { reader } | Way::Open { reader, .. } => Ok(reader.clone()),
        }
    }

    fn leads_to(&self, id: ActorId) -> bool {
        self.actor().is_ok_and(|actor| actor.get_id() == id)
    }
}

/// Shards that recover.
#[must_use]
pub struct Starting {
    starts: Vec<tokio::task::JoinHandle<Result<(), String>>>,
    keeper: ActorRef<()>,
}

impl Starting {
    /// Waits until all serve.
    ///
    /// # Errors
    /// When one cannot be recovered. Nothing runs then.
    pub async fn finish(self) -> Result<(), NotStarted> {
        for started in self.starts {
            let started = started.await.map_err(|error| error.to_string()).and_then(|started| started);
            if let Err(why) = started {
                self.keeper.stop(None);
                return Err(NotStarted(why));
            }
        }
        Ok(())
    }
}

impl Node {
    /// Starts all shards; each recovers from its checkpoint and its log.
    ///
    /// # Errors
    /// When a shard cannot be recovered. Nothing runs then.
    pub async fn start(parts: Parts, options: Options) -> Result<Self, NotStarted> {
        let (node, starting) = Self::begin(parts, options).await?;
        starting.finish().await?;
        Ok(node)
    }

    /// Begins to start all shards, and does not wait for them: meanwhile the router refuses what is for a shard that
    /// recovers, and says how far each is.
    ///
    /// # Errors
    /// When the supervisor of the shards does not start.
    pub async fn begin(parts: Parts, options: Options) -> Result<(Self, Starting), NotStarted> {
        let shards = u32::try_from(parts.logs.len()).unwrap_or(u32::MAX);
        let registered = Arc::new(Registered::default());
        let (kinds, shard_options) = (Arc::new(parts.kinds), Arc::new(options.shard));
        let closed = || Door {
            admission: Admission::new(options.admission),
            meter: Arc::default(),
            way: RwLock::new(Way::Closed("it starts".into())),
            leading: AtomicU64::new(0),
        };
        let backups = Backups {
            store: parts.store.clone(),
            files: parts.files.clone(),
            streams: parts.streams.clone(),
            definitions: OnceLock::new(),
            turn: Arc::new(Semaphore::new(1)),
        };
        let doors: Arc<[Arc<Door>]> = (0..shards).map(|_| Arc::new(closed())).collect();
        let (overruns, growth) = (Arc::new(Overruns::default()), Arc::new(Growth::new(shards)));
        let watches = Arc::new(Watches::new(shards));
        let away = Away::new(parts.node, shards);
        let refusals = Arc::new(Refusals::default());
        let indexer = stream::Indexer::with_thread();
        let checkpoints = Arc::new(Semaphore::new(CHECKPOINTS_MAX));
        let hosts = parts.logs.into_iter().zip(0..).map(|(log, number)| Host {
            setting: Setting {
                number,
                node: parts.node,
                kinds: kinds.clone(),
                slots: parts.slots.clone(),
                options: shard_options.clone(),
                registered: registered.clone(),
                shards,
                access: parts.access.clone(),
                overruns: overruns.clone(),
                refusals: refusals.clone(),
                meter: doors[number as usize].meter.clone(),
                admission: doors[number as usize].admission.clone(),
                growth: growth.clone(),
                watches: watches.clone(),
                away: away.clone(),
            },
            log,
            store: parts.store.clone(),
            files: parts.files.clone(),
            streams: parts.streams.clone(),
            stream: options.stream,
            indexer: indexer.clone(),
            clock: parts.clock.clone(),
            door: doors[number as usize].clone(),
            doors: doors.clone(),
            checkpoints: checkpoints.clone(),
        });
        let hosts: Arc<[Host]> = hosts.collect();
        let stopping = Arc::new(AtomicBool::new(false));
        let keeper = Keeper { hosts: hosts.clone(), stopping: stopping.clone() };
        let spawned = Actor::spawn(None, keeper, ()).await;
        let (keeper, _) = spawned.map_err(|error| NotStarted(error.to_string()))?;
        let router = Router::new(Inner {
            slots: parts.slots,
            doors,
            kinds,
            access: parts.access,
            clock: parts.clock,
            node: parts.node,
            stopping,
            overruns,
            refusals,
            registered,
            reads: Arc::new(Semaphore::new(READS_MAX)),
            growth,
            backups,
            watches,
            looks: Looks::default(),
            away,
        });
        let node = Self { router, indexer, keeper };
        let starts: Vec<_> =
            hosts.iter().map(|host| tokio::spawn(start(host.clone(), node.keeper.clone()))).collect();
        let starting = Starting { starts, keeper: node.keeper.clone() };
        Ok((node, starting))
    }

    /// The handle through which everybody speaks to the twins.
    pub fn router(&self) -> &Router {
        &self.router
    }

    /// Stops: nothing more is taken in, what was taken in is committed, everything is written to the state store.
    /// Whoever holds connections stops before, so that their ends are known.
    pub async fn stop(self) {
        let finishes: Vec<_> = self
            .router
            .close()
            .filter_map(|actor| {
                let (finished, wait) = oneshot::channel();
                actor.cast(Message::Finish(finished)).ok().map(|()| wait)
            })
            .collect();
        for wait in finishes {
            // A shard that fails meanwhile has nothing to finish: its log has it.
            let _failed = wait.await;
        }
        drop(self.keeper.stop_and_wait(None, None).await);
        // It waits for a thread, which blocks.
        drop(blocking::run(move || self.indexer.close()).await);
    }
}

async fn start(host: Host, keeper: ActorRef<()>) -> Result<(), String> {
    let spawned = Actor::spawn_linked(None, host, (), keeper.get_cell()).await;
    spawned.map(drop).map_err(|error| error.to_string())
}

/// Supervises the shards.
struct Keeper {
    hosts: Arc<[Host]>,
    stopping: Arc<AtomicBool>,
}

/// How many shards write a checkpoint at once.
const CHECKPOINTS_MAX: usize = 2;
/// The pause before a failed shard is started again: the first, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// The pause after a failure, where the one before, if any, was then and had that pause. It grows also for a shard that
/// starts well and fails soon.
fn pause_after(before: Option<&(Instant, Duration)>, now: Instant) -> Duration {
    match before {
        Some((at, pause)) if now < *at + 2 * PAUSE.1 => (*pause * 2).min(PAUSE.1),
        _ => PAUSE.0,
    }
}

impl Actor for Keeper {
    type Msg = ();
    /// When each shard last failed, and the pause after it.
    type State = HashMap<u32, (Instant, Duration)>;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<()>, (): ()) -> Result<Self::State, ActorProcessingErr> {
        Ok(HashMap::new())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<()>,
        event: SupervisionEvent,
        failures: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let SupervisionEvent::ActorFailed(actor, why) = event else { return Ok(()) };
        let Some(host) = self.hosts.iter().find(|host| host.door.leads_to(actor.get_id())) else {
            return Ok(());
        };
        let shard = host.setting.number;
        match why.is::<BeginAgain>() {
            true => host.door.close_again(),
            false => host.door.close(&why.to_string()),
        }
        let (host, stopping, now) = (host.clone(), self.stopping.clone(), Instant::now());
        let mut pause = Duration::ZERO;
        if why.is::<BeginAgain>() {
            tracing::info!(shard, "a shard begins again from another replica's state");
        } else {
            tracing::error!(shard, %why, "a shard failed; it is started again from its log");
            pause = pause_after(failures.get(&shard), now);
            failures.insert(shard, (now, pause));
        }
        tokio::spawn(async move {
            while !stopping.load(Ordering::Relaxed) {
                tokio::time::sleep(pause).await;
                let Err(why) = start(host.clone(), myself.clone()).await else { return };
                tracing::error!(shard, %why, "a shard could not be started again");
                host.door.close(&why);
                pause = (pause * 2).clamp(PAUSE.0, PAUSE.1);
            }
        });
        Ok(())
    }
}

/// Which shard a twin belongs to.
pub(crate) fn shard_of(slots: &[u32], id: &TwinId) -> u32 {
    slots.get(usize::from(id.slot())).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_that_fails_again_and_again_is_started_less_and_less_often() {
        let mut failures: Vec<(Instant, Duration)> = vec![];
        let mut now = Instant::now();
        for _ in 0..12 {
            let pause = pause_after(failures.last(), now);
            failures.push((now, pause));
            now += pause + Duration::from_secs(1);
        }

        let pauses: Vec<_> = failures.iter().map(|(_, pause)| pause.as_millis()).collect();
        assert_eq!(pauses[..4], [100, 200, 400, 800]);
        assert_eq!(pauses[11], 30_000);
        assert_eq!(pause_after(failures.last(), now + 2 * PAUSE.1), PAUSE.0, "it had served for a time");
    }
}
