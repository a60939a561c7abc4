//! A limit that is reached: which, how much it is, whose, and what to do about it.

use std::fmt;
use std::time::Duration;

use runtime::access::Denied;

/// The limits that are counted and named when they are reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    DeviceMessages,
    DeviceBytes,
    DeviceConnects,
    TenantMessages,
    TenantConnections,
    TenantStreams,
    TenantWaits,
    AddressConnections,
    AddressConnects,
}

/// What refuses somebody something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reached {
    pub(super) limit: Limit,
    /// Whose it is: the tenant, or the device.
    pub(super) of: String,
    pub(super) max: u32,
    /// After which time alone helps.
    pub(super) wait: Option<Duration>,
}

impl Limit {
    /// All of them, in the order of their numbers.
    pub(crate) const ALL: [Self; 9] = [
        Self::DeviceMessages,
        Self::DeviceBytes,
        Self::DeviceConnects,
        Self::TenantMessages,
        Self::TenantConnections,
        Self::TenantStreams,
        Self::TenantWaits,
        Self::AddressConnections,
        Self::AddressConnects,
    ];

    /// Its name, as metrics and refusals have it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::DeviceMessages => "device_messages_per_s",
            Self::DeviceBytes => "device_bytes_per_s",
            Self::DeviceConnects => "device_connects_per_s",
            Self::TenantMessages => "messages_per_s",
            Self::TenantConnections => "connections",
            Self::TenantStreams => "streams",
            Self::TenantWaits => "waits",
            Self::AddressConnections => "address_connections",
            Self::AddressConnects => "address_connects_per_s",
        }
    }

    /// Why a connection ended, as metrics and logs have it.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::AddressConnects => "too many connects of one address",
            _ => "too many connections of one address",
        }
    }
}

impl fmt::Display for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limit, of, max, .. } = self;
        let name = limit.as_str();
        match limit {
            Limit::DeviceMessages => {
                write!(f, "the device `{of}` may send {max} messages a second (`{name}`)")
            }
            Limit::DeviceBytes => write!(f, "the device `{of}` may send {max} bytes a second (`{name}`)"),
            Limit::DeviceConnects => {
                write!(f, "the device `{of}` may connect {max} times a second (`{name}`)")
            }
            Limit::TenantMessages => {
                write!(f, "the tenant `{of}` may send {max} messages a second (`{name}`)")
            }
            Limit::TenantConnections => write!(f, "the tenant `{of}` may have {max} connections (`{name}`)"),
            Limit::TenantStreams => {
                write!(f, "the tenant `{of}` may have {max} streams of events (`{name}`)")
            }
            Limit::TenantWaits => write!(f, "the tenant `{of}` may have {max} calls that wait (`{name}`)"),
            Limit::AddressConnections => write!(f, "an address may have {max} connections (`{name}`)"),
            Limit::AddressConnects => write!(f, "an address may connect {max} times a second (`{name}`)"),
        }
    }
}

impl From<Reached> for Denied {
    fn from(reached: Reached) -> Self {
        Self::Limited { why: reached.to_string(), wait: reached.wait }
    }
}
