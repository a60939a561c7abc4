//! Taking a group's state from its leader.
//!
//! What is said of it is checked before anything is read, and again before openraft hears of it, which holds a leader to be
//! honest and ends the group where one is not. It is staged on a thread of its own as it comes, invisible and with a few
//! pieces in memory; the disk's reserve is left alone. Only a whole one is handed to openraft, which installs it, or drops
//! it where the group has moved on meanwhile.

use super::body::{Ballot, Body};
use super::snapshot::Snap;
use super::states::{self, Arrived, States};
use super::transfer::{In, Opening};
use super::types::{self, RaftVote, Types};
use crate::wal::Wal;
use crate::wire::BulkRead;
use bytes::Bytes;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::storage::RaftStateMachine;
use openraft::{Raft, Snapshot};
use runtime::log::LogId;
use std::fmt::Display;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// How long the other side may send no piece.
const PATIENCE: Duration = Duration::from_secs(60);
/// How many bytes are taken before the disk is asked for room again.
const ROOM_BYTES: usize = 4 << 20;

/// Takes a state of a group that is here; answers this node's vote, as its leader wants to know it.
pub(super) async fn receive<M>(
    raft: Raft<Types, M>,
    states: &States,
    wal: &Wal,
    opening: Opening,
    mut stream: Box<dyn BulkRead>,
) -> Result<Bytes, String>
where
    M: RaftStateMachine<Types, SnapshotData = Snap>,
{
    let group = opening.group;
    let shard = states::shard(group).ok_or_else(|| format!("group {group} takes no state"))?;
    let _slot = states.taking.acquire().await.map_err(text)?;
    if is_needless(&raft, opening.vote, opening.applied)? {
        // It may have come before, and the answer was lost. The next one counts once the stream is read.
        while read(&mut *stream).await?.is_some() {}
        return Ok(answer(opening.vote));
    }
    let (sender, mut input) = In::new();
    let replicas = states.replicas.clone();
    let staging = tokio::spawn(states::blocking(move || {
        let staged = replicas.stage(shard, &mut input)?;
        Ok((Arrived::new(staged), input.closing()?))
    }));
    feed(wal, &mut *stream, sender).await?;
    let (arrived, point) = staging.await.map_err(text)?.map_err(text)?;
    if point.id < opening.applied {
        return Err(format!("the state ends at {:?}, before {:?}", point.id, opening.applied));
    }
    if is_needless(&raft, opening.vote, point.id)? {
        return Ok(answer(opening.vote));
    }
    let snapshot = Snapshot { meta: point.meta().map_err(text)?, snapshot: Snap::Arrived(arrived) };
    let installed = raft.install_full_snapshot(opening.vote, snapshot).await.map_err(text)?;
    Ok(answer(installed.vote))
}

/// Whether this node has committed as much as a leader's state contains.
///
/// # Errors
/// When that leader was replaced, or nothing of the kind can be committed.
fn is_needless<M: RaftStateMachine<Types>>(
    raft: &Raft<Types, M>,
    vote: RaftVote,
    applied: LogId,
) -> Result<bool, String> {
    let seen = raft.metrics().borrow_watched().clone();
    seen.running_state.map_err(text)?;
    let committed = seen.local_committed.as_ref().map(types::from_raft);
    if seen.vote > vote {
        return Err(format!("another leader was elected since: {}", seen.vote));
    }
    if committed.is_some_and(|committed| applied <= committed) {
        return Ok(true);
    }
    let leads_to_it = committed.is_none_or(|committed| committed.index < applied.index);
    if applied.term > types::vote_from_raft(&vote).term || !leads_to_it {
        return Err(format!("entry {} of term {} cannot be committed", applied.index, applied.term));
    }
    Ok(false)
}

/// Hands the stream on to whoever stages it, to its end or until that one has seen enough.
async fn feed(
    wal: &Wal,
    stream: &mut dyn BulkRead,
    staging: mpsc::Sender<Option<Bytes>>,
) -> Result<(), String> {
    let mut unchecked = ROOM_BYTES;
    loop {
        if unchecked >= ROOM_BYTES {
            wal.room().map_err(|reason| format!("the disk is full: {reason}"))?;
            unchecked = 0;
        }
        let piece = read(stream).await?;
        unchecked += piece.as_ref().map_or(0, Bytes::len);
        let is_last = piece.is_none();
        if staging.send(piece).await.is_err() || is_last {
            return Ok(());
        }
    }
}

async fn read(stream: &mut dyn BulkRead) -> Result<Option<Bytes>, String> {
    let piece = timeout(PATIENCE, stream.read()).await;
    let piece = piece.map_err(|_| format!("nothing came for {PATIENCE:?}"))?;
    piece.map_err(|error| format!("the state was cut off: {error}"))
}

fn answer(vote: RaftVote) -> Bytes {
    let mut bytes = Vec::new();
    Ballot::from(vote).write(&mut bytes);
    bytes.into()
}

fn text(error: impl Display) -> String {
    error.to_string()
}
