//! Bulk: a stream of its own for what is too large for a message, behind the lanes in priority.
//!
//! It begins with a frame that says what it is, goes on as plain bytes to its end, and is answered with a frame. Whoever
//! drops its end gives it up; the other side then reads or writes an error, never an early end.

use bytes::Bytes;
use quinn::{Connection, RecvStream, SendStream, VarInt, WriteError};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

use super::frame::{self, Channel, Frame, Kind, PIECE_BYTES};
use super::refusal::{self, Refusal};
use super::stream::{Ended, Frames};
use crate::wire::{Boxed, BulkRead, BulkWrite, Contact, Hears};

/// Streams of the other side that may be open at once; it waits with more.
pub(super) const STREAMS_MAX: u32 = 4;
/// Behind all lanes.
const PRIORITY: i32 = -1;
/// What a stream is given up with.
const GIVEN_UP: VarInt = VarInt::from_u32(1);
/// The longest text that a stream is not taken with.
const TEXT_MAX: usize = 1 << 10;

/// Opens one.
pub(super) async fn open(connection: Connection, version: u8, what: Bytes) -> io::Result<Box<dyn BulkWrite>> {
    let max = 64 << 10;
    if what.len() > max {
        let text = format!("what a bulk stream is takes {} bytes, {max} at most", what.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    let (out, answer) = connection.open_bi().await?;
    let frames = Frames::new(answer, Channel::Bulk, version);
    let mut writing = Writing { out: Some(out), answer: frames };
    writing.stream().set_priority(PRIORITY).map_err(io::Error::other)?;
    let head = frame::whole(version, Channel::Bulk, Kind::Opening, &what);
    writing.write(head).await?;
    Ok(Box::new(writing))
}

/// Takes one that the other side has opened, and answers it. What is wrong with it beyond its own bytes ends the
/// connection.
pub(super) async fn take(
    (mut out, incoming): (SendStream, RecvStream),
    version: u8,
    from: Contact,
    hears: Arc<dyn Hears>,
    patience: Duration,
) -> Result<(), Ended> {
    drop(out.set_priority(PRIORITY));
    let mut frames = Frames::new(incoming, Channel::Bulk, version);
    let what = match timeout(patience, frames.next()).await {
        Ok(Ok(Some(Frame { kind: Kind::Opening, body }))) => body,
        Ok(Ok(_)) => return Err(Refusal::Malformed("a bulk stream that does not say what it is").into()),
        // It was given up at once: that is its right.
        Ok(Err(Ended::GivenUp)) | Err(_) => return Ok(()),
        Ok(Err(ended)) => return Err(ended),
    };
    let (rest, stream) = frames.into_rest();
    let reading = Box::new(Reading { rest, stream });
    let answer = hears.bulk(from, what, reading).await;
    let answer = match &answer {
        Ok(answer) if answer.len() > Channel::Bulk.body_bytes_max() => {
            (Kind::NotTaken, &b"the answer is too long"[..])
        }
        Ok(answer) => (Kind::Taken, &answer[..]),
        Err(text) => (Kind::NotTaken, &text.as_bytes()[..text.len().min(TEXT_MAX)]),
    };
    // Whoever opened it may have gone meanwhile.
    let written = out.write_all(&frame::whole(version, Channel::Bulk, answer.0, answer.1)).await;
    if written.is_ok() {
        drop(out.finish());
    }
    Ok(())
}

struct Writing {
    /// `None` once it is finished.
    out: Option<SendStream>,
    answer: Frames,
}

impl Writing {
    fn stream(&mut self) -> &mut SendStream {
        self.out.as_mut().expect("only finishing takes it, and nothing is written then")
    }

    async fn answered(&mut self) -> io::Result<Bytes> {
        match self.answer.next().await {
            Ok(Some(Frame { kind: Kind::Taken, body })) => Ok(body),
            Ok(Some(Frame { kind: Kind::NotTaken, body })) => Err(io::Error::other(refusal::text(&body))),
            Ok(_) => Err(io::Error::other("the other node has not answered the stream")),
            Err(ended) => Err(ended.into()),
        }
    }
}

impl BulkWrite for Writing {
    fn write(&mut self, piece: Bytes) -> Pin<Box<dyn Future<Output = io::Result<()>> + Send + '_>> {
        Box::pin(async move {
            match self.stream().write_chunk(piece).await {
                Ok(()) => Ok(()),
                // It reads no more, and says why.
                Err(WriteError::Stopped(_)) => Err(match self.answered().await {
                    Ok(_) => io::Error::other("the other node has answered before the stream's end"),
                    Err(error) => error,
                }),
                Err(error) => Err(error.into()),
            }
        })
    }

    fn finish(mut self: Box<Self>) -> Boxed<io::Result<Bytes>> {
        Box::pin(async move {
            if let Some(mut out) = self.out.take() {
                drop(out.finish());
            }
            self.answered().await
        })
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        // Dropped alone it would end like a whole one.
        if let Some(mut out) = self.out.take() {
            drop(out.reset(GIVEN_UP));
        }
    }
}

struct Reading {
    rest: Bytes,
    stream: RecvStream,
}

impl BulkRead for Reading {
    fn read(&mut self) -> Pin<Box<dyn Future<Output = io::Result<Option<Bytes>>> + Send + '_>> {
        Box::pin(async move {
            if !self.rest.is_empty() {
                return Ok(Some(std::mem::take(&mut self.rest)));
            }
            let chunk = self.stream.read_chunk(PIECE_BYTES, true).await?;
            Ok(chunk.map(|chunk| chunk.bytes))
        })
    }
}

impl From<Ended> for io::Error {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Lost(error) => error.into(),
            ended => Self::other(ended),
        }
    }
}
