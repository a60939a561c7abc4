//! What a node does next in each of its groups, and doing it.

use super::{Change, Goal, Groups, step, take_part};
use crate::group::{Stuck, View};
use crate::meta::{Command, Meta, Refusal, State};
use crate::storage::META_GROUP;
use std::collections::BTreeSet;

/// How often a report is made again when the meta state has changed meanwhile.
const REPORTS_MAX: usize = 100;

/// Why a step was not taken. Another one is decided on what is the case then.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    #[error(transparent)]
    Stuck(#[from] Stuck),
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// The shard of a group; none of the meta group.
pub(super) fn shard_of(group: u32) -> Option<u32> {
    group.checked_sub(META_GROUP + 1)
}

/// The next step of node `me` in a group.
pub(super) fn next(
    state: &State,
    me: u64,
    group: u32,
    view: &View,
    reached: &BTreeSet<u64>,
) -> Option<Change> {
    let leads = view.leader == Some(me);
    let Some(shard) = shard_of(group) else {
        return match leads {
            // A node in no cluster is alone.
            true if state.cluster.is_none() => None,
            true => step(&Goal::meta(state), me, view, reached),
            // Whoever has joined cannot know that before it has the group's log.
            false => take_part(true, false, view),
        };
    };
    let placement = state.shards.get(&shard)?;
    match leads {
        true => step(&Goal::of(placement), me, view, reached),
        false => take_part(placement.concerns(me), placement.former.contains(&me), view),
    }
}

/// Takes a step, and tells the map where it waits for that.
pub(super) async fn take(
    meta: &Meta,
    groups: &dyn Groups,
    me: u64,
    group: u32,
    change: Change,
) -> Result<(), Failed> {
    match (change, shard_of(group)) {
        (Change::Report, Some(shard)) => report(meta, groups, group, shard).await,
        (Change::Leave, Some(shard)) => {
            // What this node knows of the map may be old, and the shard be placed here again.
            meta.refresh().await?;
            let state = meta.state();
            let is_former = state.shards.get(&shard).is_some_and(|placement| placement.former.contains(&me));
            if !is_former {
                return Ok(());
            }
            groups.change(group, Change::Leave).await?;
            tell(meta, &Command::Dropped { shard, node: me }, |state| {
                state.shards.get(&shard).is_some_and(|placement| placement.former.contains(&me))
            })
            .await
        }
        (change, _) => Ok(groups.change(group, change).await?),
    }
}

/// Says that a move is done, when it is for good.
async fn report(meta: &Meta, groups: &dyn Groups, group: u32, shard: u32) -> Result<(), Failed> {
    let state = meta.state();
    let Some(placement) = state.shards.get(&shard) else { return Ok(()) };
    if groups.view(group).is_some_and(|view| view.by_consensus) {
        // The membership that the leader sees may not be committed. Asked for again, it is when this is answered.
        let voters = Goal::of(placement).voters;
        groups.change(group, Change::Vote { voters }).await?;
    }
    let is_same = |now: &State| {
        let now = now.shards.get(&shard).and_then(|placement| placement.target.as_deref());
        now.is_some() && now == placement.target.as_deref()
    };
    tell(meta, &Command::AdvanceMove { shard }, is_same).await
}

/// Executes a command as long as it is meant, on whatever version the state has.
async fn tell(meta: &Meta, command: &Command, is_meant: impl Fn(&State) -> bool) -> Result<(), Failed> {
    let mut refused = None;
    for _ in 0..REPORTS_MAX {
        let state = meta.state();
        if !is_meant(&state) {
            return Ok(());
        }
        match meta.execute(command.clone(), state.version).await {
            Ok(_) => return Ok(()),
            Err(refusal @ Refusal::Stale { .. }) => refused = Some(refusal),
            Err(refusal) => return Err(refusal.into()),
        }
    }
    refused.map_or(Ok(()), |refusal| Err(refusal.into()))
}
