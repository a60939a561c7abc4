//! How consensus is set: how soon it notices that a leader is gone, and all that we decide instead of it.

use crate::Error;
use openraft::{Config, SnapshotPolicy};
use std::ops::RangeInclusive;
use std::time::Duration;

/// How many entries one message to a follower has at most; their bytes are limited as well.
const MESSAGE_ENTRIES: u64 = 64;

/// How many heartbeats may be lost, at least, before a follower stands for election.
const HEARTBEATS: u64 = 3;

/// How soon a follower notices that its leader is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timing {
    /// How often a leader lets its followers hear of it. Default 100 ms. Less costs messages, for each group; more makes
    /// the elections later.
    pub heartbeat: Duration,
    /// How long a follower hears nothing before it stands for election, by chance in this range, which is in
    /// milliseconds. Default 400 to 800 ms. Too short and a slow disk costs a leader its place: a follower answers a
    /// heartbeat only after what it was sent before is durable. Too long and a shard waits for its next leader; the end of
    /// the range is also the shortest time in which a leader that vanished is replaced.
    pub election: RangeInclusive<Duration>,
}

impl Default for Timing {
    fn default() -> Self {
        let election = Duration::from_millis(400)..=Duration::from_millis(800);
        Self { heartbeat: Duration::from_millis(100), election }
    }
}

impl Timing {
    /// Whether it can be so.
    ///
    /// # Errors
    /// [`Error::Option`] when the elections would not wait for a few heartbeats, or all come at once.
    pub fn check(&self) -> Result<(), Error> {
        self.config(true).map(drop)
    }

    /// The configuration of a group. Where the group is `alone`, its only voter goes on as the leader of the term in its
    /// log; any other has to be elected again after a restart.
    ///
    /// # Errors
    /// [`Error::Option`] when the elections would not wait for a few heartbeats, or all come at once.
    pub fn config(&self, alone: bool) -> Result<Config, Error> {
        let millis = |duration: &Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let heartbeat = millis(&self.heartbeat);
        let (first, last) = (millis(self.election.start()), millis(self.election.end()));
        let least = [
            ("heartbeat", heartbeat, 1),
            ("election", first, heartbeat.saturating_mul(HEARTBEATS)),
            ("election", last, first.saturating_add(heartbeat)),
        ];
        if let Some((option, value, min)) = least.into_iter().find(|(_, value, min)| value < min) {
            return Err(Error::Option { option, value, min });
        }
        Ok(Config {
            cluster_name: "twinfold".to_owned(),
            heartbeat_interval: heartbeat,
            election_timeout_min: first,
            election_timeout_max: last,
            install_snapshot_timeout: 600_000,
            max_payload_entries: MESSAGE_ENTRIES,
            // A shard's checkpoint is its snapshot, and it says itself what may be purged.
            snapshot_policy: SnapshotPolicy::Never,
            max_in_snapshot_log_to_keep: u64::MAX,
            purge_batch_size: 1,
            api_channel_size: Some(1024),
            notification_channel_size: Some(4096),
            state_machine_channel_size: Some(256),
            // The leader's disk and its followers' work at the same time.
            broadcast_submitted_on_append: Some(true),
            enable_pre_vote: Some(true),
            enable_leader_restore: Some(alone),
            backoff: "50ms 100ms ...400ms".to_owned(),
            ..Config::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_valid_for_openraft() {
        for alone in [true, false] {
            let config = Timing::default().config(alone).unwrap();

            assert_eq!(config.enable_leader_restore, Some(alone));
            config.validate().unwrap();
        }
    }

    #[test]
    fn an_election_that_does_not_wait_for_heartbeats_is_refused() {
        let check = |heartbeat, first, last| {
            let election = Duration::from_millis(first)..=Duration::from_millis(last);
            Timing { heartbeat: Duration::from_millis(heartbeat), election }.config(false).is_ok()
        };

        assert!(check(100, 300, 400));
        assert!(!check(100, 299, 800));
        assert!(!check(100, 400, 400));
        assert!(!check(0, 400, 800));
    }
}
