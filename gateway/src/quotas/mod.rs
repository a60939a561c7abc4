//! Quotas: how much of a node each device, tenant and address may take, whichever protocol it speaks.
//!
//! What comes too fast over MQTT is read later, so that its sender is held back by TCP; over HTTP it is refused with the
//! time to wait. What there may only be so many of is refused with the limit that was reached. All who share a limit share
//! a meter, which is remembered as long as somebody uses it or has something to wait for.

mod account;
mod meter;
mod options;
mod reached;

pub(crate) use account::{Account, Seat};
pub use options::Options;
pub(crate) use reached::Limit;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use runtime::access::{Denied, Identity, Verb};
use runtime::router::Router;
use twins::id::TwinId;

use crate::kept::Kept;
use crate::metrics::Metrics;
use crate::network::network;
use crate::pace::Rate;

use meter::{AddressMeter, DeviceMeter, TenantMeter};

/// How long a connection that came too fast waits for its turn; one that would have to wait longer is closed.
const PATIENCE: Duration = Duration::from_secs(5);

/// What all listeners and servers of a node share. Cheap to clone.
#[derive(Clone)]
pub struct Quotas(Arc<Inner>);

struct Inner {
    options: Options,
    router: Router,
    metrics: Metrics,
    tenants: Kept<String, TenantMeter>,
    devices: Kept<TwinId, DeviceMeter>,
    addresses: Kept<u64, AddressMeter>,
}

impl Quotas {
    /// With these limits where the directory says nothing else.
    pub fn new(options: Options, router: Router, metrics: Metrics) -> Self {
        let (tenants, devices, addresses) = Default::default();
        Self(Arc::new(Inner { options, router, metrics, tenants, devices, addresses }))
    }

    /// A connection came from there: its place among those of its address, and when it is its turn, if that is not now.
    ///
    /// # Errors
    /// Which limit is reached.
    pub(crate) fn arrive(&self, from: IpAddr, now: Instant) -> Result<(Seat, Option<Instant>), Limit> {
        let Inner { options, addresses, metrics, .. } = &*self.0;
        let meter = addresses.of(&network(from), now, AddressMeter::default);
        let reached = |limit: Limit| {
            metrics.limited(limit);
            limit
        };
        let max = options.address_connections;
        let seat = Seat::take(&meter, |meter| &meter.connections, max);
        let seat = seat.ok_or_else(|| reached(Limit::AddressConnections))?;
        let Some(per_s) = options.address_connects_per_s else { return Ok((seat, None)) };
        let rate = Rate { per_s, burst: Duration::from_secs(1) };
        let pace = &mut *meter::lock(&meter.connects);
        let turn = pace.wait(rate, now);
        if turn.is_some_and(|turn| turn > now + PATIENCE) {
            return Err(reached(Limit::AddressConnects));
        }
        pace.take(rate, now, 1);
        Ok((seat, turn))
    }

    /// A device connects under this client id, which is empty where it gave none.
    ///
    /// # Errors
    /// [`Denied::Limited`].
    pub(crate) fn connect(&self, twin: &TwinId, client: &str, now: Instant) -> Result<Account, Denied> {
        let account = self.account(twin, now);
        account.connect(client, now).map_err(|reached| self.refuse(reached))
    }

    /// Somebody asks for something over HTTP, in so many bytes. Whoever may shut devices out, or change the limits, is never
    /// refused: they are who ends a flood.
    ///
    /// # Errors
    /// [`Denied::Limited`].
    pub(crate) fn request(&self, who: &Identity, bytes: u64, now: Instant) -> Result<(), Denied> {
        let spent = match who {
            Identity::Device { twin, .. } => self.account(twin, now).spend(now, bytes),
            Identity::User { tenant, .. } => self.tenant(tenant, now).spend(now),
        };
        let ends_floods = |verb| self.0.router.access().govern(who, verb).is_ok();
        if spent.is_err() && (ends_floods(Verb::Administer) || ends_floods(Verb::Secure)) {
            return Ok(());
        }
        spent.map_err(|reached| self.refuse(reached))
    }

    /// A place among the streams of events of a tenant.
    ///
    /// # Errors
    /// [`Denied::Limited`].
    pub(crate) fn stream(&self, tenant: &str) -> Result<Seat, Denied> {
        let meter = self.tenant(tenant, Instant::now());
        let max = meter.limits().streams;
        let seat = Seat::take(&meter, |meter| &meter.streams, max);
        seat.ok_or_else(|| self.refuse(meter.full(Limit::TenantStreams, max)))
    }

    /// A place among the calls of a tenant's devices that wait.
    ///
    /// # Errors
    /// [`Denied::Limited`].
    pub(crate) fn wait(&self, tenant: &str) -> Result<Seat, Denied> {
        let meter = self.tenant(tenant, Instant::now());
        let max = meter.limits().waits;
        let seat = Seat::take(&meter, |meter| &meter.waits, max);
        seat.ok_or_else(|| self.refuse(meter.full(Limit::TenantWaits, max)))
    }

    fn account(&self, twin: &TwinId, now: Instant) -> Account {
        let tenant = self.tenant(twin.tenant(), now);
        Account::new(tenant, self.0.devices.of(twin, now, || DeviceMeter::new(twin)))
    }

    fn tenant(&self, name: &str, now: Instant) -> Arc<TenantMeter> {
        let Inner { options, router, tenants, .. } = &*self.0;
        tenants.of(name, now, || TenantMeter::new(name, options.tenant, Some(router.clone())))
    }

    fn refuse(&self, reached: reached::Reached) -> Denied {
        self.0.metrics.limited(reached.limit);
        reached.into()
    }
}

impl std::fmt::Debug for Quotas {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Quotas").field(&self.0.options).finish()
    }
}
