//! How much a tenant may take of the node that it shares with others.

use std::fmt;
use std::num::NonZeroU32;

/// Limits of a tenant. What is not limited here is limited as the node says for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, minicbor::Encode, minicbor::Decode)]
pub struct Limits {
    /// How many devices may be registered.
    #[n(0)]
    pub devices: Option<NonZeroU32>,
    /// How many MQTT connections its devices may have at once.
    #[n(1)]
    pub connections: Option<NonZeroU32>,
    /// How many packets and requests may come a second, of its devices and people together.
    #[n(2)]
    pub messages_per_s: Option<NonZeroU32>,
    /// How many streams of events may be open at once.
    #[n(3)]
    pub streams: Option<NonZeroU32>,
    /// How many calls of its devices may wait at once.
    #[n(4)]
    pub waits: Option<NonZeroU32>,
    /// How many packets and requests may come of one device a second, over all of its connections.
    #[n(5)]
    pub device_messages_per_s: Option<NonZeroU32>,
    /// How many bytes of them.
    #[n(6)]
    pub device_bytes_per_s: Option<NonZeroU32>,
}

impl Limits {
    /// Each by its name, in the order in which they are shown.
    pub fn named(&self) -> [(&'static str, Option<NonZeroU32>); 7] {
        [
            ("devices", self.devices),
            ("connections", self.connections),
            ("messages_per_s", self.messages_per_s),
            ("streams", self.streams),
            ("waits", self.waits),
            ("device_messages_per_s", self.device_messages_per_s),
            ("device_bytes_per_s", self.device_bytes_per_s),
        ]
    }

    /// These, and of `others` what they do not limit.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        Self {
            devices: self.devices.or(others.devices),
            connections: self.connections.or(others.connections),
            messages_per_s: self.messages_per_s.or(others.messages_per_s),
            streams: self.streams.or(others.streams),
            waits: self.waits.or(others.waits),
            device_messages_per_s: self.device_messages_per_s.or(others.device_messages_per_s),
            device_bytes_per_s: self.device_bytes_per_s.or(others.device_bytes_per_s),
        }
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = "";
        for (name, limit) in self.named() {
            if let Some(limit) = limit {
                write!(f, "{between}{name}={limit}")?;
                between = " ";
            }
        }
        Ok(())
    }
}
