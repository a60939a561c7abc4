//! A group that several nodes replicate, on one of them, as long as openraft runs.

use super::Desk;
use super::confirming::Confirming;
use super::duty::{Duty, HANDING_OVER_MAX};
use super::entries::Entries;
use super::installing::Gate;
use super::leading;
use super::machine::Machine;
use super::mending::mend;
use super::proposing::Proposing;
use super::purging::Purging;
use super::store::Store;
use super::types::{self, Types};
use crate::Error;
use crate::group::Telling;
use crate::membership::Membership;
use bytes::Bytes;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::Fatal;
use openraft::{Config, Raft, RaftMetrics, ServerState};
use runtime::log::{Sure, Tenure};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{oneshot, watch};

/// Consensus on one group's log, under way.
pub(crate) struct Running {
    pub(super) group: u32,
    pub(super) node: u64,
    pub(super) raft: Raft<Types, Machine>,
    telling: Arc<Telling>,
    patience: Duration,
    proposing: Proposing,
    confirming: Confirming,
    desk: Arc<Desk<Machine>>,
    duty: watch::Receiver<Duty>,
    purging: Purging,
    gate: Gate,
}

impl Running {
    /// Starts consensus on a group's log, and opens it at the desk. A group that has no other node goes on as the leader
    /// of the term in its log.
    ///
    /// Nothing that was appended to the log before may be on its way to the disk still.
    ///
    /// # Errors
    /// [`Error::Option`] when the timing makes no sense, [`Error::Consensus`] when the log does not fit.
    pub(crate) async fn start(
        entries: Entries,
        node: u64,
        desk: Arc<Desk<Machine>>,
        telling: Arc<Telling>,
        duty: watch::Receiver<Duty>,
    ) -> Result<Self, Error> {
        let group = entries.group();
        let failed = |reason: String| Error::Consensus { group, reason };
        entries.begin_again();
        let states = desk.states().cloned();
        let saved = match &states {
            Some(states) => mend(states, &entries).await.map_err(|error| failed(error.to_string()))?,
            None => None,
        };
        let state = entries.state();
        let membership = state.membership.as_ref().and_then(|(_, bytes)| Membership::decode(bytes).ok());
        let alone = membership.is_some_and(|membership| membership.is_alone(node));
        let may = *duty.borrow();
        let config = Config { enable_elect: may.stands(), ..desk.timing().config(alone)? };
        // What is in a state was committed, up to where the log has it: a checkpoint may be durable before the log is.
        let saved = saved.zip(state.last).and_then(|(saved, last)| entries.id(saved.min(last.index)));
        // Whoever is alone has committed what it has. What was dropped is committed, whatever the mark says: by the local
        // rule none is written with each entry.
        let conveyed = if alone { state.last } else { state.committed.max(state.purged).max(saved) };
        // The machine begins behind that, also where the one before had not told all of it.
        telling.found(conveyed.map_or(0, |id| id.index));
        let gate = Gate::default();
        let machine = Machine::new(entries.clone(), telling.clone(), conveyed.map(types::to_raft))
            .map_err(|error| failed(error.to_string()))?;
        let machine = machine.with_states(states.clone(), gate.clone());
        let store = Store::over(entries.clone());
        let raft = Raft::new(node, Arc::new(config), desk.links(group), store, machine)
            .await
            .map_err(|error: Fatal<Types>| failed(error.to_string()))?;
        // Until its core has read the log, openraft shows a group without members and term; whoever asked how the group
        // is would believe that. The core answers this behind its first look.
        raft.with_raft_state(|_| ()).await.map_err(|error| failed(error.to_string()))?;
        desk.open(group, raft.clone());
        let patience = 2 * *desk.timing().election.end();
        let purging = Purging::new(raft.clone(), entries, states, patience);
        let confirming = Confirming::new(raft.clone(), telling.clone(), patience);
        let proposing = Proposing::new(raft.clone(), telling.clone());
        Ok(Self { group, node, raft, telling, patience, proposing, confirming, purging, gate, desk, duty })
    }

    /// Tells the shard who leads, until consensus ends by itself; says why it did.
    pub(crate) async fn watch(&self) -> String {
        leading::watch(&self.raft, &self.telling, self.patience, self.duty.clone()).await;
        self.raft.is_initialized().await.err().map_or_else(String::new, |error| error.to_string())
    }

    /// Whether this node leads, as far as it knows. One that was taken out ends that by itself, and still votes for itself.
    pub(crate) fn leads(&self) -> bool {
        self.raft.metrics().borrow_watched().state == ServerState::Leader
    }

    /// Waits until this node leads in a term, for a while.
    pub(crate) async fn leads_in(&self, term: u64) -> bool {
        let wait = self.raft.wait(Some(self.patience));
        let leads =
            |seen: &RaftMetrics<Types>| seen.state == ServerState::Leader && seen.current_term == term;
        wait.metrics(leads, "it leads in the term").await.is_ok()
    }

    /// Waits until another node leads, for as long as handing over may take. Whoever watches hands over, once this node is
    /// not fit.
    pub(crate) async fn is_handed_over(&self) -> bool {
        let wait = self.raft.wait(Some(HANDING_OVER_MAX));
        let is_led = |seen: &RaftMetrics<Types>| seen.current_leader.is_some_and(|leader| leader != seen.id);
        wait.metrics(is_led, "another one leads").await.is_ok()
    }

    /// Whether this node is the only one in the group for good, and leads it in a term, once all that it has is committed
    /// and told, and everybody is answered who asked for a proof.
    pub(crate) async fn is_alone_in(&self, term: u64) -> bool {
        let (sender, answered) = oneshot::channel();
        self.confirm(Tenure::whole(term), Box::new(move |sure| drop(sender.send(sure))));
        // What it says is of no matter: it comes after the answers to all who asked before.
        drop(answered.await);
        let node = self.node;
        let seen = self.raft.with_raft_state(move |state| {
            let members = &state.membership_state;
            let is_alone = [members.effective(), members.committed()]
                .into_iter()
                .all(|stored| types::membership_from_raft(stored.membership()).is_alone(node));
            (is_alone, state.log_ids.last().map(|last| last.index))
        });
        let Ok((true, last)) = seen.await else { return false };
        let wait = self.raft.wait(Some(self.patience));
        let applied = wait.applied_index_at_least(last, "all that it has").await;
        applied.is_ok() && self.leads_in(term).await
    }

    /// Ends consensus here, and whatever it does to the log and the state; from now on the group hears nothing. Whoever
    /// has a proposal under way is not answered by that.
    pub(crate) async fn stop(&self) {
        self.desk.close(self.group);
        // One that failed has ended already.
        drop(self.raft.shutdown().await);
        self.gate.close().await;
    }

    /// Drops entries through an index at most, which the shard's durable state has.
    pub(crate) fn purge(&self, applied: u64) {
        self.purging.purge(applied);
    }

    /// Gives consensus a proposal that the shard was promised an answer to.
    pub(crate) fn submit(&self, number: u64, term: u64, payload: Bytes) {
        self.proposing.submit(number, term, payload);
    }

    /// Makes sure that this node leads in a tenure.
    pub(crate) fn confirm(&self, tenure: Tenure, sure: Sure) {
        self.confirming.ask(tenure, sure);
    }
}
