//! The change of the rule, while the shard goes on: it leads in one tenure through all of it.
//!
//! Both ways begin alike. The rule is *held*: what the shard proposes from then on waits, and what it proposed before is
//! waited for, until nothing of the group is on its way to the disk. Then the other rule begins on the very same log, and
//! is given what waited.
//!
//! Growing, consensus finds a vote for this node that is a won election, and a membership of this node alone. It goes on
//! as the leader of that term, with no election and no entry of its own. Shrinking, the local rule finds the same. So a
//! crash at any moment leaves a log that is led by the one rule or the other.

use super::local;
use super::rule::{Parked, Rule};
use super::{Change, Group, Stuck, keeper};
use crate::consensus::{Desk, Machine, Running};
use crate::membership::Membership;
use crate::wal::Record;
use std::future::Future;
use std::sync::{Arc, PoisonError};
use tokio::sync::oneshot;

impl Group {
    /// Tells the group how it reaches other nodes. One that is not this node's alone, and has a log, takes part from now
    /// on.
    ///
    /// # Errors
    /// [`Stuck::Refused`] when consensus does not start on its log.
    pub async fn join(&self, desk: Arc<Desk<Machine>>) -> Result<(), Stuck> {
        let desk = self.desk.get_or_init(|| desk).clone();
        self.whole(move |group| async move {
            let is_absent = matches!(&*group.rule(), Rule::Absent);
            if is_absent {
                group.mend(&desk).await?;
            }
            let state = group.entries.state();
            // One that was forgotten has a vote, and waits until it is to have more.
            let has_voted = state.vote.is_some() && state.forgotten == 0;
            if is_absent && (state.last.is_some() || has_voted) {
                group.take_part(&desk).await?;
            }
            Ok(())
        })
        .await
    }

    /// Lets consensus commit what the shard proposes, so that other nodes can take part: a group of this node alone goes
    /// on in its term, and one that is not here begins with an empty log and waits for whoever has it. One under
    /// consensus is left as it is.
    ///
    /// # Errors
    /// [`Stuck`]; the local rule goes on then.
    pub async fn grow(&self) -> Result<(), Stuck> {
        let unjoined = Stuck::Unjoined { group: self.number };
        let desk = self.desk.get().ok_or(unjoined)?.clone();
        self.whole(move |group| async move {
            let term = match &*group.rule() {
                Rule::Consensus(_) => return Ok(()),
                Rule::Local { term } => Some(*term),
                Rule::Absent | Rule::Held(_) => None,
            };
            let Some(term) = term else { return group.take_part(&desk).await };
            group.set(Rule::Held(Parked::default()));
            match group.start(&desk).await {
                Ok(running) => {
                    // If it does not, the shard hears so, and what waits is refused.
                    running.leads_in(term).await;
                    group.run(running);
                    Ok(())
                }
                Err(stuck) => {
                    group.set(Rule::Local { term });
                    Err(stuck)
                }
            }
        })
        .await
    }

    /// Lets this node commit alone what the shard proposes, by the local rule, when it is the group's only one. A group
    /// under the local rule is left as it is.
    ///
    /// # Errors
    /// [`Stuck`]; consensus goes on then.
    pub async fn shrink(&self) -> Result<(), Stuck> {
        self.whole(|group| async move {
            let (number, absent) = (group.number, Stuck::NotLeader { group: group.number, leader: None });
            let running = match &*group.rule() {
                Rule::Consensus(running) => running.clone(),
                Rule::Local { .. } => return Ok(()),
                Rule::Absent | Rule::Held(_) => return Err(absent),
            };
            let leader = running.view().leader;
            let tenure = group.telling.tenure().ok_or(Stuck::NotLeader { group: number, leader })?;
            let term = tenure.term;
            if !running.is_alone_in(term).await {
                return Err(Stuck::NotAlone { group: number });
            }
            group.set(Rule::Held(Parked::default()));
            group.dismiss().await;
            // Once more, with what the shard had proposed until it was held.
            if !running.is_alone_in(term).await {
                group.run(running);
                return Err(Stuck::NotAlone { group: number });
            }
            running.stop().await;
            match group.written().await {
                Ok(()) if group.is_led_alone(term) => {
                    group.set(Rule::Local { term });
                    Ok(())
                }
                // Its keeper starts it again.
                fate => {
                    group.run(running);
                    Err(fate.err().unwrap_or(Stuck::NotAlone { group: number }))
                }
            }
        })
        .await
    }

    /// Carries out a change of who takes part. The group must be under consensus.
    ///
    /// # Errors
    /// [`Stuck`], also when this node does not lead the group.
    pub async fn change(&self, change: Change) -> Result<(), Stuck> {
        let running = match &*self.rule() {
            Rule::Consensus(running) => running.clone(),
            Rule::Local { .. } | Rule::Held(_) | Rule::Absent => {
                return Err(Stuck::NotLeader { group: self.number, leader: None });
            }
        };
        running.change(change).await
    }

    /// Ends consensus here until the group [grows](Group::grow) or is opened again. Whoever has a proposal under way
    /// hears that nobody knows. A group under the local rule is left as it is.
    pub async fn leave(&self) {
        let left = self.whole(|group| async move {
            let running = match &*group.rule() {
                Rule::Consensus(running) => running.clone(),
                Rule::Local { .. } | Rule::Held(_) | Rule::Absent => return Ok(()),
            };
            group.dismiss().await;
            running.stop().await;
            group.telling.follows(None);
            group.set(Rule::Absent);
            Ok(())
        });
        left.await.unwrap_or_default();
    }

    /// Takes part in consensus from now on, with an empty log, if nothing of the group is here: another node leads it, and has
    /// said so. A group that is here is left as it is.
    pub(crate) async fn wake(&self) {
        let Some(desk) = self.desk.get().cloned() else { return };
        let woken = self.whole(move |group| async move {
            match &*group.rule() {
                Rule::Absent => {}
                Rule::Local { .. } | Rule::Consensus(_) | Rule::Held(_) => return Ok(()),
            }
            group.take_part(&desk).await
        });
        if let Err(stuck) = woken.await {
            tracing::warn!(%stuck, "a group that another node leads does not begin here");
        }
    }

    /// Hands the lead over to another node that has all entries, for good: this node does not lead the group any more. Takes
    /// a second at most; whether another one leads then, or none did.
    pub async fn hand_over(&self) -> bool {
        let running = match &*self.rule() {
            Rule::Consensus(running) => running.clone(),
            Rule::Local { .. } | Rule::Held(_) | Rule::Absent => return true,
        };
        let others = running.view().voters.into_iter().any(|node| node != self.node);
        self.fit(false);
        others && running.is_handed_over().await
    }

    /// Does something to the rule, whole even if whoever asked for it goes away, and one after the other.
    pub(super) async fn whole<F>(
        &self,
        change: impl FnOnce(Arc<Self>) -> F + Send + 'static,
    ) -> Result<(), Stuck>
    where
        F: Future<Output = Result<(), Stuck>> + Send + 'static,
    {
        let group = self.me.upgrade().expect("whoever calls holds it");
        let task = tokio::spawn(async move {
            let changing = group.clone();
            let _changing = changing.changing.lock().await;
            change(group).await
        });
        task.await.unwrap_or_else(|error| self.refused(error))
    }

    /// Begins consensus where this node does not lead.
    async fn take_part(&self, desk: &Arc<Desk<Machine>>) -> Result<(), Stuck> {
        let running = self.start(desk).await?;
        self.run(running);
        Ok(())
    }

    /// Starts consensus on the log, once nothing is on its way there.
    pub(super) async fn start(&self, desk: &Arc<Desk<Machine>>) -> Result<Arc<Running>, Stuck> {
        self.written().await?;
        let running = Running::start(
            self.entries.clone(),
            self.node,
            desk.clone(),
            self.telling.clone(),
            self.duty.subscribe(),
        )
        .await;
        running.map(Arc::new).or_else(|error| self.refused(error))
    }

    /// Waits until all that was appended is durable, and notes that of a group that has no other node it is committed.
    pub(super) async fn written(&self) -> Result<(), Stuck> {
        let state = self.wal.state(self.number);
        let is_alone = local::is_alone(self.node, &state, false);
        let mark = state.last.filter(|_| is_alone).map(|last| Record::committed(self.number, last));
        let (sender, fate) = oneshot::channel();
        let done = move |result| drop(sender.send(result));
        self.wal.append_upkeep(mark.into_iter().collect(), Box::new(done));
        fate.await.expect("every job is answered").or_else(|error| self.refused(error))
    }

    /// Whether the log says that this node alone was elected in a term.
    fn is_led_alone(&self, term: u64) -> bool {
        let state = self.wal.state(self.number);
        let elected =
            state.vote.is_some_and(|vote| vote.committed && (vote.term, vote.node) == (term, self.node));
        let membership = state.membership.and_then(|(_, bytes)| Membership::decode(&bytes).ok());
        elected && membership.is_some_and(|membership| membership.is_alone(self.node))
    }

    /// Consensus commits from now on.
    fn run(&self, running: Arc<Running>) {
        self.set(Rule::Consensus(running.clone()));
        let keeper = tokio::spawn(keeper::keep(self.me.clone(), running));
        *self.keeper.lock().unwrap_or_else(PoisonError::into_inner) = Some(keeper);
    }

    /// Puts another rule in the place of the one before, and gives it the proposal that was held. Nobody listens or
    /// proposes meanwhile.
    pub(super) fn set(&self, rule: Rule) {
        let mut current = self.rule.write().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *current, rule);
        // Somebody may have listened while it was held. Under consensus the keeper says who leads.
        if let Rule::Local { term } = &*current {
            self.telling.resume(*term);
        }
        let Rule::Held(parked) = before else { return };
        // If somebody has, it was answered, and is of no tenure that lasts.
        if let Some((term, proposal)) = parked.take()
            && self.telling.awaits(proposal.number)
        {
            self.hand_on(&current, term, proposal);
        }
    }

    /// Nobody tells the shard anything, once this returns.
    pub(super) async fn dismiss(&self) {
        let keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(keeper) = keeper {
            keeper.abort();
            drop(keeper.await);
        }
    }

    pub(super) fn refused<T>(&self, error: impl ToString) -> Result<T, Stuck> {
        Err(Stuck::Refused { group: self.number, reason: error.to_string() })
    }
}
