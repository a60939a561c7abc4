//! From a thread that writes to whoever reads in pieces: no more than a few are on their way.

use std::io::{self, Write};

use bytes::Bytes;
use tokio::sync::mpsc;

/// The size of a piece.
const PIECE: usize = 256 << 10;
/// How many pieces wait for whoever reads; the writing thread waits with them.
const PIECES: usize = 4;

/// The end that is written to. Blocks.
pub(crate) struct Sink {
    pieces: mpsc::Sender<io::Result<Bytes>>,
    piece: Vec<u8>,
}

impl Sink {
    pub(crate) fn new() -> (Self, mpsc::Receiver<io::Result<Bytes>>) {
        let (pieces, receiver) = mpsc::channel(PIECES);
        (Self { pieces, piece: Vec::with_capacity(PIECE) }, receiver)
    }

    /// Breaks off: whoever reads learns that what it got is not whole.
    pub(crate) fn fail(self, why: &dyn std::error::Error) {
        // Nobody minds if the reader has gone.
        let _gone = self.pieces.blocking_send(Err(io::Error::other(why.to_string())));
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(PIECE - self.piece.len());
        self.piece.extend_from_slice(&bytes[..taken]);
        if self.piece.len() == PIECE {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        let sent = self.pieces.blocking_send(Ok(piece.into()));
        sent.map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "whoever asked for the backup has gone"))
    }
}
