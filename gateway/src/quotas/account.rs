//! An account: what a device takes is taken of its own meter and of its tenant's.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::kept::Rests;
use crate::pace::{Pace, Rate};

use super::meter::{AT_ONCE, CONNECTS, DeviceMeter, TenantMeter, lock};
use super::reached::{Limit, Reached};

/// What may come at once of a connection, as the time that it takes at the rate: some ticks of the timer that ends a pause.
const BURST: Duration = Duration::from_millis(20);

/// What a connected device holds, or one that asks over HTTP.
#[derive(Clone)]
pub(crate) struct Account {
    tenant: Arc<TenantMeter>,
    device: Arc<DeviceMeter>,
    /// The place of its connection among those of its tenant.
    _seat: Option<Arc<Connected>>,
}

/// A connection of a client, which is known as long as it is there.
struct Connected {
    device: Arc<DeviceMeter>,
    client: String,
    _seat: Seat,
}

/// A place among as many as there may be. It is free again when this is dropped.
pub(crate) struct Seat(Box<dyn Fn() + Send + Sync>);

/// What is paced of an account: its limit, and how much of it is taken at once.
type Paced<'a> = (Limit, &'a std::sync::Mutex<Pace>, Option<NonZeroU32>, u64);

impl Account {
    pub(super) fn new(tenant: Arc<TenantMeter>, device: Arc<DeviceMeter>) -> Self {
        Self { tenant, device, _seat: None }
    }

    /// So many messages, or a part of one, were read in so many bytes; when to read on, if that is not now.
    pub(crate) fn take(&self, now: Instant, messages: u64, bytes: usize) -> Option<Instant> {
        let paced = self.paced(messages, bytes as u64).into_iter().filter_map(|(_, pace, per_s, amount)| {
            let rate = Rate { per_s: per_s?, burst: BURST };
            let pace = &mut *lock(pace);
            pace.take(rate, now, amount);
            pace.wait(rate, now)
        });
        paced.max()
    }

    /// It connects under this client id, and takes a place among the connections of its tenant. Where one of the same
    /// client is there, that one is taken over, and its place is soon free: this one has another, whatever the limit
    /// is.
    pub(super) fn connect(mut self, client: &str, now: Instant) -> Result<Self, Reached> {
        {
            let connects = &mut *lock(&self.device.connects);
            if let Some(at) = connects.wait(CONNECTS, now) {
                return Err(self.device.reached(Limit::DeviceConnects, CONNECTS.per_s.get(), at - now));
            }
            connects.take(CONNECTS, now, 1);
        }
        let takes_over = !client.is_empty() && lock(&self.device.clients).contains_key(client);
        let max = self.tenant.limits().connections;
        let seat = Seat::take(&self.tenant, |meter| &meter.connections, max.filter(|_| !takes_over));
        let seat = seat.ok_or_else(|| self.tenant.full(Limit::TenantConnections, max))?;
        self._seat = Some(Arc::new(Connected::new(self.device.clone(), client, seat)));
        Ok(self)
    }

    /// A message in so many bytes, which is refused where it comes too fast.
    pub(super) fn spend(&self, now: Instant, bytes: u64) -> Result<(), Reached> {
        let burst = AT_ONCE;
        for (limit, pace, per_s, _) in self.paced(1, bytes) {
            let Some(per_s) = per_s else { continue };
            let Some(at) = lock(pace).wait(Rate { per_s, burst }, now) else { continue };
            let (max, wait) = (per_s.get(), at - now);
            return Err(match limit {
                Limit::TenantMessages => self.tenant.reached(limit, max, wait),
                _ => self.device.reached(limit, max, wait),
            });
        }
        for (_, pace, per_s, amount) in self.paced(1, bytes) {
            if let Some(per_s) = per_s {
                lock(pace).take(Rate { per_s, burst }, now, amount);
            }
        }
        Ok(())
    }

    fn paced(&self, messages: u64, bytes: u64) -> [Paced<'_>; 3] {
        let (limits, Self { tenant, device, .. }) = (self.tenant.limits(), self);
        [
            (Limit::DeviceMessages, &device.messages, limits.device_messages_per_s, messages),
            (Limit::DeviceBytes, &device.bytes, limits.device_bytes_per_s, bytes),
            (Limit::TenantMessages, &tenant.messages, limits.messages_per_s, messages),
        ]
    }

    /// One with these limits, and nobody to share them with.
    #[cfg(test)]
    pub(crate) fn alone(limits: runtime::directory::Limits) -> Self {
        let twin = twins::id::TwinId::in_default_tenant("t-1").expect("it is an id");
        Self::new(Arc::new(TenantMeter::new("default", limits, None)), Arc::new(DeviceMeter::new(&twin)))
    }
}

impl Connected {
    fn new(device: Arc<DeviceMeter>, client: &str, seat: Seat) -> Self {
        *lock(&device.clients).entry(client.to_owned()).or_default() += 1;
        Self { device, client: client.to_owned(), _seat: seat }
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        let clients = &mut *lock(&self.device.clients);
        if let Some(count) = clients.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                clients.remove(&self.client);
            }
        }
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

    fn twin(id: &str) -> twins::id::TwinId {
        twins::id::TwinId::in_default_tenant(id).unwrap()
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
        assert!(other.take(now + ms(100), 1, 0) > Some(now + ms(1_100)));
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
        let first = account.clone().connect("a", now).unwrap();
        let _second = account.clone().connect("b", now).unwrap();

        let refused = account.clone().connect("c", now).unwrap_err();
        assert_eq!((refused.limit, refused.wait), (Limit::TenantConnections, None));
        assert_eq!(refused.to_string(), "the tenant `default` may have 2 connections (`connections`)");
        // Whoever comes back before its old connection is known to be gone takes that over.
        let again = account.clone().connect("a", now).unwrap();
        drop((first, again));

        assert!(account.clone().connect("c", now).is_ok());
        assert_eq!(lock(&account.device.clients).len(), 1);
    }

    #[test]
    fn who_comes_again_and_again_is_turned_away_for_a_while_and_nobody_else_feels_it() {
        let (account, now) = of(Limits { messages_per_s: NonZeroU32::new(1), ..Limits::default() });
        let mut came = 0;
        while account.clone().connect("a", now).is_ok() {
            came += 1;
        }

        let refused = account.clone().connect("a", now).unwrap_err();

        assert_eq!((came, refused.limit, refused.wait), (101, Limit::DeviceConnects, Some(ms(200))));
        assert!(account.clone().connect("a", now + ms(200)).is_ok());
        let other = Account::new(account.tenant.clone(), Arc::new(DeviceMeter::new(&twin("t-2"))));
        assert!(other.connect("a", now).is_ok());
    }

    #[test]
    fn devices_that_flood_their_tenant_do_not_keep_its_people_out() {
        let (account, now) = of(Limits { messages_per_s: NonZeroU32::new(100), ..Limits::default() });
        for n in 0..300 {
            let device = Arc::new(DeviceMeter::new(&twin(&format!("t-{n}"))));
            Account::new(account.tenant.clone(), device).take(now, 1, 10);
        }

        assert_eq!(account.tenant.spend(now), Ok(()));
        assert_eq!(account.spend(now, 1).unwrap_err().limit, Limit::TenantMessages);
    }
}
