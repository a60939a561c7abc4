//! Meters: what a device, a tenant and an address have taken.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::atomic::AtomicU32;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use runtime::directory::{Limits, Listener};
use runtime::router::Router;
use twins::id::TwinId;

use crate::kept::Rests;
use crate::pace::{Pace, Rate};

use super::reached::{Limit, Reached};

/// What may come at once over HTTP, as the time that it takes at the rate: who is refused should not be so for a burst.
pub(super) const AT_ONCE: Duration = Duration::from_secs(1);

/// How often a device may connect: a hundred times at once, then five times a second.
pub(super) const CONNECTS: Rate =
    Rate { per_s: NonZeroU32::new(5).expect("not 0"), burst: Duration::from_secs(20) };

/// Of a device, over all of its connections.
pub(super) struct DeviceMeter {
    name: String,
    pub(super) messages: Mutex<Pace>,
    pub(super) bytes: Mutex<Pace>,
    pub(super) connects: Mutex<Pace>,
    /// How many connections it has, by client id: where there is one already, the next takes its session over.
    pub(super) clients: Mutex<HashMap<String, u32>>,
}

/// Of a tenant.
pub(super) struct TenantMeter {
    name: String,
    limits: Mutex<Known>,
    /// Of its devices.
    pub(super) messages: Mutex<Pace>,
    /// Of its people, who may as much again: devices that flood the node do not keep them from stopping that.
    requests: Mutex<Pace>,
    pub(super) connections: AtomicU32,
    pub(super) streams: AtomicU32,
    pub(super) waits: AtomicU32,
}

/// Of an address.
#[derive(Default)]
pub(super) struct AddressMeter {
    pub(super) connections: AtomicU32,
    pub(super) connects: Mutex<Pace>,
}

/// The limits of a tenant as they were looked up, and whether they should be again.
struct Known {
    limits: Limits,
    defaults: Limits,
    /// Where to look them up; a meter without it has those that it was made with.
    router: Option<Router>,
    changes: Option<Listener>,
}

impl DeviceMeter {
    pub(super) fn new(twin: &TwinId) -> Self {
        let (messages, bytes, connects, clients) = Default::default();
        Self { name: twin.as_str().to_owned(), messages, bytes, connects, clients }
    }

    /// A limit of it is reached, for so long.
    pub(super) fn reached(&self, limit: Limit, max: u32, wait: Duration) -> Reached {
        Reached { limit, of: self.name.clone(), max, wait: Some(wait) }
    }
}

impl TenantMeter {
    pub(super) fn new(name: &str, defaults: Limits, router: Option<Router>) -> Self {
        let changes = router.as_ref().and_then(|router| router.access().changes());
        let limits = router.as_ref().map(|router| router.access().limits(name)).unwrap_or_default();
        let limits = Mutex::new(Known { limits: limits.or(defaults), defaults, router, changes });
        let (messages, requests, connections, streams, waits) = Default::default();
        Self { name: name.to_owned(), limits, messages, requests, connections, streams, waits }
    }

    /// What counts now.
    pub(super) fn limits(&self) -> Limits {
        let Known { limits, defaults, router, changes } = &mut *lock(&self.limits);
        if let (Some(router), Some(changes)) = (router, changes)
            && changes.has_changed().unwrap_or(false)
        {
            changes.mark_unchanged();
            *limits = router.access().limits(&self.name).or(*defaults);
        }
        *limits
    }

    /// One more request of its people.
    pub(super) fn spend(&self, now: Instant) -> Result<(), Reached> {
        let Some(per_s) = self.limits().messages_per_s else { return Ok(()) };
        let rate = Rate { per_s, burst: AT_ONCE };
        let requests = &mut *lock(&self.requests);
        if let Some(at) = requests.wait(rate, now) {
            return Err(self.reached(Limit::TenantMessages, per_s.get(), at - now));
        }
        requests.take(rate, now, 1);
        Ok(())
    }

    /// A limit of it is reached, for so long.
    pub(super) fn reached(&self, limit: Limit, max: u32, wait: Duration) -> Reached {
        Reached { limit, of: self.name.clone(), max, wait: Some(wait) }
    }

    /// There are as many as there may be.
    pub(super) fn full(&self, limit: Limit, max: Option<NonZeroU32>) -> Reached {
        let max = max.map_or(u32::MAX, NonZeroU32::get);
        Reached { limit, of: self.name.clone(), max, wait: None }
    }
}

impl Rests for DeviceMeter {
    fn rests(&self, now: Instant) -> bool {
        [&self.messages, &self.bytes, &self.connects].into_iter().all(|pace| lock(pace).rests(now))
    }
}

impl Rests for TenantMeter {
    fn rests(&self, now: Instant) -> bool {
        lock(&self.messages).rests(now) && lock(&self.requests).rests(now)
    }
}

impl Rests for AddressMeter {
    fn rests(&self, now: Instant) -> bool {
        lock(&self.connects).rests(now)
    }
}

pub(super) fn lock<T>(meter: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nobody panics while holding it: what is done under it is counting.
    meter.lock().unwrap_or_else(PoisonError::into_inner)
}
