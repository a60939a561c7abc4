//! Liveness: when each node was heard last, and how its clock differs. Pure: whoever calls it says when.
//!
//! A node is heard by any whole frame of it, at the latest by its pings. Each node measures for itself: a follower that
//! becomes leader knows then how long somebody has been silent.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use tokio::time::Instant;

/// Of so many differences of clocks the median counts.
const OFFSETS: usize = 8;

/// What was heard of the others.
#[derive(Debug, Default)]
pub struct Liveness(BTreeMap<u64, Life>);

#[derive(Debug)]
struct Life {
    heard: Instant,
    offsets: VecDeque<i64>,
}

impl Liveness {
    /// The node should be heard from now on: its silence counts from here, unless it was heard before.
    pub fn expect(&mut self, node: u64, now: Instant) {
        self.0.entry(node).or_insert_with(|| Life { heard: now, offsets: VecDeque::new() });
    }

    /// Something of it has arrived.
    pub fn heard(&mut self, node: u64, now: Instant) {
        self.expect(node, now);
        if let Some(life) = self.0.get_mut(&node) {
            life.heard = life.heard.max(now);
        }
    }

    /// Its clock was so many milliseconds ahead of ours.
    pub fn offset_measured(&mut self, node: u64, ahead_ms: i64) {
        if let Some(life) = self.0.get_mut(&node) {
            if life.offsets.len() == OFFSETS {
                life.offsets.pop_front();
            }
            life.offsets.push_back(ahead_ms);
        }
    }

    /// It belongs to the cluster no more.
    pub fn forget(&mut self, node: u64) {
        self.0.remove(&node);
    }

    /// How long each node has been silent.
    pub fn silent(&self, now: Instant) -> impl Iterator<Item = (u64, Duration)> {
        self.0.iter().map(move |(node, life)| (*node, now.saturating_duration_since(life.heard)))
    }

    /// How many milliseconds its clock is ahead of ours: the median of the last eight measurements.
    pub fn offset_ms(&self, node: u64) -> Option<i64> {
        let mut offsets: Vec<_> = self.0.get(&node)?.offsets.iter().copied().collect();
        offsets.sort_unstable();
        offsets.get(offsets.len() / 2).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_counts_from_the_last_word_or_from_when_one_was_expected() {
        let (mut liveness, begin) = (Liveness::default(), Instant::now());
        let at = |s| begin + Duration::from_secs(s);

        liveness.expect(2, at(0));
        liveness.expect(3, at(1));
        liveness.heard(3, at(4));
        liveness.expect(3, at(5));

        let silent: Vec<_> = liveness.silent(at(6)).collect();
        assert_eq!(silent, [(2, Duration::from_secs(6)), (3, Duration::from_secs(2))]);
    }

    #[test]
    fn one_late_ping_does_not_move_the_clock() {
        let mut liveness = Liveness::default();
        liveness.heard(2, Instant::now());

        [10, 11, 12, 9_000, 10].into_iter().for_each(|ahead| liveness.offset_measured(2, ahead));

        assert_eq!(liveness.offset_ms(2), Some(11));
        assert_eq!(liveness.offset_ms(3), None);
    }
}
