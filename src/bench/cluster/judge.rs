//! What is judged in the end: whether what was acknowledged is there, once, and how long each shard was silent after the
//! kill. Times are nanoseconds since the load began.

use std::collections::{BTreeMap, BTreeSet};

/// A sample that was acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ack {
    /// The number of its device.
    pub(super) device: usize,
    /// Its number among those of its device, from 1 on.
    pub(super) serial: u64,
    /// When it was last written, on the connection over which it was acknowledged.
    pub(super) written: u64,
    /// When the acknowledgement was read.
    pub(super) at: u64,
}

/// A node that was killed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kill {
    /// When the signal was sent.
    pub(super) at: u64,
    /// When the process was known to be gone.
    pub(super) gone: u64,
}

/// How what is there compares with what was acknowledged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Acknowledged, and not there.
    pub(super) lost: u64,
    /// There once more than once.
    pub(super) duplicated: u64,
    /// There, and never said.
    pub(super) unsaid: u64,
    /// The first of these, in words.
    pub(super) first: Option<String>,
}

/// How long shards were silent after a kill, in nanoseconds, shortest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Silence(Vec<u64>);

impl Verdict {
    /// Takes one device into account, which has said the serials from 1 to `said`.
    pub(super) fn of_device(&mut self, name: &str, said: u64, acked: &BTreeSet<u64>, there: &[u64]) {
        let mut times = BTreeMap::<u64, u64>::new();
        there.iter().for_each(|&serial| *times.entry(serial).or_default() += 1);
        for serial in acked.iter().filter(|serial| !times.contains_key(serial)) {
            self.lost += 1;
            self.note(|| format!("sample {serial} of {name} was acknowledged and is not there"));
        }
        for (serial, times) in times {
            if times > 1 {
                self.duplicated += times - 1;
                self.note(|| format!("sample {serial} of {name} is there {times} times"));
            }
            if !(1..=said).contains(&serial) {
                self.unsaid += 1;
                self.note(|| format!("sample {serial} of {name} is there and was never said"));
            }
        }
    }

    fn note(&mut self, words: impl FnOnce() -> String) {
        self.first.get_or_insert_with(words);
    }
}

impl Silence {
    /// How long these shards were silent: each from the signal to the first acknowledgement of what one of its devices
    /// wrote when the node was gone. What was written before may have been taken by the node that died, and says nothing.
    /// A shard of which nothing was acknowledged any more is not among them.
    pub(super) fn of(acks: &[Ack], kill: Kill, is_one: impl Fn(u32) -> bool, shards: &[u32]) -> Self {
        let mut ends = BTreeMap::<u32, u64>::new();
        for ack in acks.iter().filter(|ack| ack.written >= kill.gone) {
            let Some(&shard) = shards.get(ack.device).filter(|&&shard| is_one(shard)) else { continue };
            let end = ends.entry(shard).or_insert(ack.at);
            *end = ack.at.min(*end);
        }
        let mut silent: Vec<_> = ends.into_values().map(|end| end.saturating_sub(kill.at)).collect();
        silent.sort_unstable();
        Self(silent)
    }

    /// Of how many shards.
    pub(super) fn shards(&self) -> usize {
        self.0.len()
    }

    /// The middle one, the later of two, in milliseconds.
    pub(super) fn p50_ms(&self) -> Option<f64> {
        self.0.get(self.0.len() / 2).copied().map(ms)
    }

    /// The longest, in milliseconds.
    pub(super) fn max_ms(&self) -> Option<f64> {
        self.0.last().copied().map(ms)
    }
}

/// Rounded to a tenth.
fn ms(ns: u64) -> f64 {
    (ns as f64 / 1e5).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(said: u64, acked: &[u64], there: &[u64], lost: u64, duplicated: u64, unsaid: u64) -> Verdict {
        let mut verdict = Verdict::default();
        verdict.of_device("d-1", said, &acked.iter().copied().collect(), there);
        assert_eq!((verdict.lost, verdict.duplicated, verdict.unsaid), (lost, duplicated, unsaid));
        verdict
    }

    #[test]
    fn what_is_there_once_is_right_in_any_order_and_acknowledged_or_not() {
        assert_eq!(check(3, &[1, 2], &[3, 1, 2], 0, 0, 0).first, None);
        check(0, &[], &[], 0, 0, 0);
    }

    #[test]
    fn what_was_acknowledged_and_is_not_there_is_lost() {
        let verdict = check(4, &[1, 2, 4], &[1], 2, 0, 0);
        assert_eq!(
            verdict.first.as_deref(),
            Some("sample 2 of d-1 was acknowledged and is not there"),
            "the first is named"
        );
    }

    #[test]
    fn each_time_too_many_counts_also_of_what_was_not_acknowledged() {
        check(3, &[1], &[1, 1, 1, 3, 3], 0, 3, 0);
    }

    #[test]
    fn what_nobody_said_is_seen() {
        check(2, &[1, 2], &[0, 1, 2, 3], 0, 0, 2);
    }

    #[test]
    fn the_devices_add_up_and_do_not_stand_in_for_each_other() {
        let mut verdict = Verdict::default();
        verdict.of_device("d-1", 2, &[1, 2].into(), &[1]);
        verdict.of_device("d-2", 2, &[1].into(), &[1, 2, 2]);
        assert_eq!((verdict.lost, verdict.duplicated), (1, 1));
    }

    const MS: u64 = 1_000_000;

    fn ack(device: usize, written: u64, at: u64) -> Ack {
        Ack { device, serial: 1, written: written * MS, at: at * MS }
    }

    #[test]
    fn a_shard_is_silent_until_the_first_acknowledgement_of_any_of_its_devices() {
        let kill = Kill { at: 1_000 * MS, gone: 1_010 * MS };
        // Devices 0 and 1 are in shard 7, device 2 is in shard 9, device 3 in shard 4.
        let shards = [7, 7, 9, 4];
        let acks = [
            ack(0, 1_020, 2_400),
            ack(1, 1_900, 2_300),
            ack(2, 1_050, 2_700),
            ack(3, 1_011, 1_012),
            ack(3, 1_500, 1_501),
        ];

        let silence = Silence::of(&acks, kill, |shard| shard != 4, &shards);
        let others = Silence::of(&acks, kill, |shard| shard == 4, &shards);

        assert_eq!((silence.shards(), silence.p50_ms(), silence.max_ms()), (2, Some(1_700.0), Some(1_700.0)));
        assert_eq!(others.max_ms(), Some(12.0));
    }

    #[test]
    fn what_was_written_before_the_node_was_gone_ends_no_silence() {
        let kill = Kill { at: 1_000 * MS, gone: 1_010 * MS };

        let silence = Silence::of(&[ack(0, 999, 1_001), ack(0, 1_009, 1_011)], kill, |_| true, &[0]);

        assert_eq!((silence.shards(), silence.p50_ms(), silence.max_ms()), (0, None, None));
    }

    #[test]
    fn the_middle_of_three_is_the_second() {
        let kill = Kill { at: 0, gone: 0 };
        let acks = [ack(0, 1, 30), ack(1, 1, 10), ack(2, 1, 20)];

        let silence = Silence::of(&acks, kill, |_| true, &[0, 1, 2]);

        assert_eq!((silence.p50_ms(), silence.max_ms()), (Some(20.0), Some(30.0)));
    }
}
