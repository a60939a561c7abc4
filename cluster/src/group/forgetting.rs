//! A replica that was taken out of its group is forgotten: its entries, then its state.
//!
//! The vote stays, since a node must not vote twice in a term; everything else is of no use, and would be in the way: a
//! node that returns must not be taken for one that has it. It returns as one that has nothing, and learns.

use super::rule::Rule;
use super::{Group, Stuck};
use crate::consensus::{Desk, Machine, mend};
use crate::storage::META_GROUP;
use crate::wal::Record;
use std::io;

impl Group {
    /// Drops all that this node has of the group, log and state, and ends consensus on it here; it
    /// [grows](Group::grow) again from nothing. A group that has nothing is left as it is.
    ///
    /// Only for a node that is out of the group, as its other nodes have committed: this one may not know that.
    ///
    /// # Errors
    /// [`Stuck::Refused`] when this node leads the group, or is alone in it, or the disk fails: then some of it may be
    /// gone, and calling again goes on.
    pub async fn forget(&self) -> Result<(), Stuck> {
        let number = self.number();
        let desk = self.desk.get().ok_or(Stuck::Unjoined { group: number })?.clone();
        self.whole(move |group| async move {
            let (running, is_led_here) = match &*group.rule() {
                Rule::Consensus(running) => (Some(running.clone()), running.leads()),
                Rule::Local { .. } | Rule::Held(_) => (None, true),
                Rule::Absent => (None, false),
            };
            if number == META_GROUP || is_led_here {
                return group.refused("it is this node's; take the node out of the group first");
            }
            if let Some(running) = running {
                group.dismiss().await;
                running.stop().await;
                group.set(Rule::Absent);
            }
            match group.void(&desk).await {
                Ok(false) => Ok(()),
                forgotten => {
                    group.telling.forgotten();
                    forgotten.map(drop).or_else(|error| group.refused(error))
                }
            }
        })
        .await
    }

    /// The log goes first: it counts the lives of the group, and a state of an earlier one goes at the next start. Answers
    /// whether there was any.
    async fn void(&self, desk: &Desk<Machine>) -> io::Result<bool> {
        self.written().await.map_err(io::Error::other)?;
        let state = self.entries.state();
        let has_log = state.last.is_some();
        if has_log {
            let forgotten = Record::forgotten(self.number(), state.forgotten.saturating_add(1));
            self.entries.write(forgotten).await?;
        }
        let Some(states) = desk.states() else { return Ok(has_log) };
        let has_state = states.saved(self.number()).await?.is_some();
        if has_state {
            states.forget(self.number()).await?;
        }
        Ok(has_log || has_state)
    }

    /// Finishes what a crash left half done between log and state.
    pub(super) async fn mend(&self, desk: &Desk<Machine>) -> Result<(), Stuck> {
        let Some(states) = desk.states() else { return Ok(()) };
        mend(states, &self.entries).await.map(drop).or_else(|error| self.refused(error))
    }
}
