//! What an operator may set of quotas.

use std::num::NonZeroU32;

use runtime::directory::Limits;

/// Limits that count where the directory does not say otherwise of a tenant.
///
/// A meter takes about 200 bytes, and there are as many as devices, tenants and addresses that are there or have something
/// to wait for: 10 MB for 50,000 connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Of each tenant, and of each of its devices. By default a device may send 20,000 packets and 16 MiB a second, over all
    /// of its connections: too little delays one that has much to say, too much lets one that floods the node delay the
    /// others. A tenant may have half of the node's streams of events and of the calls that wait. `devices` counts in
    /// [`runtime::shard::Options::tenant_devices_max`], where devices are registered, and not here.
    pub tenant: Limits,
    /// How many MQTT connections may come from one address, of IPv6 from one network of 64 bits; one more is closed as
    /// soon as it is accepted. Default: no limit. Devices behind one router share an address, and behind a proxy all do.
    pub address_connections: Option<NonZeroU32>,
    /// How many of them may begin a second, with a second's worth at once: others wait for at most 5 s before anything of
    /// theirs is read, and are closed where they would have to wait longer. Default: no limit.
    pub address_connects_per_s: Option<NonZeroU32>,
}

impl Options {
    /// For a node in the open: an address may have 10,000 connections, and begin 500 a second, half of what the node takes
    /// up.
    #[must_use]
    pub fn in_the_open(self) -> Self {
        Self {
            address_connections: self.address_connections.or(NonZeroU32::new(10_000)),
            address_connects_per_s: self.address_connects_per_s.or(NonZeroU32::new(500)),
            ..self
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        let tenant = Limits {
            streams: NonZeroU32::new(32),
            waits: NonZeroU32::new(256),
            device_messages_per_s: NonZeroU32::new(20_000),
            device_bytes_per_s: NonZeroU32::new(16 << 20),
            ..Limits::default()
        };
        Self { tenant, address_connections: None, address_connects_per_s: None }
    }
}
