//! A device that speaks faster than it may is read more slowly: TCP's own flow control then holds it back, and nothing
//! is lost or refused. While it pauses, its keep-alive stands still, and what was said is answered as always.

use std::time::{Duration, Instant};

use crate::pace::{Pace, Rate};

use super::super::Options;
use super::Session;

/// What may come at once, as the time that it takes at the rate: some ticks of the timer that ends a pause.
const BURST: Duration = Duration::from_millis(20);

/// How fast a client has spoken, and until when it pauses.
#[derive(Debug, Default)]
pub(super) struct Pauses {
    packets: Pace,
    bytes: Pace,
    until: Option<Instant>,
    /// How many there were since they were last counted.
    begun: u64,
}

impl Pauses {
    /// A packet, or a part of one, was taken.
    pub(super) fn taken(&mut self, options: &Options, now: Instant, bytes: usize) {
        let packets = Rate { per_s: options.connection_packets_per_s, burst: BURST };
        let per_s = Rate { per_s: options.connection_bytes_per_s, burst: BURST };
        self.packets.take(packets, now, 1);
        self.bytes.take(per_s, now, bytes as u64);
        let until = self.packets.wait(packets, now).max(self.bytes.wait(per_s, now));
        self.begun += u64::from(until.is_some() && self.until.is_none());
        self.until = until;
    }

    /// Until when nothing is taken, if anything has to wait.
    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }
}

impl Session {
    /// How many pauses began since this was last asked.
    pub(in super::super) fn paused(&mut self) -> u64 {
        std::mem::take(&mut self.pauses.begun)
    }

    /// Listens again, if it is time.
    pub(super) fn resume(&mut self, now: Instant) {
        if self.pauses.until.take_if(|until| *until <= now).is_some() {
            // While it did not listen the client could not be heard.
            self.heard = now;
            self.go_on(now);
        }
    }
}
