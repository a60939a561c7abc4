//! What runs placement on a node: the plan where the node leads the meta group, and steps in the node's groups.
//!
//! It keeps nothing that matters: everything is decided anew on the map and the groups' memberships. So it may end at any
//! moment, and go on here or elsewhere.

use super::converge::{self, Failed};
use super::{Change, plan};
use crate::group::{Stuck, View};
use crate::meta::{Meta, Refusal, Role, State};
use crate::storage::META_GROUP;
use crate::wire::Boxed;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

/// How often everything is looked at, where nothing is being moved.
const TICK: Duration = Duration::from_secs(1);
/// How often while something is.
const QUICK_TICK: Duration = Duration::from_millis(100);
/// How long a group is left alone after a step that failed, or that handed on its lead.
const PAUSE: Duration = Duration::from_secs(1);

/// The groups of a node, as placement sees them. Group 0 is the meta group, `n + 1` that of shard `n`.
pub trait Groups: Send + Sync + 'static {
    /// How a group is on this node; none where the node has no such group.
    fn view(&self, group: u32) -> Option<View>;

    /// The nodes that this one hears now, itself included.
    fn reached(&self) -> BTreeSet<u64>;

    /// Takes a step in a group, whole even if nobody waits for it any more, and answers when it is committed; at no cost
    /// where it was taken before. [`Change::Report`] never comes.
    fn change(&self, group: u32, change: Change) -> Boxed<Result<(), Stuck>>;
}

/// Placement on one node.
pub struct Driver {
    meta: Arc<Meta>,
    groups: Arc<dyn Groups>,
    me: u64,
    under_way: JoinSet<(Task, Outcome)>,
    busy: BTreeSet<Task>,
    paused: BTreeMap<u32, Instant>,
    /// When the next plan is made: at once where the map has changed, else from time to time.
    due: Instant,
}

/// What is done at one time, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Task {
    Plan,
    Group(u32),
}

/// Whether more may be done there at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    GoOn,
    Pause,
}

impl Driver {
    /// Placement on node `me`.
    #[must_use]
    pub fn new(meta: Arc<Meta>, groups: Arc<dyn Groups>, me: u64) -> Self {
        let (under_way, busy, paused) = (JoinSet::new(), BTreeSet::new(), BTreeMap::new());
        Self { meta, groups, me, under_way, busy, paused, due: Instant::now() }
    }

    /// Runs until it is dropped.
    pub async fn run(mut self) {
        let (mut states, mut role) = (self.meta.watch(), self.meta.role());
        loop {
            let state = states.borrow_and_update().clone();
            let leads = matches!(*role.borrow_and_update(), Role::Leads(_));
            if leads {
                self.plan();
            }
            self.converge(&state);
            let is_moving = state.shards.values().any(|placement| placement.target.is_some());
            let tick = if is_moving { QUICK_TICK } else { TICK };
            tokio::select! {
                // Both live as long as the meta group, which is held here.
                _ = states.changed() => self.due = Instant::now(),
                _ = role.changed() => self.due = Instant::now(),
                Some(done) = self.under_way.join_next() => self.done(done),
                () = sleep(tick) => {}
            }
        }
    }

    fn plan(&mut self) {
        let now = Instant::now();
        if now < self.due || !self.busy.insert(Task::Plan) {
            return;
        }
        self.due = now + TICK;
        let (meta, groups) = (self.meta.clone(), self.groups.clone());
        self.under_way.spawn(async move {
            carry_out(&meta, &*groups).await;
            (Task::Plan, Outcome::GoOn)
        });
    }

    fn converge(&mut self, state: &State) {
        let reached = self.groups.reached();
        let now = Instant::now();
        self.paused.retain(|_, until| now < *until);
        for group in [META_GROUP].into_iter().chain(state.shards.keys().map(|shard| shard + 1)) {
            if self.busy.contains(&Task::Group(group)) || self.paused.contains_key(&group) {
                continue;
            }
            let Some(view) = self.groups.view(group) else { continue };
            if let Some(change) = converge::next(state, self.me, group, &view, &reached) {
                self.take(group, change);
            }
        }
    }

    fn take(&mut self, group: u32, change: Change) {
        self.busy.insert(Task::Group(group));
        let (meta, groups, me) = (self.meta.clone(), self.groups.clone(), self.me);
        self.under_way.spawn(async move {
            let hands_on = matches!(change, Change::Transfer { .. });
            tracing::debug!(node = me, group, ?change, "a step of placement");
            let taken = converge::take(&meta, &*groups, me, group, change).await;
            if let Err(error) = &taken {
                note(me, group, error);
            }
            let outcome = if taken.is_err() || hands_on { Outcome::Pause } else { Outcome::GoOn };
            (Task::Group(group), outcome)
        });
    }

    fn done(&mut self, done: Result<(Task, Outcome), tokio::task::JoinError>) {
        match done {
            Ok((task, outcome)) => {
                self.busy.remove(&task);
                if let (Task::Group(group), Outcome::Pause) = (task, outcome) {
                    self.paused.insert(group, Instant::now() + PAUSE);
                }
            }
            // Nobody ends them, so that one has panicked; which one is not known.
            Err(error) => {
                tracing::error!(node = self.me, %error, "a step of placement ended; all of them begin again");
                self.under_way.abort_all();
                self.busy.clear();
            }
        }
    }
}

/// Carries out the plan on the state as it is.
async fn carry_out(meta: &Meta, groups: &dyn Groups) {
    let state = meta.state();
    let mut version = state.version;
    for command in plan(&state, &groups.reached()) {
        match meta.execute(command, version).await {
            Ok(after) => version = after,
            // It is made again on the state as it is then.
            Err(Refusal::Stale { .. }) => return,
            Err(error) => return tracing::warn!(%error, "the plan of placement was not carried out"),
        }
    }
}

fn note(node: u64, group: u32, error: &Failed) {
    match error {
        // Somebody else leads now, and goes on.
        Failed::Stuck(Stuck::NotLeader { .. }) => {
            tracing::debug!(node, group, %error, "a step of placement was not taken");
        }
        _ => tracing::warn!(node, group, %error, "a step of placement was not taken"),
    }
}
