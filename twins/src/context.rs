//! What a handler can see of its twin and of the input at hand.

use crate::header::{Header, Quality};
use crate::id::TwinId;
use crate::json::Document;
use crate::time::Timestamp;
use crate::twin::Twin;

/// The twin as it was before this input, and the input's envelope.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    pub(crate) id: &'a TwinId,
    pub(crate) twin: &'a Twin,
    pub(crate) header: &'a Header,
    /// The event time of the sample at hand; a batch has one for each.
    pub(crate) time: Timestamp,
}

impl Context<'_> {
    /// The shard's now. It never goes back.
    pub fn now(&self) -> Timestamp {
        self.header.received
    }

    /// When it happened, as the device says; [`Context::now`] where it does not.
    pub fn time(&self) -> Timestamp {
        self.time
    }

    /// Whether what it says may be believed.
    pub fn quality(&self) -> Quality {
        self.header.quality
    }

    /// Whose twin this is.
    pub fn twin(&self) -> &TwinId {
        self.id
    }

    /// The labels that operators gave.
    pub fn tags(&self) -> &Document {
        self.twin.tags().document()
    }

    /// What the device says it is.
    pub fn reported(&self) -> &Document {
        self.twin.reported().document()
    }

    /// What the device should become.
    pub fn desired(&self) -> &Document {
        self.twin.desired().document()
    }

    /// Whether the device is connected.
    pub fn connected(&self) -> bool {
        self.twin.sessions().connected().next().is_some()
    }
}
