//! Sending a group's state to a node that lacks entries which were dropped here.
//!
//! It is packed on a thread of its own, no faster than the stream takes it; a few pieces are in memory. Whoever gives up,
//! by dropping the future, ends the packing with the next piece, and the other side reads an error instead of an end.

use super::body::{Ballot, Body};
use super::snapshot::{Point, Source};
use super::states;
use super::transfer::{self, Opening, Out};
use super::types::{self, RaftVote};
use crate::wire::{BulkWrite, Wire};
use bytes::Bytes;
use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// How long the other side may take no piece.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long it may take to make the state its own.
const INSTALLING: Duration = Duration::from_secs(600);

impl Source {
    /// Sends the state to a node by a leader's vote; answers that node's vote when it has the state.
    pub(super) async fn send(
        self,
        wire: Arc<dyn Wire>,
        to: u64,
        vote: RaftVote,
        point: &Point,
    ) -> Result<RaftVote, String> {
        let Self { states, entries, hold } = self;
        let group = entries.group();
        let shard = states::shard(group).ok_or("the group has no state beside its log")?;
        let _slot = states.sending.acquire().await.map_err(text)?;
        let opening = Opening { group, vote, applied: point.id };
        let mut stream = within(PATIENCE, wire.bulk(to, opening.encode())).await?;
        let (mut out, mut pieces) = Out::new();
        let replicas = states.replicas.clone();
        let packing = states::blocking(move || {
            let applied = replicas.pack(shard, &mut out)?;
            out.end()?;
            Ok(applied)
        });
        let packing = tokio::spawn(packing);
        while let Some(piece) = pieces.recv().await {
            write(&mut *stream, piece).await?;
        }
        let applied = packing.await.map_err(text)?.map_err(text)?;
        let contained = Point::find(&entries, applied);
        let contained =
            contained.ok_or_else(|| format!("its log does not have entry {applied} for sure yet"))?;
        write(&mut *stream, transfer::closing(&contained)?).await?;
        let answer = within(INSTALLING, stream.finish()).await?;
        let vote = Ballot::read(&answer)?;
        tracing::info!(group, to, applied, "sent the state of the group");
        hold.sent(states.retention.sent);
        Ok(types::RaftVote::from(vote))
    }
}

async fn write(stream: &mut dyn BulkWrite, piece: Bytes) -> Result<(), String> {
    within(PATIENCE, stream.write(piece)).await
}

async fn within<T>(patience: Duration, work: impl Future<Output = std::io::Result<T>>) -> Result<T, String> {
    match timeout(patience, work).await {
        Ok(done) => done.map_err(text),
        Err(_) => Err(format!("nothing moved for {patience:?}")),
    }
}

fn text(error: impl Display) -> String {
    error.to_string()
}
