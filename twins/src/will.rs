//! A will: what a device wants said when its connection ends without a goodbye. The twin keeps it, so that it is said
//! whatever becomes of the gateway and the node.

use crate::body::Body;
use crate::json::Json;
use crate::name::Name;
use crate::time::Timestamp;

/// How many bytes a will may have.
pub const WILL_BYTES_MAX: usize = 16 * 1024;

/// A will.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Will {
    /// What it says.
    #[n(0)]
    pub words: Words,
    /// How many seconds after the connection it is said, unless the session is resumed before or ends before.
    #[n(1)]
    pub delay_s: u32,
    /// When it will be said, once the connection has ended.
    #[n(2)]
    pub due: Option<Timestamp>,
}

/// What a will can say: what a device can say of itself.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub enum Words {
    /// A sample of one channel.
    #[n(0)]
    Sample {
        /// The channel.
        #[n(0)]
        channel: Name,
        /// The value.
        #[n(1)]
        body: Body,
    },
    /// Telemetry without a channel.
    #[n(1)]
    Telemetry(#[n(0)] Body),
    /// A merge patch of the reported section.
    #[n(2)]
    Report(#[n(0)] Json),
}

impl Will {
    /// The bytes of what it says.
    pub fn bytes(&self) -> usize {
        match &self.words {
            Words::Sample { body, .. } | Words::Telemetry(body) => body.len(),
            Words::Report(patch) => patch.len(),
        }
    }
}
