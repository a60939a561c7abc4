//! A state on its way to another node, as bytes.
//!
//! The stream is opened with what it is: the mark, a version, and an [`Opening`]. Then come pieces of the state, each with
//! its length before it (four bytes, little-endian), an empty one, and a [`Closing`] with its length before it. What the
//! state contains is known only when it is packed: the shard goes on meanwhile. So that is said at the end.
//!
//! Whoever reads trusts no length: a piece has a limit, and its bytes are passed on as they come. Both ends work on threads
//! that may block, with a few pieces between them and the stream: who is faster waits.

use super::body::{Ballot, Body, Place};
use super::snapshot::Point;
use super::types::{RaftVote, vote_from_raft};
use crate::membership::Membership;
use crate::wal::Vote;
use bytes::Bytes;
use minicbor::{Decode, Encode};
use runtime::log::LogId;
use std::io::{self, Read, Write};
use tokio::sync::mpsc;

const MARK: &[u8; 5] = b"TwfS\x01";
/// The longest opening, mark included.
const OPENING_MAX: usize = 1 << 10;
/// The longest closing: a membership of thousands of nodes.
const CLOSING_MAX: usize = 256 << 10;
/// How long a piece is that is sent.
const PIECE: usize = 256 << 10;
/// How long a piece may be that comes.
const PIECE_MAX: usize = 1 << 20;
/// How many pieces wait between the stream and whoever packs or stages.
const WAITING: usize = 4;

/// What a stream brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Opening {
    pub(super) group: u32,
    /// The sender leads by it.
    pub(super) vote: RaftVote,
    /// The last entry that the state contains at least.
    pub(super) applied: LogId,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct Opened {
    #[n(0)]
    group: u32,
    #[n(1)]
    vote: Ballot,
    #[n(2)]
    applied: Place,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct Closing<'b> {
    #[n(0)]
    applied: Place,
    #[n(1)]
    place: Place,
    #[cbor(b(2), with = "minicbor::bytes")]
    membership: &'b [u8],
}

impl Opening {
    pub(super) fn encode(&self) -> Bytes {
        let mut bytes = MARK.to_vec();
        Opened { group: self.group, vote: self.vote.into(), applied: self.applied.into() }.write(&mut bytes);
        bytes.into()
    }

    /// Reads what a node said, which must be what its group's leader may say.
    pub(super) fn decode(bytes: &[u8], from: u64) -> Result<Self, String> {
        let body = bytes.strip_prefix(MARK).filter(|_| bytes.len() <= OPENING_MAX);
        let body = body.ok_or("it brings nothing that this version knows")?;
        let Opened { group, vote, applied } = Opened::read(body)?;
        let (vote, applied) = (RaftVote::from(vote), LogId::from(applied));
        let Vote { term, node, committed } = vote_from_raft(&vote);
        if !committed || node != from || term < applied.term {
            return Err(format!("node {from} does not lead group {group} by a vote like this: {vote}"));
        }
        Ok(Self { group, vote, applied })
    }
}

/// The writing end: what packs a state writes to it, and waits while the stream is slower.
pub(super) struct Out {
    pieces: mpsc::Sender<Bytes>,
    piece: Vec<u8>,
}

impl Out {
    pub(super) fn new() -> (Self, mpsc::Receiver<Bytes>) {
        let (pieces, waiting) = mpsc::channel(WAITING);
        (Self { pieces, piece: Vec::new() }, waiting)
    }

    /// All of the state was written.
    pub(super) fn end(mut self) -> Result<(), String> {
        self.flush().map_err(|error| error.to_string())
    }
}

impl Write for Out {
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
        let piece = framed(&std::mem::take(&mut self.piece));
        self.pieces.blocking_send(piece).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// What ends a state.
pub(super) fn closing(point: &Point) -> Result<Bytes, String> {
    let (place, membership) = point.membership.as_ref().ok_or("its group has no members")?;
    let mut bytes = Vec::new();
    Closing { applied: point.id.into(), place: (*place).into(), membership }.write(&mut bytes);
    if bytes.len() > CLOSING_MAX {
        return Err(format!("the group's membership has {} bytes", membership.len()));
    }
    Ok([framed(&[]), framed(&bytes)].concat().into())
}

fn framed(bytes: &[u8]) -> Bytes {
    let length = u32::try_from(bytes.len()).expect("a piece is short").to_le_bytes();
    [&length, bytes].concat().into()
}

/// The reading end: what stages a state reads from it, and waits for the stream.
pub(super) struct In {
    /// None is the end; without that the stream was cut off.
    stream: mpsc::Receiver<Option<Bytes>>,
    bytes: Bytes,
    /// What is left of the piece.
    left: usize,
    has_ended: bool,
}

impl In {
    pub(super) fn new() -> (mpsc::Sender<Option<Bytes>>, Self) {
        let (sender, stream) = mpsc::channel(WAITING);
        (sender, Self { stream, bytes: Bytes::new(), left: 0, has_ended: false })
    }

    /// What the state contains, once it was read to its end, and nothing follows.
    pub(super) fn closing(mut self) -> Result<Point, String> {
        let failed = |error: io::Error| error.to_string();
        if self.read(&mut [0]).map_err(failed)? > 0 {
            return Err("more follows the state than belongs to it".to_owned());
        }
        let length = self.length(CLOSING_MAX).map_err(failed)?;
        let mut bytes = vec![0; length];
        self.whole(&mut bytes).map_err(failed)?;
        if !self.bytes.is_empty() || self.fill().map_err(failed)? {
            return Err("more follows the end of the state".to_owned());
        }
        let Closing { applied, place, membership } = Closing::read(&bytes)?;
        let (id, place) = (LogId::from(applied), LogId::from(place));
        Membership::decode(membership).map_err(|error| format!("its membership cannot be read: {error}"))?;
        if place > id || place.index > id.index {
            return Err(format!("its membership is of entry {}, behind {}", place.index, id.index));
        }
        Ok(Point { id, membership: Some((place, Bytes::copy_from_slice(membership))) })
    }

    /// Waits for bytes; false at the end of the stream.
    fn fill(&mut self) -> io::Result<bool> {
        while self.bytes.is_empty() {
            match self.stream.blocking_recv() {
                Some(Some(bytes)) => self.bytes = bytes,
                Some(None) => return Ok(false),
                None => return Err(cut_off()),
            }
        }
        Ok(true)
    }

    fn take(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.fill()? {
            return Err(cut_off());
        }
        let taken = buffer.len().min(self.bytes.len());
        buffer[..taken].copy_from_slice(&self.bytes.split_to(taken));
        Ok(taken)
    }

    fn whole(&mut self, mut buffer: &mut [u8]) -> io::Result<()> {
        while !buffer.is_empty() {
            let taken = self.take(buffer)?;
            buffer = &mut buffer[taken..];
        }
        Ok(())
    }

    fn length(&mut self, max: usize) -> io::Result<usize> {
        let mut bytes = [0; 4];
        self.whole(&mut bytes)?;
        let length = usize::try_from(u32::from_le_bytes(bytes)).unwrap_or(usize::MAX);
        if length > max {
            let reason = format!("a piece of {length} bytes was announced, {max} at most may come");
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        Ok(length)
    }
}

impl Read for In {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.has_ended || buffer.is_empty() {
            return Ok(0);
        }
        if self.left == 0 {
            self.left = self.length(PIECE_MAX)?;
            if self.left == 0 {
                self.has_ended = true;
                return Ok(0);
            }
        }
        let most = buffer.len().min(self.left);
        let taken = self.take(&mut buffer[..most])?;
        self.left -= taken;
        Ok(taken)
    }
}

fn cut_off() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the state was cut off")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point() -> Point {
        let membership = Membership::alone(1).encode();
        let id = |index| LogId { term: 3, index };
        Point { id: id(9), membership: Some((id(4), membership.into())) }
    }

    /// Reads a stream that comes in pieces of a length, and perhaps ends.
    fn read(stream: &[u8], length: usize, ends: bool) -> Result<(Vec<u8>, Point), String> {
        let (sender, mut input) = In::new();
        let pieces: Vec<Bytes> = stream.chunks(length).map(Bytes::copy_from_slice).collect();
        let feeding = std::thread::spawn(move || {
            for piece in pieces.into_iter().map(Some).chain(ends.then_some(None)) {
                if sender.blocking_send(piece).is_err() {
                    return;
                }
            }
        });
        let mut state = Vec::new();
        let read = input.read_to_end(&mut state).map_err(|error| error.to_string());
        let read = read.and_then(|_| input.closing()).map(|point| (state, point));
        feeding.join().unwrap();
        read
    }

    fn sent(state: &[u8]) -> Vec<u8> {
        let (mut out, mut pieces) = Out::new();
        let state = state.to_vec();
        let packing = std::thread::spawn(move || {
            out.write_all(&state).unwrap();
            out.end().unwrap();
        });
        let mut stream = Vec::new();
        while let Some(piece) = pieces.blocking_recv() {
            stream.extend(piece);
        }
        packing.join().unwrap();
        stream.extend(closing(&point()).unwrap());
        stream
    }

    #[test]
    fn a_state_is_read_as_it_was_sent_however_it_is_cut() {
        for size in [0, 1, PIECE, 3 * PIECE + 7] {
            let state: Vec<u8> = (0..size).map(|at| at as u8).collect();
            let stream = sent(&state);

            for length in [1 << 10, 100_003, stream.len()] {
                assert_eq!(read(&stream, length, true), Ok((state.clone(), point())));
            }
        }
    }

    #[test]
    fn no_part_of_a_stream_is_taken_for_all_of_it_and_nothing_may_follow() {
        let stream = sent(b"a state");

        for end in 0..stream.len() {
            assert!(read(&stream[..end], 5, true).is_err(), "{end} bytes");
        }
        assert!(read(&stream, 5, false).is_err(), "its end was not seen");
        assert!(read(&[&stream[..], b"x"].concat(), 5, true).is_err());
        assert!(read(&[&stream[..], &stream[..]].concat(), 5, true).is_err());
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused_before_anything_is_held_for_it() {
        let error = read(&[0xff; 4], 4, true).unwrap_err();

        assert!(error.contains("4294967295 bytes was announced"), "{error}");
        let closing = [&[0; 4][..], &[0xff; 4]].concat();
        assert!(read(&closing, 4, true).unwrap_err().contains("was announced"));
    }

    #[test]
    fn an_opening_that_no_leader_says_is_refused() {
        let opening = |vote, term| Opening { group: 5, vote, applied: LogId { term, index: 9 } };
        let check = |vote, term, from| Opening::decode(&opening(vote, term).encode(), from);
        let leads = RaftVote::new_committed(3, 1);

        assert_eq!(check(leads, 3, 1), Ok(opening(leads, 3)));
        assert!(check(leads, 3, 2).is_err(), "another node leads");
        assert!(check(leads, 4, 1).is_err(), "an entry of a later leader");
        assert!(check(RaftVote::new(3, 1), 3, 1).is_err(), "it only wants to");
        let bytes = opening(leads, 3).encode();
        for end in 0..bytes.len() {
            assert!(Opening::decode(&bytes[..end], 1).is_err());
        }
        assert!(Opening::decode(&[&bytes[..], &[0; OPENING_MAX]].concat(), 1).is_err());
    }
}
