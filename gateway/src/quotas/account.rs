//! An account: what a device takes is taken of its own meter and of its tenant's.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::kept::Rests;
use crate::pace::{Pace, Rate};

use super::PATIENCE;
use super::meter::{AT_ONCE, DeviceMeter, TenantMeter, lock};
use super::reached::{Limit, Reached};

/// What may come at once of a connection, as the time that it takes at the rate: some ticks of the timer that ends a pause.
const BURST: Duration = Duration::from_millis(20);

/// What a connected device holds, or one that asks over HTTP.
#[derive(Clone)]
pub(crate) struct Account {
    tenant: Arc<TenantMeter>,
    device: Arc<DeviceMeter>,
    /// The place of its connection among those of its tenant.
    _seat: Option<Arc<Seat>>,
}

/// A place among as many as there may be. It is free again when this is dropped.
pub(crate) struct Seat(Box<dyn Fn() + Send + Sync>);

/// What is paced of an account: its limit, and how much of it is taken at once.
type Paced<'a> = (Limit, &'a std::sync::Mutex<Pace>, Option<NonZeroU32>, u64);

impl Account {
    pub(super) fn new(tenant: Arc<TenantMeter>, device: Arc<DeviceMeter>) -> Self {
        Self { tenant, device, _seat: None }
    }

    /// A message in so many bytes was read; when to read on, if that is not now.
    pub(crate) fn take(&self, now: Instant, bytes: usize) -> Option<Instant> {
        let paced = self.paced(bytes as u64).into_iter().filter_map(|(_, pace, per_s, amount)| {
            let rate = Rate { per_s: per_s?, burst: BURST };
            let pace = &mut *lock(pace);
            pace.take(rate, now, amount);
            pace.wait(rate, now)
        });
        paced.max()
    }

    /// It connects: that counts as a message, and takes a place among the connections of its tenant.
    pub(super) fn connect(mut self, now: Instant) -> Result<Self, Reached> {
        // Those who are connected are held back at once, so that so much waits only where many come again and again.
        self.pay(now, 0, PATIENCE)?;
        let max = self.tenant.limits().connections;
        let seat = Seat::take(&self.tenant, |meter| &meter.connections, max);
        let seat = seat.ok_or_else(|| self.tenant.full(Limit::TenantConnections, max))?;
        self._seat = Some(Arc::new(seat));
        Ok(self)
    }

    /// A message in so many bytes, which is refused where it comes too fast.
    pub(super) fn spend(&self, now: Instant, bytes: u64) -> Result<(), Reached> {
        self.pay(now, bytes, AT_ONCE)
    }

    /// Takes a message, unless what was taken before is further ahead than `burst`.
    fn pay(&self, now: Instant, bytes: u64, burst: Duration) -> Result<(), Reached> {
        for (limit, pace, per_s, _) in self.paced(bytes) {
            let Some(per_s) = per_s else { continue };
            let Some(at) = lock(pace).wait(Rate { per_s, burst }, now) else { continue };
            let (max, wait) = (per_s.get(), at - now);
            return Err(match limit {
                Limit::TenantMessages => self.tenant.reached(limit, max, wait),
                _ => self.device.reached(limit, max, wait),
            });
        }
        for (_, pace, per_s, amount) in self.paced(bytes) {
            if let Some(per_s) = per_s {
                lock(pace).take(Rate { per_s, burst }, now, amount);
            }
        }
        Ok(())
    }

    fn paced(&self, bytes: u64) -> [Paced<'_>; 3] {
        let (limits, Self { tenant, device, .. }) = (self.tenant.limits(), self);
        [
            (Limit::DeviceMessages, &device.messages, limits.device_messages_per_s, 1),
            (Limit::DeviceBytes, &device.bytes, limits.device_bytes_per_s, bytes),
            (Limit::TenantMessages, &tenant.messages, limits.messages_per_s, 1),
        ]
    }

    /// One with these limits, and nobody to share them with.
    #[cfg(test)]
    pub(crate) fn alone(limits: runtime::directory::Limits) -> Self {
        let twin = twins::id::TwinId::in_default_tenant("t-1").expect("it is an id");
        Self::new(Arc::new(TenantMeter::new("default", limits, None)), Arc::new(DeviceMeter::new(&twin)))
    }
}

impl Seat {
    /// Takes one of `max`, where one is free. Without a `max` there is always one.
    pub(super) fn take<M: Rests + Send + Sync + 'static>(
        meter: &Arc<M>,
        taken: fn(&M) -> &AtomicU32,
        max: Option<NonZeroU32>,
    ) -> Option<Self> {
        let max = max.map_or(u32::MAX, NonZeroU32::get);
        let one_more = |taken: u32| (taken < max).then_some(taken + 1);
        taken(meter).fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        // The meter is remembered as long as the seat is taken.
        let meter = meter.clone();
        Some(Self(Box::new(move || {
            taken(&meter).fetch_sub(1, Ordering::Relaxed);
        })))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        (self.0)();
    }
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Account")
    }
}

#[cfg(test)]
mod tests {
    use runtime::directory::Limits;

    use super::*;

    fn of(limits: Limits) -> (Account, Instant) {
        (Account::alone(limits), Instant::now())
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn what_a_device_says_counts_whichever_way_it_comes() {
        let (account, now) = of(Limits { device_messages_per_s: NonZeroU32::new(10), ..Limits::default() });
        let other = account.clone();

        for _ in 0..11 {
            account.spend(now, 0).unwrap();
        }

        let refused = other.spend(now, 0).unwrap_err();
        assert_eq!((refused.limit, refused.max, refused.wait), (Limit::DeviceMessages, 10, Some(ms(100))));
        assert_eq!(other.spend(now + ms(100), 0), Ok(()));
        assert!(other.take(now + ms(100), 0) > Some(now + ms(1_100)));
    }

    #[test]
    fn what_is_refused_takes_nothing() {
        let limits = Limits {
            device_bytes_per_s: NonZeroU32::new(1_000),
            messages_per_s: NonZeroU32::new(1),
            ..Limits::default()
        };
        let (account, now) = of(limits);
        account.spend(now, 5_000).unwrap();

        for _ in 0..100 {
            assert_eq!(account.spend(now, 1).unwrap_err().limit, Limit::DeviceBytes);
        }

        assert_eq!(account.spend(now + ms(4_000), 1), Ok(()));
    }

    #[test]
    fn a_tenant_has_so_many_connections_and_no_more_and_a_place_is_free_when_it_is_left() {
        let (account, now) = of(Limits { connections: NonZeroU32::new(2), ..Limits::default() });
        let first = account.clone().connect(now).unwrap();
        let _second = account.clone().connect(now).unwrap();

        let refused = account.clone().connect(now).unwrap_err();
        assert_eq!((refused.limit, refused.wait), (Limit::TenantConnections, None));
        assert_eq!(refused.to_string(), "the tenant `default` may have 2 connections (`connections`)");
        drop(first);

        assert!(account.connect(now).is_ok());
    }

    #[test]
    fn who_comes_again_and_again_faster_than_its_tenant_may_is_turned_away_for_a_while() {
        let (account, now) = of(Limits { messages_per_s: NonZeroU32::new(1), ..Limits::default() });
        while account.clone().connect(now).is_ok() {}

        let refused = account.clone().connect(now).unwrap_err();

        assert_eq!((refused.limit, refused.wait), (Limit::TenantMessages, Some(ms(1_000))));
        assert!(account.connect(now + ms(1_000)).is_ok());
    }
}
