//! Pace: how fast something may go on, as one point in time. What happens moves the point ahead by the time that it
//! takes at its rate; while the point is further ahead of now than a burst may be, nothing more should happen.
//!
//! That is the generic cell rate algorithm of ATM (ITU-T I.371, annex A), which needs no timer and no count. It takes
//! what has happened already, and says when to go on: a pace holds back, and never refuses.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// How much a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    pub(crate) per_s: NonZeroU32,
    /// What may come at once, as the time that it takes at this rate. Less than a timer's tick, and the rate is not
    /// reached.
    pub(crate) burst: Duration,
}

/// What has happened at a rate.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pace {
    /// When all of it would have happened, had it come evenly.
    due: Option<Instant>,
}

impl Pace {
    /// So much happens now.
    pub(crate) fn take(&mut self, rate: Rate, now: Instant, amount: u64) {
        let takes = Duration::from_nanos(amount.saturating_mul(1_000_000_000) / u64::from(rate.per_s.get()));
        // Nobody lives to see the end of time.
        self.due = self.due.map_or(now, |due| due.max(now)).checked_add(takes);
    }

    /// How far ahead of now it is.
    pub(crate) fn ahead(&self, now: Instant) -> Duration {
        self.due.map_or(Duration::ZERO, |due| due.saturating_duration_since(now))
    }

    /// Whether it is now as a new one would be.
    pub(crate) fn rests(&self, now: Instant) -> bool {
        self.due.is_none_or(|due| due <= now)
    }

    /// When it may go on, if that is not now.
    pub(crate) fn wait(&self, rate: Rate, now: Instant) -> Option<Instant> {
        let ahead = self.due?.saturating_duration_since(now).checked_sub(rate.burst)?;
        (!ahead.is_zero()).then(|| now + ahead)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RATE: Rate =
        Rate { per_s: NonZeroU32::new(1_000).expect("not 0"), burst: Duration::from_millis(10) };

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_burst_passes_at_once_and_the_rest_evenly() {
        let now = Instant::now();
        let mut pace = Pace::default();

        pace.take(RATE, now, 10);
        assert_eq!(pace.wait(RATE, now), None);
        pace.take(RATE, now, 1);
        assert_eq!(pace.wait(RATE, now), Some(now + ms(1)));
        assert_eq!(pace.wait(RATE, now + ms(1)), None);
    }

    #[test]
    fn what_takes_longer_than_a_burst_passes_and_is_waited_for() {
        let now = Instant::now();
        let mut pace = Pace::default();

        pace.take(RATE, now, 5_000);

        assert_eq!(pace.wait(RATE, now), Some(now + ms(4_990)));
    }

    #[test]
    fn a_rest_saves_up_no_more_than_a_burst() {
        let now = Instant::now();
        let mut pace = Pace::default();
        pace.take(RATE, now, 10);

        let later = now + Duration::from_secs(3_600);
        pace.take(RATE, later, 11);

        assert_eq!(pace.wait(RATE, later), Some(later + ms(1)));
    }

    proptest! {
        #[test]
        fn whoever_waits_as_told_stays_within_rate_and_burst(amounts in prop::collection::vec((1u64..50, 0u64..30), 1..200)) {
            let begin = Instant::now();
            let (mut now, mut pace, mut taken) = (begin, Pace::default(), 0);
            for (amount, rest) in amounts {
                now = pace.wait(RATE, now).unwrap_or(now);
                // What is taken was let through when everything before it was within rate and burst.
                prop_assert!(taken <= (now - begin).as_millis() as u64 + 10);
                pace.take(RATE, now, amount);
                taken += amount;
                now += ms(rest);
            }
        }
    }
}
