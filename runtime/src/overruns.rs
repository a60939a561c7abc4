//! Decisions that took longer than their budget: counted for each kind of twin, and named once a minute at most, since
//! a busy machine interrupts also those that are quick.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// A kind is named no more often than this.
const NAME_EVERY: Duration = Duration::from_secs(60);

/// The counts of a node.
#[derive(Debug, Default)]
pub(crate) struct Overruns(Mutex<BTreeMap<String, Overrun>>);

#[derive(Debug, Default)]
struct Overrun {
    count: u64,
    named: Option<Instant>,
}

impl Overruns {
    /// Counts one of this kind; returns how many there were if it is time to name the kind.
    pub(crate) fn count(&self, kind: &str, now: Instant) -> Option<u64> {
        let mut all = self.lock();
        if !all.contains_key(kind) {
            all.insert(kind.to_owned(), Overrun::default());
        }
        let overrun = all.get_mut(kind)?;
        overrun.count += 1;
        if overrun.named.is_some_and(|named| now < named + NAME_EVERY) {
            return None;
        }
        overrun.named = Some(now);
        Some(overrun.count)
    }

    /// How many there were of each kind.
    pub(crate) fn counts(&self) -> BTreeMap<String, u64> {
        self.lock().iter().map(|(kind, overrun)| (kind.clone(), overrun.count)).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Overrun>> {
        // Nobody panics while holding it: what is done under it is counting.
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_counted_and_a_kind_is_named_once_a_minute() {
        let (overruns, start) = (Overruns::default(), Instant::now());
        let named = |kind, second| overruns.count(kind, start + Duration::from_secs(second));

        assert_eq!(
            [named("a", 0), named("a", 1), named("b", 2), named("a", 59)],
            [Some(1), None, Some(1), None]
        );
        assert_eq!(named("a", 60), Some(4));
        assert_eq!(overruns.counts(), BTreeMap::from([("a".to_owned(), 4), ("b".to_owned(), 1)]));
    }
}
