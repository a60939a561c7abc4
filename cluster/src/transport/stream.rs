//! Reading frames from a stream of QUIC, and what ends a connection.

use bytes::Bytes;
use quinn::{ConnectionError, ReadError, RecvStream, WriteError};

use super::frame::{Channel, Decoder, Frame, PIECE_BYTES};
use super::refusal::{self, Refusal};

/// Why nothing more is read or written.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    /// We refuse to go on.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// The other side has given this stream up, which it may with bulk alone.
    #[error("the other node has given a stream up")]
    GivenUp,
    /// The connection is lost, or was closed by the other side or by another task of ours.
    #[error("{}", refusal::text(.0.to_string().as_bytes()))]
    Lost(ConnectionError),
}

/// The frames of one stream, in order.
#[derive(Debug)]
pub(super) struct Frames {
    stream: RecvStream,
    decoder: Decoder,
    /// What was read and is not decoded yet.
    rest: Bytes,
}

impl Frames {
    pub(super) fn new(stream: RecvStream, channel: Channel, version: u8) -> Self {
        Self { stream, decoder: Decoder::new(channel, version), rest: Bytes::new() }
    }

    /// Both sides have agreed on the version of all that follows.
    pub(super) fn agreed(&mut self, version: u8) {
        self.decoder.agreed(version);
    }

    /// The next one; `None` when the stream has ended between two. It must not be dropped before it is done.
    pub(super) async fn next(&mut self) -> Result<Option<Frame>, Ended> {
        loop {
            if let Some(frame) = self.decoder.feed(&mut self.rest)? {
                return Ok(Some(frame));
            }
            match self.stream.read_chunk(PIECE_BYTES, true).await? {
                Some(chunk) => self.rest = chunk.bytes,
                None if self.decoder.is_between_frames() => return Ok(None),
                None => return Err(Refusal::Malformed("a stream that ends within a frame").into()),
            }
        }
    }

    /// What follows the last frame that was read is no frame any more.
    pub(super) fn into_rest(self) -> (Bytes, RecvStream) {
        (self.rest, self.stream)
    }
}

impl From<Refusal> for Ended {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<ConnectionError> for Ended {
    fn from(error: ConnectionError) -> Self {
        Self::Lost(error)
    }
}

impl From<ReadError> for Ended {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::ConnectionLost(error) => Self::Lost(error),
            _ => Self::GivenUp,
        }
    }
}

impl From<WriteError> for Ended {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::ConnectionLost(error) => Self::Lost(error),
            _ => Self::GivenUp,
        }
    }
}
