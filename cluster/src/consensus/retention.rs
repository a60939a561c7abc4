//! How much of a log is kept behind what the shard's state has: what a follower that is late still needs.
//!
//! A follower that lacks dropped entries is sent the whole state, which costs more than any entries. So the end of the log
//! is kept, more of it while somebody is late; and all that follows a state that is being sent, or has just arrived, or
//! else it would be too old when it is there, and another one would have to be sent.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How much of a group's log consensus keeps, beside what other nodes still have to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// The bytes of entries that are kept while all members have nearly all. Default 1 MiB for each group. Too little and
    /// a node that was away for a moment needs the whole state; too much costs disk.
    pub healthy_bytes: u64,
    /// The bytes of entries that are kept while a member lacks more than that. Default 16 MiB for each group, so 1 GiB of
    /// a node at worst. It is the longest absence after which a node needs entries alone.
    pub lagging_bytes: u64,
    /// How long all that follows a state is kept after it was sent. Default 30 s: by then its receiver asks for entries.
    pub sent: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self { healthy_bytes: 1 << 20, lagging_bytes: 16 << 20, sent: Duration::from_secs(30) }
    }
}

/// The states that are on their way from this node.
#[derive(Default)]
pub(super) struct Holds {
    /// By group and number.
    held: Mutex<BTreeMap<(u32, u64), Held>>,
}

struct Held {
    applied: u64,
    /// Until when, once it has arrived.
    until: Option<Instant>,
}

impl Holds {
    /// Keeps all of a group that is there, as long as the answer lives.
    pub(super) fn hold(self: &Arc<Self>, group: u32) -> Hold {
        let mut held = self.held();
        let last = held.range((group, 0)..=(group, u64::MAX)).next_back();
        let number = last.map_or(0, |((_, number), _)| number + 1);
        held.insert((group, number), Held { applied: 0, until: None });
        drop(held);
        Hold { holds: self.clone(), key: (group, number), sent: None }
    }

    /// The first entry behind which all of a group is kept.
    pub(super) fn first(&self, group: u32) -> Option<u64> {
        let now = Instant::now();
        let mut held = self.held();
        held.retain(|_, held| held.until.is_none_or(|until| now < until));
        held.range((group, 0)..=(group, u64::MAX)).map(|(_, held)| held.applied).min()
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<(u32, u64), Held>> {
        // It guards memory only, and nothing that panics is left half done under it.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps the entries that follow a state. Dropped, they may go, at once or a while after it was sent.
pub(super) struct Hold {
    holds: Arc<Holds>,
    key: (u32, u64),
    sent: Option<Duration>,
}

impl Hold {
    /// Keeps no more than what follows an entry.
    pub(super) fn after(self, applied: u64) -> Self {
        if let Some(held) = self.holds.held().get_mut(&self.key) {
            held.applied = applied;
        }
        self
    }

    /// It has arrived, and its receiver has a while to ask for what follows.
    pub(super) fn sent(mut self, keep: Duration) {
        self.sent = Some(keep);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut held = self.holds.held();
        match self.sent {
            Some(keep) => {
                if let Some(held) = held.get_mut(&self.key) {
                    held.until = Some(Instant::now() + keep);
                }
            }
            None => drop(held.remove(&self.key)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_follows_a_state_is_kept_while_it_is_sent_and_for_a_while_after() {
        let holds = Arc::new(Holds::default());
        let (first, second) = (holds.hold(1).after(7), holds.hold(1).after(9));
        let other = holds.hold(2).after(3);
        assert_eq!((holds.first(1), holds.first(2), holds.first(3)), (Some(7), Some(3), None));

        first.sent(Duration::from_secs(30));
        drop(other);
        assert_eq!((holds.first(1), holds.first(2)), (Some(7), None));
        tokio::time::advance(Duration::from_secs(31)).await;
        assert_eq!(holds.first(1), Some(9));

        drop(second);
        assert_eq!(holds.first(1), None);
    }
}
