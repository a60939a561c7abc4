//! What is to be done next in a group, so that it becomes what the map says.
//!
//! Each step is decided on the group's membership alone, as its leader sees it. So it does not matter who took the steps
//! before, or how far they came.

use super::Goal;
use crate::group::View;
use std::collections::BTreeSet;

/// How many entries a node may lack that counts as up to date.
const LAG_MAX: u64 = 32;

/// A step. Asked for again, each does no harm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Consensus commits from now on: on the leader, so that other nodes can come; elsewhere, so that this node can be
    /// given the log.
    Grow,
    /// This node commits alone from now on.
    Shrink,
    /// A node gets the log, and does not decide.
    Learn {
        /// Which.
        node: u64,
    },
    /// These decide from now on. Whoever decided before may have the log still, until it is forgotten.
    Vote {
        /// Which.
        voters: BTreeSet<u64>,
    },
    /// Another one leads.
    Transfer {
        /// Which; it decides.
        to: u64,
    },
    /// A node that does not decide is out of the group.
    Forget {
        /// Which.
        node: u64,
    },
    /// The group is as the map says; the map is to be told.
    Report,
    /// This node is out of the group for good, and drops what it has of it.
    Leave,
}

/// The next step of whoever leads a group: `me`. `reached` are the nodes that it hears, itself included. Nothing where
/// there is nothing to do, or where somebody has to catch up or come back before.
///
/// A vote is taken from nobody before as many are up to date among those who decide then: a majority of them, and no fewer
/// than there were.
#[must_use]
pub fn step(goal: &Goal, me: u64, view: &View, reached: &BTreeSet<u64>) -> Option<Change> {
    if view.leader != Some(me) || goal.voters.is_empty() {
        return None;
    }
    let members = goal.members();
    let is_alone = members.len() == 1 && members.contains(&me);
    if !view.by_consensus {
        return if is_alone { goal.is_move.then_some(Change::Report) } else { Some(Change::Grow) };
    }
    let group = Group { me, view, reached };
    group.admit(&members).or_else(|| group.vote(goal)).unwrap_or_else(|| {
        let present = &view.voters | &view.learners;
        if let Some(node) = present.difference(&members).next() {
            return Some(Change::Forget { node: *node });
        }
        if goal.is_move && present == members {
            return Some(Change::Report);
        }
        let heir = goal.preferred.filter(|heir| *heir != me && view.voters.contains(heir));
        if let Some(to) = heir.filter(|heir| group.is_up_to_date(*heir)) {
            return Some(Change::Transfer { to });
        }
        (is_alone && present == members).then_some(Change::Shrink)
    })
}

/// The next step of a node that does not lead the group: whether it begins to take part, or ends. `is_former` says that the
/// map has seen it leave.
#[must_use]
pub fn take_part(is_placed: bool, is_former: bool, view: &View) -> Option<Change> {
    let is_absent = !view.by_consensus && view.leader.is_none();
    match (is_placed, is_former) {
        (true, _) => is_absent.then_some(Change::Grow),
        (false, true) => Some(Change::Leave),
        (false, false) => None,
    }
}

/// A group as its leader sees it.
struct Group<'a> {
    me: u64,
    view: &'a View,
    reached: &'a BTreeSet<u64>,
}

impl Group<'_> {
    /// Whoever is to take part learns first, one after the other.
    fn admit(&self, members: &BTreeSet<u64>) -> Option<Option<Change>> {
        if self.view.is_joint {
            return None;
        }
        let is_new = |node: &&u64| !self.view.voters.contains(node) && !self.view.learners.contains(node);
        let new = members.iter().filter(is_new).find(|node| self.reached.contains(node));
        new.map(|node| Some(Change::Learn { node: *node }))
    }

    /// Those decide who are to: at once, or with whoever leads until it has handed on the lead. Nothing where they do.
    fn vote(&self, goal: &Goal) -> Option<Option<Change>> {
        let want = &goal.voters;
        if self.view.voters == *want && !self.view.is_joint {
            return None;
        }
        let mut next = want.clone();
        if !want.contains(&self.me) {
            let stay = want & &self.view.voters;
            if !stay.is_empty() && !self.view.is_joint {
                let preferred = goal.preferred.filter(|heir| stay.contains(heir));
                let mut heirs = preferred.into_iter().chain(stay);
                let heir = heirs.find(|heir| self.is_up_to_date(*heir));
                return Some(heir.map(|to| Change::Transfer { to }));
            }
            next.insert(self.me);
        }
        if self.view.is_joint {
            // It was begun when they were up to date, and is best ended.
            return Some(Some(Change::Vote { voters: next }));
        }
        let come = next.difference(&self.view.voters).all(|node| self.is_up_to_date(*node));
        let (now, then) = (self.up_to_date(&self.view.voters), self.up_to_date(&next));
        let is_safe = come && then > next.len() / 2 && then >= now.min(next.len());
        Some(is_safe.then_some(Change::Vote { voters: next }))
    }

    fn is_up_to_date(&self, node: u64) -> bool {
        let last = self.view.last.unwrap_or(0);
        let matched = self.view.matched.get(&node).is_some_and(|matched| matched + LAG_MAX >= last);
        node == self.me || matched && self.reached.contains(&node)
    }

    fn up_to_date(&self, nodes: &BTreeSet<u64>) -> usize {
        nodes.iter().filter(|node| self.is_up_to_date(**node)).count()
    }
}
