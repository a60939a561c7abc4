//! A histogram of durations whose buckets are powers of two of a microsecond: recording is three additions.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// How many buckets: bucket `i` holds what took less than 2^i microseconds and not less than half of that; the last
/// one holds all that took longer than the one before, which is about a second.
pub const BUCKETS: usize = 22;

/// Counts durations. Any number of threads may record.
#[derive(Debug, Default)]
pub struct Histogram {
    micros: AtomicU64,
    buckets: [AtomicU64; BUCKETS],
}

/// What a histogram had at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Distribution {
    /// The sum of the durations.
    pub total: Duration,
    /// How many are in each bucket.
    pub buckets: [u64; BUCKETS],
}

impl Histogram {
    /// Counts one.
    pub fn record(&self, took: Duration) {
        self.micros.fetch_add(took.as_micros() as u64, Relaxed);
        self.buckets[bucket(took)].fetch_add(1, Relaxed);
    }

    /// Adds a whole distribution, as it was gathered elsewhere.
    pub(crate) fn add(&self, other: &Distribution) {
        self.micros.fetch_add(other.total.as_micros() as u64, Relaxed);
        for (bucket, n) in self.buckets.iter().zip(other.buckets).filter(|(_, n)| *n > 0) {
            bucket.fetch_add(n, Relaxed);
        }
    }

    /// What it has.
    pub fn read(&self) -> Distribution {
        Distribution {
            total: Duration::from_micros(self.micros.load(Relaxed)),
            buckets: self.buckets.each_ref().map(|bucket| bucket.load(Relaxed)),
        }
    }
}

impl Distribution {
    /// Counts one.
    pub(crate) fn record(&mut self, took: Duration) {
        self.total += took;
        self.buckets[bucket(took)] += 1;
    }

    /// Both together.
    #[must_use]
    pub fn plus(mut self, other: &Self) -> Self {
        self.total += other.total;
        self.buckets.iter_mut().zip(other.buckets).for_each(|(mine, more)| *mine += more);
        self
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

fn bucket(took: Duration) -> usize {
    let micros = took.as_micros() as u64;
    ((u64::BITS - micros.leading_zeros()) as usize).min(BUCKETS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_duration_falls_below_the_bound_of_its_bucket() {
        let histogram = Histogram::default();
        let mut gathered = Distribution::default();
        for micros in [0, 1, 2, 3, 4, 1_000, 10_000_000] {
            gathered.record(Duration::from_micros(micros));
        }
        histogram.add(&gathered);
        histogram.record(Duration::from_micros(1_023));

        let read = histogram.read();
        assert_eq!((read.buckets[0], read.buckets[1], read.buckets[2], read.buckets[3]), (1, 1, 2, 1));
        assert_eq!((read.buckets[10], read.buckets[BUCKETS - 1], read.count()), (2, 1, 8));
        assert_eq!(read.total, Duration::from_micros(10_002_033));
    }
}
