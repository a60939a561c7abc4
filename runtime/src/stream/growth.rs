//! Growth: whoever follows streams hears that there is more, and reads it from the files like everybody else.
//!
//! A hint carries nothing, and many are one, so that a follower that is slow makes nothing grow. Where nobody follows,
//! a commit costs two loads.

use tokio::sync::watch;

/// The streams of a node, as far as somebody waits for more of them.
pub(crate) struct Growth {
    shards: Box<[watch::Sender<()>]>,
    any: watch::Sender<()>,
}

impl Growth {
    pub(crate) fn new(shards: u32) -> Self {
        let sender = || watch::Sender::new(());
        Self { shards: (0..shards).map(|_| sender()).collect(), any: sender() }
    }

    /// A shard's stream has more to read, or can be read again.
    pub(crate) fn grew(&self, shard: u32) {
        for sender in [self.shards.get(shard as usize), Some(&self.any)].into_iter().flatten() {
            // Whoever listens from now on looks before it waits.
            if sender.receiver_count() > 0 {
                sender.send_replace(());
            }
        }
    }

    /// Hears from now on of one shard, or of all.
    pub(crate) fn listen(&self, shard: Option<u32>) -> watch::Receiver<()> {
        shard.and_then(|shard| self.shards.get(shard as usize)).unwrap_or(&self.any).subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_hears_of_its_shard_and_one_of_all_hears_of_each() {
        let growth = Growth::new(4);
        let (one, all) = (growth.listen(Some(2)), growth.listen(None));

        growth.grew(1);
        assert_eq!((one.has_changed().unwrap(), all.has_changed().unwrap()), (false, true));
        growth.grew(2);
        assert!(one.has_changed().unwrap());
    }
}
