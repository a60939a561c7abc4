//! Which devices a device has taken the place of.

use crate::id::TwinId;
use crate::time::Timestamp;

/// How many ancestors are remembered; the oldest go first.
pub const ANCESTORS_MAX: usize = 16;

/// A device whose place another one has taken.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Ancestor {
    /// Its id.
    #[n(0)]
    pub twin: TwinId,
    /// Its generation.
    #[n(1)]
    pub generation: u32,
    /// When its place was taken.
    #[n(2)]
    pub at: Timestamp,
}
