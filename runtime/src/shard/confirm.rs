//! Answers that rest on no entry of their own: reads, refusals, repetitions.
//!
//! Where the log [needs it](crate::log::ShardLog::needs_confirming), another node may lead, and have changed everything,
//! while this one sleeps and believes that it leads. So what rests on no entry of its own waits for a proof that is
//! younger than the question: a confirmation that was asked for after it, or the commit of an entry that was proposed
//! after it. They leave in the order in which they were asked, before the answers of that entry.

use std::collections::VecDeque;

use twins::time::Timestamp;

use crate::error::Error;
use crate::log::{self, Tenure};

use super::attach::Attaching;
use super::commit::Release;
use super::{Action, Failed, Shard};

/// What is done once it is sure that this node leads, or does not.
pub(crate) type Then = Box<dyn FnOnce(Result<(), Error>) + Send>;

/// What waits for a proof.
#[derive(Default)]
pub(super) struct Unsure {
    /// These rest on the batch in flight too; their turn comes after it.
    behind: Vec<Release>,
    /// These rest on what is committed.
    waiting: VecDeque<Waiting>,
    /// How many have left.
    left: u64,
    /// A confirmation is under way, for all before this number.
    confirming: Option<u64>,
}

enum Waiting {
    Release(Box<Release>),
    Then(Then),
    Attaching(Box<Attaching>),
}

impl Unsure {
    /// The number of what comes next: a proof that begins now is one for all before it.
    pub(super) fn next(&self) -> u64 {
        self.left + self.waiting.len() as u64
    }

    /// Waits for the batch in flight, and then for a proof.
    pub(super) fn behind(&mut self, release: Release) {
        self.behind.push(release);
    }

    pub(super) fn push(&mut self, release: Release) {
        self.waiting.push_back(Waiting::Release(release.into()));
    }

    /// What waits for the batch in flight, which is no more.
    pub(super) fn take_behind(&mut self) -> Vec<Release> {
        std::mem::take(&mut self.behind)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.behind.is_empty() && self.waiting.is_empty()
    }

    /// Begins a confirmation, where there is something to confirm and none is under way.
    fn begin(&mut self) -> bool {
        let begins = self.confirming.is_none() && !self.waiting.is_empty();
        if begins {
            self.confirming = Some(self.next());
        }
        begins
    }

    fn take_before(&mut self, number: u64) -> impl Iterator<Item = Waiting> {
        let n = (number.saturating_sub(self.left) as usize).min(self.waiting.len());
        self.left += n as u64;
        self.waiting.drain(..n)
    }
}

impl Shard {
    /// Whether the log needs confirming, from here on.
    pub(crate) fn set_confirming(&mut self, needs_confirming: bool) {
        self.needs_confirming = needs_confirming;
    }

    /// Calls `then` as soon as it is sure that what the shard has now was the newest after this call.
    pub(crate) fn when_sure(&mut self, then: Then) {
        if !self.leads() {
            return then(Err(self.not_leading()));
        }
        match self.needs_confirming {
            false => then(Ok(())),
            true => self.unsure.waiting.push_back(Waiting::Then(then)),
        }
    }

    /// Attaches a connection as soon as it is sure that what the shard has is the newest.
    pub(super) fn when_sure_attach(&mut self, attaching: Attaching) {
        match self.needs_confirming {
            false => self.attach_now(attaching),
            true => self.unsure.waiting.push_back(Waiting::Attaching(attaching.into())),
        }
    }

    /// Has confirmed what waits for it.
    pub(super) fn confirm(&mut self) {
        if self.unsure.begin() {
            self.actions.push_back(Action::Confirm { tenure: self.tenure });
        }
    }

    /// A confirmation has come, or was refused.
    pub(crate) fn confirmed(
        &mut self,
        now: Timestamp,
        tenure: Tenure,
        sure: Result<(), log::Error>,
    ) -> Result<(), Failed> {
        self.pass(now);
        // Nothing waits any more for one that was asked for in an earlier tenure.
        if tenure != self.tenure {
            return Ok(());
        }
        let Some(before) = self.unsure.confirming.take() else { return Ok(()) };
        match sure {
            Ok(()) => self.prove(before),
            Err(error) => {
                let error = Error::Unwritten { shard: self.setting.number, why: error.to_string() };
                self.refuse_before(before, &error);
            }
        }
        self.turn()
    }

    /// What came before this number is answered.
    pub(super) fn prove(&mut self, before: u64) {
        let proven: Vec<_> = self.unsure.take_before(before).collect();
        for waiting in proven {
            match waiting {
                Waiting::Release(release) => self.ready.push(*release),
                Waiting::Then(then) => then(Ok(())),
                Waiting::Attaching(attaching) => self.attach_now(*attaching),
            }
        }
    }

    /// Nothing that waits will be sure.
    pub(super) fn refuse_unsure(&mut self, error: &Error) {
        self.refuse_before(u64::MAX, error);
        self.unsure.confirming = None;
    }

    fn refuse_before(&mut self, number: u64, error: &Error) {
        let mut releases = Vec::new();
        for waiting in self.unsure.take_before(number) {
            match waiting {
                Waiting::Release(release) => releases.push(*release),
                Waiting::Then(then) => then(Err(error.clone())),
                // It comes again.
                Waiting::Attaching(_) => {}
            }
        }
        self.refuse_all(releases, error);
    }
}
