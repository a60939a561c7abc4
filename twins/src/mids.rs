//! The message ids that a device gave to what it said: a message that comes again under its id has no second effect.
//!
//! It is remembered by the transition that has the effect, so that both survive, or neither does.

use std::time::Duration;

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
#[derive(Debug, Clone, PartialEq, Eq, Default, minicbor::Encode, minicbor::Decode)]
pub struct Mids {
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
        // What comes again mostly comes again soon.
        let found = self.seen.iter().rev().find(|seen| seen.mid == mid);
        found.is_some_and(|seen| seen.at + AGE_MAX > now)
    }

    /// What the method returned that the message called, as long as that is kept.
    pub fn result(&self, mid: Digest) -> Option<&Json> {
        self.results.get(mid)
    }

    /// About how many bytes it takes.
    pub fn bytes(&self) -> usize {
        self.seen.len() * size_of::<Seen>() + self.results.bytes()
    }

    pub(crate) fn remember(&mut self, mid: Digest, at: Timestamp, returned: Option<&Json>) {
        self.seen.push(Seen { mid, at });
        self.seen.forget(|newest, behind| behind >= MIDS || newest.at + AGE_MAX <= at);
        if let Some(returned) = returned {
            self.results.keep(mid, returned);
        }
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
    }
}
