//! Latencies: an HDR histogram in microseconds, three significant digits, up to ten minutes.
//!
//! It counts in fixed memory, whatever is recorded, and its tails are those of what was measured, not of samples.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::report::Report;

/// The longest latency that is told apart, in microseconds; longer ones count as this.
const LONGEST_US: u64 = 600_000_000;

/// Latencies of one thing.
#[derive(Debug, Clone)]
pub(super) struct Latencies(Histogram<u64>);

impl Latencies {
    pub(super) fn new() -> Self {
        Self(Histogram::new_with_bounds(1, LONGEST_US, 3).expect("the bounds are in order"))
    }

    pub(super) fn record(&mut self, latency: Duration) {
        self.record_ns(latency.as_nanos().try_into().unwrap_or(u64::MAX), 1);
    }

    /// Records the same latency `times` times.
    pub(super) fn record_ns(&mut self, ns: u64, times: u64) {
        // The histogram's largest would be what was recorded no time.
        if times == 0 {
            return;
        }
        // A latency of less than a microsecond counts as one, since zero has no place in the histogram.
        self.0.saturating_record_n((ns / 1_000).max(1), times);
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("all have the same bounds");
    }

    pub(super) fn quantile_us(&self, quantile: f64) -> u64 {
        self.0.value_at_quantile(quantile)
    }

    pub(super) fn max_us(&self) -> u64 {
        self.0.max()
    }

    /// Reports the four figures that every measurement ends with.
    pub(super) fn report(&self, report: &mut Report) {
        report.set("p50_us", self.quantile_us(0.5));
        report.set("p99_us", self.quantile_us(0.99));
        report.set("p999_us", self.quantile_us(0.999));
        report.set("max_us", self.max_us());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_all_that_was_recorded() {
        let (mut fast, mut slow) = (Latencies::new(), Latencies::new());
        fast.record_ns(500_000, 989);
        slow.record(Duration::from_millis(20));
        slow.record_ns(10, 10);
        slow.record_ns(1_000_000_000, 0);
        fast.add(&slow);

        assert_eq!(fast.quantile_us(0.001), 1);
        assert_eq!(fast.quantile_us(0.5), 500);
        assert_eq!(fast.max_us() / 100, 200);
    }

    #[test]
    fn what_is_longer_than_the_longest_still_counts() {
        let mut latencies = Latencies::new();
        latencies.record(Duration::from_secs(10_000));
        assert!(latencies.max_us() >= LONGEST_US);
    }
}
