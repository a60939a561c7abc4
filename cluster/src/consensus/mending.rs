//! What a crash left half done between a shard's state and its log, finished before consensus begins.
//!
//! A state that comes is made the shard's first, and the log is told after it. When a group is forgotten the log is told
//! first, and the state goes after it. Both leave the same picture when the power goes in between: a state, and a log that
//! knows nothing of it. So the log counts the lives of a group, and a state that came says in which it did.

use super::entries::Entries;
use super::snapshot::Point;
use super::states::States;
use std::io;

/// Makes a group's state and its log agree; answers through which entry the state is durable. Nothing of the group may be
/// under way.
pub(crate) async fn mend(states: &States, entries: &Entries) -> io::Result<Option<u64>> {
    let group = entries.group();
    let Some(saved) = states.saved(group).await? else { return Ok(None) };
    let state = entries.state();
    let came = Point::of(&saved)?;
    let is_of_earlier_life = match &came {
        Some((life, _)) => *life < state.forgotten,
        None => state.forgotten > 0 && state.last.is_none(),
    };
    if is_of_earlier_life {
        tracing::info!(group, "the group was being forgotten; its state goes now");
        states.forget(group).await?;
        return Ok(None);
    }
    if let Some((_, point)) = came
        && state.purged.is_none_or(|purged| purged.index < point.id.index)
    {
        tracing::info!(group, applied = saved.applied, "a state had come; the log follows it now");
        entries.write_all(point.records(group)).await?;
    }
    Ok(Some(saved.applied))
}
