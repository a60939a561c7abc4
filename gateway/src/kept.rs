//! What is kept by what it is of, as long as it is needed: while somebody holds it, or it has something to wait for.
//!
//! They are looked through when there are twice as many as were needed the last time, so that they grow with those who are
//! here, not with those who were, and a lookup costs the same on average.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// How many there are before those that nobody needs are looked for.
const SWEPT_MIN: usize = 1_024;

/// What is kept by name. Nobody panics while its lock is held: what is done under it is looking up.
pub(crate) struct Kept<K, V>(Mutex<Map<K, V>>);

struct Map<K, V> {
    all: HashMap<K, Arc<V>>,
    swept_at: usize,
}

/// What need not be remembered while nobody holds it.
pub(crate) trait Rests {
    /// Whether it is now as a new one would be.
    fn rests(&self, now: Instant) -> bool;
}

impl<K, V> Default for Kept<K, V> {
    fn default() -> Self {
        Self(Mutex::new(Map { all: HashMap::new(), swept_at: SWEPT_MIN }))
    }
}

impl<K: Hash + Eq, V: Rests> Kept<K, V> {
    /// The one of this name; a new one is made by `make`.
    pub(crate) fn of<Q>(&self, name: &Q, now: Instant, make: impl FnOnce() -> V) -> Arc<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        let Map { all, swept_at } = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.get(name) {
            return known.clone();
        }
        if all.len() >= *swept_at {
            all.retain(|_, kept| Arc::strong_count(kept) > 1 || !kept.rests(now));
            *swept_at = (all.len() * 2).max(SWEPT_MIN);
        }
        let made = Arc::new(make());
        all.insert(name.to_owned(), made.clone());
        made
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Rests for bool {
        fn rests(&self, _: Instant) -> bool {
            *self
        }
    }

    #[test]
    fn what_nobody_holds_and_nobody_waits_for_is_forgotten() {
        let (kept, now) = (Kept::<String, bool>::default(), Instant::now());
        let held = kept.of("held", now, || true);
        drop(kept.of("owes", now, || false));
        for n in 0..100_000 {
            drop(kept.of(&*n.to_string(), now, || true));
        }

        assert!(kept.0.lock().unwrap().all.len() <= SWEPT_MIN);
        assert!(Arc::ptr_eq(&held, &kept.of("held", now, || true)));
        assert!(!*kept.of("owes", now, || true));
    }
}
