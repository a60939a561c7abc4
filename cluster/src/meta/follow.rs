//! What is committed, as it comes: the state on this node is made of it in the log's order, whoever proposed it.
//!
//! The log's ear and its callbacks only note what there is. It is carried out by whoever has time: a task where other
//! nodes propose, and whoever waits for the fate of a command of this node's own.

use super::command::Entry;
use super::{READ_BYTES, Refusal, Role, State};
use crate::Error;
use runtime::blocking;
use runtime::directory::Changes;
use runtime::log::{Entry as Logged, Error as LogError, LogId, ShardLog, Standing, Tenure, Told};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::{Notify, oneshot, watch};

/// The pause after a read that failed.
const PAUSE: Duration = Duration::from_secs(1);

/// The state machine on this node.
pub(super) struct Following {
    pub(super) log: Arc<dyn ShardLog>,
    inner: Mutex<Inner>,
    /// The state as far as it is applied. Changed under the lock.
    pub(super) state: watch::Sender<Arc<State>>,
    pub(super) role: watch::Sender<Role>,
    pub(super) directory: Changes,
    /// More is committed than is applied; or nobody holds this any more.
    news: Arc<Notify>,
}

struct Inner {
    /// Everything through this index is in the state.
    applied: u64,
    /// Everything through this index is committed.
    known: u64,
    /// What this node proposed and is committed, in order.
    own: VecDeque<(LogId, Entry)>,
    /// This node leads as soon as everything through an index is applied.
    heir: Option<(Tenure, u64)>,
    waiting: Vec<Waiting>,
    /// Why nothing more can be applied.
    failed: Option<String>,
}

/// Somebody who waits for the fate of a command.
struct Waiting {
    entry: Entry,
    told: oneshot::Sender<Result<u64, Refusal>>,
}

/// What a command is told when it comes.
pub(super) enum Begun {
    /// Its effect is there already, in this version.
    There(u64),
    /// It may be proposed; its fate is known when the state has gone on.
    Waits(oneshot::Receiver<Result<u64, Refusal>>),
}

impl Following {
    /// Listens to the log, and makes the state of what is committed in it.
    pub(super) fn open(log: Arc<dyn ShardLog>) -> Result<Arc<Self>, Error> {
        let inner = Inner {
            applied: 0,
            known: 0,
            own: VecDeque::new(),
            heir: None,
            waiting: Vec::new(),
            failed: None,
        };
        let following = Arc::new(Self {
            log,
            inner: Mutex::new(inner),
            state: watch::Sender::default(),
            role: watch::Sender::new(Role::Follows { leader: None }),
            directory: Changes::new(0),
            news: Arc::default(),
        });
        let me: Weak<Self> = Arc::downgrade(&following);
        let through = {
            // What the ear hears waits until it is known how the log stood.
            let mut inner = following.inner();
            let ear = move |told| me.upgrade().into_iter().for_each(|following| following.told(told));
            let Standing { through, leads } = following.log.listen(Box::new(ear));
            inner.known = through;
            inner.heir = leads.map(|tenure| (tenure, through));
            through
        };
        // All at once, so that the state is not copied for each entry.
        let mut state = State::default();
        let mut last = 0;
        super::replay(&*following.log, through, &mut |index, entry| {
            // An entry whose condition failed is in the log all the same, and changes nothing here either.
            drop(state.apply(entry.expected, &entry.command));
            last = index;
            true
        })?;
        let mut inner = following.inner();
        inner.applied = through.max(last);
        following.publish(Arc::new(state));
        following.take_over(&inner);
        drop(inner);
        Ok(following)
    }

    /// What the log tells: noted, and left to the task.
    fn told(&self, told: Told) {
        let mut inner = self.inner();
        match told {
            Told::Committed { through } => inner.known = inner.known.max(through),
            Told::Leads { tenure, through } => {
                inner.known = inner.known.max(through);
                inner.heir = Some((tenure, through));
                self.take_over(&inner);
            }
            Told::Follows { leader } => {
                inner.heir = None;
                self.become_(Role::Follows { leader });
            }
            // The log has all that ever was, so that the state never comes from another node.
            Told::Replaced => {}
        }
        drop(inner);
        self.news.notify_one();
    }

    /// An entry of this node's own is committed: noted, and left to whoever waits for it.
    pub(super) fn committed(&self, id: LogId, entry: Entry) {
        let mut inner = self.inner();
        inner.known = inner.known.max(id.index);
        inner.own.push_back((id, entry));
        drop(inner);
        self.news.notify_one();
    }

    /// Takes a command that makes sense here. Refuses it as the log would.
    pub(super) fn begin(&self, entry: &Entry) -> Result<Begun, Refusal> {
        let mut inner = self.inner();
        self.settle(&mut inner);
        if let Some(why) = &inner.failed {
            return Err(LogError::Unreadable(why.clone()).into());
        }
        let mut state = State::clone(&self.state.borrow());
        let before = state.version;
        let version = state.apply(entry.expected, &entry.command)?;
        if version == before {
            return Ok(Begun::There(version));
        }
        let (told, fate) = oneshot::channel();
        inner.waiting.retain(|waiting| !waiting.told.is_closed());
        inner.waiting.push(Waiting { entry: entry.clone(), told });
        Ok(Begun::Waits(fate))
    }

    /// Carries out what this node proposed and is committed.
    pub(super) fn catch_up(&self) {
        self.settle(&mut self.inner());
    }

    /// Through which entry the state is made.
    pub(super) fn applied(&self) -> u64 {
        self.inner().applied
    }

    /// Carries out what other nodes propose, until nobody holds the state machine.
    pub(super) async fn follow(me: Weak<Self>) {
        while let Some(following) = me.upgrade() {
            match following.read().await {
                Ok(true) => {}
                Ok(false) => {
                    let news = following.news.clone();
                    drop(following);
                    news.notified().await;
                }
                Err(Error::Meta { index, reason }) => {
                    let failed = Error::Meta { index, reason }.to_string();
                    tracing::error!(%failed, "the meta state stands still");
                    following.inner().failed = Some(failed);
                    return;
                }
                Err(error) => {
                    tracing::warn!(%error, "the meta group's log is read again");
                    drop(following);
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Reads what is committed and not applied, a piece of it; whether there was something.
    async fn read(self: &Arc<Self>) -> Result<bool, Error> {
        let (after, through) = {
            let mut inner = self.inner();
            self.settle(&mut inner);
            (inner.applied, inner.known)
        };
        if after >= through {
            return Ok(false);
        }
        let entries = match self.log.recent(after, through, READ_BYTES) {
            Some(entries) => entries,
            None => {
                let log = self.log.clone();
                let reading = blocking::run(move || log.read(after, through, READ_BYTES));
                reading.await.unwrap_or_else(|error| Err(LogError::Unreadable(error.to_string())))?
            }
        };
        // Behind the last one there are none of the shard's own, where nothing came.
        let through = entries.last().map_or(through, |last| last.id.index);
        let entries = entries.iter().map(decode).collect::<Result<Vec<_>, _>>()?;
        let mut inner = self.inner();
        self.settle(&mut inner);
        let rest: Vec<_> =
            entries.into_iter().filter(|(index, _)| *index > inner.applied).map(|(_, e)| e).collect();
        self.enter(&mut inner, through, &rest);
        Ok(true)
    }

    fn settle(&self, inner: &mut Inner) {
        while let Some((id, entry)) = inner.own.pop_front() {
            if id.index > inner.applied {
                self.enter(inner, id.index, &[entry]);
            }
        }
    }

    /// Carries out entries in the log's order, and tells everybody.
    fn enter(&self, inner: &mut Inner, through: u64, entries: &[Entry]) {
        let mut fates = Vec::new();
        if !entries.is_empty() {
            let mut state = State::clone(&self.state.borrow());
            for entry in entries {
                let before = state.version;
                let fate = state.apply(entry.expected, &entry.command);
                let is_changed = state.version != before;
                let decided = inner.waiting.extract_if(.., |waiting| match is_changed {
                    true => waiting.entry.expected == before,
                    // Refused as it would be refused again.
                    false => waiting.entry == *entry,
                });
                for waiting in decided {
                    let fate =
                        if waiting.entry == *entry { fate.clone() } else { state.judge(&waiting.entry) };
                    fates.push((waiting.told, fate));
                }
            }
            self.publish(Arc::new(state));
        }
        inner.applied = inner.applied.max(through);
        self.take_over(inner);
        // Whoever hears of it sees it. One who has gone does not.
        fates.into_iter().for_each(|(told, fate)| drop(told.send(fate)));
    }

    fn publish(&self, state: Arc<State>) {
        let before = self.state.borrow().clone();
        if state.directory.version != before.directory.version {
            // After the state, which has it.
            let version = state.directory.version;
            self.state.send_replace(state);
            self.directory.announce(version);
        } else if state.version != before.version {
            self.state.send_replace(state);
        }
    }

    /// Leads, once everything is applied that was committed before.
    fn take_over(&self, inner: &Inner) {
        match inner.heir {
            Some((tenure, through)) if inner.applied >= through => self.become_(Role::Leads(tenure)),
            Some(_) => self.become_(Role::Follows { leader: None }),
            None => {}
        }
    }

    fn become_(&self, role: Role) {
        self.role.send_if_modified(|current| std::mem::replace(current, role) != role);
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // The state is replaced as a whole; whoever panicked has not replaced it.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task that follows ends.
impl Drop for Following {
    fn drop(&mut self) {
        self.news.notify_one();
    }
}

pub(super) fn decode(entry: &Logged) -> Result<(u64, Entry), Error> {
    let index = entry.id.index;
    let decoded = Entry::decode(&entry.payload);
    Ok((index, decoded.map_err(|error| Error::Meta { index, reason: error.to_string() })?))
}
