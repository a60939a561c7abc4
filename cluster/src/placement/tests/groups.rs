//! A group as the tests have it: its membership, and how much of the log each node has.

use super::super::Change;
use crate::group::View;
use std::collections::{BTreeMap, BTreeSet};

/// One group, on all nodes.
#[derive(Debug, Clone)]
pub(in crate::placement) struct Modelled {
    pub(in crate::placement) by_consensus: bool,
    pub(in crate::placement) leader: Option<u64>,
    pub(in crate::placement) voters: BTreeSet<u64>,
    /// The voters before, while it changes.
    pub(in crate::placement) old: Option<BTreeSet<u64>>,
    pub(in crate::placement) learners: BTreeSet<u64>,
    pub(in crate::placement) matched: BTreeMap<u64, u64>,
    pub(in crate::placement) last: u64,
    committed: u64,
    /// Who takes part, once it is asked to.
    pub(in crate::placement) present: BTreeSet<u64>,
}

impl Modelled {
    pub(in crate::placement) fn alone(node: u64) -> Self {
        Self {
            by_consensus: false,
            leader: Some(node),
            voters: [node].into(),
            old: None,
            learners: BTreeSet::new(),
            matched: [(node, 1000)].into(),
            last: 1000,
            committed: 1000,
            present: [node].into(),
        }
    }

    /// Everybody who decides, in either set.
    pub(in crate::placement) fn deciding(&self) -> BTreeSet<u64> {
        self.old.iter().flatten().copied().chain(self.voters.iter().copied()).collect()
    }

    pub(in crate::placement) fn view(&self, node: u64) -> View {
        if !self.present.contains(&node) {
            return View::default();
        }
        let leads = self.leader == Some(node);
        View {
            by_consensus: self.by_consensus,
            term: 1,
            leader: self.leader,
            voters: self.deciding(),
            learners: self.learners.clone(),
            is_joint: self.old.is_some(),
            last: Some(self.last),
            committed: Some(self.committed),
            matched: if leads { self.matched.clone() } else { BTreeMap::new() },
            ..View::default()
        }
    }

    /// Whether a quorum of those who decide has all but so many entries.
    pub(in crate::placement) fn is_safe(&self, lag: u64) -> bool {
        let has = |node: &&u64| self.matched.get(node).is_some_and(|at| at + lag >= self.last);
        self.sets().all(|set| set.iter().filter(has).count() > set.len() / 2)
    }

    /// Those who run and have the log get on with it.
    pub(in crate::placement) fn replicate(&mut self, running: &BTreeSet<u64>, entries: u64) {
        let members: BTreeSet<u64> = &self.deciding() | &self.learners;
        for node in members.intersection(running).filter(|node| self.present.contains(node)) {
            let at = self.matched.entry(*node).or_default();
            *at = (*at).saturating_add(entries).min(self.last);
        }
        // Whoever leads has everything.
        self.matched.extend(self.leader.map(|leader| (leader, self.last)));
        self.committed = self.committed.max(self.quorum());
    }

    /// Whether enough of those who decide run.
    pub(in crate::placement) fn has_quorum(&self, running: &BTreeSet<u64>) -> bool {
        self.sets().all(|set| set.intersection(running).count() > set.len() / 2)
    }

    /// Somebody leads who runs and decides, and has as much as anybody of those. What it lacks is gone.
    pub(in crate::placement) fn elect(&mut self, running: &BTreeSet<u64>) {
        self.leader = None;
        if !self.has_quorum(running) {
            return;
        }
        let deciding = self.deciding();
        let has = |node: &u64| self.matched.get(node).copied().unwrap_or(0);
        let heir = deciding.intersection(running).copied().max_by_key(has).expect("a quorum runs");
        self.last = has(&heir);
        assert!(self.last >= self.committed, "what was committed is lost: {self:?}");
        self.leader = Some(heir);
        self.matched.values_mut().for_each(|at| *at = (*at).min(self.last));
    }

    /// Through where both sets have the log.
    fn quorum(&self) -> u64 {
        let through = |set: &BTreeSet<u64>| {
            let mut has: Vec<u64> =
                set.iter().map(|node| self.matched.get(node).copied().unwrap_or(0)).collect();
            has.sort_unstable();
            has[(set.len() - 1) / 2]
        };
        self.sets().map(through).min().expect("there is a set")
    }

    fn sets(&self) -> impl Iterator<Item = &BTreeSet<u64>> {
        [Some(&self.voters), self.old.as_ref()].into_iter().flatten()
    }

    /// Takes a step of a node; one of a change of the voters only half, where `is_cut_short`.
    pub(in crate::placement) fn take(&mut self, node: u64, change: &Change, is_cut_short: bool) {
        let leads = self.leader == Some(node);
        match change {
            Change::Grow => {
                self.present.insert(node);
                self.by_consensus |= leads;
            }
            Change::Leave => {
                assert!(!self.deciding().contains(&node) && !self.learners.contains(&node), "it takes part");
                self.present.remove(&node);
                self.matched.remove(&node);
            }
            _ if !leads => {}
            Change::Shrink => {
                assert_eq!((self.deciding(), self.learners.len()), ([node].into(), 0));
                self.by_consensus = false;
            }
            Change::Learn { node } => {
                assert!(self.old.is_none(), "no node learns while the voters change");
                self.learners.insert(*node);
                self.matched.entry(*node).or_default();
            }
            Change::Vote { voters } => {
                let known = &self.deciding() | &self.learners;
                assert!(voters.is_subset(&known), "{voters:?} have not all learned: {self:?}");
                let before = self.old.take().unwrap_or_else(|| self.voters.clone());
                let everybody = &(&before | &self.voters) | &self.learners;
                self.learners = &everybody - voters;
                let is_other = before != *voters;
                self.voters.clone_from(voters);
                self.old = (is_cut_short && is_other).then_some(before);
                let deciding = self.deciding();
                self.learners.retain(|node| !deciding.contains(node));
            }
            Change::Transfer { to } => {
                assert!(self.deciding().contains(to));
                self.leader = Some(*to);
            }
            Change::Forget { node } => {
                assert!(!self.deciding().contains(node), "whoever decides is not forgotten");
                self.learners.remove(node);
            }
            Change::Report => panic!("the map is told of that"),
        }
    }
}
