//! The way between two nodes: what is heard of it was said once, in order, and nothing between was lost.
//!
//! What carries it loses what was under way when it breaks, and forgets when it is full. So both sides number what they
//! say. Whoever misses a number *breaks* the link: it forgets all that rests on what was said before, and names itself
//! anew; the other side hears the new name, and does the same. What was said under an older pair of names is not heard.
//!
//! A message goes in pieces, each with a header; numbers are little-endian:
//!
//! | bytes | |
//! |---|---|
//! | 0 | version of the format: 1 |
//! | 1 | 1 where the message goes on in the next piece, else 0 |
//! | 2..4 | 0 |
//! | 4..12 | the name of who says it, which grows |
//! | 12..20 | the last name that was heard of the other side; 0 for none |
//! | 20..28 | the number of the piece under this pair of names, from 1 |

use bytes::{BufMut, Bytes, BytesMut};

const VERSION: u8 = 1;
/// Length of a header.
const HEADER: usize = 28;
/// Bytes of a message in one piece.
pub(super) const PIECE: usize = 1 << 20;
/// Bytes of a message. A twin with all that it may have has fewer.
pub(super) const MESSAGE_MAX: usize = 16 << 20;

/// One side of it.
#[derive(Debug)]
pub(super) struct Link {
    mine: u64,
    theirs: u64,
    said: u64,
    heard: u64,
    /// A message of which not all has come.
    part: Vec<u8>,
}

/// What hearing a piece leads to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    /// All that rests on what was said before is lost.
    pub(super) is_broken: bool,
    /// The other side has to hear something of this one.
    pub(super) is_to_answer: bool,
    /// A message is whole.
    pub(super) message: Option<Bytes>,
}

/// Why a piece is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It is too short, or its header is not one.
    #[error("a forwarded frame of {0} bytes has no header of version 1")]
    Header(usize),
    /// The message has too many bytes.
    #[error("a forwarded message has more than {MESSAGE_MAX} bytes")]
    TooLarge,
    /// It says nothing that is known.
    #[error("a forwarded message cannot be read: {0}")]
    Body(String),
}

impl Link {
    /// One whose name was never used before by this node, if `first` is the generation's.
    pub(super) fn new(generation: u64) -> Self {
        let mine = (generation << 32) | 1;
        Self { mine, theirs: 0, said: 0, heard: 0, part: Vec::new() }
    }

    /// Whether something can be said: the other side was heard of.
    pub(super) fn is_open(&self) -> bool {
        self.theirs > 0
    }

    /// Everything that was said before is forgotten.
    pub(super) fn break_off(&mut self) {
        self.mine += 1;
        self.begin();
    }

    fn begin(&mut self) {
        (self.said, self.heard) = (0, 0);
        self.part = Vec::new();
    }

    /// The next message, in pieces. They count as said.
    pub(super) fn say(&mut self, message: &[u8]) -> Vec<Bytes> {
        let count = message.len().div_ceil(PIECE).max(1);
        let piece = |n: usize| {
            let part = &message[n * PIECE..message.len().min((n + 1) * PIECE)];
            let mut piece = BytesMut::with_capacity(HEADER + part.len());
            piece.put_slice(&[VERSION, u8::from(n + 1 < count), 0, 0]);
            piece.put_u64_le(self.mine);
            piece.put_u64_le(self.theirs);
            piece.put_u64_le(self.said + n as u64 + 1);
            piece.put_slice(part);
            piece.freeze()
        };
        let pieces = (0..count).map(piece).collect();
        self.said += count as u64;
        pieces
    }

    /// The last message of so many pieces was not said: none of them left.
    pub(super) fn unsay(&mut self, pieces: usize) {
        self.said -= pieces as u64;
    }

    /// A piece has come.
    pub(super) fn hear(&mut self, piece: &Bytes) -> Result<Heard, Malformed> {
        let (name, of_mine, number, goes_on) = read(piece).ok_or(Malformed::Header(piece.len()))?;
        let mut heard = Heard::default();
        if name < self.theirs {
            return Ok(heard);
        }
        if name > self.theirs {
            heard.is_broken = self.theirs > 0;
            heard.is_to_answer = true;
            self.theirs = name;
            self.begin();
        }
        if of_mine != self.mine {
            heard.is_to_answer = true;
            return Ok(heard);
        }
        if number <= self.heard {
            return Ok(heard);
        }
        if number > self.heard + 1 {
            self.break_off();
            return Ok(Heard { is_broken: true, is_to_answer: true, message: None });
        }
        self.heard = number;
        let part = piece.slice(HEADER..);
        if self.part.len() + part.len() > MESSAGE_MAX {
            return Err(Malformed::TooLarge);
        }
        heard.message = match (goes_on, self.part.is_empty()) {
            (false, true) => Some(part),
            (false, false) => {
                self.part.extend_from_slice(&part);
                Some(std::mem::take(&mut self.part).into())
            }
            (true, _) => {
                self.part.extend_from_slice(&part);
                None
            }
        };
        Ok(heard)
    }
}

/// The fields of a header: the names, the number, and whether the message goes on.
fn read(piece: &[u8]) -> Option<(u64, u64, u64, bool)> {
    let (header, _) = piece.split_first_chunk::<HEADER>()?;
    let [version, goes_on, 0, 0, fields @ ..] = header else { return None };
    if *version != VERSION || *goes_on > 1 {
        return None;
    }
    let field = |n: usize| fields[n * 8..].first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
    let (name, of_other, number) = (field(0)?, field(1)?, field(2)?);
    (name > 0 && number > 0).then_some((name, of_other, number, *goes_on == 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two that have heard of each other.
    fn pair() -> (Link, Link) {
        let (mut a, mut b) = (Link::new(1), Link::new(7));
        let first = a.say(b"");
        assert!(b.hear(&first[0]).unwrap().is_to_answer);
        let answer = b.say(b"");
        assert!(a.hear(&answer[0]).unwrap().is_to_answer);
        assert_eq!(b.hear(&a.say(b"")[0]).unwrap().message, Some(Bytes::new()));
        (a, b)
    }

    fn message(link: &mut Link, piece: &Bytes) -> Option<Bytes> {
        link.hear(piece).unwrap().message
    }

    #[test]
    fn what_comes_twice_is_heard_once() {
        let (mut a, mut b) = pair();
        let said = a.say(b"on");

        assert_eq!(message(&mut b, &said[0]).as_deref(), Some(&b"on"[..]));
        assert_eq!(b.hear(&said[0]), Ok(Heard::default()));
    }

    #[test]
    fn a_loss_breaks_the_link_on_both_sides_and_nothing_older_is_heard() {
        let (mut a, mut b) = pair();
        let (_lost, late) = (a.say(b"1"), a.say(b"2"));

        let heard = b.hear(&late[0]).unwrap();
        assert!(heard.is_broken && heard.message.is_none());
        let too_late = a.say(b"3");
        assert!(a.hear(&b.say(b"")[0]).unwrap().is_broken);
        assert_eq!(message(&mut b, &too_late[0]), None);

        assert_eq!(message(&mut b, &a.say(b"4")[0]).as_deref(), Some(&b"4"[..]));
        assert_eq!(message(&mut a, &b.say(b"5")[0]).as_deref(), Some(&b"5"[..]));
    }

    #[test]
    fn both_may_break_it_at_once() {
        let (mut a, mut b) = pair();
        a.break_off();
        b.break_off();
        let (of_a, of_b) = (a.say(b"a"), b.say(b"b"));

        assert!(a.hear(&of_b[0]).unwrap().is_broken && b.hear(&of_a[0]).unwrap().is_broken);

        assert_eq!(message(&mut b, &a.say(b"4")[0]).as_deref(), Some(&b"4"[..]));
        assert_eq!(message(&mut a, &b.say(b"5")[0]).as_deref(), Some(&b"5"[..]));
    }

    #[test]
    fn a_long_message_comes_whole_and_a_longer_one_is_refused() {
        let (mut a, mut b) = pair();
        let long = vec![7; 2 * PIECE + 9];
        let mut heard: Vec<_> =
            a.say(&long).iter().filter_map(|piece| b.hear(piece).unwrap().message).collect();
        assert_eq!(heard.pop().as_deref(), Some(&long[..]));

        let endless = a.say(&vec![7; MESSAGE_MAX + 1]);
        let last = endless.iter().map(|piece| b.hear(piece)).find(Result::is_err);
        assert_eq!(last, Some(Err(Malformed::TooLarge)));
    }

    #[test]
    fn what_is_no_piece_is_refused() {
        let (mut a, mut b) = pair();
        let said = a.say(b"x");

        assert!(b.hear(&said[0].slice(..HEADER - 1)).is_err());
        for (at, byte) in [(0, 2), (1, 2), (2, 1), (3, 1)] {
            let mut bad = said[0].to_vec();
            bad[at] = byte;
            assert!(b.hear(&bad.into()).is_err(), "byte {at}");
        }
        assert!(message(&mut b, &said[0]).is_some(), "nothing was changed by that");
    }
}
