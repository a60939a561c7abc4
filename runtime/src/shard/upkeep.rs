//! Upkeep: sealing and trimming the shard's stream, by entries of its log.
//!
//! The leader decides by the shard's now; whoever applies the entry, now or in a recovery, seals and trims at the same
//! place. The entry has nothing else in it, so that a full disk, which refuses what comes from outside, takes it.

use bytes::Bytes;
use twins::time::Timestamp;

use crate::stream::retention::Upkeep;

use super::commit::Flying;
use super::entry::Batch;
use super::{Action, Shard};

impl Shard {
    /// Proposes what is to be done to the stream now, if anything is.
    pub(super) fn propose_upkeep(&mut self) -> bool {
        if self.now < self.upkeep_after {
            return false;
        }
        let mut upkeep = self.retention.decide(&self.stream, self.now);
        if self.stream.has_to_seal() && self.seal_after <= self.now {
            // One for each checkpoint, however many devices are erased until then.
            upkeep.sealed = true;
            self.seal_after = self.now + self.setting.options.checkpoint_every;
        }
        if upkeep.is_nothing() {
            return false;
        }
        let Upkeep { sealed, trimmed } = upkeep;
        let batch = Batch { term: self.tenure.term, stamp: self.now, sealed, trimmed, ..Batch::default() };
        let payload = Bytes::from(batch.encode());
        self.flying = Some(Flying::upkeep(upkeep, payload.len() as u64, self.unsure.next()));
        self.actions.push_back(Action::Propose { tenure: self.tenure, payload, is_upkeep: true });
        true
    }

    /// When there is something to be done to the stream, if nothing is in flight.
    pub(super) fn next_upkeep(&self) -> Option<Timestamp> {
        let seal = self.stream.has_to_seal().then_some(self.seal_after);
        let due = [self.retention.due(&self.stream), seal].into_iter().flatten().min();
        let due = due.filter(|_| self.flying.is_none());
        due.map(|due| due.max(self.upkeep_after))
    }

    /// Does what an entry says. Flush the stream after it.
    pub(super) fn keep_up(&mut self, upkeep: Upkeep) {
        if upkeep.sealed {
            self.stream.seal();
        }
        if let Some(before) = upkeep.trimmed {
            let earliest = self.stream.trim(before);
            tracing::debug!(shard = self.setting.number, earliest, "the stream was trimmed");
        }
    }

    /// Has the files of what was trimmed removed, as far as a recovery needs them no more.
    pub(super) fn sweep(&mut self) {
        self.actions.extend(self.stream.sweep(self.recorded).map(Action::Sweep));
    }
}
