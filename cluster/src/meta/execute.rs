//! Carrying a command out, wherever the leader is.
//!
//! The fate of a command is read from the state: of all commands that were decided on one version, one takes effect, and
//! whoever waits with another is refused. So a command whose fate got lost on the way is simply proposed again, to the
//! same leader or another, and takes effect once.

use super::command::Entry;
use super::elsewhere::{Answer, Request};
use super::follow::Begun;
use super::{Command, Meta, Refusal, Role, blocking};
use bytes::Bytes;
use runtime::log::{Error as LogError, Tenure};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot::{self, Receiver};
use tokio::time::{Instant, sleep, timeout_at};

/// How long a command waits for a leader: longer than an election takes.
const PATIENCE: Duration = Duration::from_secs(5);
/// The pause before a leader is asked again that did not say what became of a command.
const PAUSE: Duration = Duration::from_millis(50);

type Fate = Result<u64, Refusal>;

impl Meta {
    /// Carries out a command if the state still has version `expected`, and answers the version after it; the state on
    /// this node has it then. A command whose effect is already there is answered with the current version, whatever was
    /// expected, so it may be retried.
    ///
    /// Where this node does not lead, the leader is asked; where nobody does, it waits for some seconds. It needs a tokio
    /// runtime unless this node is alone. Whoever stops waiting does not know what became of the command.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn execute(&self, command: Command, expected: u64) -> Result<u64, Refusal> {
        self.carry_out(Entry { expected, command }, true).await
    }

    /// As [`Meta::execute`], on a thread that may block: not that of an async runtime.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn execute_blocking(&self, command: Command, expected: u64) -> Result<u64, Refusal> {
        blocking::wait(self.execute(command, expected))
    }

    /// The version that the state has at some time after this call, once this node's has it too.
    ///
    /// # Errors
    /// [`Refusal::Leaderless`] where nobody knows.
    pub async fn refresh(&self) -> Result<u64, Refusal> {
        let end = Instant::now() + PATIENCE;
        loop {
            let role = *self.following.role.borrow();
            match role {
                Role::Leads(tenure) if self.is_sure(tenure).await => return Ok(self.state().version),
                Role::Follows { leader: Some(leader) } => {
                    let answer = self.ask(leader, Request::Version.encode()).await;
                    if let Some(Answer::Version(version)) = answer {
                        let mut states = self.watch();
                        let came = states.wait_for(|state| state.version >= version);
                        if let Ok(Ok(_)) = timeout_at(end, came).await {
                            return Ok(version);
                        }
                    }
                }
                _ => {}
            }
            self.pause(role, end).await.ok_or(Refusal::Leaderless)?;
        }
    }

    /// What this node says to another that takes it for the leader.
    pub async fn answer(&self, request: Bytes) -> Bytes {
        let answer = match Request::decode(&request) {
            Some(Request::Execute(entry)) => Answer::of(self.carry_out(*entry, false).await),
            Some(Request::Version) => {
                let role = *self.following.role.borrow();
                match role {
                    Role::Leads(tenure) if self.is_sure(tenure).await => {
                        Answer::Version(self.state().version)
                    }
                    Role::Leads(_) | Role::Follows { .. } => Answer::NotLeader,
                }
            }
            None => {
                let reason = "the request cannot be read: is one of the nodes of another version?".to_owned();
                Answer::Unfit { reason, current: self.state().version }
            }
        };
        answer.encode()
    }

    /// Carries out a command; one that is not `mine` is not handed on to yet another node.
    async fn carry_out(&self, entry: Entry, mine: bool) -> Fate {
        let mut fate = match self.following.begin(&entry)? {
            Begun::There(version) => return Ok(version),
            Begun::Waits(fate) => fate,
        };
        let mut is_unsure = false;
        let mut end = None;
        loop {
            let role = *self.following.role.borrow();
            match role {
                Role::Leads(tenure) => match self.propose(tenure, &entry, &mut fate).await {
                    Ok(fate) => return fate,
                    Err(LogError::NotLeader { .. }) => {}
                    Err(LogError::Deposed { .. }) => is_unsure = true,
                    Err(error) => return Err(error.into()),
                },
                Role::Follows { leader: Some(leader) } if mine && self.elsewhere.get().is_some() => {
                    let request = Request::Execute(Box::new(entry.clone())).encode();
                    match self.ask(leader, request).await {
                        Some(Answer::NotLeader) => {}
                        answer => match answer.and_then(Answer::fate) {
                            Some(answered) => return self.learn(answered, fate, is_unsure).await,
                            None => is_unsure = true,
                        },
                    }
                }
                Role::Follows { .. } if !mine => return Err(lost(is_unsure)),
                Role::Follows { .. } => {}
            }
            let end = *end.get_or_insert_with(|| Instant::now() + PATIENCE);
            if let Ok(Ok(fate)) = timeout_at(Instant::now() + PAUSE, &mut fate).await {
                return fate;
            }
            if self.pause(role, end).await.is_none() {
                return Err(lost(is_unsure));
            }
        }
    }

    /// Proposes a command, unless the state has gone on meanwhile; says what became of it.
    async fn propose(
        &self,
        tenure: Tenure,
        entry: &Entry,
        fate: &mut Receiver<Fate>,
    ) -> Result<Fate, LogError> {
        // A log takes one proposal at a time; and each is decided on the state that the one before left.
        let proposing = self.proposing.clone().lock_owned().await;
        self.following.catch_up();
        if let Ok(fate) = fate.try_recv() {
            return Ok(fate);
        }
        let (told, committed) = oneshot::channel();
        let (following, proposed) = (Arc::clone(&self.following), entry.clone());
        let done = move |result: Result<_, _>| {
            let outcome = result.map(|id| following.committed(id, proposed));
            // Before the next one is proposed, that is looked at.
            drop(proposing);
            drop(told.send(outcome));
        };
        self.following.log.propose(tenure, entry.encode().into(), Box::new(done));
        let dropped = |_| Err(LogError::Unknown("the log dropped the entry".to_owned()));
        committed.await.unwrap_or_else(dropped)?;
        self.following.catch_up();
        Ok(fate.await.expect("what is committed here is decided"))
    }

    /// What the leader said, once the state here has gone on as well. It may have refused a command that it had carried out
    /// when it was asked before: what the log says counts.
    async fn learn(&self, answered: Fate, fate: Receiver<Fate>, is_unsure: bool) -> Fate {
        let is_refused = matches!(answered, Err(Refusal::Stale { .. }));
        if answered.is_err() && !(is_refused && is_unsure) {
            return answered;
        }
        match timeout_at(Instant::now() + PATIENCE, fate).await {
            Ok(Ok(fate)) => fate,
            Ok(Err(_)) | Err(_) if is_refused => Err(Refusal::Unsure),
            Ok(Err(_)) | Err(_) => answered,
        }
    }

    async fn ask(&self, leader: u64, request: Bytes) -> Option<Answer> {
        let answer = self.elsewhere.get()?.ask(leader, request).await.ok()?;
        Answer::decode(&answer)
    }

    async fn is_sure(&self, tenure: Tenure) -> bool {
        let (told, sure) = oneshot::channel();
        self.following.log.confirm(tenure, Box::new(move |result| drop(told.send(result))));
        sure.await.is_ok_and(|sure| sure.is_ok())
    }

    /// Waits for another role, or for a moment; nothing after the end.
    async fn pause(&self, role: Role, end: Instant) -> Option<()> {
        if Instant::now() >= end {
            return None;
        }
        let mut roles = self.role();
        if let Role::Follows { leader: None } = role {
            drop(timeout_at(end, roles.wait_for(|current| *current != role)).await);
        } else {
            sleep(PAUSE).await;
        }
        Some(())
    }
}

fn lost(is_unsure: bool) -> Refusal {
    if is_unsure { Refusal::Unsure } else { Refusal::Leaderless }
}
