//! How many devices are registered: of each tenant, on all shards of the node, with what is decided and not committed yet.
//! One that was replaced is none any more.
//!
//! Each shard adds what it decides and, when it falls back to what is committed, says anew what it has. A tenant that may
//! have only so many reserves a place before another one is decided, so that two shards that decide at once do not both
//! take the last one. Registering is rare, so that one lock for all is enough.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many a tenant has, for each that has any.
pub(crate) type Tenants = BTreeMap<String, u64>;

/// The counts of a node.
#[derive(Debug, Default)]
pub(crate) struct Registered(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    /// Of all shards, with what is reserved.
    all: Tenants,
    shards: HashMap<u32, Tenants>,
    /// What is reserved for what a shard decides.
    reserved: HashMap<u32, Tenants>,
}

impl Registered {
    /// How many there are.
    pub(crate) fn all(&self) -> u64 {
        self.lock().all.values().sum()
    }

    /// A twin of this tenant came, or went where `came` is false, on this shard.
    pub(crate) fn changed(&self, shard: u32, tenant: &str, came: bool) {
        let Counts { all, shards, .. } = &mut *self.lock();
        count(all, tenant, came);
        count(shards.entry(shard).or_default(), tenant, came);
    }

    /// A shard begins again from what it has: these. What was reserved for it is free.
    pub(crate) fn settle(&self, shard: u32, has: &Tenants) {
        let Counts { all, shards, reserved } = &mut *self.lock();
        let had = shards.insert(shard, has.clone()).unwrap_or_default();
        for (tenant, had) in had.into_iter().chain(reserved.remove(&shard).unwrap_or_default()) {
            let left = all.remove(&tenant).unwrap_or_default().saturating_sub(had);
            all.insert(tenant, left);
        }
        for (tenant, has) in has {
            *all.entry(tenant.clone()).or_default() += has;
        }
        all.retain(|_, count| *count > 0);
    }

    /// Whether so many shards have said what they have: before, nobody knows how many there are.
    pub(crate) fn is_known_of(&self, shards: u32) -> bool {
        self.lock().shards.len() >= shards as usize
    }

    /// Takes a place for a twin of this tenant that a shard decides on, where it has fewer than `max`. It is to be
    /// [released](Self::release) when it is decided whether the twin comes.
    pub(crate) fn reserve(&self, shard: u32, tenant: &str, max: u64) -> bool {
        let Counts { all, reserved, .. } = &mut *self.lock();
        let has_room = all.get(tenant).copied().unwrap_or_default() < max;
        if has_room {
            count(all, tenant, true);
            count(reserved.entry(shard).or_default(), tenant, true);
        }
        has_room
    }

    /// Gives back a place that was reserved.
    pub(crate) fn release(&self, shard: u32, tenant: &str) {
        let Counts { all, reserved, .. } = &mut *self.lock();
        count(all, tenant, false);
        count(reserved.entry(shard).or_default(), tenant, false);
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        // Nobody panics while holding it: what is done under it is counting.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One more, or one less.
pub(crate) fn count(tenants: &mut Tenants, tenant: &str, came: bool) {
    match tenants.get_mut(tenant) {
        Some(count) if came => *count += 1,
        Some(count) if *count > 1 => *count -= 1,
        Some(_) => drop(tenants.remove(tenant)),
        None if came => drop(tenants.insert(tenant.to_owned(), 1)),
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_place_is_taken_once_whichever_shards_ask() {
        let registered = Registered::default();
        registered.changed(1, "acme", true);

        assert!(registered.reserve(2, "acme", 2));
        assert!(!registered.reserve(3, "acme", 2), "another shard decides at the same time");
        // It comes, and its place is its own.
        registered.changed(2, "acme", true);
        registered.release(2, "acme");
        assert!(!registered.reserve(3, "acme", 2));
        assert!(registered.reserve(3, "other", 1));

        registered.changed(1, "acme", false);
        assert!(registered.reserve(3, "acme", 2));
    }

    #[test]
    fn what_was_reserved_for_a_shard_that_failed_is_free() {
        let registered = Registered::default();
        assert!(registered.reserve(1, "acme", 1));
        assert!(!registered.is_known_of(1) && !registered.reserve(2, "acme", 1));

        registered.settle(1, &Tenants::new());

        assert!(registered.is_known_of(1) && registered.reserve(2, "acme", 1));
    }

    #[test]
    fn what_a_shard_decided_in_vain_is_not_counted() {
        let registered = Registered::default();
        let committed = Tenants::from([("acme".to_owned(), 3), ("other".to_owned(), 1)]);
        registered.settle(1, &committed);
        registered.changed(2, "acme", true);
        for _ in 0..5 {
            registered.changed(1, "acme", true);
        }
        assert_eq!(registered.all(), 10);

        registered.settle(1, &committed);

        assert_eq!(registered.all(), 5);
        registered.settle(1, &Tenants::new());
        assert_eq!(registered.all(), 1);
    }
}
