//! What an operator may set of the transport.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::Error;
use crate::wire::Lane;

/// Limits and times of the connections between nodes. Every field has a default that suits a network of one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The protocol versions that are spoken. Default 1 alone.
    pub versions: RangeInclusive<u8>,
    /// How long a handshake may take, and then the hello. Default 2 s. Too short keeps loaded machines apart.
    pub patience: Duration,
    /// How often a node says that it is there. Default 250 ms.
    pub ping_every: Duration,
    /// How often QUIC asks on a connection that is quiet. Default 500 ms.
    pub keep_alive: Duration,
    /// After so long without a datagram a connection is lost. Default 3 s; with less than a few pings a slow network cuts.
    pub silence_max: Duration,
    /// Bytes that may wait on the pulse to one node. Default 4 MiB.
    pub pulse_bytes: usize,
    /// Bytes of entries that may wait for one node. Default 64 MiB, and at least the largest entry.
    pub log_bytes: usize,
    /// Bytes that may wait of what is forwarded to one node. Default 16 MiB. Together with the other two, and with 14 MiB
    /// that QUIC holds, this is the memory that one slow node costs, 98 MiB; frames that come from it
    /// take 69 MiB more.
    pub forward_bytes: usize,
    /// The pause before a node is dialled again, at first. Default 100 ms.
    pub redial_min: Duration,
    /// The same, at most: it doubles. Default 2 s.
    pub redial_max: Duration,
    /// The same for a node that was refused for what it is, or that refused this one. Default 30 s.
    pub redial_refused: Duration,
    /// A node with a smaller number should dial; after so long without it this one does. Default 2 s.
    pub dialled_back_after: Duration,
    /// What the numbers follow from by which QUIC hides its packets, which are random otherwise. Default none; only a
    /// simulation sets it. Keys are random in either case.
    pub entropy: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            versions: 1..=1,
            patience: Duration::from_secs(2),
            ping_every: Duration::from_millis(250),
            keep_alive: Duration::from_millis(500),
            silence_max: Duration::from_secs(3),
            pulse_bytes: 4 << 20,
            log_bytes: 64 << 20,
            forward_bytes: 16 << 20,
            redial_min: Duration::from_millis(100),
            redial_max: Duration::from_secs(2),
            redial_refused: Duration::from_secs(30),
            dialled_back_after: Duration::from_secs(2),
            entropy: None,
        }
    }
}

impl Options {
    pub(super) fn check(&self) -> Result<(), Error> {
        let wrong = [
            ("versions", self.versions.is_empty(), "it names none"),
            ("ping_every", self.ping_every.is_zero(), "it is zero"),
            ("patience", self.patience.is_zero(), "it is zero"),
            ("silence_max", self.silence_max <= self.keep_alive, "it is not longer than keep_alive"),
            ("redial_min", self.redial_min.is_zero(), "it is zero"),
            ("redial_max", self.redial_max < self.redial_min, "it is shorter than redial_min"),
        ];
        match wrong.into_iter().find(|(_, is_wrong, _)| *is_wrong) {
            Some((option, _, why)) => Err(Error::Option { option, why }),
            None => Ok(()),
        }
    }

    pub(super) fn queue_bytes(&self, lane: Lane) -> usize {
        match lane {
            Lane::Pulse => self.pulse_bytes,
            Lane::Log => self.log_bytes,
            Lane::Forward => self.forward_bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonsense_is_named() {
        let silence_max = Duration::from_millis(500);
        let wrong = Options { silence_max, ..Options::default() };

        let refused = wrong.check().unwrap_err().to_string();

        assert_eq!(
            refused,
            "the transport's option silence_max cannot be so: it is not longer than keep_alive"
        );
        assert!(Options::default().check().is_ok());
    }
}
