//! What was wrong at the doors of a node, added up: who guesses a thousand times is one entry of the audit.

use twins::name::Name;
use twins::time::Timestamp;

/// How many addresses, and how many devices, one entry names.
pub const NAMED_MAX: usize = 8;

/// Attempts of devices to come in, or to be activated, that failed.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Failures {
    /// Since when they were counted; until the time of the entry.
    #[n(0)]
    pub since: Timestamp,
    /// What was shown to log in was wrong, so often.
    #[n(1)]
    pub credentials: u64,
    /// An activation key was wrong, so often.
    #[n(2)]
    pub activation_keys: u64,
    /// So many were turned away unseen, since too much was wrong before.
    #[n(3)]
    pub unseen: u64,
    /// From where most came.
    #[n(4)]
    pub addresses: Vec<Count>,
    /// How many came from elsewhere.
    #[n(5)]
    pub elsewhere: u64,
    /// Of which devices most were.
    #[n(6)]
    pub devices: Vec<Count>,
    /// How many were of others.
    #[n(7)]
    pub others: u64,
}

/// How often something was there.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Count {
    /// What: an address, or a device.
    #[n(0)]
    pub of: Name,
    /// How often.
    #[n(1)]
    pub n: u64,
}
