//! Admission (step 5): a shard takes inputs from outside only while it has room for them.
//!
//! A permit is taken before an input is handed to the shard and held until it is answered, so that a shard's mailbox,
//! its uncommitted decisions and their answers are bounded together. What the shard says to itself needs none.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

/// The limit that is reached while the channels to other shards are full.
pub(crate) const CHANNELS_FULL: &str = "too many effects wait until other shards have taken them";

/// The limits of one shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Inputs that are not answered yet. Default 4,096: less costs throughput, more costs latency under overload.
    pub inputs: usize,
    /// The bytes of their payloads. Default 4 MiB, at least one payload of the largest size.
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { inputs: 4_096, bytes: 4 * 1024 * 1024 }
    }
}

/// What a shard has admitted and not yet answered.
#[derive(Debug)]
pub(crate) struct Admission {
    limits: Limits,
    inputs: AtomicUsize,
    bytes: AtomicUsize,
    is_behind: AtomicBool,
    is_full: AtomicBool,
    refusals: [AtomicU64; REASONS.len()],
}

/// Why something is not admitted, as metrics name it.
pub(crate) const REASONS: [&str; 4] = ["behind", "inputs", "bytes", "channels"];

/// The same in words, for whoever is refused.
const WORDS: [&str; 4] = [
    "the state store is behind with writing what was taken in",
    "too many inputs are not answered yet",
    "the inputs that are not answered yet have too many bytes",
    CHANNELS_FULL,
];

/// More than may be is under way between this node and the one that leads.
pub(crate) const NODES_FULL: &str = "too much is under way between two nodes";

/// The limit of these words, as another node wrote them.
pub(crate) fn named(words: &str) -> &'static str {
    let known = WORDS.into_iter().chain([NODES_FULL]).find(|known| *known == words);
    known.unwrap_or("a limit of the shard is reached")
}

/// The room of one input; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Permit {
    admission: Arc<Admission>,
    bytes: usize,
    since: Instant,
}

impl Admission {
    pub(crate) fn new(limits: Limits) -> Arc<Self> {
        let (inputs, bytes) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Self {
            limits,
            inputs,
            bytes,
            is_behind: AtomicBool::new(false),
            is_full: AtomicBool::new(false),
            refusals: Default::default(),
        })
    }

    /// While the shard is behind with writing to the state store, nothing is admitted.
    pub(crate) fn set_behind(&self, is_behind: bool) {
        self.is_behind.store(is_behind, Ordering::Relaxed);
    }

    /// While the channels to other shards are full, nothing is admitted.
    pub(crate) fn set_full(&self, is_full: bool) {
        self.is_full.store(is_full, Ordering::Relaxed);
    }

    /// Room for an input with this payload, or the limit that leaves none.
    pub(crate) fn admit(self: &Arc<Self>, bytes: usize, now: Instant) -> Result<Permit, &'static str> {
        if self.is_behind.load(Ordering::Relaxed) {
            return Err(self.refuse(0));
        }
        if self.is_full.load(Ordering::Relaxed) {
            return Err(self.refuse(3));
        }
        if !add(&self.inputs, 1, self.limits.inputs) {
            return Err(self.refuse(1));
        }
        if !add(&self.bytes, bytes, self.limits.bytes) {
            self.inputs.fetch_sub(1, Ordering::Relaxed);
            return Err(self.refuse(2));
        }
        Ok(Permit { admission: self.clone(), bytes, since: now })
    }

    /// How many inputs are admitted and not answered, and their bytes.
    pub(crate) fn used(&self) -> (usize, usize) {
        (self.inputs.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    /// How many were refused for one of the [`REASONS`].
    pub(crate) fn refusals(&self, reason: usize) -> u64 {
        self.refusals[reason].load(Ordering::Relaxed)
    }

    fn refuse(&self, reason: usize) -> &'static str {
        self.refusals[reason].fetch_add(1, Ordering::Relaxed);
        WORDS[reason]
    }
}

impl Permit {
    /// When it was given.
    pub(crate) fn since(&self) -> Instant {
        self.since
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.admission.inputs.fetch_sub(1, Ordering::Relaxed);
        self.admission.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Adds, unless that would pass the limit. An empty counter takes anything, so that no input is too large for ever.
fn add(counter: &AtomicUsize, n: usize, limit: usize) -> bool {
    let fits = |held: usize| (held == 0 || held + n <= limit).then_some(held + n);
    counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_full_refuses_until_a_permit_is_given_back() {
        let admission = Admission::new(Limits { inputs: 2, bytes: 100 });

        let first = admission.admit(60, Instant::now()).unwrap();
        assert!(admission.admit(60, Instant::now()).is_err());
        let second = admission.admit(40, Instant::now()).unwrap();
        assert!(admission.admit(0, Instant::now()).is_err());
        drop(first);
        drop(second);

        assert!(admission.admit(1_000, Instant::now()).is_ok(), "an empty shard takes any one input");
    }
}
