//! The message ids that a device gave to what it said: a message that comes again under its id has no second effect.
//!
//! It is remembered by the transition that has the effect, so that both survive, or neither does. Every message with an
//! id is looked for among all that are remembered, and mostly is not there: two bytes of each are kept apart, so that
//! looking goes through 2 KB and not through 25 KB (0.08 us and not 2, and 0.6 us and not 12 where the cache has none of it).

use std::time::Duration;

use minicbor::decode::Error as DecodeError;
use minicbor::{Decode, Decoder};

use crate::chunks::Chunks;
use crate::digest::Digest;
use crate::json::Json;
use crate::results::Results;
use crate::time::Timestamp;

/// How many messages are remembered at least, unless they are older than [`AGE_MAX`].
pub const MIDS: usize = 1_000;
/// How long a message is remembered at most.
pub const AGE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The window. Cheap to clone and to append to, and owns nothing where no message has an id.
#[derive(Debug, Clone, PartialEq, Eq, Default, minicbor::Encode)]
pub struct Mids {
    #[n(0)]
    seen: Chunks<Seen>,
    #[n(1)]
    results: Results,
    /// Of each one seen, in the same places. They follow from it and are not stored.
    #[cbor(skip)]
    prints: Chunks<u16>,
}

/// What is stored of them.
#[derive(minicbor::Decode)]
struct Stored {
    #[n(0)]
    seen: Chunks<Seen>,
    #[n(1)]
    results: Results,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
struct Seen {
    #[n(0)]
    mid: Digest,
    #[n(1)]
    at: Timestamp,
}

impl Mids {
    /// Whether a message of this id had its effect.
    pub fn has(&self, mid: Digest, now: Timestamp) -> bool {
        let print = mid.print();
        let likely = self.prints.chunks().zip(self.seen.chunks()).filter(|(prints, _)| prints.contains(&print));
        // One that was too old may have come again since.
        likely.flat_map(|(_, seen)| seen).any(|seen| seen.mid == mid && seen.at + AGE_MAX > now)
    }

    /// What the method returned that the message called, as long as that is kept.
    pub fn result(&self, mid: Digest) -> Option<&Json> {
        self.results.get(mid)
    }

    /// About how many bytes it takes.
    pub fn bytes(&self) -> usize {
        self.seen.len() * (size_of::<Seen>() + size_of::<u16>()) + self.results.bytes()
    }

    pub(crate) fn remember(&mut self, mid: Digest, at: Timestamp, returned: Option<&Json>) {
        self.seen.push(Seen { mid, at });
        self.prints.push(mid.print());
        self.seen.forget(|newest, behind| behind >= MIDS || newest.at + AGE_MAX <= at);
        let left = self.seen.len();
        self.prints.forget(|_, behind| behind >= left);
        if let Some(returned) = returned {
            self.results.keep(mid, returned);
        }
    }
}

impl<'b, C> Decode<'b, C> for Mids {
    fn decode(d: &mut Decoder<'b>, context: &mut C) -> Result<Self, DecodeError> {
        let Stored { seen, results } = Stored::decode(d, context)?;
        let mut prints = Chunks::default();
        seen.iter().for_each(|seen| prints.push(seen.mid.print()));
        Ok(Self { seen, results, prints })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mid(n: usize) -> Digest {
        Digest::of(&[&n.to_string().into_bytes()])
    }

    #[test]
    fn a_thousand_messages_are_remembered_for_a_day() {
        let mut mids = Mids::default();
        let (start, soon) = (Timestamp::from_millis(1_000), Timestamp::from_millis(2_000));
        (0..5_000).for_each(|n| mids.remember(mid(n), start, None));

        assert!((4_000..5_000).all(|n| mids.has(mid(n), soon)), "the last thousand");
        assert!(!(0..3_900).any(|n| mids.has(mid(n), soon)), "and few more");
        assert!(mids.bytes() < 32 * 1024);

        assert!(!mids.has(mid(4_999), start + AGE_MAX));
        mids.remember(mid(5_000), start + AGE_MAX, None);
        assert_eq!(mids.seen.len(), 9, "the last chunk, which holds the newest");
        assert_eq!(mids.prints.len(), 9);
        assert!(mids.has(mid(5_000), start + AGE_MAX));
    }

    #[test]
    fn what_is_read_back_remembers_the_same() {
        let at = Timestamp::from_millis(1_000);
        let mut mids = Mids::default();
        (0..3_000).for_each(|n| mids.remember(mid(n), at, None));

        let mut read: Mids = minicbor::decode(&minicbor::to_vec(&mids).unwrap()).unwrap();

        assert_eq!(read, mids);
        assert!((2_000..3_000).all(|n| read.has(mid(n), at)));
        assert!(!(3_000..9_000).any(|n| read.has(mid(n), at)), "also where two begin alike");
        read.remember(mid(3_000), at, None);
        mids.remember(mid(3_000), at, None);
        assert_eq!(read, mids);
    }
}
