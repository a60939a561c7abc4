//! Whether a device may come in, and where it is in its life.

/// Whether a device may come in, as an operator left it. It is apart from whether it can: that takes a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum Standing {
    /// It may.
    #[default]
    #[n(0)]
    Enabled,
    /// It may not, until it is enabled again.
    #[n(1)]
    Disabled,
    /// It may, but only what manages it is let through: neither telemetry nor control.
    #[n(2)]
    Quarantined,
}

/// Where a device is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lifecycle {
    /// Known, and without a credential yet.
    Registered,
    /// It may come in.
    Active,
    /// It may not, until it is enabled again.
    Disabled,
    /// Only what manages it is let through.
    Quarantined,
    /// It had credentials, and has none any more.
    Revoked,
    /// Another device has taken its place.
    Replaced,
}

impl Lifecycle {
    /// Its name in documents.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Active => "active",
            Self::Disabled => "disabled",
            Self::Quarantined => "quarantined",
            Self::Revoked => "revoked",
            Self::Replaced => "replaced",
        }
    }
}
